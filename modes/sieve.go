package modes

import (
	"errors"
	"net/netip"
	"slices"

	"vft/capture"
	"vft/capture/filter"
	"vft/capture/packet"
	"vft/modes/config"
)

// sieve decides which packets are looked at: --filter and --filter-cidr.
type sieve struct {
	values  *config.Values
	text    string
	snaplen int
	links   map[packet.LinkType]*filter.Filter // compiled; nil: matches nothing on that link type
	nets    []netRule
	parsed  packet.Parsed
	dropped uint64
	err     error // a link type that the expression cannot be compiled for
}

// netRule keeps or drops packets by their addresses.
type netRule struct {
	networks         []netip.Prefix
	src, dst, both   bool
	dropsWhatMatches bool
}

// newSieve checks the options; an expression that Ethernet cannot have is
// refused at once, with the column.
func newSieve(v *config.Values) (*sieve, error) {
	s := &sieve{values: v, text: v.Text("filter"), snaplen: max(v.Int("snaplen"), 1<<16), links: map[packet.LinkType]*filter.Filter{}}
	if _, err := s.compile(packet.LinkType(filter.LinkEthernet)); err != nil {
		return nil, v.Invalid("filter", "%v", err)
	}
	if nets := config.List[netip.Prefix](v, "filter-cidr"); len(nets) > 0 {
		on := v.Text("filter-on")
		s.nets = append(s.nets, netRule{nets, on != "dst", on != "src", on == "both", v.Text("filter-mode") == "drop"})
	}
	if nets := config.List[netip.Prefix](v, "filter-ip-CIDR"); len(nets) > 0 {
		src, dst := v.Bool("filter-src"), v.Bool("filter-dst")
		if src || dst {
			s.nets = append(s.nets, netRule{nets, src, dst, false, v.Bool("filter-bool")})
		}
	}
	return s, nil
}

// compile returns the filter for a link type; nil when it can match nothing
// there.
func (s *sieve) compile(link packet.LinkType) (*filter.Filter, error) {
	if f, known := s.links[link]; known {
		return f, nil
	}
	f, err := filter.Compile(s.text, filter.LinkType(link), s.snaplen)
	var refused *filter.Error
	if errors.As(err, &refused) && refused.Never {
		f, err = nil, nil
	}
	s.links[link] = f
	return f, err
}

// live is the filter as the kernel takes it. A link type on which it can match
// nothing lets nothing pass.
func (s *sieve) live(link packet.LinkType) (capture.LiveFilter, error) {
	f, err := s.compile(link)
	switch {
	case err != nil:
		return capture.LiveFilter{}, s.values.Invalid("filter", "%v", err)
	case f == nil:
		return capture.LiveFilter{Match: func([]byte, int) bool { return false }}, nil
	case s.text == "":
		return capture.LiveFilter{}, nil
	}
	raw, exact := f.Live()
	return capture.LiveFilter{Raw: raw, Match: f.Match, Exact: exact}, nil
}

// passes reports whether a packet of a file is looked at.
func (s *sieve) passes(p *capture.Packet) bool {
	if s.text != "" {
		f, err := s.compile(p.Link)
		if err != nil && s.err == nil {
			s.err = err
		}
		if f == nil || !f.Match(p.Data, p.Wire) {
			s.dropped++
			return false
		}
	}
	return s.keeps(p)
}

// keeps reports whether the addresses of a packet let it pass.
func (s *sieve) keeps(p *capture.Packet) bool {
	if len(s.nets) == 0 {
		return true
	}
	s.parsed.Decode(p.Link, p.Data, p.Wire)
	for i := range s.nets {
		if s.nets[i].matches(&s.parsed) == s.nets[i].dropsWhatMatches {
			s.dropped++
			return false
		}
	}
	return true
}

func (r *netRule) matches(p *packet.Parsed) bool {
	if !p.HasAddrs {
		return false
	}
	in := func(a packet.Addr) bool {
		addr := a.Netip()
		return slices.ContainsFunc(r.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
	src, dst := r.src && in(p.Src), r.dst && in(p.Dst)
	if r.both {
		return src && dst
	}
	return src || dst
}
