package detect

import (
	"vft/capture/packet"
	"vft/event"
	"vft/ipproto"
)

// ICMP redirect (RFC 792, RFC 4861 section 8) by a host that is no gateway: who it
// reaches sends its packets through another host. A redirect is right when it comes
// from a known gateway or from a MAC that is seen to route; an attacker writes the
// gateway's address, but not its MAC. Where neither is known the first that
// redirects is taken for right.
const (
	severityRedirect = 70
	redirectQuiet    = 300 * second
)

// redirector is who redirected first, and was taken for right.
type redirector struct {
	addr packet.Addr
	mac  [6]byte
}

type icmpRedirect struct {
	episodes *episodes
	routers  *routers
	spoof    *arpSpoof
	learned  redirector // zero: none was seen
}

func newICMPRedirect(e *episodes, r *routers, s *arpSpoof) *icmpRedirect {
	return &icmpRedirect{episodes: e, routers: r, spoof: s}
}

// packet takes a redirect.
func (r *icmpRedirect) packet(p *packet.Parsed, now int64) {
	if r.right(p) {
		return
	}
	f := &finding{
		kind: "icmp_redirect", sensor: "icmp_redirect", key: p.Dst.String(), offender: p.Src, transport: ipproto.Name(p.Proto), severity: severityRedirect, evidence: event.E2, target: p.Dst,
		value: 1, threshold: 1, unit: "redirects", memory: redirectQuiet,
	}
	if via, ok := redirectTo(p); ok {
		f.more = append(f.more, detail{"through", via.String()})
	}
	if p.HasMAC {
		f.more = append(f.more, detail{"mac", macText(p.SrcMAC)})
		if owner, ok := r.spoof.owner(p.SrcMAC, now); ok && owner != p.Src {
			f.offender = owner
			f.more = append(f.more, detail{"claims", p.Src.String()})
		} else if r.routers.told(p.Src) || r.learned.addr == p.Src {
			f.offender, f.name = packet.Addr{}, macText(p.SrcMAC) // it writes the gateway's address
			f.more = append(f.more, detail{"claims", p.Src.String()})
		}
	}
	r.episodes.note(f, now)
}

// right reports whether a redirect comes from a gateway, and learns the first.
func (r *icmpRedirect) right(p *packet.Parsed) bool {
	routes, some := r.routers.routes(p.SrcMAC)
	switch {
	case p.HasMAC && some:
		return routes
	case r.routers.told(p.Src):
		return true
	case len(r.routers.gateways) > 0:
		return false
	}
	if r.learned == (redirector{}) {
		r.learned = redirector{p.Src, p.SrcMAC}
	}
	return r.learned == redirector{p.Src, p.SrcMAC}
}

// redirectTo reads the router that a redirect names.
func redirectTo(p *packet.Parsed) (packet.Addr, bool) {
	b := p.Data[p.TransOff:]
	switch {
	case p.Transport == packet.ICMP && len(b) >= 8:
		return packet.Addr4(be32(b[4:])), true
	case p.Transport == packet.ICMPv6 && len(b) >= 24:
		return addr6(b[8:]), true
	}
	return packet.Addr{}, false
}
