package traps

import (
	"bytes"
	"crypto/md5" // the definition of HASSH, not a protection
	"encoding/hex"
	"slices"

	"vft/event"
)

// ParseSSH reads a payload that begins with an SSH identification string (RFC
// 4253 section 4.2). HASSH is set when a whole KEXINIT follows it. ok is false
// when b is no SSH.
func ParseSSH(b []byte) (details event.SSH, ok bool) {
	line, rest, ended := bytes.Cut(b, []byte("\n"))
	if !bytes.HasPrefix(line, []byte("SSH-")) {
		return event.SSH{}, false
	}
	details.Banner = printable(bytes.TrimSuffix(line[:min(len(line), 255)], []byte("\r")))
	if ended {
		details.HASSH = hassh(rest)
	}
	return details, true
}

// hassh returns the fingerprint of a KEXINIT packet (RFC 4253 sections 6 and
// 7.1): the MD5 of the client's lists of key exchange, and client-to-server
// encryption, MAC and compression algorithms, joined by ";" (Salesforce,
// HASSH). It is "" when b is not a whole KEXINIT.
func hassh(b []byte) string {
	r := reader{b: b}
	size := r.uint32()
	if size > uint32(len(r.b)) {
		return ""
	}
	r = reader{b: r.b[:size]}
	r.uint8() // padding length
	if r.uint8() != 20 {
		return ""
	}
	r.bytes(16) // cookie
	var lists [10][]byte
	for i := range lists {
		if n := r.uint32(); n <= uint32(len(r.b)) {
			lists[i] = r.bytes(int(n))
		} else {
			r.failed = true
		}
	}
	if r.failed {
		return ""
	}
	// 0 key exchange, 1 host keys, then pairs to and from the server:
	// 2 and 3 encryption, 4 and 5 MAC, 6 and 7 compression, 8 and 9 language.
	sum := md5.Sum(slices.Concat(lists[0], []byte(";"), lists[2], []byte(";"), lists[4], []byte(";"), lists[6]))
	return hex.EncodeToString(sum[:])
}
