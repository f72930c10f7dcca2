package capture

import (
	"errors"
	"net/netip"
	"slices"

	"vft/capture/filter"
	"vft/capture/packet"
	"vft/setting"
)

// FilterSettings say which packets are looked at.
type FilterSettings struct {
	Expression string        // pcap filter; empty: every packet
	Snaplen    int           // bytes that an expression may look at
	Networks   []NetworkRule // all must let a packet pass
}

// NetworkRule keeps or drops packets by their addresses.
type NetworkRule struct {
	Networks []netip.Prefix
	Src, Dst bool // the addresses that are looked at
	Both     bool // both must match, not either
	Drop     bool // what matches is dropped, not kept
}

// PacketFilter decides which packets are looked at. One goroutine uses it.
type PacketFilter struct {
	settings *FilterSettings
	links    map[packet.LinkType]*filter.Filter // compiled; nil: matches nothing on that link type
	parsed   packet.Parsed
	dropped  uint64
	err      error // a link type that the expression cannot be compiled for
}

// NewPacketFilter refuses an expression that Ethernet cannot have, with the
// column, as a *setting.Error.
func NewPacketFilter(s *FilterSettings) (*PacketFilter, error) {
	f := &PacketFilter{settings: s, links: map[packet.LinkType]*filter.Filter{}}
	if _, err := f.compile(packet.LinkType(filter.LinkEthernet)); err != nil {
		return nil, setting.Invalid(&s.Expression, "%v", err)
	}
	return f, nil
}

// compile returns the filter for a link type; nil when it can match nothing
// there.
func (f *PacketFilter) compile(link packet.LinkType) (*filter.Filter, error) {
	if compiled, known := f.links[link]; known {
		return compiled, nil
	}
	compiled, err := filter.Compile(f.settings.Expression, filter.LinkType(link), max(f.settings.Snaplen, 1<<16))
	var refused *filter.Error
	if errors.As(err, &refused) && refused.Never {
		compiled, err = nil, nil
	}
	f.links[link] = compiled
	return compiled, err
}

// Live is the filter as the kernel takes it. A link type on which it can match
// nothing lets nothing pass.
func (f *PacketFilter) Live(link packet.LinkType) (LiveFilter, error) {
	compiled, err := f.compile(link)
	switch {
	case err != nil:
		return LiveFilter{}, setting.Invalid(&f.settings.Expression, "%v", err)
	case compiled == nil:
		return LiveFilter{Match: func([]byte, int) bool { return false }}, nil
	case f.settings.Expression == "":
		return LiveFilter{}, nil
	}
	raw, exact := compiled.Live()
	return LiveFilter{Raw: raw, Match: compiled.Match, Exact: exact}, nil
}

// Passes reports whether a packet of a file is looked at.
func (f *PacketFilter) Passes(p *Packet) bool {
	if f.settings.Expression != "" {
		compiled, err := f.compile(p.Link)
		if err != nil && f.err == nil {
			f.err = err
		}
		if compiled == nil || !compiled.Match(p.Data, p.Wire) {
			f.dropped++
			return false
		}
	}
	return f.PassesNetworks(p)
}

// PassesNetworks reports whether the addresses of a packet let it pass.
func (f *PacketFilter) PassesNetworks(p *Packet) bool {
	if len(f.settings.Networks) == 0 {
		return true
	}
	f.parsed.Decode(p.Link, p.Data, p.Wire)
	for i := range f.settings.Networks {
		if rule := &f.settings.Networks[i]; rule.matches(&f.parsed) == rule.Drop {
			f.dropped++
			return false
		}
	}
	return true
}

// Dropped is how many packets did not pass.
func (f *PacketFilter) Dropped() uint64 { return f.dropped }

// Err is why packets of a link type that a file has could not be judged, as a
// *setting.Error.
func (f *PacketFilter) Err() error {
	if f.err == nil {
		return nil
	}
	return setting.Invalid(&f.settings.Expression, "%v", f.err)
}

func (r *NetworkRule) matches(p *packet.Parsed) bool {
	if !p.HasAddrs {
		return false
	}
	in := func(a packet.Addr) bool {
		addr := a.Netip()
		return slices.ContainsFunc(r.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
	src, dst := r.Src && in(p.Src), r.Dst && in(p.Dst)
	if r.Both {
		return src && dst
	}
	return src || dst
}
