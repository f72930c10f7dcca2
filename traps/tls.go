package traps

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"vft/event"
)

// The TLS extensions that are read (IANA, TLS ExtensionType Values).
const (
	extensionSNI               = 0
	extensionSignatures        = 13
	extensionALPN              = 16
	extensionSupportedVersions = 43
)

// clientHello is what matters of a ClientHello (RFC 8446 section 4.1.2).
type clientHello struct {
	version    uint16 // highest offered
	ciphers    []uint16
	extensions []uint16
	signatures []uint16
	alpn       []string
	sni        []byte
}

// ParseClientHello reads a payload that begins with a TLS record of a
// ClientHello, also one split over several records. Of a ClientHello that is
// cut it returns what stood before the cut, without JA4. ok is false when b is
// no ClientHello.
func ParseClientHello(b []byte) (details event.TLS, ok bool) {
	message, whole := handshake(b)
	if len(message) < 4+2+32 || message[0] != 1 {
		return event.TLS{}, false
	}
	hello, complete := parseHello(message[4:])
	details = event.TLS{SNI: printable(hello.sni), Version: versionName(hello.version)}
	for _, name := range hello.alpn {
		details.ALPN = append(details.ALPN, printable([]byte(name)))
	}
	if whole && complete {
		details.JA4 = hello.ja4()
	}
	return details, true
}

// handshake returns the first handshake message inside the TLS records of b,
// and whether all of it is there.
func handshake(b []byte) (message []byte, whole bool) {
	for len(b) >= 5 && b[0] == 22 && b[1] == 3 {
		size := int(binary.BigEndian.Uint16(b[3:]))
		fragment := b[5:min(5+size, len(b))]
		if message == nil {
			message = slices.Clip(fragment) // append must not write into b
		} else {
			message = append(message, fragment...)
		}
		if len(message) >= 4 {
			want := 4 + int(binary.BigEndian.Uint32(message)&0xffffff)
			if len(message) >= want {
				return message[:want], true
			}
		}
		b = b[5+len(fragment):]
	}
	return message, false
}

// reader takes fields off a byte slice. After a field that is cut it is empty
// and failed.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.b, r.failed = nil, true
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) uint8() int {
	if b := r.bytes(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// uint32 is a length of SSH.
func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// list reads 16-bit values, those of GREASE (RFC 8701) left out.
func (r *reader) list(n int) (values []uint16) {
	b := r.bytes(n)
	for ; len(b) >= 2; b = b[2:] {
		if v := binary.BigEndian.Uint16(b); !grease(v) {
			values = append(values, v)
		}
	}
	return values
}

// grease reports whether v is one of the 16 values of RFC 8701: 0x0a0a, 0x1a1a, ...
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// parseHello reads the body of a ClientHello; false when it is cut.
func parseHello(body []byte) (h clientHello, complete bool) {
	r := reader{b: body}
	h.version = r.uint16()
	r.bytes(32)        // random
	r.bytes(r.uint8()) // session
	h.ciphers = r.list(int(r.uint16()))
	r.bytes(r.uint8()) // compression
	if len(r.b) == 0 {
		return h, !r.failed // TLS 1.2 allows a hello without extensions
	}
	// The length of the extensions is taken from what is there, so that a cut
	// hello still gives its server name.
	size := int(r.uint16())
	extensions := reader{b: r.b[:min(size, len(r.b))]}
	cut := size > len(r.b)
	for len(extensions.b) > 0 {
		kind := extensions.uint16()
		data := extensions.bytes(int(extensions.uint16()))
		if extensions.failed {
			return h, false
		}
		h.extension(kind, data)
	}
	return h, !r.failed && !cut
}

func (h *clientHello) extension(kind uint16, data []byte) {
	if grease(kind) {
		return
	}
	h.extensions = append(h.extensions, kind)
	r := reader{b: data}
	switch kind {
	case extensionSNI:
		r.uint16() // of the list
		if r.uint8() == 0 {
			h.sni = r.bytes(int(r.uint16()))
		}
	case extensionALPN:
		r.uint16() // of the list
		for len(r.b) > 0 {
			if name := r.bytes(r.uint8()); len(name) > 0 {
				h.alpn = append(h.alpn, string(name))
			}
		}
	case extensionSignatures:
		h.signatures = r.list(int(r.uint16()))
	case extensionSupportedVersions:
		for _, v := range r.list(r.uint8()) {
			h.version = max(h.version, v)
		}
	}
}

// printable returns b with every byte that is not printable ASCII as \xNN: a
// name from the network must not steer a terminal.
func printable(b []byte) string {
	if !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		if c < ' ' || c > '~' {
			fmt.Fprintf(&s, `\x%02x`, c)
		} else {
			s.WriteByte(c)
		}
	}
	return s.String()
}

// versionName returns "1.3", "ssl3.0" and the like, hex for what is unknown.
func versionName(v uint16) string {
	switch {
	case v == 0x0300:
		return "ssl3.0"
	case v > 0x0300 && v <= 0x0304:
		return fmt.Sprintf("1.%d", v-0x0301)
	}
	return fmt.Sprintf("0x%04x", v)
}

// ja4 returns the JA4 fingerprint: protocol, version, server name, counts and
// ALPN; then truncated SHA-256 of the sorted ciphers; then of the sorted
// extensions and the signature algorithms in their order (FoxIO, JA4: TLS
// Client Fingerprinting).
func (h *clientHello) ja4() string {
	name := "i"
	if slices.Contains(h.extensions, extensionSNI) {
		name = "d"
	}
	ciphers := hexList(slices.Sorted(slices.Values(h.ciphers)))
	hashed := slices.DeleteFunc(slices.Sorted(slices.Values(h.extensions)), func(kind uint16) bool {
		return kind == extensionSNI || kind == extensionALPN
	})
	extensions := hexList(hashed)
	if len(h.signatures) > 0 {
		extensions += "_" + hexList(h.signatures)
	}
	return fmt.Sprintf("t%s%s%02d%02d%s_%s_%s", ja4Version(h.version), name,
		min(len(h.ciphers), 99), min(len(h.extensions), 99), h.ja4ALPN(),
		ja4Hash(ciphers), ja4Hash(extensions))
}

func ja4Version(v uint16) string {
	switch {
	case v == 0x0300:
		return "s3"
	case v == 0x0002:
		return "s2"
	case v > 0x0300 && v <= 0x0304:
		return fmt.Sprintf("1%d", v-0x0301)
	}
	return "00"
}

// ja4ALPN returns the first and last character of the first protocol, of its
// hex form when they are no letters or digits, "00" without a protocol.
func (h *clientHello) ja4ALPN() string {
	if len(h.alpn) == 0 {
		return "00"
	}
	first := h.alpn[0]
	if !alphanumeric(first[0]) || !alphanumeric(first[len(first)-1]) {
		first = hex.EncodeToString([]byte(first))
	}
	return first[:1] + first[len(first)-1:]
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func hexList(values []uint16) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprintf("%04x", v)
	}
	return strings.Join(texts, ",")
}

func ja4Hash(list string) string {
	if list == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:6])
}
