package correlate

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
		if (addr.IsPrivate() || addr.IsLinkLocalUnicast()) && a.Bits() > 0 {
			f.inside.add(netip.PrefixFrom(addr, min(a.Bits(), addr.BitLen())).Masked())
		}
	}
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
