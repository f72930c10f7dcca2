package fleet

import (
	"vft/correlate/window"
	"vft/event"
)

// source is what a Fleet keeps of one source address; it holds no pointers.
type source struct {
	last    window.Tick // its newest event
	noticed window.Tick // when the touch rule last held
	untold  uint32      // events since an incident that was more than a notice ended
	proof   proof       // of the untold events
	hits    window.Hits
	contacts
}

// proof is how well events are proven: two clients that agree on a handshake
// are E3.
type proof struct {
	client uint16 // number + 1 of the first with more than packets
	level  event.Evidence
}

func (p *proof) add(client uint16, level event.Evidence) {
	p.level = max(p.level, level)
	switch {
	case level < event.E1:
	case p.client == 0:
		p.client = client + 1
	case p.client != client+1:
		p.level = event.E3
	}
}

// match is a rule that holds for an event.
type match struct {
	rule  RuleID
	value float64
	limit float64
	since window.Tick
	scope scope
}

// scope says whose incident a match belongs to.
type scope uint8

const (
	ofSource scope = iota
	ofPort
	ofClient
	ofOther // of another source, which has most of the events
)

// judgeSource updates the source of h and adds the rules that hold for it.
func (f *Fleet) judgeSource(h *hit) {
	s := h.source
	if h.fresh || h.tick.Since(s.last) > 0 {
		s.last = h.tick
	}
	s.untold++
	s.proof.add(h.client.number, h.Evidence)
	s.contacts.add(contactOf(h), h.tick, f.ticks[SlowScan])
	f.touch(h)
	f.sameSource(h)
	f.hostScan(h)
	f.slowScan(h)
	f.sweep(h)
}

func (f *Fleet) add(id RuleID, value, limit float64, since window.Tick) {
	f.matches = append(f.matches, match{rule: id, value: value, limit: limit, since: since})
}

// touch holds for the first hit of a source in its window, and for the first
// of each window after it.
func (f *Fleet) touch(h *hit) {
	s := h.source
	if !h.fresh && h.tick.Since(s.noticed) <= f.ticks[Touch] {
		return
	}
	s.noticed = h.tick
	if !f.rules.Rule[Touch].Off {
		f.add(Touch, 1, 1, h.tick)
	}
}

func (f *Fleet) sameSource(h *hit) {
	r := &f.rules.Rule[SameSource]
	n, since := h.source.hits.Add(h.tick, f.ticks[SameSource])
	if r.Off || float64(n) < r.Threshold {
		return
	}
	if r.MinClients > 1 {
		if m, _ := h.source.clients(h.tick, f.ticks[SameSource]); m < r.MinClients {
			return
		}
	}
	f.add(SameSource, float64(n), r.Threshold, since)
}

// hostScan holds for distinct traps of one client; where every port is
// watched, for distinct ports of any kind.
func (f *Fleet) hostScan(h *hit) {
	r := &f.rules.Rule[HostScan]
	probe, limit := h.Dataset == event.DatasetProbe, r.Threshold
	if probe {
		limit = float64(r.Probes)
	}
	n, since := h.source.ports(h.client.number, h.tick, f.ticks[HostScan], probe)
	if !r.Off && float64(n) >= limit {
		f.add(HostScan, float64(n), limit, since)
	}
}

// slowScan holds when the first contacts with traps flag a scanner.
func (f *Fleet) slowScan(h *hit) {
	r := &f.rules.Rule[SlowScan]
	n, since := h.source.unspent(h.tick, f.ticks[SlowScan])
	ratio := window.Ratio{Scanner: r.Scanner, Other: r.Other, Flag: r.Threshold}
	if !r.Off && n > 0 && ratio.Flags(n) {
		f.add(SlowScan, ratio.Value(n), r.Threshold, since)
	}
}

func (f *Fleet) sweep(h *hit) {
	r := &f.rules.Rule[Sweep]
	n, since := h.source.clients(h.tick, f.ticks[Sweep])
	if !r.Off && float64(n) >= r.Threshold {
		f.add(Sweep, float64(n), r.Threshold, since)
	}
}

// spend forgets what an incident that ended has told, so that the same events
// raise nothing again. After a mere notice everything still counts: a slow
// scanner is one notice after the other.
func (s *source) spend(i *incident) {
	if i.onlyNotice() {
		return
	}
	s.untold, s.proof, s.hits = 0, proof{}, window.Hits{}
	if i.has(SlowScan) {
		s.spent = 1<<maxContacts - 1
	}
}
