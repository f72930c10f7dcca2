package fleet

import (
	"math"
	"time"

	"vft/correlate/window"
	"vft/event"
)

// place is what a Fleet keeps of one trap port over all clients, or of one
// client over all its ports. It holds no pointers.
type place struct {
	last    window.Tick // its newest event
	hits    window.Hits // in the window of same-port, same-client
	wide    window.Hits // in the window of port-campaign, victim
	rate    window.Rate // of the wide window
	clients window.Distinct[uint16]
	sources window.Distinct[window.Key]
	recent  recent
}

// judgePort counts h at its port and adds the rules that hold there.
func (f *Fleet) judgePort(h *hit, p *place) {
	first := len(f.matches)
	p.see(h)
	f.repeat(SamePort, h, p)
	f.campaign(h, p)
	f.assign(f.matches[first:], h, p, ofPort)
}

// judgeClient counts h at its client and adds the rules that hold there.
func (f *Fleet) judgeClient(h *hit, p *place) {
	first := len(f.matches)
	p.see(h)
	f.repeat(SameClient, h, p)
	f.victim(h, p)
	f.assign(f.matches[first:], h, p, ofClient)
}

func (p *place) see(h *hit) {
	if p.recent.n == 0 || h.tick.Since(p.last) > 0 {
		p.last = h.tick
	}
	p.clients.Add(h.client.number, h.tick)
	p.sources.Add(h.key, h.tick)
	p.recent.add(h.seen)
}

// assign says whose incident the matches of a place belong to: of the source
// that has nearly all events of the window, of the place when no source has.
func (f *Fleet) assign(matches []match, h *hit, p *place, own scope) {
	for i := range matches {
		matches[i].scope = p.whose(h, f.ticks[matches[i].rule], own)
	}
}

func (p *place) whose(h *hit, ticks int32, own scope) scope {
	switch leader, ok := p.recent.leader(h.tick, ticks); {
	case !ok:
		return own
	case leader == h.key:
		return ofSource
	}
	return ofOther
}

func (f *Fleet) repeat(id RuleID, h *hit, p *place) {
	r := &f.rules.Rule[id]
	n, since := p.hits.Add(h.tick, f.ticks[id])
	if !r.Off && float64(n) >= r.Threshold && p.from(h.tick, f.ticks[id], r) {
		f.add(id, float64(n), r.Threshold, since)
	}
}

// from reports whether the place saw as many clients and sources as r asks for.
func (p *place) from(t window.Tick, ticks int32, r *Rule) bool {
	if r.MinClients > 1 {
		if n, _ := p.clients.Count(t, ticks, nil); n < r.MinClients {
			return false
		}
	}
	if r.MinSources > 1 {
		if n, _ := p.sources.Count(t, ticks, nil); n < r.MinSources {
			return false
		}
	}
	return true
}

// campaign holds when enough clients are hit from enough sources, more often
// than the port's own rate explains.
func (f *Fleet) campaign(h *hit, p *place) {
	r, ticks := &f.rules.Rule[PortCampaign], f.ticks[PortCampaign]
	n, since := p.wide.Add(h.tick, ticks)
	p.rate.Add(h.tick, ticks)
	if r.Off || float64(n) < r.Threshold || !p.from(h.tick, ticks, r) {
		return
	}
	clients, _ := p.clients.Count(h.tick, ticks, nil)
	if float64(clients) >= r.Threshold && unusual(n, max(p.rate.Proven(), r.Floor*r.Window.Hours()), r.Probability) {
		f.add(PortCampaign, float64(clients), r.Threshold, since)
	}
}

// unusual reports whether a Poisson count of at least n has less than that
// probability. Two bounds save summing the tail of a flood: of a count up to
// its mean it is about 1/2 or more; and above, it is at most
// exp(n - usual) (usual/n)^n (Chernoff).
func unusual(n int, usual, probability float64) bool {
	k := float64(n)
	switch {
	case k <= usual && probability < 0.1:
		return false
	case k > usual && k-usual+k*math.Log(usual/k) < math.Log(probability):
		return true
	}
	return window.PoissonTail(n, usual) < probability
}

// victim holds when many sources hit a client, or when it is hit far more
// often than it was over at least a day.
func (f *Fleet) victim(h *hit, p *place) {
	r, ticks := &f.rules.Rule[Victim], f.ticks[Victim]
	n, since := p.wide.Add(h.tick, ticks)
	p.rate.Add(h.tick, ticks)
	usual, windows := p.rate.Usual()
	sources, first := p.sources.Count(h.tick, ticks, nil)
	limit := r.Factor * max(usual, 1)
	switch {
	case r.Off:
	case float64(sources) >= r.Threshold:
		f.add(Victim, float64(sources), r.Threshold, first)
	case time.Duration(windows)*r.Window >= dayLong && float64(n) > limit:
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
	level  event.Evidence
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
		if s.within(t, ticks) {
			visit(s)
		}
	}
}

func (s *sighting) within(t window.Tick, ticks int32) bool {
	age := t.Since(s.at)
	return age <= ticks && -age <= ticks
}

// leader returns the source that has nearly all of the hits in the window, if
// one has (Boyer and Moore, "MJRTY", 1981, with a second pass that counts).
func (r *recent) leader(t window.Tick, ticks int32) (leader window.Key, ok bool) {
	votes, of := 0, 0
	for i := range r.ring[:r.n] {
		s := &r.ring[i]
		if !s.within(t, ticks) {
			continue
		}
		of++
		switch {
		case votes == 0:
			leader, votes = s.source, 1
		case s.source == leader:
			votes++
		default:
			votes--
		}
	}
	// Every hit of another takes at most one vote of the leader's and its own.
	if float64(votes) < (2*allowance-1)*float64(of)-1e-9 {
		return leader, false
	}
	lead := 0
	for i := range r.ring[:r.n] {
		if s := &r.ring[i]; s.source == leader && s.within(t, ticks) {
			lead++
		}
	}
	return leader, float64(lead) >= allowance*float64(of)
}

// mostlyOn reports whether nearly all hits in the window are on one port.
func (r *recent) mostlyOn(port uint16, t window.Tick, ticks int32) bool {
	off, of := 0, 0
	for i := range r.ring[:r.n] {
		s := &r.ring[i]
		if !s.within(t, ticks) {
			continue
		}
		of++
		if s.port != port {
			if off++; float64(off) > (1-allowance)*float64(r.n)+1e-9 {
				return false
			}
		}
	}
	return float64(of-off) >= allowance*float64(of)
}
