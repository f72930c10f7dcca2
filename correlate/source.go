package correlate

import (
	"time"

	"vft/correlate/window"
	"vft/event"
)

// source is what a Fleet keeps of one source address; it holds no pointers.
type source struct {
	last     window.Tick // its newest event
	noticed  window.Tick // when the touch rule last matched
	untold   uint32      // events since the last incident that was more than a notice
	evidence event.Evidence
	known    bool // noticed means something
	hits     window.Hits
	contacts window.Distinct[contact]
}

// contact is one trap that a source touched.
type contact struct{ client, port uint16 }

// match is a rule that holds for an event.
type match struct {
	rule   RuleID
	value  float64
	limit  float64
	window time.Duration
	since  window.Tick
	scope  scope
}

// judgeSource updates the source of h and adds the rules that hold for it.
func (f *Fleet) judgeSource(h *hit) {
	s := h.source
	if h.fresh || h.tick.Since(s.last) > 0 {
		s.last = h.tick
	}
	s.evidence = max(s.evidence, h.Evidence)
	s.untold++
	f.touch(h)
	f.sameSource(h)
	s.contacts.Add(contact{h.client.number, h.Dst.Port()}, h.tick)
	f.hostScan(h)
	f.slowScan(h)
	f.sweep(h)
}

func (f *Fleet) add(id RuleID, value, limit float64, since window.Tick) {
	f.matches = append(f.matches, match{rule: id, value: value, limit: limit, window: f.rules.Rule[id].Window, since: since})
}

// touch holds for the first hit of a source in its window.
func (f *Fleet) touch(h *hit) {
	r, s := &f.rules.Rule[Touch], h.source
	if s.known && h.tick.Since(s.noticed) <= window.Ticks(r.Window) {
		return
	}
	s.noticed, s.known = h.tick, true
	if !r.Off {
		f.add(Touch, 1, 1, h.tick)
	}
}

func (f *Fleet) sameSource(h *hit) {
	r := &f.rules.Rule[SameSource]
	n, since := h.source.hits.Add(h.tick, window.Ticks(r.Window))
	if r.Off || float64(n) < r.Threshold {
		return
	}
	if r.MinClients > 1 {
		if m, _ := h.source.distinctClients(h.tick, window.Ticks(r.Window)); m < r.MinClients {
			return
		}
	}
	f.add(SameSource, float64(n), r.Threshold, since)
}

// hostScan holds for distinct traps of one client; where every port is
// watched, for distinct closed ports too.
func (f *Fleet) hostScan(h *hit) {
	r := &f.rules.Rule[HostScan]
	n, since := h.source.contacts.Count(h.tick, window.Ticks(r.Window),
		func(c contact) bool { return c.client == h.client.number })
	limit := r.Threshold
	if h.Dataset == event.DatasetProbe {
		limit = min(float64(r.Probes), 8)
	}
	if !r.Off && float64(n) >= limit {
		f.add(HostScan, float64(n), limit, since)
	}
}

func (f *Fleet) slowScan(h *hit) {
	r := &f.rules.Rule[SlowScan]
	n, since := h.source.contacts.Count(h.tick, window.Ticks(r.Window), nil)
	ratio := window.Ratio{Scanner: r.Scanner, Other: r.Other, Flag: r.Threshold}
	if !r.Off && ratio.Flags(n) {
		f.add(SlowScan, ratio.Value(n), r.Threshold, since)
	}
}

func (f *Fleet) sweep(h *hit) {
	r := &f.rules.Rule[Sweep]
	n, since := h.source.distinctClients(h.tick, window.Ticks(r.Window))
	if !r.Off && float64(n) >= r.Threshold {
		f.add(Sweep, float64(n), r.Threshold, since)
	}
}

// distinctClients counts the clients that the source touched in the window.
func (s *source) distinctClients(t window.Tick, ticks int32) (n int, since window.Tick) {
	var seen window.Distinct[uint16]
	s.contacts.Each(func(c contact, at window.Tick) { seen.Add(c.client, at) })
	return seen.Count(t, ticks, nil)
}

// scope says whose incident a match belongs to.
type scope uint8

const (
	ofSource scope = iota
	ofPort
	ofClient
	ofOther // of another source, which has most of the events
)
