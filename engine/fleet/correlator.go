// Package fleet is the engine of a fleet: the sessions of its clients lead
// through one transaction to the rules, and what the rules say to the records.
// It knows who is connected, deals trap ports and misses who falls silent.
package fleet

import (
	"math/rand/v2"
	"sync"
	"time"

	rules "vft/correlate/fleet"
	"vft/correlate/known"
	"vft/engine/record"
	"vft/event"
	"vft/incident"
)

// Correlator judges events by the fleet rules, joins what they say with what
// detectors found into incidents, and hands on the records of it, one event at a
// time and in the order of the events. Any goroutine may call it. A standalone uses
// it without a link.
type Correlator struct {
	record func(*event.Event)
	shared bool

	mu      sync.Mutex // guards what follows
	fleet   *rules.Fleet
	matches *matches
	threats *record.Threats
	room    *incident.Room
	ignores *known.Ignores
	known   *known.Lists
	ids     *event.IDs
	pending []event.Event // what came of the event that is being judged
}

// CorrelatorSettings say how a Correlator judges and where its records go.
type CorrelatorSettings struct {
	Rules  rules.Rules
	Seed   [32]byte           // of the ids of alerts and records; from crypto/rand
	Shared bool               // many clients report: each gets its share of the incidents
	Record func(*event.Event) // takes each record, one at a time; it keeps nothing of it
}

// NewCorrelator returns a Correlator that has seen nothing.
func NewCorrelator(s CorrelatorSettings) *Correlator {
	var ofAlerts, ofRecords [32]byte
	random := rand.NewChaCha8(s.Seed)
	_, _ = random.Read(ofAlerts[:]) // never fails
	_, _ = random.Read(ofRecords[:])
	c := &Correlator{
		record: s.Record, shared: s.Shared, ids: event.NewIDs(ofRecords), threats: record.NewThreats(),
		ignores: known.NewIgnores(s.Rules.Ignore), known: s.Rules.Known,
	}
	c.room = incident.New(c.incidents(&s.Rules, ofAlerts), func(e event.Event) { c.pending = append(c.pending, e) })
	c.matches = newMatches(s.Rules, c.room)
	c.fleet = rules.NewFleet(rules.FleetConfig{Rules: unlimited(s.Rules), Seed: ofAlerts}, c.matches.take)
	return c
}

// incidents are the settings of the room of incidents.
func (c *Correlator) incidents(r *rules.Rules, random [32]byte) incident.Settings {
	return incident.Settings{
		Seed: random, IPv6Prefix: r.IPv6Prefix, Shared: c.shared, MaxOpen: r.MaxOpen, Hold: max(r.Hold, 1),
		Notices: r.Rule[rules.Touch].PerHour, RaisePerHour: r.RaisePerHour, Ignored: c.ignored,
	}
}

// ignored reports whether a finding is not wanted, or what a known host does by
// right. Hits of traps were looked at when they came.
func (c *Correlator) ignored(f *event.Finding) bool {
	return !f.Rule && f.Type != "" && (c.ignores.Matches(f) || c.known != nil && c.known.Explains(f))
}

// Observe judges an event and records what the rules say; the event itself too
// when record is set. What a detector found on its client joins the incidents.
func (c *Correlator) Observe(e *event.Event, record bool) {
	c.do(func() {
		if c.found(e) {
			return
		}
		verdict := c.fleet.Observe(e)
		if !record {
			return
		}
		if tag := tagOf(verdict); tag != "" {
			e.Tags = append(e.Tags[:len(e.Tags):len(e.Tags)], tag)
		}
		c.record(e)
	})
}

// found takes an event that is a finding, and reports whether it was one.
func (c *Correlator) found(e *event.Event) bool {
	switch {
	case e.Finding != nil:
		f := *e.Finding
		f.Client = e.Client
		c.room.Observe(&f)
	case e.Threat != nil:
		c.room.Observe(c.threats.Finding(e))
	default:
		return false
	}
	return true
}

// tagOf is how a record says that its event did not count like any other.
func tagOf(v rules.Verdict) string {
	switch v {
	case rules.Late:
		return "late"
	case rules.Ignored:
		return "ignored"
	}
	return ""
}

// do calls the rules and records what comes of it.
func (c *Correlator) do(call func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call()
	for i := range c.pending {
		c.record(&c.pending[i])
	}
	clear(c.pending)
	c.pending = c.pending[:0]
}

// Record takes what the engines of this host saw: a finding joins the incidents, the
// time of a replay moves their clock on, its end ends them; what else there is, is
// handed on. One without an id gets one.
func (c *Correlator) Record(e event.Event) {
	c.do(func() {
		switch {
		case c.found(&e):
			return
		case e.Dataset == "":
			c.room.Advance(e.Time)
			return
		case e.Summary != nil:
			c.end()
			sum := *e.Summary
			sum.Alerts = c.raised()
			e.Summary = &sum
		}
		if e.ID.IsZero() {
			e.ID = c.ids.Next(e.Time)
		}
		c.record(&e)
	})
}

// end ends all incidents, at the end of a replay; c.mu is held.
func (c *Correlator) end() {
	c.room.Close("end of capture")
	for i := range c.pending {
		c.record(&c.pending[i])
	}
	c.pending = c.pending[:0]
}

// raised is how many incidents there were; c.mu is held.
func (c *Correlator) raised() (raised uint64) {
	c.room.Counts(func(name string, n uint64) {
		if name == "incidents_raised" {
			raised = n
		}
	})
	return raised
}

// Alerts returns how many incidents there were so far.
func (c *Correlator) Alerts() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raised()
}

// Advance moves the clock of the rules and incidents on. Call it about once a
// second.
func (c *Correlator) Advance(now time.Time) {
	c.do(func() {
		c.fleet.Advance(now)
		c.room.Advance(now)
	})
}

// SetRules changes the rules; what was counted stays.
func (c *Correlator) SetRules(r rules.Rules) {
	c.do(func() {
		c.ignores.Replace(r.Ignore)
		c.known = r.Known
		c.matches.rules = r
		c.fleet.SetRules(unlimited(r))
		c.room.Configure(c.incidents(&r, [32]byte{}))
	})
}

// Counts yields every counter of the rules and incidents by its name.
func (c *Correlator) Counts(yield func(name string, n uint64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room.Counts(yield)
	c.fleet.Counts(func(name string, n uint64) {
		switch name {
		case "incidents_open", "incidents_raised", "incidents_updated", "incidents_resolved", "incidents_evicted", "notices_absorbed":
		default:
			yield(name, n)
		}
	})
}
