package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vft/event"
)

// base is when the tests begin; nothing depends on it.
var base = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// bench is a Fleet whose alerts are kept.
type bench struct {
	*Fleet
	alerts []event.Event
	ids    *event.IDs
}

func newBench(t interface{ Helper() }, change func(*Rules)) *bench {
	t.Helper()
	rules := DefaultRules()
	if change != nil {
		change(&rules)
	}
	rules.QuietMax = min(rules.QuietMax, time.Hour)
	b := &bench{ids: event.NewIDs([32]byte{7})}
	b.Fleet = NewFleet(FleetConfig{Rules: rules}, func(e event.Event) { b.alerts = append(b.alerts, e) })
	return b
}

// hit is a completed connection from source to a trap of client, seconds after base.
func (b *bench) hit(seconds float64, source, client string, port uint16) Verdict {
	at := base.Add(time.Duration(seconds * float64(time.Second)))
	return b.Observe(&event.Event{
		ID: b.ids.Next(at), Time: at, Dataset: event.DatasetTrap, Client: client, Evidence: event.E1, Transport: "tcp",
		Src: netip.AddrPortFrom(netip.MustParseAddr(source), 40000), Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
	})
}

func (b *bench) advance(seconds float64) {
	b.Advance(base.Add(time.Duration(seconds * float64(time.Second))))
}

// story writes the alerts as lines: state kind key rule severity.
func (b *bench) story() (lines []string) {
	for _, e := range b.alerts {
		a := e.Alert
		lines = append(lines, fmt.Sprintf("%s %s %s %s %d", a.State, a.Kind, a.Key, a.Rule, a.Severity))
	}
	return lines
}

func (b *bench) last() *event.Alert { return b.alerts[len(b.alerts)-1].Alert }

