package detect

import (
	"net/netip"
	"slices"
	"time"

	"vft/capture/packet"
	"vft/event"
)

// Host discovery: distinct hosts that one source pings, or asks for by ARP
// without an answer. A scan of absent hosts on a local network shows nothing
// but ARP requests, and when it comes from outside, those of the router.
const (
	pingHostsInside   = 10
	pingHostsOutside  = 5 // nobody outside has reason to know so many
	pingWindow        = 10 * time.Second
	arpHosts          = 20
	arpWindow         = 60 * time.Second
	arpAnswer         = 5 * second // an answer that comes later was not asked for
	maxSeekers        = 1 << 12
	maxAsked          = 1 << 14
	severityDiscovery = 30 // a lead
	discoveryQuiet    = 60 * second
)

// seeker counts the hosts that one source looks for, in the half-window that
// runs and the one before.
type seeker struct {
	begin  int64
	now    int16
	before int16
	n      uint8
	list   [arpHosts]packet.Addr
}

func (s *seeker) roll(now int64, window time.Duration) {
	half := int64(window) / 2
	switch age := now - s.begin; {
	case s.begin == 0 || age >= 2*half:
		*s = seeker{begin: now}
	case age >= half:
		s.begin, s.before, s.now = s.begin+half, max(s.now, 0), 0
	}
}

func (s *seeker) add(a packet.Addr) int {
	s.now++
	if int(s.n) < len(s.list) {
		s.list[s.n] = a
		s.n++
	}
	return int(s.now + s.before)
}

// asked is one question for one address.
type asked struct {
	at       int64
	answered bool
}

type discovery struct {
	hash     hasher
	episodes *episodes
	home     home
	gateways []packet.Addr
	pings    *cache[seeker]
	seekers  *cache[seeker]
	asked    *cache[asked]
}

func newDiscovery(h hasher, e *episodes, inside home, gateways []netip.Addr) *discovery {
	d := &discovery{hash: h, episodes: e, home: inside, pings: newCache[seeker](maxSeekers), seekers: newCache[seeker](maxSeekers), asked: newCache[asked](maxAsked)}
	for _, g := range gateways {
		d.gateways = append(d.gateways, packet.AddrFrom(g))
	}
	return d
}

// ping takes the first echo request of a flow.
func (d *discovery) ping(p *packet.Parsed, s *scans, now int64) {
	if many(p.Dst) {
		return
	}
	key := s.key(p.Src, p.Dst, 0, pingProbe)
	c, fresh := s.contacts.get(key, now)
	if !fresh && now-c.at < forgetTime {
		return
	}
	*c = contact{src: p.Src, dst: p.Dst, at: now, how: pingProbe}
	seek, _ := d.pings.get(d.hash.of(source(p.Src), packet.Addr{}, 7<<32), now)
	seek.roll(now, pingWindow)
	limit := pingHostsInside
	if !d.home.has(p.Src) {
		limit = pingHostsOutside
	}
	if n := seek.add(p.Dst); n >= limit {
		d.episodes.note(&finding{
			kind: "host_discovery", sensor: "discovery", key: "ping", offender: p.Src, scan: "ping", transport: "icmp", severity: severityDiscovery, target: p.Dst,
			value: float64(n), threshold: float64(limit), window: pingWindow, memory: discoveryQuiet, pastHosts: seek.list[:seek.n],
		}, now)
	}
}

func (d *discovery) askedKey(who, whom packet.Addr) uint64 { return d.hash.of(who, whom, 8<<32) }

// arp takes an ARP packet.
func (d *discovery) arp(p *packet.Parsed, now int64) {
	const request, reply = 1, 2
	switch {
	case p.ARPOp == request && p.Src != p.Dst && !many(p.Dst):
		d.asks(p, now)
	case p.ARPOp == reply:
		d.answers(p, now)
	}
}

// seekerOf returns who asks: its address, or its MAC while it has none.
func seekerOf(p *packet.Parsed) packet.Addr {
	if p.Src == packet.Addr4(0) {
		return packet.Addr{Hi: 1 << 63, Lo: macNumber(p.ARPSender)}
	}
	return p.Src
}

func (d *discovery) asks(p *packet.Parsed, now int64) {
	who := seekerOf(p)
	a, fresh := d.asked.get(d.askedKey(who, p.Dst), now)
	known := !fresh && now-a.at < int64(arpWindow)
	*a = asked{at: now, answered: a.answered && known}
	if known {
		return
	}
	s, _ := d.seekers.get(d.askedKey(who, packet.Addr{}), now)
	s.roll(now, arpWindow)
	if n := s.add(p.Dst); n >= arpHosts {
		d.scan(p, s, float64(n), now)
	}
}

func (d *discovery) scan(p *packet.Parsed, s *seeker, n float64, now int64) {
	f := &finding{
		kind: "host_discovery", sensor: "discovery", key: "arp", offender: p.Src, scan: "arp", severity: severityDiscovery, evidence: event.E0, target: p.Dst,
		value: n, threshold: arpHosts, window: arpWindow, memory: discoveryQuiet, pastHosts: s.list[:s.n], more: []detail{{"mac", macText(p.ARPSender)}},
	}
	if p.Src == packet.Addr4(0) {
		f.offender, f.name = packet.Addr{}, macText(p.ARPSender)
	}
	if slices.Contains(d.gateways, p.Src) {
		f.severity /= 2
		f.more = append(f.more, detail{"gateway", true}) // it asks for what somebody behind it looks for
	}
	d.episodes.note(f, now)
}

// answers takes an ARP reply: a host that is there is no failure.
func (d *discovery) answers(p *packet.Parsed, now int64) {
	a := d.asked.find(d.askedKey(p.Dst, p.Src), now)
	if a == nil || a.answered || now-a.at > arpAnswer {
		return
	}
	a.answered = true
	if s := d.seekers.find(d.askedKey(p.Dst, packet.Addr{}), now); s != nil && s.now > 0 {
		s.now--
	}
}

// solicited reports whether the target of a reply asked for its sender.
func (d *discovery) solicited(p *packet.Parsed, now int64) bool {
	a := d.asked.find(d.askedKey(p.Dst, p.Src), now)
	return a != nil && now-a.at <= arpAnswer
}

func (d *discovery) counts(yield func(string, uint64)) {
	yield("discovery_evicted", d.pings.evicted+d.seekers.evicted+d.asked.evicted)
}
