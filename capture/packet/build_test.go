package packet

import "slices"

// The tests build frames from these pieces, outermost first.

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func eth(etherType uint16) []byte {
	return be.AppendUint16([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, etherType)
}

func tag(id, next uint16) []byte {
	return be.AppendUint16(be.AppendUint16(nil, id|0x2000), next)
}

func label(bottom byte) []byte { return []byte{0, 1, bottom, 64} }

// ip4 is a header from 192.0.2.1 to 198.51.100.2 before payload.
func ip4(proto byte, payload []byte, options ...byte) []byte {
	h := make([]byte, 20, 20+len(options)+len(payload))
	h[0] = 0x45 + byte(len(options)/4)
	be.PutUint16(h[2:], uint16(20+len(options)+len(payload)))
	be.PutUint16(h[4:], 7)
	h[8], h[9] = 63, proto
	copy(h[12:], []byte{192, 0, 2, 1, 198, 51, 100, 2})
	return join(h, options, payload)
}

// frag4 makes the packet a fragment.
func frag4(offset uint16, more bool, packet []byte) []byte {
	field := offset / 8
	if more {
		field |= 0x2000
	}
	be.PutUint16(packet[6:], field)
	return packet
}

// ip6 is a header from 2001:db8::1 to 2001:db8::2 before payload.
func ip6(next byte, payload []byte) []byte {
	h := make([]byte, 40)
	h[0] = 0x60
	be.PutUint16(h[4:], uint16(len(payload)))
	h[6], h[7] = next, 64
	copy(h[8:], []byte{0x20, 1, 0xd, 0xb8})
	copy(h[24:], []byte{0x20, 1, 0xd, 0xb8})
	h[23], h[39] = 1, 2
	return join(h, payload)
}

func tcp(flags byte, payload string) []byte {
	h := make([]byte, 20)
	be.PutUint16(h, 40000)
	be.PutUint16(h[2:], 443)
	be.PutUint32(h[4:], 1000)
	be.PutUint32(h[8:], 2000)
	h[12], h[13] = 5<<4, flags
	be.PutUint16(h[14:], 512)
	return append(h, payload...)
}

func udp(port uint16, payload []byte) []byte {
	h := make([]byte, 8)
	be.PutUint16(h, 5000)
	be.PutUint16(h[2:], port)
	be.PutUint16(h[4:], uint16(8+len(payload)))
	return append(h, payload...)
}

func arp(op byte) []byte {
	return []byte{0, 1, 8, 0, 6, 4, 0, op, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9}
}

func wifi(header ...byte) []byte { return append(header, make([]byte, 24-len(header))...) }
