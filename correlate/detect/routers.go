package detect

import (
	"net/netip"
	"slices"

	"vft/capture/packet"
	"vft/correlate/known"
)

// Which MACs route is learned from traffic: a MAC that several hosts outside send
// from is a router's. Known gateways are told.
const (
	maxRouters    = 256
	routerSources = 3 // hosts outside, of 64 hashed
)

// routingMAC is a MAC that packets of hosts outside came from.
type routingMAC struct {
	sources uint64
	count   uint8
}

type routers struct {
	home     home
	gateways []packet.Addr
	known    *known.Lists
	macs     map[[6]byte]*routingMAC
	latest   [6]byte // that is known to route: most packets of hosts outside come from it
	full     uint64
}

func newRouters(inside home, gateways []netip.Addr, lists *known.Lists) *routers {
	r := &routers{home: inside, known: lists, macs: map[[6]byte]*routingMAC{}}
	for _, g := range slices.Concat(gateways, lists.Addresses(known.Gateway)) {
		r.gateways = append(r.gateways, packet.AddrFrom(g))
	}
	return r
}

// flow takes the first packet of a flow.
func (r *routers) flow(p *packet.Parsed) {
	if p.SrcMAC == r.latest || !p.HasAddrs || many(p.Src) || r.home.has(p.Src) || p.Network == packet.ARP {
		return
	}
	one := r.macs[p.SrcMAC]
	if one == nil {
		if len(r.macs) >= maxRouters {
			r.full++
			return
		}
		one = &routingMAC{}
		r.macs[p.SrcMAC] = one
	}
	bit := uint64(1) << (uint32(p.Src.Lo^p.Src.Hi) * 0x9e3779b1 >> 26)
	if one.sources&bit == 0 {
		one.sources |= bit
		one.count++
	}
	if one.count >= routerSources {
		r.latest = p.SrcMAC
	}
}

// routes reports whether a MAC is known to route; some says whether any is.
func (r *routers) routes(mac [6]byte) (routes, some bool) {
	for m, one := range r.macs {
		if one.count >= routerSources {
			some = true
			routes = routes || m == mac
		}
	}
	return routes, some
}

// told reports whether a host is a gateway by configuration, and counts that.
func (r *routers) told(a packet.Addr) bool {
	if slices.Contains(r.gateways, a) || r.known.Has(known.Gateway, a.Netip()) {
		r.known.Hit(known.Gateway)
		return true
	}
	return false
}

func (r *routers) counts(yield func(string, uint64)) { yield("routers_unlearned", r.full) }

// given reports whether the user named gateways.
func (r *routers) given() bool { return len(r.known.Networks(known.Gateway)) > 0 }

// owner returns the address that a MAC was seen to hold rightly.
func (a *arpSpoof) owner(mac [6]byte, now int64) (packet.Addr, bool) {
	h := a.holders.find(a.holderKey(mac), now)
	if h == nil {
		return packet.Addr{}, false
	}
	return *h, true
}