func ruleIDs(a *event.Alert) (ids []string) {
	for _, m := range a.Rules {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestScanOfAFleetIsOneIncident(t *testing.T) {
	b := newBench(t, nil)
	ports := map[string][]uint16{"alpha": {21, 22, 23, 80, 443}, "beta": {25, 110, 445, 1433, 3306}, "gamma": {3389, 5900, 8080, 8443, 8888}}
	at := 0.0
	for _, client := range []string{"alpha", "beta", "gamma"} {
		for _, port := range ports[client] {
			b.hit(at, "10.77.0.9", client, port)
			at += 0.001
		}
	}
	b.advance(11)
	b.advance(3700)
	want := []string{
		"firing source 10.77.0.9 touch 20",
		"updated source 10.77.0.9 slow-scan 70",
		"updated source 10.77.0.9 sweep 80",
		"updated source 10.77.0.9 sweep 80",
		"resolved source 10.77.0.9 sweep 80",
	}
	if got := b.story(); !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	a := b.last()
	if got := ruleIDs(a); !slices.Equal(got, []string{"host-scan", "same-client", "same-source", "slow-scan", "sweep", "touch"}) {
		t.Errorf("rules %v", got)
	}
	if a.Count != 15 || len(a.Clients) != 3 || len(a.Ports) != 15 || a.Evidence != event.E3 || len(a.Events) != 15 {
		t.Errorf("the incident tells of %d events on %d clients and %d ports with %v and %d ids", a.Count, len(a.Clients), len(a.Ports), a.Evidence, len(a.Events))
	}
}

// at is one hit of a table.
type at struct {
	seconds        float64
	source, client string
	port           uint16
}

func TestRulesAtTheirThresholds(t *testing.T) {
	for _, c := range []struct {
		why  string
		hits []at
		rule string
		want bool
		kind event.AlertKind
		key  string
	}{
		{"three sources on one port of three clients within 300 s", []at{{0, "10.0.0.1", "a", 80}, {150, "10.0.0.2", "b", 80}, {300, "10.0.0.3", "c", 80}}, "same-port", true, event.ByPort, "80"},
		{"the same over 301 s", []at{{0, "10.0.0.1", "a", 80}, {150, "10.0.0.2", "b", 80}, {301, "10.0.0.3", "c", 80}}, "same-port", false, "", ""},
		{"two hits on one port", []at{{0, "10.0.0.1", "a", 80}, {1, "10.0.0.2", "b", 80}}, "same-port", false, "", ""},
		{"one source three times on three clients", []at{{0, "10.0.0.1", "a", 80}, {1, "10.0.0.1", "b", 81}, {300, "10.0.0.1", "c", 82}}, "same-source", true, event.BySource, "10.0.0.1"},
		{"one source three times over 301 s", []at{{0, "10.0.0.1", "a", 80}, {1, "10.0.0.1", "a", 80}, {301, "10.0.0.1", "a", 80}}, "same-source", false, "", ""},
		{"three sources on three ports of one client", []at{{0, "10.0.0.1", "a", 80}, {1, "10.0.0.2", "a", 81}, {2, "10.0.0.3", "a", 82}}, "same-client", true, event.ByClient, "a"},
		{"two hits on one client", []at{{0, "10.0.0.1", "a", 80}, {1, "10.0.0.2", "a", 81}}, "same-client", false, "", ""},
		{"three trap ports of one client in 60 s", []at{{0, "10.0.0.1", "a", 80}, {30, "10.0.0.1", "a", 81}, {60, "10.0.0.1", "a", 82}}, "host-scan", true, event.BySource, "10.0.0.1"},
		{"three trap ports of one client in 61 s", []at{{0, "10.0.0.1", "a", 80}, {30, "10.0.0.1", "a", 81}, {61, "10.0.0.1", "a", 82}}, "host-scan", false, "", ""},
		{"one trap port three times is no port scan", []at{{0, "10.0.0.1", "a", 80}, {1, "10.0.0.1", "a", 80}, {2, "10.0.0.1", "a", 80}}, "host-scan", false, "", ""},
		{"two clients within an hour", []at{{0, "10.0.0.1", "a", 80}, {3600, "10.0.0.1", "b", 80}}, "sweep", true, event.BySource, "10.0.0.1"},
		{"two clients in more than an hour", []at{{0, "10.0.0.1", "a", 80}, {3601, "10.0.0.1", "b", 80}}, "sweep", false, "", ""},
		{"two hits an hour apart on two clients are a slow scan", []at{{0, "10.0.0.1", "a", 80}, {3601, "10.0.0.1", "b", 80}}, "slow-scan", true, event.BySource, "10.0.0.1"},
		{"two traps of one client within a day", []at{{0, "10.0.0.1", "a", 80}, {86399, "10.0.0.1", "a", 81}}, "slow-scan", true, event.BySource, "10.0.0.1"},
		{"two traps in more than a day", []at{{0, "10.0.0.1", "a", 80}, {86401, "10.0.0.1", "a", 81}}, "slow-scan", false, "", ""},
		{"one trap again and again is no slow scan", []at{{0, "10.0.0.1", "a", 80}, {4000, "10.0.0.1", "a", 80}, {8000, "10.0.0.1", "a", 80}}, "slow-scan", false, "", ""},
		{"three clients, two sources, one port in 10 minutes", []at{{0, "10.0.0.1", "a", 80}, {301, "10.0.0.2", "b", 80}, {600, "10.0.0.2", "c", 80}}, "port-campaign", true, event.ByPort, "80"},
		{"three clients, one source is a sweep, no campaign", []at{{0, "10.0.0.1", "a", 80}, {301, "10.0.0.1", "b", 80}, {600, "10.0.0.1", "c", 80}}, "port-campaign", false, "", ""},
		{"five sources on one client in an hour", []at{{0, "10.0.0.1", "a", 80}, {800, "10.0.0.2", "a", 81}, {1600, "10.0.0.3", "a", 82}, {2400, "10.0.0.4", "a", 83}, {3600, "10.0.0.5", "a", 84}}, "victim", true, event.ByClient, "a"},
		{"four sources on one client in an hour", []at{{0, "10.0.0.1", "a", 80}, {800, "10.0.0.2", "a", 81}, {1600, "10.0.0.3", "a", 82}, {2400, "10.0.0.4", "a", 83}}, "victim", false, "", ""},
		{"an IPv6 source is its /64", []at{{0, "2001:db8::1", "a", 80}, {1, "2001:db8::2", "b", 80}}, "sweep", true, event.BySource, "2001:db8::/64"},
	} {
		b := newBench(t, nil)
		for _, h := range c.hits {
			b.hit(h.seconds, h.source, h.client, h.port)
		}
		b.advance(c.hits[len(c.hits)-1].seconds + 20)
		found := false
		for _, e := range b.alerts {
			if slices.Contains(ruleIDs(e.Alert), c.rule) {
				found = true
				if e.Alert.Kind != c.kind || e.Alert.Key != c.key {
					t.Errorf("%s: the incident is of %s %s", c.why, e.Alert.Kind, e.Alert.Key)
				}
			}
		}
		if found != c.want {
			t.Errorf("%s: %s matched: %v\n%q", c.why, c.rule, found, b.story())
		}
	}
}

func TestNoStorm(t *testing.T) {
	b := newBench(t, nil)
	for i := range 100 {
		b.hit(float64(i)/10, "10.0.0.1", "a", 80)
	}
	b.advance(10)
	want := []string{"firing source 10.0.0.1 touch 20", "updated source 10.0.0.1 same-source 40"}
	if got := b.story(); len(got) > 3 || !slices.Equal(got[:2], want) {
		t.Errorf("100 hits in 10 s gave %q", got)
	}
	b.advance(30)
	if a := b.last(); a.Count != 100 {
		t.Errorf("the incident counts %d of 100 hits", a.Count)
	}
}

func TestThreeSourcesOnOnePortAbsorbTheirNotices(t *testing.T) {
	b := newBench(t, nil)
	b.hit(0, "10.0.0.1", "a", 8080)
	b.hit(1, "10.0.0.2", "b", 8080)
	b.hit(2, "10.0.0.3", "c", 8080)
	for i := 4; i <= 10; i++ {
		b.hit(float64(i), fmt.Sprintf("10.0.0.%d", i), "a", 8080)
	}
	b.advance(20)
	open := b.Open()
	if len(open) != 1 || open[0].Kind != event.ByPort || open[0].Key != "8080" || open[0].Count != 10 || len(open[0].Sources) != 10 {
		t.Fatalf("open: %+v\n%q", open, b.story())
	}
	joined := 0
	for _, e := range b.alerts {
		if e.Alert.State == event.Resolved {
			joined++
			if e.Alert.Reason != "joined "+open[0].ID {
				t.Errorf("a notice ended: %s", e.Alert.Reason)
			}
		}
	}
	if joined != 3 {
		t.Errorf("%d notices joined; three were raised before the port was\n%q", joined, b.story())
	}
}

func TestTwoAttackersAreTwoIncidents(t *testing.T) {
	b := newBench(t, nil)
	for i := range 15 {
		client := []string{"a", "b", "c"}[i%3]
		b.hit(float64(i), "10.0.0.1", client, uint16(1000+i))
		b.hit(float64(i)+.5, "10.0.0.2", client, uint16(1000+i))
	}
	b.advance(60)
	keys := map[string]bool{}
	for _, a := range b.Open() {
		if a.Kind == event.BySource {
			keys[a.Key] = a.Rule == "sweep"
		}
	}
	if len(keys) != 2 || !keys["10.0.0.1"] || !keys["10.0.0.2"] {
		t.Errorf("open by source: %v\n%q", keys, b.story())
	}
	if n := len(b.Open()); n != 2 {
		t.Errorf("%d incidents are open, not two: %q", n, b.story())
	}
}
