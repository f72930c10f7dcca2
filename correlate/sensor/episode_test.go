package sensor

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// wellFormed holds that each episode fires once, first, and is resolved once,
// last, with at most one update in ten seconds between.
func wellFormed(t testing.TB, events []event.Event) {
	t.Helper()
	wrote := map[string]time.Time{}
	for _, e := range events {
		last, live := wrote[e.Threat.Episode]
		switch e.Threat.State {
		case event.Firing:
			if live {
				t.Errorf("%s: fires twice", e.Message)
			}
		case event.Updated:
			if !live || e.Time.Sub(last) < updateEvery {
				t.Errorf("%s: is updated out of turn", e.Message)
			}
		case event.Resolved:
			if !live || e.Time.Before(last) {
				t.Errorf("%s: is resolved out of turn", e.Message)
			}
			delete(wrote, e.Threat.Episode)
			continue
		}
		wrote[e.Threat.Episode] = e.Time
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
	}
	for id := range wrote {
		t.Errorf("episode %s is never resolved", id)
	}
}

func TestWhatAThreatTells(t *testing.T) {
	l := listen(t, parse(t, "sensors:\n  spam:\n    type: spam_mine\n    severity: 77\n    filter: {dst_ports: [25, 465]}\n    window: {period: 60s}\n"+
		"    report_if: count > 2 and distinct(dst) >= 2\n    details: {playbook: PB-7}\n"))
	l.give(
		tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, 0),
		tcp("10.0.0.9", "10.1.0.1", 465, 27, 100, second),
		tcp("10.0.0.9", "10.1.0.2", 25, 27, 100, 2*second),
		tcp("10.0.0.9", "10.1.0.3", 25, 27, 100, 3*second),
	)
	if len(l.events) != 1 {
		t.Fatalf("%d events", len(l.events))
	}
	e := l.events[0]
	want := event.Threat{
		Type: "spam_mine", Observer: "192.0.2.1", Offender: "10.0.0.9", Sensor: "spam", State: event.Firing, Episode: e.Threat.Episode, Severity: 77,
		Start: utc(epoch), End: utc(epoch + 2*second),
		Details: map[string]any{
			"attacked_hosts": []string{"10.1.0.1", "10.1.0.2"}, "hosts": 2, "ports": []uint16{25, 465}, "distinct_ports": 2, "count": uint64(3), "window_s": 60.0,
			"condition": "count > 2 and distinct(dst) >= 2", "value": 3, "threshold": 2, "values": map[string]any{"count": 3, "distinct(dst)": 2}, "playbook": "PB-7",
		},
	}
	if !reflect.DeepEqual(*e.Threat, want) {
		t.Errorf("%+v\nwant %+v", *e.Threat, want)
	}
	if e.Time != utc(epoch+2*second) || e.Src.Addr().String() != "10.0.0.9" || e.Dst.IsValid() || e.Transport != "tcp" || e.Dataset != event.DatasetThreat || e.ID.IsZero() {
		t.Errorf("%+v", e)
	}
	if e.Message != "spam_mine by 10.0.0.9 against 2 hosts: 3 flows, sensor spam" {
		t.Error(e.Message)
	}
	l.Close()
	wellFormed(t, l.events)
}

func TestOneHostAndPortIsTheDestination(t *testing.T) {
	l := listen(t, parse(t, ""), func(c *Config) { c.Observer = "eth0" })
	l.give(as(flow.Captured, tcp("2001:db8::9", "2001:db8:1::1", 445, 2, 60, 0)))
	e := l.events[0]
	if e.Dst.String() != "[2001:db8:1::1]:445" || e.Src.Addr().String() != "2001:db8::9" || e.Threat.Observer != "eth0" {
		t.Errorf("%+v %+v", e, e.Threat)
	}
}

// The hosts of a window can be named when the sensor fires, those of IPv6 too.
func TestAttackedHostsOfTheWindow(t *testing.T) {
	for _, dst := range []string{"10.1.0.%d", "2001:db8:1::%d"} {
		l := listen(t, parse(t, ""))
		for i := range 101 {
			l.give(tcp("10.0.0.9", fmt.Sprintf(dst, i+1), uint16(i), 2, 60, int64(i)))
		}
		d := l.events[0].Threat.Details
		hosts, ports := d["attacked_hosts"].([]string), d["ports"].([]uint16)
		if len(hosts) != maxListed || hosts[0] != fmt.Sprintf(dst, 1) || hosts[63] != fmt.Sprintf(dst, 64) || d["hosts"] != 101 || len(ports) != maxListed || d["distinct_ports"] != 101 || d["count"] != uint64(101) {
			t.Errorf("%v", d)
		}
	}
}

// An attack that goes on is one episode in each cool-down, updated every ten
// seconds.
func TestAnAttackThatGoesOn(t *testing.T) {
	l := listen(t, parse(t, ""))
	for i := range 1300 {
		at := int64(i) * second
		l.give(tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, at))
		l.Advance(epoch + at)
	}
	l.Close()
	wellFormed(t, l.events)
	states := map[event.AlertState]int{}
	for _, e := range l.events {
		states[e.Threat.State]++
	}
	// 0 to 599 s, 600 to 1199 s, 1200 to 1299 s
	if want := map[event.AlertState]int{event.Firing: 3, event.Updated: 59 + 59 + 9, event.Resolved: 3}; !reflect.DeepEqual(states, want) {
		t.Errorf("%v, want %v", states, want)
	}
	if c := l.events[60].Threat; c.State != event.Resolved || c.Details["count"] != uint64(600) || l.events[60].Time != utc(epoch+600*second) {
		t.Errorf("%v at %s", c, l.events[60].Time)
	}
}

