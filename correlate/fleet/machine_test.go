package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/event"
)

// life is what was told of one incident so far.
type life struct {
	last     event.AlertState
	rule     string
	severity int
	written  time.Time
	count    uint64
}

// checker holds the alerts of a Fleet to what they promise.
type checker struct {
	lives                     map[string]*life
	raised, updated, resolved uint64
}

func (c *checker) check(e event.Event) error {
	a := e.Alert
	l := c.lives[a.ID]
	switch {
	case e.Dataset != event.DatasetAlert || a == nil || e.ID.IsZero() || e.Message == "":
		return fmt.Errorf("no alert: %+v", e)
	case (l == nil) != (a.State == event.Firing):
		return fmt.Errorf("%s of an incident that was told of: %v", a.State, l != nil)
	case len(a.Rules) == 0 || a.Rules[0].ID != a.Rule:
		return fmt.Errorf("rule %s, rules %v", a.Rule, a.Rules)
	case a.Severity < 0 || a.Severity > 100 || a.Evidence == event.E0 && a.Severity > 40:
		return fmt.Errorf("severity %d with %s", a.Severity, a.Evidence)
	case len(a.Clients) > 100 || len(a.Sources) > 100 || len(a.Ports) > 100 || len(a.Events) > 20 || len(a.Rules) > int(ruleCount):
		return fmt.Errorf("lists without end")
	case a.Count == 0 || a.End.Before(a.Start) || a.Name == "" || a.Key == "" || a.Reason == "":
		return fmt.Errorf("alert %+v", a)
	case e.Evidence != a.Evidence || strings.Contains(e.Message, "%!"):
		return fmt.Errorf("message %q", e.Message)
	}
	for _, m := range a.Rules {
		if m.Since.Before(a.Start) || m.Value < m.Threshold && m.ID != "touch" && a.Kind != event.BySensor {
			return fmt.Errorf("match %+v since %v", m, a.Start)
		}
	}
	if l == nil {
		c.raised++
		c.lives[a.ID] = &life{a.State, a.Rule, a.Severity, e.Time, a.Count}
		return nil
	}
	stronger := a.Rule != l.rule || a.Severity > l.severity
	switch {
	case l.last == event.Resolved:
		return fmt.Errorf("%s after it was resolved", a.State)
	case a.State == event.Updated && !stronger && e.Time.Sub(l.written) < 10*time.Second:
		return fmt.Errorf("updated %v after the last", e.Time.Sub(l.written))
	case a.Count < l.count || a.Severity < l.severity:
		return fmt.Errorf("count %d, severity %d; were %d, %d", a.Count, a.Severity, l.count, l.severity)
	}
	if a.State == event.Updated {
		c.updated++
	} else {
		c.resolved++
	}
	*l = life{a.State, a.Rule, a.Severity, e.Time, a.Count}
	return nil
}

func (c *checker) compare(f *Fleet) error {
	got := map[string]uint64{}
	f.Counts(func(name string, n uint64) { got[name] = n })
	open := c.raised - c.resolved
	for name, want := range map[string]uint64{"incidents_raised": c.raised, "incidents_updated": c.updated, "incidents_resolved": c.resolved} {
		if got[name] != want {
			return fmt.Errorf("%s is %d; %d were", name, got[name], want)
		}
	}
	if n := uint64(len(f.Open())); n != open || got["incidents_open"] < n {
		return fmt.Errorf("%d incidents are open (%d counted); %d were raised and not resolved", n, got["incidents_open"], open)
	}
	return nil
}

// anyEvent draws an event near now: up to an hour late, of any evidence.
func anyEvent(t *rapid.T, now time.Time, ids *event.IDs) event.Event {
	at := now.Add(-time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 30, 31, 3600}).Draw(t, "late")) * time.Second)
	address := rapid.SampledFrom([]string{"10.0.0.%d", "192.0.2.%d", "2001:db8::%d", "2001:db8:%d::1"}).Draw(t, "network")
	e := event.Event{
		ID: ids.Next(at), Time: at, Dataset: event.DatasetTrap, Trap: &event.Trap{Tool: rapid.SampledFrom([]string{"", "nmap"}).Draw(t, "tool")},
		Client:   rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "client"),
		Evidence: event.Evidence(rapid.Uint8Range(0, 2).Draw(t, "evidence")), Transport: "tcp",
		Src: netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(address, rapid.IntRange(1, 12).Draw(t, "host"))), 40000),
		Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), rapid.Uint16Range(1, 12).Draw(t, "port")),
	}
	if rapid.IntRange(0, 3).Draw(t, "probe") == 0 {
		e.Dataset, e.Trap, e.Probe, e.Evidence = event.DatasetProbe, nil, &event.Probe{Scan: "syn"}, event.E0
	}
	return e
}

