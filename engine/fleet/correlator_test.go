package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	rules "vft/correlate/fleet"
	"vft/event"
)

var base = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// bench is a Correlator whose records are kept.
type bench struct {
	*Correlator
	ids     *event.IDs
	records []event.Event
}

func newBench(change func(*rules.Rules)) *bench {
	b := &bench{ids: event.NewIDs([32]byte{1})}
	r := rules.DefaultRules()
	if change != nil {
		change(&r)
	}
	b.Correlator = NewCorrelator(CorrelatorSettings{Rules: r, Shared: true, Record: func(e *event.Event) { b.records = append(b.records, *e) }})
	return b
}

func at(seconds float64) time.Time { return base.Add(time.Duration(seconds * float64(time.Second))) }

// hit is a completed connection to a trap.
func (b *bench) hit(seconds float64, source, client string, port uint16) {
	b.Observe(&event.Event{
		ID: b.ids.Next(at(seconds)), Time: at(seconds), Dataset: event.DatasetTrap, Client: client, Evidence: event.E1, Transport: "tcp",
		Src: netip.AddrPortFrom(netip.MustParseAddr(source), 40000), Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
	}, false)
}

// threat is what a detection of a client tells of a scan.
func (b *bench) threat(seconds float64, kind, source, client string, state event.AlertState, count int) {
	b.Observe(&event.Event{
		Time: at(seconds), Dataset: event.DatasetThreat, Client: client, Evidence: event.E1, Transport: "tcp",
		Threat: &event.Threat{Type: kind, Offender: source, Sensor: "scan", State: state, Episode: source + kind + client, Severity: 50, Start: at(seconds), End: at(seconds),
			Details: map[string]any{"count": count, "value": count, "threshold": 15, "attacked_hosts": []string{"192.0.2.1"}, "ports": []uint16{1, 2, 3}}},
	}, false)
}

func (b *bench) alerts(state event.AlertState) (all []*event.Alert) {
	for _, e := range b.records {
		if e.Alert != nil && (state == "" || e.Alert.State == state) {
			all = append(all, e.Alert)
		}
	}
	return all
}

func (b *bench) until(seconds int) {
	for s := range seconds {
		b.Advance(at(float64(s)))
	}
}

// told reports whether somebody has an incident of his own.
func told(all []*event.Alert, key string) bool {
	return slices.ContainsFunc(all, func(a *event.Alert) bool { return a.Key == key })
}

func TestTrapsAndDetectionsAreOneIncident(t *testing.T) {
	b := newBench(nil)
	for i, client := range []string{"alpha", "beta", "gamma"} {
		for port := range uint16(5) {
			b.hit(float64(i)+float64(port)/100, "203.0.113.66", client, 1000+port)
		}
		b.threat(float64(i)+0.5, "vertical_scan", "203.0.113.66", client, event.Firing, 15)
		b.threat(float64(i)+0.6, "brute_force", "203.0.113.66", client, event.Firing, 10)
	}
	b.until(20)
	if firing := b.alerts(event.Firing); len(firing) != 1 || firing[0].Key != "203.0.113.66" {
		t.Fatalf("%d incidents", len(firing))
	}
	all := b.alerts("")
	last := all[len(all)-1]
	var types []string
	for _, m := range last.Rules {
		types = append(types, m.ID)
	}
	for _, want := range []string{"sweep", "slow-scan", "vertical_scan", "brute_force"} {
		if !slices.Contains(types, want) {
			t.Errorf("%s is not among %v", want, types)
		}
	}
	if last.Severity != 80 || last.Evidence != event.E3 || len(last.Clients) != 3 {
		t.Errorf("severity %d, %s, clients %v", last.Severity, last.Evidence, last.Clients)
	}
}

func TestSourcesOnOnePortAbsorbTheirTouches(t *testing.T) {
	b := newBench(nil)
	for i := range 3 {
		b.hit(float64(i), fmt.Sprintf("203.0.%d.66", i), []string{"alpha", "beta", "gamma"}[i], 8080)
	}
	b.until(10)
	for _, e := range b.alerts(event.Resolved) {
		if e.Kind != event.BySource {
			t.Errorf("resolved: %+v", e)
		}
	}
	open := b.room.Open()
	if len(open) != 1 || open[0].Kind != event.ByPort || open[0].Key != "8080" || open[0].Count != 3 || len(open[0].Sources) != 3 || len(open[0].Clients) != 3 {
		t.Errorf("%+v", open)
	}
}

func TestOneNetworkSpendsNotTheAlertsOfAll(t *testing.T) {
	b := newBench(nil)
	for i := range 2100 {
		b.hit(float64(i)/21000, fmt.Sprintf("2001:db8:7:%x::%x", i%700, i), "alpha", uint16(1000+i%3))
	}
	for i, client := range []string{"alpha", "beta", "gamma"} {
		b.hit(1+float64(i), "198.51.100.7", client, 22)
	}
	b.until(10)
	firing := b.alerts(event.Firing)
	if n := len(firing); n > 60 || !told(firing, "198.51.100.7") {
		t.Errorf("%d incidents; the sweep of another is named: %v", n, told(firing, "198.51.100.7"))
	}
	if !slices.ContainsFunc(firing, func(a *event.Alert) bool { return a.Rule == "overflow" && a.Key == "2001:db8:7::/48" }) {
		t.Error("the noisy network is not named")
	}
}

func TestLostClients(t *testing.T) {
	b := newBench(nil)
	b.do(func() { b.fleet.Lost("alpha", at(1), "no heartbeat for three intervals") })
	b.until(300)
	firing := b.alerts(event.Firing)
	if len(firing) != 1 || firing[0].Kind != event.BySensor || firing[0].Rule != "sensor-lost" || firing[0].Severity != 70 || len(b.alerts(event.Resolved)) != 0 {
		t.Fatalf("%+v", firing)
	}
	b.do(func() { b.fleet.Returned("alpha", at(301)) })
	if resolved := b.alerts(event.Resolved); len(resolved) != 1 || resolved[0].Reason != "the client is back" {
		t.Errorf("%+v", resolved)
	}
}

func TestIgnoredFindings(t *testing.T) {
	b := newBench(func(r *rules.Rules) { r.Ignore = []rules.Ignore{{Source: netip.MustParsePrefix("203.0.113.66/32")}} })
	b.threat(0, "vertical_scan", "203.0.113.66", "alpha", event.Firing, 20)
	b.threat(0, "vertical_scan", "203.0.113.67", "alpha", event.Firing, 20)
	if firing := b.alerts(event.Firing); len(firing) != 1 || firing[0].Key != "203.0.113.67" {
		t.Errorf("%+v", firing)
	}
	r := rules.DefaultRules()
	r.Ignore = []rules.Ignore{{Source: netip.MustParsePrefix("203.0.113.0/24")}}
	b.SetRules(r)
	if resolved := b.alerts(event.Resolved); len(resolved) != 1 || resolved[0].Reason != "ignored" {
		t.Errorf("what is open and ignored from now on: %+v", resolved)
	}
}

func TestSlowScannerIsOneIncident(t *testing.T) {
	b := newBench(nil)
	for i := range 4 {
		b.hit(float64(i)*6*3600, "198.51.100.9", []string{"alpha", "beta", "gamma", "alpha"}[i], uint16(22+i))
		for s := range 6 * 3600 / 60 {
			b.Advance(at(float64(i)*6*3600 + float64(s)*60))
		}
	}
	if n := len(b.alerts(event.Firing)); n != 1 || len(b.records) > 30 {
		t.Errorf("%d incidents, %d records", n, len(b.records))
	}
}