func TestQuietEndsAnEpisode(t *testing.T) {
	l := listen(t, parse(t, ""))
	const delay = 100 * second // of the exporter
	l.Advance(epoch + delay)
	l.give(tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, 0))
	l.Advance(epoch + delay + 599*second)
	if len(l.events) != 1 {
		t.Fatalf("%d events within the cool-down", len(l.events))
	}
	l.Advance(epoch + delay + 600*second)
	if len(l.events) != 2 || l.events[1].Threat.State != event.Resolved || l.events[1].Time != utc(epoch+600*second) {
		t.Fatalf("%v", l.events)
	}
	// A flow of the cool-down that comes when it is over does not fire again.
	l.give(tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, 599*second))
	if len(l.events) != 2 {
		t.Fatalf("%v", l.events[2])
	}
	l.Advance(epoch + delay + 1300*second)
	if len(l.episodes.live) != 0 || len(l.episodes.order) != 0 {
		t.Error("an episode that is long over is kept")
	}
	l.Close()
	wellFormed(t, l.events)
}

// Exporters whose clocks are years apart each have their own windows, and a
// record with a wild time spoils one key for a moment.
func TestWrongClocks(t *testing.T) {
	const year = 365 * 24 * 3600 * second
	l := listen(t, parse(t, ""))
	other := func(r flow.Record, exporter string) flow.Record {
		r.Export.Exporter = addr(exporter)
		return r
	}
	for i := range 21 {
		at := int64(i) * second
		l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, at), other(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, at+10*year), "192.0.2.2"), other(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, at-10*year), "192.0.2.3"))
	}
	if n := len(l.fired()); n != 3 {
		t.Errorf("%d of 3 exporters have a threat", n)
	}

	l = listen(t, parse(t, ""))
	l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, 20*year))
	for i := range 21 + lateInARow - 1 {
		l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, int64(i)*second))
	}
	if len(l.fired()) != 1 || l.count("sensor_flows_late") != lateInARow {
		t.Errorf("%d threats, %d late", len(l.fired()), l.count("sensor_flows_late"))
	}
}

// Flows come when an exporter gets to it. Half a minute late is no harm.
func TestLateFlows(t *testing.T) {
	for _, c := range []struct {
		why  string
		late int64
		want int
	}{
		{"30 s late counts", 30 * second, 1},
		{"59.999 s late counts", 60*second - 1e6, 1},
		{"a minute late is before the window", 60 * second, 0},
	} {
		l := listen(t, parse(t, ""))
		for range 20 {
			l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, 100*second))
		}
		l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, 100*second-c.late))
		if n := len(l.fired()); n != c.want || l.count("sensor_flows_late") != uint64(1-c.want) {
			t.Errorf("%s: %d threats, %d late", c.why, n, l.count("sensor_flows_late"))
		}
	}
}

// Whoever forges sources gets no more records than there is room for.
func TestForgedSourcesAreFolded(t *testing.T) {
	l := listen(t, parse(t, ""))
	const sources = 5000
	for i := range sources {
		r := tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, int64(i)*1e6)
		r.Src = stranger(i)
		l.give(r)
	}
	fired := l.fired()
	if last := fired[len(fired)-1].Threat; len(fired) != maxEpisodes+1 || last.Offender != "" || last.Details["folded"] != true {
		t.Errorf("%d threats, the last %+v", len(fired), last)
	}
	if got := l.count("sensor_threats_folded"); got != sources-maxEpisodes {
		t.Errorf("%d folded", got)
	}
	// When the first are over, there is room again.
	l.Advance(epoch + 700*second)
	r := tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, 700*second)
	l.give(r)
	if again := l.fired(); again[len(again)-1].Threat.Offender != "10.0.0.9" {
		t.Errorf("%+v", again[len(again)-1].Threat)
	}
	l.Close()
	wellFormed(t, l.events)
}

// Whoever sets clocks gets no more records than whoever forges sources, and what
// stands for the rest is one threat, whatever the times of its flows.
func TestForgedClocksAreFolded(t *testing.T) {
	for why, at := range map[string]func(i int) int64{
		"on and on":       func(i int) int64 { return int64(i) * 601 * second },
		"to and fro":      func(i int) int64 { return int64(i%2) * 40 * 365 * 24 * 3600 * second },
		"anywhere":        func(i int) int64 { return int64(uint32(i)*2654435761) * second },
		"slowly backward": func(i int) int64 { return -int64(i) * 3601 * second },
	} {
		l := listen(t, parse(t, "sensors:\n  portscan: off\n"))
		const flows = 20_000
		for i := range flows {
			if l.Advance(epoch + int64(i)*1e6); i == 0 {
				l.Advance(epoch - epoch%(60*second))
			}
			l.give(tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, at(i)))
		}
		l.Close()
		fired := l.fired()
		if last := fired[len(fired)-1].Threat; len(fired) != maxEpisodes+1 || last.Offender != "" || last.Details["folded"] != true {
			t.Errorf("%s: %d threats, the last %+v", why, len(fired), last)
		}
		if folded := l.count("sensor_threats_folded"); folded != flows-maxEpisodes || len(l.events) > 3*maxEpisodes {
			t.Errorf("%s: %d folded, %d records", why, folded, len(l.events))
		}
		wellFormed(t, l.events)
	}
}

// The same flows give the same records, ids included.
func TestRecordsRepeat(t *testing.T) {
	run := func() []event.Event {
		l := listen(t, parse(t, ""))
		for i := range 3000 {
			r := tcp("10.0.0.9", "10.1.0.1", uint16(i), 2, 60, int64(i)*second/100)
			r.Src = packet.Addr4(uint32(i % 7))
			l.give(r)
			l.Advance(r.Last)
		}
		l.Close()
		return l.events
	}
	if a, b := run(), run(); len(a) == 0 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d records differ", len(a), len(b))
	}
}
