package fleet

import (
	"net/netip"
	"slices"
)

// maxInside is how many networks and addresses of clients are kept.
const maxInside = 1 << 17

// inside knows the fleet's own hosts and networks.
type inside struct {
	prefixes map[netip.Prefix]struct{}
	bits     []int // lengths that occur among prefixes
}

// Member tells the addresses of a client, with their prefix lengths. A source
// that is a client, or that stands on a private network of one, is inside.
func (f *Fleet) Member(addresses []netip.Prefix) {
	for _, a := range addresses {
		addr := a.Addr().Unmap().WithZone("")
		if !addr.IsValid() || addr.IsLoopback() {
			continue
		}
		f.inside.add(netip.PrefixFrom(addr, addr.BitLen()))
		if n := netip.PrefixFrom(addr, min(a.Bits(), addr.BitLen())).Masked(); isPrivate(n) {
			f.inside.add(n)
		}
	}
}

// isPrivate reports whether a network is private from end to end: no client
// makes the internet its own by a short prefix.
func isPrivate(n netip.Prefix) bool {
	const widest = 8 // 10.0.0.0/8, fd00::/8
	return n.Bits() >= widest && (n.Addr().IsPrivate() || n.Addr().IsLinkLocalUnicast())
}

func (in *inside) add(p netip.Prefix) {
	if in.prefixes == nil {
		in.prefixes = map[netip.Prefix]struct{}{}
	}
	if len(in.prefixes) >= maxInside {
		return
	}
	in.prefixes[p] = struct{}{}
	if !slices.Contains(in.bits, p.Bits()) {
		in.bits = append(in.bits, p.Bits())
	}
}

// has reports whether addr is inside, or on one of the given networks.
func (in *inside) has(addr netip.Addr, networks []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	for _, bits := range in.bits {
		if p, err := addr.Prefix(bits); err == nil {
			if _, ok := in.prefixes[p]; ok {
				return true
			}
		}
	}
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
