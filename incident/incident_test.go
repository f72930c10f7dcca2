package incident

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vft/event"
)

var base = time.Date(2030, 1, 2, 3, 0, 0, 0, time.UTC)

// bench is a Room whose events are kept.
type bench struct {
	*Room
	events []event.Event
}

func newBench(set Settings) *bench {
	b := &bench{}
	b.Room = New(set, func(e event.Event) { b.events = append(b.events, e) })
	return b
}

func at(seconds float64) time.Time { return base.Add(time.Duration(seconds * float64(time.Second))) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// scan is a finding of a port scan by source of a host.
func scan(seconds float64, source, host string, ports ...uint16) *event.Finding {
	return &event.Finding{
		Type: "vertical_scan", Sensor: "scan", Time: at(seconds), Memory: 30 * time.Minute, Offender: addr(source), Victims: []netip.Addr{addr(host)},
		Ports: ports, Client: "web-1", Transport: "tcp", Value: float64(len(ports)), Threshold: 15, Unit: "ports", Window: 5 * time.Minute,
		Count: uint64(max(len(ports), 1)), Severity: 50, Evidence: event.E1, Scan: "syn",
	}
}

func (b *bench) alerts(state event.AlertState) (all []*event.Alert) {
	for _, e := range b.events {
		if e.Alert != nil && (state == "" || e.Alert.State == state) {
			all = append(all, e.Alert)
		}
	}
	return all
}

func (b *bench) run(until float64) {
	for s := 0.0; s <= until; s++ {
		b.Advance(at(s))
	}
}

func TestWhateverIsSeenOfOneAttackerIsOneIncident(t *testing.T) {
	b := newBench(Settings{})
	b.Observe(&event.Finding{Type: "touch", Rule: true, Notice: true, Time: at(0), Memory: 24 * time.Hour, Offender: addr("203.0.113.66"), Client: "web-1", Ports: []uint16{8080}, Count: 1, Severity: 20, Evidence: event.E1})
	b.Observe(scan(1, "203.0.113.66", "192.0.2.10", 1, 2, 3))
	other := scan(2, "203.0.113.66", "192.0.2.20", 4, 5)
	other.Client, other.Type, other.Severity = "db-2", "brute_force", 60
	b.Observe(other)
	if n := len(b.alerts(event.Firing)); n != 1 {
		t.Fatalf("%d incidents", n)
	}
	last := b.alerts("")[len(b.alerts(""))-1]
	if last.Rule != "brute_force" || last.Severity != 60 || len(last.Rules) != 3 || len(last.Clients) != 2 || len(last.Findings) != 2 {
		t.Errorf("%+v", last)
	}
	for _, e := range b.events {
		if e.Threat != nil && e.Threat.Incident != last.ID {
			t.Errorf("a finding does not carry the id of its incident: %+v", e.Threat)
		}
	}
}

func TestTwoAttackersAreTwo(t *testing.T) {
	b := newBench(Settings{})
	for i := range 20 {
		b.Observe(scan(float64(i), "203.0.113.66", "192.0.2.10", uint16(1+7*i), uint16(1000+i)))
		b.Observe(scan(float64(i), "203.0.113.67", "192.0.2.10", uint16(2000-3*i), uint16(3000+i)))
	}
	if n := len(b.alerts(event.Firing)); n != 2 {
		t.Errorf("%d incidents", n)
	}
}

func TestScanOfADay(t *testing.T) {
	b := newBench(Settings{})
	const day = 86400
	for s := range day {
		if s%70 == 0 {
			b.Observe(scan(float64(s), "203.0.113.66", "192.0.2.10", uint16(s/70)))
		}
		b.Advance(at(float64(s)))
	}
	if n := len(b.events); n > 30 {
		t.Errorf("a scan of a day gave %d records", n)
	}
	if n := len(b.alerts(event.Firing)); n != 1 {
		t.Errorf("it fired %d times", n)
	}
	for s := day; s < day+3*3600; s++ {
		b.Advance(at(float64(s)))
	}
	resolved := b.alerts(event.Resolved)
	if len(resolved) != 1 || resolved[0].Reason != "quiet" || resolved[0].Count < day/70 {
		t.Fatalf("%d ended", len(resolved))
	}
	if e := b.events[len(b.events)-1]; e.Time.Before(at(day-70+1800)) || e.Time.After(at(day+1900)) {
		t.Errorf("it ended at %v", e.Time)
	}
}

func TestUpdatesGetSeldom(t *testing.T) {
	b := newBench(Settings{})
	var written []float64
	for s := range 5 * 3600 {
		n := len(b.alerts(""))
		b.Observe(scan(float64(s), "203.0.113.66", "192.0.2.10", uint16(s)))
		b.Advance(at(float64(s)))
		if len(b.alerts("")) > n {
			written = append(written, float64(s))
		}
	}
	if want := []float64{0, 10, 70, 670, 4270, 11470}; !slices.Equal(written, want) {
		t.Errorf("written at %v, want %v", written, want)
	}
}

func TestWorseIsToldAtOnce(t *testing.T) {
	b := newBench(Settings{})
	b.Observe(scan(0, "203.0.113.66", "192.0.2.10", 1))
	worse := scan(1, "203.0.113.66", "192.0.2.10", 22)
	worse.Type, worse.Severity = "brute_force", 90
	b.Observe(worse)
	if updated := b.alerts(event.Updated); len(updated) != 1 || updated[0].Severity != 90 {
		t.Errorf("%+v", updated)
	}
}

func TestPacketsAloneWeighAtMost40(t *testing.T) {
	b := newBench(Settings{})
	f := scan(0, "203.0.113.66", "192.0.2.10", 1)
	f.Evidence, f.Severity = event.E0, 90
	b.Observe(f)
	for _, e := range b.events {
		if e.Alert != nil && e.Alert.Severity != 40 || e.Threat != nil && e.Threat.Severity != 40 {
			t.Errorf("%+v", e)
		}
	}
}

// forge is a scan that nothing but packets show.
func forge(seconds float64, source string, ports int) *event.Finding {
	f := scan(seconds, source, "192.0.2.10", 1, 2, 3)
	f.Evidence, f.Count, f.Value = event.E0, uint64(ports), float64(ports)
	return f
}

// told reports whether somebody has an incident of his own.
func told(all []*event.Alert, key string) bool {
	return slices.ContainsFunc(all, func(a *event.Alert) bool { return a.Key == key && a.Rule != "overflow" })
}

func TestForgedSourcesHideNoScanner(t *testing.T) {
	b := newBench(Settings{})
	for i := range 1100 {
		b.Observe(forge(float64(i)/1000, fmt.Sprintf("198.%d.%d.7", 18+i/250, i%250), 16))
		if i == 900 {
			b.Observe(forge(float64(i)/1000, "203.0.113.66", 90))
		}
	}
	b.run(20)
	firing := b.alerts(event.Firing)
	if n := len(firing); n > 60 || !told(firing, "203.0.113.66") {
		t.Errorf("%d incidents began; the scanner is named: %v", n, told(firing, "203.0.113.66"))
	}
}

func TestOnePrefixSpendsNoMoreThanItsShare(t *testing.T) {
	b := newBench(Settings{})
	for i := range 700 {
		b.Observe(scan(float64(i)/1000, fmt.Sprintf("2001:db8:1:%x::7", i), "192.0.2.10", 1, 2, 3))
	}
	b.Observe(scan(2, "203.0.113.66", "192.0.2.10", 1, 2, 3))
	b.run(5)
	firing := b.alerts(event.Firing)
	if n := len(firing); n != mostShare+2 || !told(firing, "203.0.113.66") {
		t.Errorf("%d incidents began; the quiet attacker is named: %v", n, told(firing, "203.0.113.66"))
	}
	over := slices.IndexFunc(firing, func(a *event.Alert) bool { return a.Rule == "overflow" })
	if over < 0 || firing[over].Key != "2001:db8:1::/48" || len(firing[over].Sources) == 0 {
		t.Errorf("the overflow: %+v", firing)
	}
}

func TestOneClientSpendsNoMoreThanHalf(t *testing.T) {
	b := newBench(Settings{Shared: true, RaisePerHour: 40})
	for i := range 700 {
		f := scan(float64(i)/1000, fmt.Sprintf("198.%d.%d.7", i%100, i%250), "192.0.2.10", 1, 2, 3)
		f.Client = "liar"
		b.Observe(f)
	}
	b.Observe(scan(2, "203.0.113.66", "192.0.2.10", 1, 2, 3))
	if !told(b.alerts(event.Firing), "203.0.113.66") {
		t.Error("the quiet attacker is not named")
	}
}

func TestWhenTooManyAreOpenTheWeakestLeaves(t *testing.T) {
	b := newBench(Settings{MaxOpen: 10, RaisePerHour: 1000})
	for i := range 50 {
		b.Observe(scan(float64(i), fmt.Sprintf("203.0.%d.66", i), "192.0.2.10", 1, 2, 3))
	}
	strong := scan(60, "198.51.100.7", "192.0.2.10", 1)
	strong.Severity = 80
	b.Observe(strong)
	weak := scan(61, "198.51.100.8", "192.0.2.10", 1)
	weak.Severity = 10
	b.Observe(weak)
	if open := b.Open(); len(open) > 11 || !slices.ContainsFunc(open, func(a event.Alert) bool { return a.Severity == 80 }) {
		t.Errorf("%d are open", len(open))
	}
	if n := b.counts.Evicted; n != 41 {
		t.Errorf("%d left", n)
	}
}

func TestStatisticsAreEvidenceOfWhatGoesOn(t *testing.T) {
	unusual := func(seconds float64, name string) *event.Finding {
		return &event.Finding{Type: "statistic", Sensor: "spot", Key: name, Time: at(seconds), Memory: time.Minute, Client: "web-1", Value: 0.7, Threshold: 0.1, Unit: "share",
			Count: 1, Severity: 30, Evidence: event.E1, Anomaly: &event.Anomaly{Detector: "spot", Statistic: name, Value: 0.7, Threshold: 0.1, Side: "up", Window: 10 * time.Second}}
	}
	for _, c := range []struct {
		why   string
		first bool // the statistics come first
		alone bool
		want  int
	}{
		{"several at one time are one", false, true, 1},
		{"after the scan they join it", false, false, 1},
		{"before the scan they end when it begins", true, false, 2},
	} {
		b := newBench(Settings{})
		if c.first {
			b.Observe(unusual(0, "R_SYN"))
		}
		if !c.alone {
			b.Observe(scan(1, "203.0.113.66", "192.0.2.10", 1, 2))
		}
		b.Observe(unusual(10, "R_SYN"))
		b.Observe(unusual(10, "R_RST"))
		firing := b.alerts(event.Firing)
		if len(firing) != c.want {
			t.Errorf("%s: %d incidents", c.why, len(firing))
		}
		if open := b.Open(); len(open) != 1 || c.alone && open[0].Severity >= 40 || !c.alone && open[0].Key != "203.0.113.66" {
			t.Errorf("%s: %+v", c.why, open)
		}
	}
}

func TestDecoys(t *testing.T) {
	b := newBench(Settings{})
	ports := []uint16{80, 443, 22, 8080, 21, 25, 3389, 111, 995, 993}
	for i, source := range []string{"203.0.113.1", "203.0.113.66", "198.51.100.7"} {
		f := scan(float64(i)/100, source, "192.0.2.10", ports...)
		f.Evidence = event.E0
		b.Observe(f)
	}
	if n := len(b.alerts(event.Firing)); n != 1 {
		t.Fatalf("%d incidents", n)
	}
	if open := b.Open(); len(open[0].Sources) != 3 {
		t.Errorf("%+v", open)
	}
}

func TestDecoysOfOneToolFireEarly(t *testing.T) {
	for _, c := range []struct {
		why   string
		apart float64
		want  int
	}{
		{"back to back", 0.0001, 1},
		{"two scanners that happen to begin with the same ports", 0.5, 3},
	} {
		b := newBench(Settings{})
		for i, source := range []string{"203.0.113.1", "203.0.113.66", "198.51.100.7"} {
			f := scan(float64(i)*c.apart, source, "192.0.2.10", 21, 23, 25)
			f.Evidence, f.Tool = event.E0, "nmap"
			b.Observe(f)
		}
		if n := len(b.alerts(event.Firing)); n != c.want {
			t.Errorf("%s: %d incidents", c.why, n)
		}
	}
}

func TestRouterThatLooksForScannedHosts(t *testing.T) {
	b := newBench(Settings{})
	f := scan(0, "203.0.113.66", "192.0.2.10", 445)
	f.Type = "horizontal_scan"
	f.Victims = []netip.Addr{addr("192.0.2.10"), addr("192.0.2.11"), addr("192.0.2.12")}
	b.Observe(f)
	arp := scan(1, "192.0.2.1", "192.0.2.11")
	arp.Type, arp.Scan, arp.Victims = "host_discovery", "arp", []netip.Addr{addr("192.0.2.11"), addr("192.0.2.12"), addr("192.0.2.13")}
	b.Observe(arp)
	if n := len(b.alerts(event.Firing)); n != 1 {
		t.Errorf("%d incidents", n)
	}
}

func TestFlappingSensorIsOneIncident(t *testing.T) {
	b := newBench(Settings{})
	for i := range 1000 {
		b.Observe(&event.Finding{Type: "sensor-lost", Rule: true, By: event.BySensor, Party: "web-1", Client: "web-1", Time: at(float64(i)), Memory: time.Minute, Over: i%2 == 1, Severity: 70, Evidence: event.E1, Count: 1})
	}
	// The first return ends it at once; from the second on it must last.
	if n := len(b.alerts(event.Firing)); n != 2 || len(b.events) > 14 {
		t.Errorf("%d incidents, %d records", n, len(b.events))
	}
}
