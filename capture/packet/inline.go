package packet

import "math/bits"

// inline reads the fields that a compressed header carries. short says that the
// bytes ended before; what was read then is 0.
type inline struct {
	b     []byte
	short bool
}

func (r *inline) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = r.b[len(r.b):], true
		return make([]byte, 16)[:n]
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *inline) byte() uint8    { return r.take(1)[0] }
func (r *inline) uint16() uint16 { return be.Uint16(r.take(2)) }
func (r *inline) uint64() uint64 { return be.Uint64(r.take(8)) }

// trafficClass reads class and flow label in one of four forms (RFC 6282 section
// 3.1.1). ECN comes first in them, and last in the header that they stand for.
func (r *inline) trafficClass(form uint8) uint8 {
	switch form {
	case 0:
		return bits.RotateLeft8(r.take(4)[0], 2)
	case 1:
		return r.take(3)[0] >> 6 // the congestion bits alone
	case 2:
		return bits.RotateLeft8(r.byte(), 2)
	}
	return 0
}

// unicast reads an address: whole, its last eight or two bytes, or nothing but
// what the link header tells.
func (r *inline) unicast(form uint8, context bool, link uint64, known bool) (a Addr, ok bool) {
	const local = 0xfe80 << 48
	if !context {
		a.Hi = local
	}
	switch {
	case form == 0 && context: // unspecified
		return Addr{}, true
	case form == 0:
		return Addr{r.uint64(), r.uint64()}, true
	case form == 1:
		a.Lo = r.uint64()
	case form == 2:
		a.Lo = shortID | uint64(r.uint16())
	default:
		a.Lo = link
		return a, known
	}
	return a, true
}

// group reads a multicast address.
func (r *inline) group(form uint8, context bool) (Addr, bool) {
	const multicast = 0xff << 56
	switch {
	case context && form == 0: // RFC 3306: flags, a prefix that a context holds, the group
		head := uint64(r.uint16())
		return Addr{multicast | head>>8<<48 | head&0xff<<32, uint64(be.Uint32(r.take(4)))}, true
	case context:
		return Addr{}, false
	case form == 0:
		return Addr{r.uint64(), r.uint64()}, true
	case form == 1:
		head := uint64(r.byte())
		return Addr{multicast | head<<48, uint64(r.byte())<<32 | uint64(be.Uint32(r.take(4)))}, true
	case form == 2:
		head := uint64(r.byte())
		return Addr{multicast | head<<48, uint64(r.byte())<<16 | uint64(r.uint16())}, true
	}
	return Addr{multicast | 2<<48, uint64(r.byte())}, true
}
