package correlate

import (
	"net/netip"
	"time"

	"vft/correlate/window"
	"vft/event"
)

// place is what a Fleet keeps of one trap port over all clients, or of one
// client over all its ports. It holds no pointers.
type place struct {
	hits    window.Hits // in the window of same-port, same-client
	wide    window.Hits // in the window of port-campaign, victim
	rate    window.Rate // of the wide window
	clients window.Distinct[uint16]
	sources window.Distinct[window.Key]
	recent  recent
}

// placeRules are the two rules that a kind of place has.
type placeRules struct {
	scope        scope
	repeat, wide RuleID
	judge        func(f *Fleet, h *hit, p *place, n int, since window.Tick)
}

var (
	portRules   = placeRules{ofPort, SamePort, PortCampaign, (*Fleet).campaign}
	clientRules = placeRules{ofClient, SameClient, Victim, (*Fleet).victim}
)

func (k *placeRules) changed(old, new *Rules) bool {
	return old.Rule[k.repeat].Window != new.Rule[k.repeat].Window || old.Rule[k.wide].Window != new.Rule[k.wide].Window
}

// judgePlace counts h at p and adds the rules that hold there.
func (f *Fleet) judgePlace(h *hit, p *place, k *placeRules) {
	first := len(f.matches)
	repeat, wide := &f.rules.Rule[k.repeat], &f.rules.Rule[k.wide]
	p.clients.Add(h.client.number, h.tick)
	p.sources.Add(h.key, h.tick)
	p.recent.add(sighting{netip.Addr.As16(h.Src.Addr()), h.key, h.ID, h.tick, h.client.number, h.Dst.Port()})
	f.repeat(h, p, k, repeat)
	n, since := p.wide.Add(h.tick, window.Ticks(wide.Window))
	if !wide.Off {
		k.judge(f, h, p, n, since)
	}
	p.rate.Add(h.tick, window.Ticks(wide.Window))
	for i := first; i < len(f.matches); i++ {
		f.matches[i].scope = p.whose(h, window.Ticks(f.matches[i].window), k.scope)
	}
}

// whose returns the scope of a match: of the source that has nearly all events
// of the window, of the place when no source has.
func (p *place) whose(h *hit, ticks int32, own scope) scope {
	leader, lead, of := p.recent.leader(h.tick, ticks)
	switch {
	case float64(lead) < allowance*float64(of):
		return own
	case leader == h.key:
		return ofSource
	}
	return ofOther
}

func (f *Fleet) repeat(h *hit, p *place, k *placeRules, r *Rule) {
	ticks := window.Ticks(r.Window)
	n, since := p.hits.Add(h.tick, ticks)
	if r.Off || float64(n) < r.Threshold {
		return
	}
	if clients, _ := p.clients.Count(h.tick, ticks, nil); clients < r.MinClients {
		return
	}
	if sources, _ := p.sources.Count(h.tick, ticks, nil); sources < r.MinSources {
		return
	}
	f.add(k.repeat, float64(n), r.Threshold, since)
}

// campaign holds when enough clients are hit from enough sources, more often
// than the port's own rate explains.
func (f *Fleet) campaign(h *hit, p *place, n int, since window.Tick) {
	r := &f.rules.Rule[PortCampaign]
	ticks := window.Ticks(r.Window)
	clients, _ := p.clients.Count(h.tick, ticks, nil)
	sources, _ := p.sources.Count(h.tick, ticks, nil)
	if float64(clients) < r.Threshold || sources < r.MinSources {
		return
	}
	usual, _ := p.rate.Usual()
	usual = max(usual, r.Floor*r.Window.Hours())
	if window.PoissonTail(n, usual) < r.Probability {
		f.add(PortCampaign, float64(clients), r.Threshold, since)
	}
}

// victim holds when many sources hit a client, or when it is hit far more
// often than it was over at least a day.
func (f *Fleet) victim(h *hit, p *place, n int, since window.Tick) {
	r := &f.rules.Rule[Victim]
	sources, first := p.sources.Count(h.tick, window.Ticks(r.Window), nil)
	if float64(sources) >= r.Threshold {
		f.add(Victim, float64(sources), r.Threshold, first)
		return
	}
	usual, windows := p.rate.Usual()
	limit := r.Factor * max(usual, 1)
	if time.Duration(windows)*r.Window >= dayLong && float64(n) > limit {
		f.add(Victim, float64(n), limit, since)
	}
}

// sighting is one hit as a place remembers it.
type sighting struct {
	addr   [16]byte // the full address of the source
	source window.Key
	id     event.ID
	at     window.Tick
	client uint16
	port   uint16
}

// recent is the last 16 hits of a place, oldest overwritten.
type recent struct {
	ring [16]sighting
	next uint8
	n    uint8
}

func (r *recent) add(s sighting) {
	r.ring[r.next] = s
	r.next = (r.next + 1) % uint8(len(r.ring))
	r.n = min(r.n+1, uint8(len(r.ring)))
}

// each calls visit for every hit within ticks of t, oldest first.
func (r *recent) each(t window.Tick, ticks int32, visit func(*sighting)) {
	for i := range r.n {
		s := &r.ring[(r.next+uint8(len(r.ring))-r.n+i)%uint8(len(r.ring))]
		if age := t.Since(s.at); age <= ticks && -age <= ticks {
			visit(s)
		}
	}
}

// leader returns the source with most of the hits in the window, if one has
// more than half, how many it has, and how many there are (Boyer and Moore,
// "MJRTY", 1981, with a second pass that counts).
func (r *recent) leader(t window.Tick, ticks int32) (leader window.Key, lead, of int) {
	votes := 0
	r.each(t, ticks, func(s *sighting) {
		of++
		switch {
		case votes == 0:
			leader, votes = s.source, 1
		case s.source == leader:
			votes++
		default:
			votes--
		}
	})
	r.each(t, ticks, func(s *sighting) {
		if s.source == leader {
			lead++
		}
	})
	return leader, lead, of
}

// mostlyOn reports whether nearly all hits in the window are on one port.
func (r *recent) mostlyOn(port uint16, t window.Tick, ticks int32) bool {
	on, of := 0, 0
	r.each(t, ticks, func(s *sighting) {
		of++
		if s.port == port {
			on++
		}
	})
	return float64(on) >= allowance*float64(of)
}
