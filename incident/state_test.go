package incident

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vft/event"
)

// random makes findings of all kinds.
func random(r *rand.Rand, seconds float64) *event.Finding {
	source := fmt.Sprintf("203.0.%d.%d", r.IntN(3), r.IntN(40))
	if r.IntN(4) == 0 {
		source = fmt.Sprintf("2001:db8:%x:%x::1", r.IntN(2), r.IntN(30))
	}
	f := scan(seconds-float64(r.IntN(20)), source, fmt.Sprintf("192.0.2.%d", r.IntN(5)), uint16(r.IntN(2000)), uint16(r.IntN(2000)))
	f.Client = fmt.Sprintf("client-%d", r.IntN(4))
	f.Type = []string{"vertical_scan", "horizontal_scan", "brute_force", "syn_flood", "statistic", "touch", "same-port", "host_discovery", ""}[r.IntN(9)]
	f.Severity, f.Evidence = 10*r.IntN(10), event.Evidence(r.IntN(4))
	f.Memory = time.Duration(r.IntN(600)) * time.Second
	f.Details = []event.Detail{{Name: "a", Value: r.IntN(3)}, {Name: "hosts", Value: []string{"x", "y"}}}
	switch f.Type {
	case "syn_flood":
		f.Many, f.Offender = true, netip.Addr{}
	case "statistic":
		f.Offender, f.Key, f.Severity = netip.Addr{}, fmt.Sprint(r.IntN(3)), 20
		f.Anomaly = &event.Anomaly{Detector: "spot", Statistic: f.Key, Series: []float64{1, 2.5}}
	case "touch":
		f.Rule, f.Notice = true, true
	case "same-port":
		f.Rule, f.By, f.Party, f.Sources = true, event.ByPort, "22", []netip.Addr{f.Offender}
		f.Offender = netip.Addr{}
	}
	f.Over = r.IntN(30) == 0
	return f
}

func TestSnapshotAnywhere(t *testing.T) {
	const inputs = 20000
	for _, every := range []int{1, 97, 1000} {
		n := inputs
		if every == 1 {
			n = 500
		}
		r1, r2 := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
		set := Settings{Shared: true, Notices: 5, RaisePerHour: 10, MaxOpen: 40}
		a, b := newBench(set), newBench(set)
		for i := range n {
			a.Observe(random(r1, float64(i)))
			b.Observe(random(r2, float64(i)))
			if i%5 == 0 {
				a.Advance(at(float64(i)))
				b.Advance(at(float64(i)))
			}
			if i%every == 0 {
				b.restart(t, i)
			}
		}
		x, _ := json.Marshal(a.events)
		y, _ := json.Marshal(b.events)
		if !bytes.Equal(x, y) {
			t.Fatalf("restored every %d inputs: other events", every)
		}
		a.check(t)
	}
}

// restart puts a restored Room in the place of the one that runs.
func (b *bench) restart(t *testing.T, inputs int) {
	t.Helper()
	snapshot, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if again, _ := b.Snapshot(); !bytes.Equal(snapshot, again) {
		t.Fatalf("after %d inputs a restored Room is not the same", inputs)
	}
}

// check holds what must be true of any run: an incident fires once, then is
// updated, then resolved once; so does each spell of a finding.
func (b *bench) check(t *testing.T) {
	t.Helper()
	last := map[string]event.AlertState{}
	for _, e := range b.events {
		id, state := "", event.AlertState("")
		switch {
		case e.Alert != nil:
			id, state = e.Alert.ID, e.Alert.State
		case e.Threat != nil:
			id, state = e.Threat.Episode, e.Threat.State
		case e.Anomaly != nil:
			id, state = e.Anomaly.Episode, e.Anomaly.State
		}
		was := last[id]
		if state == event.Firing && was != "" && was != event.Resolved || state != event.Firing && (was == "" || was == event.Resolved) {
			t.Fatalf("%s after %q: %+v %+v", state, was, e.Alert, e.Threat)
		}
		if e.Alert != nil && e.Alert.State == event.Firing && was != "" {
			t.Fatalf("%s fires twice", id)
		}
		last[id] = state
	}
}

func TestRestoreRefuses(t *testing.T) {
	good, _ := newBench(Settings{}).Snapshot()
	for _, c := range []struct{ why, text string }{
		{"no JSON", "{"},
		{"another version", `{"version":7}`},
		{"no ids", `{"version":1,"ids":"AAAA"}`},
		{"an incident of nobody", strings.Replace(string(good), `"open":null`, `"open":[null]`, 1)},
	} {
		b := newBench(Settings{})
		b.Observe(scan(0, "203.0.113.66", "192.0.2.10", 1))
		if err := b.Restore([]byte(c.text)); err == nil {
			t.Errorf("%s is read", c.why)
		}
		if len(b.Open()) != 1 {
			t.Errorf("%s: the Room has changed", c.why)
		}
	}
}
