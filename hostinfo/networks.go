package hostinfo

import (
	"net"
	"net/netip"
	"slices"
)

// privateNetworks are the networks that are inside when nobody says which: RFC 1918, RFC 4193
// and link-local ones.
var privateNetworks = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"}

// Inside returns the given networks, or the private ones when none is given, with those
// of this host's own addresses: a host at a public address is inside too.
func Inside(given, own []netip.Prefix) []netip.Prefix {
	all := slices.Clone(given)
	if len(all) == 0 {
		for _, s := range privateNetworks {
			all = append(all, netip.MustParsePrefix(s))
		}
	}
	for _, p := range own {
		if !slices.ContainsFunc(all, func(q netip.Prefix) bool { return q.Contains(p.Addr()) && q.Bits() <= p.Bits() }) {
			all = append(all, p)
		}
	}
	return all
}

// Networks returns the networks of this host's addresses. Of one that is larger than a
// site could be (/16, of IPv6 /48) only the address is its own. None are known where
// the system does not tell.
func Networks() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			all = append(all, ownNetwork(p))
		}
	}
	return all
}

func ownNetwork(p netip.Prefix) netip.Prefix {
	a, least := p.Addr().Unmap(), 48
	if a.Is4() {
		least = 16
	}
	if p.Bits() < least || p.Bits() > a.BitLen() {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.PrefixFrom(a, p.Bits()).Masked()
}
