package ecs

import (
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vft/event"
)

var (
	at       = time.Date(2026, 11, 20, 8, 15, 30, 123456789, time.UTC)
	observer = Observer{Hostname: "sensor1", Version: "1.0.0", Created: at.Add(2 * time.Millisecond)}
)

func id(n byte) event.ID {
	return event.ID{0x01, 0x9a, 0x90, 0x5a, 0x62, 0x3b, 0x7c, 0x10, 0x8d, 0xef, 0, 0, 0, 0, 0, n}
}

func trapEvent() event.Event {
	return event.Event{
		ID: id(1), Time: at, Dataset: event.DatasetTrap, Client: "3f0c", Host: "web1",
		Src: netip.MustParseAddrPort("192.0.2.7:51234"), Dst: netip.MustParseAddrPort("198.51.100.10:2222"),
		Transport: "tcp", Evidence: event.E2,
		Trap: &event.Trap{
			Payload: []byte("SSH-2.0-Go\r\n"), Held: 3100 * time.Millisecond, Tool: "nmap",
			SSH: &event.SSH{Banner: "SSH-2.0-Go"},
			SYN: &event.SYN{TTL: 58, IPID: 4711, DF: true, Window: 64240, MSS: 1460, Scale: 7, Options: "2-4-8-1-3", JA4T: "64240_2-4-8-1-3_1460_7", Class: "linux"},
		},
	}
}

func probeEvent() event.Event {
	return event.Event{
		ID: id(2), Time: at, Dataset: event.DatasetProbe, Client: "3f0c", Host: "web1",
		Src: netip.MustParseAddrPort("[2001:db8::7]:40000"), Dst: netip.MustParseAddrPort("[2001:db8::10]:3389"),
		Transport: "tcp", Probe: &event.Probe{Scan: "syn", Tool: "masscan", SYN: &event.SYN{TTL: 241, Window: 1024}},
	}
}

func alertEvent() event.Event {
	return event.Event{
		ID: id(3), Time: at, Dataset: event.DatasetAlert, Evidence: event.E3,
		Alert: &event.Alert{
			ID: "5b0e8c1d", State: event.Firing, Kind: event.BySource, Key: "192.0.2.7", Rule: "sweep", Name: "Sweep",
			Description: "One source touched traps on two or more clients.", Severity: 80, Start: at.Add(-90 * time.Second), End: at,
			Rules: []event.Match{
				{ID: "sweep", Value: 3, Threshold: 2, Window: time.Hour, Since: at.Add(-30 * time.Second)},
				{ID: "slow-scan", Value: 625, Threshold: 99, Since: at.Add(-60 * time.Second)},
			},
			Count: 4, Clients: []string{"3f0c", "77aa", "9d21"}, Sources: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
			Ports: []uint16{22, 2222, 8080}, Evidence: event.E3, Reason: "raised", Events: []event.ID{id(1), id(2)}, Technique: "T1046",
		},
	}
}

func clientEvent() event.Event {
	return event.Event{
		ID: id(4), Time: at, Dataset: event.DatasetClient, Client: "3f0c", Host: "web1",
		Member: &event.Member{ID: "3f0c", State: event.Dropping, Version: "1.0.0", Traps: []uint16{22, 2222}, Dropped: 12, Spooled: 65536, Lag: 250 * time.Millisecond},
	}
}

func samples() []event.Event {
	return []event.Event{trapEvent(), probeEvent(), alertEvent(), clientEvent(),
		statEvent(), anomalyEvent(), threatEvent(), flowEvent(), summaryEvent()}
}

// parse returns what a reader of the record sees.
func parse(t testing.TB, line []byte) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("not JSON: %v\n%q", err, line)
	}
	return got
}