// Whatever comes in whatever order, each incident is told of once, then updated
// no more often than promised, then resolved, and nothing after; and every
// counter is right.
func TestLifeOfIncidents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &checker{lives: map[string]*life{}}
		rules := DefaultRules()
		rules.QuietMax = time.Hour
		rules.MaxOpen = rapid.SampledFrom([]int{1, 3, 4096}).Draw(t, "max open")
		rules.Keys = rapid.SampledFrom([]int{4, 1024}).Draw(t, "keys")
		rules.RaisePerHour = rapid.SampledFrom([]int{1, 5, 500}).Draw(t, "raise per hour")
		rules.Rule[Touch].PerHour = rapid.SampledFrom([]int{0, 3, 20}).Draw(t, "notices per hour")
		f := NewFleet(FleetConfig{Rules: rules}, func(e event.Event) {
			if err := c.check(e); err != nil {
				t.Fatal(err)
			}
		})
		now, ids := base, event.NewIDs([32]byte{})
		pass := func(t *rapid.T) {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 3, 11, 299, 3600, 90000}).Draw(t, "passed")) * time.Second)
		}
		client := func(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c", "touch"}).Draw(t, "client") }
		observe := func(t *rapid.T) {
			for range rapid.IntRange(1, 30).Draw(t, "events") {
				if rapid.IntRange(0, 9).Draw(t, "pause") == 0 {
					pass(t)
				}
				e := anyEvent(t, now, ids)
				f.Observe(&e)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"observe": observe, "observe more": observe,
			"advance":  func(t *rapid.T) { pass(t); f.Advance(now) },
			"lost":     func(t *rapid.T) { f.Lost(client(t), now, "no heartbeat.") },
			"returned": func(t *rapid.T) { f.Returned(client(t), now) },
			"rules": func(t *rapid.T) {
				changed := rules
				changed.Ignore = []Ignore{{Port: rapid.Uint16Range(1, 12).Draw(t, "port")}}
				changed.Rule[SameSource].Window = time.Duration(rapid.IntRange(1, 1000).Draw(t, "window")) * time.Second
				changed.Keys = rapid.SampledFrom([]int{4, 9, 1024}).Draw(t, "keys")
				f.SetRules(changed)
			},
			"": func(t *rapid.T) {
				if err := c.compare(f); err != nil {
					t.Fatal(err)
				}
			},
		})
		for _, name := range []string{"a", "b", "c", "touch"} {
			f.Returned(name, now)
		}
		f.Advance(now.Add(2 * time.Second))
		f.Advance(now.Add(2*time.Hour + 4*time.Second))
		if open := f.Open(); len(open) > 0 || len(f.held) > 0 {
			t.Fatalf("after two hours of quiet %+v is open, %d held", open, len(f.held))
		}
	})
}

// The same input gives the same alerts, byte for byte.
func TestReplayGivesTheSameAlerts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []event.Event
		now, ids := base, event.NewIDs([32]byte{})
		for range rapid.IntRange(1, 120).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "passed")) * time.Second)
			events = append(events, anyEvent(t, now, ids))
		}
		run := func() []byte {
			var all bytes.Buffer
			f := NewFleet(FleetConfig{Rules: DefaultRules(), Seed: [32]byte{1}}, func(e event.Event) {
				if err := json.NewEncoder(&all).Encode(e); err != nil {
					t.Fatal(err)
				}
			})
			for i := range events {
				f.Observe(&events[i])
				f.Advance(events[i].Time)
			}
			f.Advance(now.Add(3 * time.Hour))
			return all.Bytes()
		}
		if first, second := run(), run(); !bytes.Equal(first, second) {
			t.Fatalf("%s\nthen\n%s", first, second)
		}
	})
}
