// Package fleet is the engine of a fleet: the sessions of its clients lead
// through one transaction to the rules, and what the rules say to the records.
// It knows who is connected, deals trap ports and misses who falls silent.
package fleet

import (
	"math/rand/v2"
	"sync"
	"time"

	rules "vft/correlate/fleet"
	"vft/event"
)

// Correlator judges events by the fleet rules and hands on what comes of it, one
// event at a time and in the order of the events. Any goroutine may call it. A
// standalone uses it without a link.
type Correlator struct {
	record func(*event.Event)

	mu      sync.Mutex // guards what follows
	fleet   *rules.Fleet
	ids     *event.IDs
	pending []event.Event // alerts of the event that is being judged
}

// CorrelatorSettings say how a Correlator judges and where its records go.
type CorrelatorSettings struct {
	Rules  rules.Rules
	Seed   [32]byte           // of the ids of alerts and records; from crypto/rand
	Record func(*event.Event) // takes each record, one at a time; it keeps nothing of it
}

// NewCorrelator returns a Correlator that has seen nothing.
func NewCorrelator(s CorrelatorSettings) *Correlator {
	var ofAlerts, ofRecords [32]byte
	random := rand.NewChaCha8(s.Seed)
	_, _ = random.Read(ofAlerts[:]) // never fails
	_, _ = random.Read(ofRecords[:])
	c := &Correlator{record: s.Record, ids: event.NewIDs(ofRecords)}
	c.fleet = rules.NewFleet(rules.FleetConfig{Rules: s.Rules, Seed: ofAlerts}, func(e event.Event) { c.pending = append(c.pending, e) })
	return c
}

// Observe judges an event and records what the rules say; the event itself too
// when record is set.
func (c *Correlator) Observe(e *event.Event, record bool) {
	c.do(func() {
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

// do calls the rules and records the alerts that come of it.
func (c *Correlator) do(call func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call()
	for i := range c.pending {
		c.record(&c.pending[i])
	}
	c.pending = c.pending[:0]
}

// Record hands on an event that no rule looks at. One without an id gets one.
func (c *Correlator) Record(e event.Event) {
	c.do(func() {
		if e.ID.IsZero() {
			e.ID = c.ids.Next(e.Time)
		}
		c.record(&e)
	})
}

// Advance moves the clock of the rules on. Call it about once a second.
func (c *Correlator) Advance(now time.Time) { c.do(func() { c.fleet.Advance(now) }) }

// SetRules changes the rules; what was counted stays.
func (c *Correlator) SetRules(r rules.Rules) { c.do(func() { c.fleet.SetRules(r) }) }

// Counts yields every counter of the rules by its name.
func (c *Correlator) Counts(yield func(name string, n uint64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fleet.Counts(yield)
}
