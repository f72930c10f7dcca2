package ecs

import (
	"net/netip"
	"slices"

	"vft/event"
	"vft/ipproto"
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
	return r.key(name).open().end(a, transport).close()
}

// end writes the keys of one end.
func (r record) end(a netip.AddrPort, transport string) record {
	r = r.key("ip").ip(a.Addr())
	if ipproto.HasPorts(transport) {
		r = r.key("port").uint(uint64(a.Port()))
	}
	return r
}

func (r record) network(e *event.Event) record {
	if e.Transport == "" || !e.Src.Addr().IsValid() {
		return r
	}
	return r.key("network").open().path(e).communityOf(e).close()
}

// path writes the transport and the version of IP, as far as they are known.
func (r record) path(e *event.Event) record {
	source := e.Src.Addr().Unmap()
	if e.Transport != "" {
		r = r.key("transport").string(e.Transport)
	}
	switch {
	case source.Is6():
		r = r.key("type").raw(`"ipv6"`)
	case source.Is4():
		r = r.key("type").raw(`"ipv4"`)
	}
	return r
}

// communityOf writes the Community ID of a transport that has one.
func (r record) communityOf(e *event.Event) record {
	source := e.Src.Addr().Unmap()
	if protocol, ok := ipproto.Number(e.Transport); ok && source.IsValid() && e.Dst.Addr().IsValid() {
		r = r.key("community_id").communityID(protocol, event.Unmap(e.Src), event.Unmap(e.Dst))
	}
	return r
}

// related adds an address to related.ip unless it is other.
func (r record) related(a, other netip.Addr) record {
	if !a.IsValid() || a == other {
		return r
	}
	return r.item().ip(a)
}

// relatedAll appends the list of the addresses that are valid, each once.
func (r record) relatedAll(list ...netip.Addr) record {
	r = r.array()
	for i := range list {
		list[i] = list[i].Unmap().WithZone("")
		if !slices.Contains(list[:i], list[i]) {
			r = r.related(list[i], netip.Addr{})
		}
	}
	return r.endArray()
}

// address adds an address to a sentence.
func (r record) address(a netip.Addr) record {
	if !a.IsValid() {
		return r.raw("an unknown address")
	}
	return a.Unmap().WithZone("").AppendTo(r)
}