// at returns the value under a dotted path.
func value(record map[string]any, path string) any {
	var v any = record
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func TestAppendExtends(t *testing.T) {
	e := trapEvent()
	got := Append([]byte("before"), &e, observer)
	if !strings.HasPrefix(string(got), `before{"@timestamp"`) {
		t.Errorf("what dst held is lost: %.40q", got)
	}
	if strings.Contains(string(got), "\n") {
		t.Errorf("a record has a line end")
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	room := make([]byte, 0, 8192)
	for _, e := range samples() {
		if n := testing.AllocsPerRun(100, func() { room = Append(room[:0], &e, observer) }); n != 0 {
			t.Errorf("%s: %v allocations", e.Dataset, n)
		}
	}
}

func TestValues(t *testing.T) {
	bare := func(change func(*event.Event)) event.Event {
		e := event.Event{Time: at, Dataset: event.DatasetTrap}
		change(&e)
		return e
	}
	alert := func(change func(*event.Alert)) event.Event {
		e := alertEvent()
		a := *e.Alert
		change(&a)
		e.Alert = &a
		return e
	}
	for _, c := range []struct {
		why, path string
		event     event.Event
		want      any
	}{
		{"six digits, UTC", "@timestamp", trapEvent(), "2026-11-20T08:15:30.123456Z"},
		{"another zone is turned into UTC", "@timestamp", bare(func(e *event.Event) { e.Time = at.In(time.FixedZone("", 3600)) }), "2026-11-20T08:15:30.123456Z"},
		{"a year of five digits is held", "@timestamp", bare(func(e *event.Event) { e.Time = time.Unix(1<<40, 0) }), "9999-12-31T23:59:59.999999Z"},
		{"a year before zero is held", "@timestamp", bare(func(e *event.Event) { e.Time = time.Unix(-1<<40, 0) }), "0000-01-01T00:00:00.000000Z"},
		{"when the record was written", "event.created", trapEvent(), "2026-11-20T08:15:30.125456Z"},
		{"the client is the agent", "agent.id", trapEvent(), "3f0c"},
		{"without a client the host is the agent", "agent.id", bare(func(*event.Event) {}), "sensor1"},
		{"without a host the observer's is used", "host.name", bare(func(*event.Event) {}), "sensor1"},
		{"payload in base64", "vft.trap.payload", trapEvent(), "U1NILTIuMC1Hbw0K"},
		{"no payload, no key", "vft.trap.payload", bare(func(*event.Event) {}), nil},
		{"milliseconds, whole", "vft.trap.held_ms", trapEvent(), 3100.0},
		{"a port of TCP", "source.port", trapEvent(), 51234.0},
		{"port 0 can be probed", "destination.port", bare(func(e *event.Event) { e.Transport, e.Dst = "tcp", netip.MustParseAddrPort("192.0.2.1:0") }), 0.0},
		{"a type of ICMP is no port", "source.port", bare(func(e *event.Event) { e.Transport, e.Src = "icmp", netip.MustParseAddrPort("192.0.2.1:8") }), nil},
		{"a zone is no part of an address", "source.ip", bare(func(e *event.Event) { e.Src = netip.MustParseAddrPort("[fe80::1%eth0]:9") }), "fe80::1"},
		{"4-in-6 is IPv4", "source.ip", bare(func(e *event.Event) { e.Src = netip.MustParseAddrPort("[::ffff:192.0.2.1]:9") }), "192.0.2.1"},
		{"4-in-6 is IPv4", "network.type", bare(func(e *event.Event) {
			e.Transport, e.Src = "tcp", netip.MustParseAddrPort("[::ffff:192.0.2.1]:9")
		}), "ipv4"},
		{"ECS's name of ICMPv6", "network.transport", bare(func(e *event.Event) { e.Transport, e.Src = "ipv6-icmp", netip.MustParseAddrPort("[2001:db8::1]:128") }), "ipv6-icmp"},
		{"a message that was given", "message", bare(func(e *event.Event) { e.Message = "Hello." }), "Hello."},
		{"a message of a trap", "message", trapEvent(), "192.0.2.7 connected to trap port 2222 on web1 (nmap)"},
		{"a message of a probe", "message", probeEvent(), "2001:db8::7 probed port 3389 of 2001:db8::10 with a syn scan (masscan)"},
		{"a message of an alert", "message", alertEvent(), "Sweep by source 192.0.2.7: firing, severity 80, 4 events on 3 clients"},
		{"a message of a client", "message", clientEvent(), "client 3f0c dropped 12 events since it started"},
		{"a message without fields", "message", bare(func(*event.Event) {}), "an unknown address connected to trap port 0"},
		{"the state is the action", "event.action", alertEvent(), "incident_firing"},
		{"an alert without a technique has no threat", "threat", alert(func(a *event.Alert) { a.Technique = "" }), nil},
		{"no number is null", "vft.alert.rules", alert(func(a *event.Alert) { a.Rules = []event.Match{{ID: "x", Value: math.Inf(1), Threshold: math.NaN()}} }),
			`[{"id":"x","since":"0001-01-01T00:00:00.000000Z","threshold":null,"value":null,"window":0}]`},
		{"windows in seconds", "vft.alert.rules", alert(func(a *event.Alert) {
			a.Rules = []event.Match{{ID: "x", Window: 90 * time.Minute, Value: 1e6, Since: at}}
		}),
			`[{"id":"x","since":"2026-11-20T08:15:30.123456Z","threshold":0,"value":1000000,"window":5400}]`},
		{"lag in seconds", "vft.client.lag", clientEvent(), 0.25},
		{"addresses once each", "related.ip", alertEvent(), `["192.0.2.7"]`},
		{"both ends", "related.ip", trapEvent(), `["192.0.2.7","198.51.100.10"]`},
		{"no address, no entry", "related.ip", bare(func(*event.Event) {}), `[]`},
		{"an empty denominator", "vft.stat.value", event.Event{Time: at, Dataset: event.DatasetStat, Stat: &event.Stat{}}, nil},
		{"while learning", "vft.stat.state", event.Event{Time: at, Dataset: event.DatasetStat, Stat: &event.Stat{}}, "learning"},
		{"a statistic is a metric", "event.kind", statEvent(), "metric"},
		{"a threshold", "vft.stat.threshold_up", statEvent(), 0.75},
		{"a side that is not watched", "vft.stat.threshold_down", statEvent(), nil},
		{"a window in seconds", "vft.anomaly.window", anomalyEvent(), 5.0},
		{"bytes of the interval", "network.bytes", anomalyEvent(), 5242880.0},
		{"methods by name", "vft.anomaly.methods", anomalyEvent(), `{"diff":0.98,"fence":1,"highrank":0.86}`},
		{"no statistic, no key", "vft.anomaly.statistic", anomalyEvent(), nil},
		{"who holds the connection", "process.pid", anomalyEvent(), 4711.0},
		{"as whom", "user.name", anomalyEvent(), "ann"},
		{"where", "container.id", anomalyEvent(), "0f1e2d3c"},
		{"the exporter is an address too", "related.ip", threatEvent(), `["192.0.2.7","203.0.113.1"]`},
		{"an obvious technique", "threat.technique.id", threatEvent(), `["T1046"]`},
		{"no obvious technique", "threat", event.Event{Time: at, Dataset: event.DatasetThreat, Threat: &event.Threat{Type: "transfer"}}, nil},
		{"without an observer it is the host", "vft.threat.observer", event.Event{Time: at, Dataset: event.DatasetThreat, Threat: &event.Threat{}}, "sensor1"},
		{"details are always there", "vft.threat.details", event.Event{Time: at, Dataset: event.DatasetThreat, Threat: &event.Threat{}}, `{}`},
		{"nanoseconds", "event.duration", flowEvent(), 1.25e9},
		{"never less than nothing", "event.duration", event.Event{Time: at, Dataset: event.DatasetFlow, Flow: &event.Flow{Start: at}}, 0.0},
		{"both directions, corrected", "network.packets", flowEvent(), 1200.0},
		{"as exported", "vft.flow.sampled_packets", flowEvent(), 12.0},
		{"sent by the source", "source.bytes", flowEvent(), 80000.0},
		{"what was captured is not sampled", "vft.flow.sampling", event.Event{Time: at, Dataset: event.DatasetFlow, Flow: &event.Flow{Packets: 7}}, 1.0},
		{"and is its own sample", "vft.flow.sampled_packets", event.Event{Time: at, Dataset: event.DatasetFlow, Flow: &event.Flow{Packets: 7}}, 7.0},
		{"no flags without TCP", "vft.flow.tcp_flags", event.Event{Time: at, Dataset: event.DatasetFlow, Transport: "udp", Flow: &event.Flow{}}, nil},
		{"no flag is a finding in TCP", "vft.flow.tcp_flags", event.Event{Time: at, Dataset: event.DatasetFlow, Transport: "tcp", Flow: &event.Flow{}}, 0.0},
		{"an empty capture begins never", "vft.summary.first", event.Event{Time: at, Dataset: event.DatasetSummary, Summary: &event.Summary{}}, nil},
		{"counters are always there", "vft.summary.counters", event.Event{Time: at, Dataset: event.DatasetSummary, Summary: &event.Summary{}}, `{}`},
		{"tags are always there", "tags", bare(func(*event.Event) {}), `[]`},
	} {
		got := value(parse(t, Append(nil, &c.event, observer)), c.path)
		switch got.(type) {
		case []any, map[string]any:
			text, _ := json.Marshal(got)
			got = string(text)
		}
		if got != c.want {
			t.Errorf("%s: %s is %v, want %v", c.why, c.path, got, c.want)
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"plain", "abc", "abc"},
		{"quotes and backslashes", `a"b\c`, `a\"b\\c`},
		{"line ends cannot end the record", "a\r\n\tb", `a\r\n\tb`},
		{"NUL and escape", "\x00\x1b[2J", `\u0000\u001b[2J`},
		{"DEL", "\x7f", `\u007f`},
		{"C1 control: CSI in one character", "\u009b2J", `\u009b2J`},
		{"line separators of JavaScript", "\u2028\u2029", `\u2028\u2029`},
		{"direction override hides text", "\u202egpj.exe", `\u202egpj.exe`},
		{"letters of all scripts stay", "ö漢🔥", "ö漢🔥"},
		{"a tag character beyond 16 bits", "\U000e0041", `\udb40\udc41`},
		{"bytes that are no UTF-8", "a\xff\xfeb", `a\ufffd\ufffdb`},
		{"a lone surrogate", "\xed\xa0\x80", `\ufffd\ufffd\ufffd`},
		{"cut in the middle of a character", "\xe6\xbc", `\ufffd\ufffd`},
		{"an overlong quote", "\xc0\xa2", `\ufffd\ufffd`},
		{"the replacement character itself prints", "\ufffd", "\ufffd"},
	} {
		if got := string(record(nil).text(c.in)); got != c.want {
			t.Errorf("%s: %q gave %s, want %s", c.why, c.in, got, c.want)
		}
	}
}

func TestAlertAddressesAreUnique(t *testing.T) {
	e := alertEvent()
	e.Src = netip.AddrPortFrom(e.Alert.Sources[0], 0)
	e.Dst = netip.MustParseAddrPort("198.51.100.1:22")
	text, _ := json.Marshal(value(parse(t, Append(nil, &e, observer)), "related.ip"))
	if want := `["192.0.2.7","198.51.100.1"]`; string(text) != want {
		t.Errorf("related.ip is %s, want %s", text, want)
	}
}

func TestMissingDetail(t *testing.T) {
	for _, e := range samples() {
		e.Trap, e.Probe, e.Alert, e.Member = nil, nil, nil, nil
		e.Stat, e.Anomaly, e.Threat, e.Flow, e.Summary, e.Process = nil, nil, nil, nil, nil, nil
		parse(t, Append(nil, &e, Observer{}))
	}
}

// hostile sets every string that a stranger can choose to s.
func hostile(dataset, s string, raw []byte, number float64, seconds int64) event.Event {
	when := time.Unix(seconds, 0)
	src, _ := netip.ParseAddr(s)
	return event.Event{
		Time: when, Dataset: event.Dataset(dataset), Client: s, Host: s, Transport: s, Tags: []string{s, ""}, Message: s,
		Src: netip.AddrPortFrom(src, uint16(seconds)), Dst: netip.AddrPortFrom(src, 1), Evidence: event.Evidence(seconds),
		Trap: &event.Trap{Payload: raw, Tool: s, Held: time.Duration(seconds), TLS: &event.TLS{SNI: s, ALPN: []string{s}, Version: s, JA4: s},
			SSH: &event.SSH{Banner: s, HASSH: s}, SYN: &event.SYN{Options: s, JA4T: s, Class: s}},
		Probe:  &event.Probe{Scan: s, Tool: s},
		Member: &event.Member{ID: s, State: event.MemberState(s), Version: s, Lag: time.Duration(seconds)},
		Alert: &event.Alert{ID: s, State: event.AlertState(s), Kind: event.AlertKind(s), Key: s, Rule: s, Name: s, Description: s, Severity: int(seconds),
			Rules: []event.Match{{ID: s, Value: number, Threshold: -number, Window: time.Duration(seconds), Since: when}}, Clients: []string{s},
			Sources: []netip.Addr{src, src}, Reason: s, Technique: s, Start: when, End: when},
		Stat: &event.Stat{Name: s, Value: &number, Up: &number, Start: when, End: when, Ready: number > 0},
		Anomaly: &event.Anomaly{Detector: s, Statistic: s, State: event.AlertState(s), Value: number, Threshold: number, Probability: -number, Side: s,
			Window: time.Duration(seconds), Episode: s, Start: when, End: when, Methods: map[string]float64{s: number, "": number}, Series: []float64{number}, Reason: s},
		Threat: &event.Threat{Type: s, Observer: s, Offender: s, Sensor: s, State: event.AlertState(s), Episode: s, Severity: int(seconds), Start: when, End: when,
			Details: map[string]any{s: s, "list": []any{s, number, nil, raw}, "map": map[string]any{s: []string{s}, "a": map[string]string{s: s}}, "count": seconds}},
		Flow:    &event.Flow{Start: when, End: when.Add(time.Duration(seconds)), Ended: s, Exporter: s, Version: s, TCPFlags: uint8(seconds), Sampling: uint32(seconds)},
		Summary: &event.Summary{First: when, Last: when, Seconds: number, Counters: map[string]uint64{s: uint64(seconds), "ipv4": 1}},
		Process: &event.Process{PID: int(seconds), Name: s, CommandLine: s, User: s, Container: s},
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("vft.trap", "a\"b\\\xff\x00\u202e", []byte{0, 255}, 1.5, int64(1_700_000_000))
	f.Add("vft.alert", "\xed\xa0\x80", []byte{}, math.Inf(-1), int64(-1<<50))
	f.Add("vft.client", "fe80::1%\"", []byte(nil), math.NaN(), int64(1<<50))
	f.Add("vft.probe", "2001:db8::1", []byte(nil), 1e300, int64(0))
	f.Add("vft.stat", "\u009b", []byte(nil), math.NaN(), int64(-1))
	f.Add("vft.anomaly", "", []byte(nil), math.Inf(1), int64(1<<60))
	f.Add("vft.threat", "::ffff:192.0.2.1", []byte("\xff"), 1e21, int64(-1<<62))
	f.Add("vft.flow", "fe80::1%\x00", []byte(nil), 0.1, int64(1<<62))
	f.Add("vft.summary", "\"}", []byte(nil), math.Copysign(0, -1), int64(math.MinInt64))
	f.Add("\n", "::ffff:1.2.3.4", []byte(nil), 5e-324, int64(1))
	f.Fuzz(func(t *testing.T, dataset, s string, raw []byte, number float64, seconds int64) {
		e := hostile(dataset, s, raw, number, seconds)
		for range 2 {
			line := Append(nil, &e, Observer{Hostname: s, Version: s})
			if !utf8.Valid(line) {
				t.Fatalf("not UTF-8: %q", line)
			}
			for _, c := range line {
				if c < ' ' || c == 0x7f {
					t.Fatalf("control character %#x in %q", c, line)
				}
			}
			if got := value(parse(t, line), "host.name"); s != "" && got != strings.ToValidUTF8(replaceEach(s), "") {
				t.Fatalf("the reader sees %q in place of %q", got, s)
			}
			e.Message = "" // the second time with a sentence made from the fields
		}
	})
}

// replaceEach replaces each byte that is no UTF-8 by U+FFFD.
func replaceEach(s string) string { return string([]rune(s)) }

func BenchmarkAppendTrap(b *testing.B) {
	e := trapEvent()
	room := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		room = Append(room[:0], &e, observer)
	}
	b.ReportMetric(float64(len(room)), "bytes/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/event")
	b.ReportMetric(2000, "limit-ns/event")
}
