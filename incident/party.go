package incident

import (
	"net/netip"

	"vft/event"
)

// party is whom an incident is about: a source by its address or prefix, or by its
// name when it has none; a port, a client or a sensor by name; a victim by its
// address.
type party struct {
	Kind   event.AlertKind `json:"kind"`
	Prefix netip.Prefix    `json:"prefix,omitzero"`
	Name   string          `json:"name,omitempty"`
	Part   string          `json:"part,omitempty"` // tells the statistics of a host, and overflows, from the rest
}

// String is how the party is written: 10.0.0.9, 2001:db8::/64, 8080.
func (p party) String() string {
	switch {
	case !p.Prefix.IsValid():
		return p.Name
	case p.Prefix.IsSingleIP():
		return p.Prefix.Addr().String()
	}
	return p.Prefix.String()
}

// partyOf says whom a finding is about.
func (r *Room) partyOf(f *event.Finding) party {
	switch {
	case f.Type == statistic:
		return party{Kind: event.ByClient, Name: hostOf(f), Part: statistic}
	case f.By != "":
		return party{Kind: f.By, Name: f.Party}
	case f.Offender.IsValid() && !f.Many:
		return party{Kind: event.BySource, Prefix: r.sourceOf(f.Offender)}
	case f.Name != "" && !f.Many:
		return party{Kind: event.BySource, Name: f.Name}
	case len(f.Victims) > 0:
		victim := f.Victims[0].Unmap().WithZone("")
		return party{Kind: event.ByClient, Prefix: netip.PrefixFrom(victim, victim.BitLen())}
	}
	return party{Kind: event.ByClient, Name: hostOf(f)}
}

// hostOf names the host that a finding was made on or by.
func hostOf(f *event.Finding) string {
	switch {
	case f.Client != "":
		return f.Client
	case f.Observer != "":
		return f.Observer
	}
	return "this host"
}

// sourceOf is what an address is keyed by: itself, or for an IPv6 stranger the
// network from which he takes his addresses.
func (r *Room) sourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is6() && r.set.IPv6Prefix < 128 && !r.set.Home(a) {
		p, _ := a.Prefix(r.set.IPv6Prefix)
		return p
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// networkOf is the prefix that shares are counted by: /24 of IPv4, /48 of IPv6.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}
