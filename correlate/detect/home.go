package detect

import (
	"net/netip"

	"vft/capture/packet"
)

// home tells which addresses are inside.
type home []network

// network is a prefix as two masks: each first contact is held against all of them.
type network struct {
	first, mask packet.Addr
	v4          bool
}

func newHome(inside []netip.Prefix) (h home) {
	if len(inside) == 0 {
		for _, s := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"} {
			inside = append(inside, netip.MustParsePrefix(s))
		}
	}
	for _, p := range inside {
		h = append(h, networkOf(p))
	}
	return h
}

func networkOf(p netip.Prefix) network {
	n := network{first: packet.AddrFrom(p.Masked().Addr()), v4: p.Addr().Is4()}
	bits := p.Bits()
	if n.v4 {
		bits += 96 // an IPv4 address is the end of a 4-in-6 one
	}
	n.mask.Hi = ^uint64(0) << max(64-bits, 0)
	n.mask.Lo = ^uint64(0) << max(128-max(bits, 64), 0)
	return n
}

// private reports whether the internet does not route a (RFC 1918, RFC 4193, link-local).
func private(a packet.Addr) bool {
	if !a.Is4() {
		return a.Hi>>57 == 0xfc>>1 || a.Hi>>54 == 0xfe80>>6
	}
	v := a.V4()
	return v>>24 == 10 || v>>20 == 172<<4|1 || v>>16 == 192<<8|168 || v>>16 == 169<<8|254
}

// source is what a source is keyed by. An IPv6 host outside has a whole /64 to choose
// its addresses from, and inside a /64 is a network with many hosts.
func (h home) source(a packet.Addr) packet.Addr {
	if a.Is4() || h.has(a) {
		return a
	}
	return source(a)
}

func (h home) has(a packet.Addr) bool {
	for i := range h {
		n := &h[i]
		if a.Hi&n.mask.Hi == n.first.Hi && a.Lo&n.mask.Lo == n.first.Lo && a.Is4() == n.v4 {
			return true
		}
	}
	return false
}
