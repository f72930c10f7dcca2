package traps

import (
	"bytes"
	"slices"

	"vft/event"
)

// readPayload reads the first payload into buffer: until it says what its
// sender wants, the buffer is full, or reading fails (the peer left, or the
// deadline of read passed). It returns the part that was filled.
func readPayload(read func([]byte) (int, error), buffer []byte) []byte {
	n := 0
	for n < len(buffer) {
		got, err := read(buffer[n:])
		n += got
		if err != nil || complete(buffer[:n]) {
			break
		}
	}
	return buffer[:n]
}

// complete reports whether more bytes would add nothing: a TLS ClientHello, an
// SSH KEXINIT after its banner or the header of an HTTP request is whole, or
// payload is none of these.
func complete(payload []byte) bool {
	switch {
	case len(payload) == 0:
		return false
	case payload[0] == 22:
		if len(payload) < 3 || payload[1] == 3 {
			_, whole := handshake(payload)
			return whole
		}
	case begins(payload, "SSH-"):
		_, rest, _ := bytes.Cut(payload, []byte("\n"))
		return hassh(rest) != ""
	case httpRequest(payload):
		return bytes.Contains(payload, []byte("\r\n\r\n")) || bytes.Contains(payload, []byte("\n\n"))
	}
	return true
}

// httpRequest reports whether payload is, or may become, an HTTP request.
func httpRequest(payload []byte) bool {
	return slices.ContainsFunc([]string{"GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "CONNECT "},
		func(method string) bool { return begins(payload, method) })
}

// begins reports whether payload starts with text, as far as it goes.
func begins(payload []byte, text string) bool {
	n := min(len(payload), len(text))
	return string(payload[:n]) == text[:n]
}

// describe fills t with what payload says.
func describe(t *event.Trap, payload []byte) {
	t.Payload = payload
	if hello, ok := ParseClientHello(payload); ok {
		t.TLS = &hello
	} else if ssh, ok := ParseSSH(payload); ok {
		t.SSH = &ssh
	}
	if tool := PayloadTool(payload); tool != "" {
		t.Tool = tool
	}
}
