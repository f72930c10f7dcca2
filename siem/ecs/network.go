package ecs

import (
	"net/netip"

	"vft/event"
)

// endpoints writes source, destination, network and related of an event, each
// as far as the event knows it.
func (r record) endpoints(e *event.Event) record {
	r = r.endpoint("source", e.Src, e.Transport)
	r = r.endpoint("destination", e.Dst, e.Transport)
	r = r.network(e)
	r = r.key("related").open().key("ip").array().related(e.Src.Addr(), netip.Addr{})
	return r.related(e.Dst.Addr(), e.Src.Addr()).endArray().close()
}

func (r record) endpoint(name string, a netip.AddrPort, transport string) record {
	if !a.Addr().IsValid() {
		return r
	}
	r = r.key(name).open().key("ip").ip(a.Addr())
	if hasPorts(transport) {
		r = r.key("port").uint(uint64(a.Port()))
	}
	return r.close()
}

func (r record) network(e *event.Event) record {
	source := e.Src.Addr().Unmap()
	if e.Transport == "" || !source.IsValid() {
		return r
	}
	r = r.key("network").open().key("transport")
	switch {
	case e.Transport == "icmp" && source.Is6():
		r = r.raw(`"ipv6-icmp"`).key("type").raw(`"ipv6"`)
	case source.Is6():
		r = r.string(e.Transport).key("type").raw(`"ipv6"`)
	default:
		r = r.string(e.Transport).key("type").raw(`"ipv4"`)
	}
	if protocol, ok := protocolNumber(e.Transport, source); ok && e.Dst.Addr().IsValid() {
		r = r.key("community_id").communityID(protocol, event.Unmap(e.Src), event.Unmap(e.Dst))
	}
	return r.close()
}

// related adds an address to related.ip unless it is other.
func (r record) related(a, other netip.Addr) record {
	if !a.IsValid() || a == other {
		return r
	}
	return r.item().ip(a)
}

// address adds an address to a sentence.
func (r record) address(a netip.Addr) record {
	if !a.IsValid() {
		return r.raw("an unknown address")
	}
	return a.Unmap().WithZone("").AppendTo(r)
}

func hasPorts(transport string) bool {
	return transport == "tcp" || transport == "udp" || transport == "sctp"
}
