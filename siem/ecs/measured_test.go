package ecs

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vft/event"
)

func statEvent() event.Event {
	value, up := 0.25, 0.75
	return event.Event{
		ID: id(5), Time: at, Dataset: event.DatasetStat, Client: "3f0c", Host: "web1",
		Stat: &event.Stat{Name: "R_SYN", Value: &value, Up: &up, Start: at.Add(-time.Second), End: at, Ready: true},
	}
}

func anomalyEvent() event.Event {
	return event.Event{
		ID: id(6), Time: at, Dataset: event.DatasetAnomaly, Client: "3f0c", Host: "web1",
		Src: netip.MustParseAddrPort("198.51.100.10:40000"), Dst: netip.MustParseAddrPort("192.0.2.7:443"), Transport: "tcp",
		Anomaly: &event.Anomaly{
			Detector: "anomalyzer", State: event.Firing, Value: 5242880, Threshold: 0.6, Probability: 0.947, Side: "up", Window: 5 * time.Second,
			Episode: "019a905a623b", Start: at.Add(-5 * time.Second), End: at, Count: 1, Bytes: 5242880,
			Methods: map[string]float64{"highrank": 0.86, "diff": 0.98, "fence": 1}, Series: []float64{1200, 1400, 1100, 5242880},
		},
		Process: &event.Process{PID: 4711, Name: "curl", CommandLine: "curl -T backup.tar https://192.0.2.7/", User: "ann", Container: "0f1e2d3c"},
	}
}

func threatEvent() event.Event {
	return event.Event{
		ID: id(7), Time: at, Dataset: event.DatasetThreat, Evidence: event.E0, Src: netip.MustParseAddrPort("192.0.2.7:0"),
		Threat: &event.Threat{
			Type: "portscan", Observer: "203.0.113.1", Offender: "192.0.2.7", Sensor: "portscan", State: event.Firing, Episode: "019a905a623c",
			Severity: 60, Start: at.Add(-12 * time.Second), End: at,
			Details: map[string]any{"scan": "syn", "count": uint64(101), "threshold": 100, "window_s": 60.0, "attacked_hosts": []any{"198.51.100.10", "198.51.100.11"}},
		},
	}
}

func flowEvent() event.Event {
	return event.Event{
		ID: id(8), Time: at, Dataset: event.DatasetFlow,
		Src: netip.MustParseAddrPort("192.0.2.7:51234"), Dst: netip.MustParseAddrPort("198.51.100.10:443"), Transport: "tcp",
		Flow: &event.Flow{
			Bytes: 680000, Packets: 1200, SrcBytes: 80000, SrcPackets: 500, DstBytes: 600000, DstPackets: 700, Start: at.Add(-1250 * time.Millisecond), End: at,
			TCPFlags: 0x1b, Ended: "fin", Exporter: "203.0.113.1", Version: "ipfix", Sampling: 100, SampledPackets: 12, SampledBytes: 6800,
		},
	}
}

func summaryEvent() event.Event {
	return event.Event{
		ID: id(9), Time: at, Dataset: event.DatasetSummary,
		Summary: &event.Summary{
			Packets: 12, Bytes: 6800, Flows: 1, First: at.Add(-1250 * time.Millisecond), Last: at, Alerts: 2, Seconds: 1.25,
			Counters: map[string]uint64{
				"bytes_wire": 6800, "ipv4": 12, "ipv6": 0, "arp": 0, "tcp": 12, "udp": 0, "icmp": 0, "icmpv6": 0, "sctp": 0, "ip_fragment_noninitial": 0,
				"tcp_syn_only": 1, "tcp_synack": 1, "tcp_rst": 0, "tcp_fin": 2, "tcp_null": 0, "tcp_xmas": 0,
				"unique_src_ip": 2, "unique_dst_ip": 2, "unique_5tuple_bidirectional": 1,
			},
		},
	}
}

func TestMeasuredMessages(t *testing.T) {
	anomaly := func(change func(*event.Event, *event.Anomaly)) event.Event {
		e := anomalyEvent()
		a := *e.Anomaly
		e.Anomaly = &a
		change(&e, &a)
		return e
	}
	for _, c := range []struct {
		why, want string
		event     event.Event
	}{
		{"a value", "R_SYN is 0.25", statEvent()},
		{"no value, no threshold", "R_SYN has no value (learning)", event.Event{Dataset: event.DatasetStat, Stat: &event.Stat{Name: "R_SYN"}}},
		{"a transfer", "Transfer from 198.51.100.10 to 192.0.2.7 is unusual: 5242880 bytes in 5 s, probability 0.947 (curl)", anomalyEvent()},
		{"a transfer that is over", "Transfer from 198.51.100.10 to 192.0.2.7 is usual again after 1 interval (curl)",
			anomaly(func(_ *event.Event, a *event.Anomaly) { a.State = event.Resolved })},
		{"a statistic that fell", "R_ACK is unusually low: 0.1235, threshold 0.5",
			anomaly(func(e *event.Event, a *event.Anomaly) {
				e.Process, a.Statistic, a.Side, a.Value, a.Threshold = nil, "R_ACK", "down", 0.123456789, 0.5
			})},
		{"a statistic that rose", "PERF is unusually high: 1234568, threshold 5000",
			anomaly(func(e *event.Event, a *event.Anomaly) {
				e.Process, a.Statistic, a.Value, a.Threshold = nil, "PERF", 1234567.8, 5000
			})},
		{"a statistic that is back", "PERF is usual again after 3 intervals",
			anomaly(func(e *event.Event, a *event.Anomaly) {
				e.Process, a.Statistic, a.State, a.Count = nil, "PERF", event.Resolved, 3
			})},
		{"a scan", "portscan by 192.0.2.7: firing, severity 60", threatEvent()},
		{"nobody's doing", "capture_loss: resolved, severity 40",
			event.Event{Dataset: event.DatasetThreat, Threat: &event.Threat{Type: "capture_loss", State: event.Resolved, Severity: 40}}},
		{"a flow", "tcp flow from 192.0.2.7 to port 443 of 198.51.100.10: 1200 packets, 680000 bytes", flowEvent()},
		{"a flow without ports", "IP flow from 192.0.2.7 to 198.51.100.10: 1 packet, 1 byte",
			event.Event{Dataset: event.DatasetFlow, Src: flowEvent().Src, Dst: flowEvent().Dst, Flow: &event.Flow{Packets: 1, Bytes: 1}}},
		{"a capture", "Replayed 12 packets, 6800 bytes, 1 flow in 1.25 s: 2 alerts, 0 malformed packets", summaryEvent()},
	} {
		if got := value(parse(t, Append(nil, &c.event, observer)), "message"); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

// A threat names the ports that it is about, and a flow only if it is about one.
func TestThreatEnds(t *testing.T) {
	for _, c := range []struct{ why, src, dst, transport, want, not string }{
		{"a scan of many ports", "192.0.2.7:0", "198.51.100.10:0", "tcp",
			`"source":{"ip":"192.0.2.7"},"destination":{"ip":"198.51.100.10"},"network":{"transport":"tcp","type":"ipv4"},`, "community_id"},
		{"many connections to one port", "192.0.2.7:0", "198.51.100.10:22", "tcp", `"source":{"ip":"192.0.2.7"},"destination":{"ip":"198.51.100.10","port":22},`, "community_id"},
		{"one connection", "192.0.2.7:4000", "198.51.100.10:22", "tcp", `"source":{"ip":"192.0.2.7","port":4000},"destination":{"ip":"198.51.100.10","port":22},"network":{"transport":"tcp","type":"ipv4","community_id":"1:`, `"port":0`},
		{"a flood of every type", "2001:db8::1", "2001:db8::2", "ipv6-icmp", `"network":{"transport":"ipv6-icmp","type":"ipv6"},`, "community_id"},
	} {
		e := threatEvent()
		e.Src, e.Dst, e.Transport = ends(c.src), ends(c.dst), c.transport
		got := string(Append(nil, &e, observer))
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%s: %s", c.why, got)
		}
	}
}

// ends is an address with a port, or with port 0 without one.
func ends(s string) netip.AddrPort {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 0)
	}
	return netip.MustParseAddrPort(s)
}

// Free values come out as encoding/json reads them, in the order of their keys.
func TestFree(t *testing.T) {
	for _, c := range []struct {
		why  string
		in   map[string]any
		want string
	}{
		{"none", nil, `{}`},
		{"sorted", map[string]any{"b": 1, "a": 2.5, "c": uint64(math.MaxUint64), "d": int64(-1)}, `{"a":2.5,"b":1,"c":18446744073709551615,"d":-1}`},
		{"hostile keys and texts", map[string]any{"\"\n": "\x1b\u202e\xff"}, `{"\"\n":"\u001b\u202e\ufffd"}`},
		{"what JSON cannot hold", map[string]any{"inf": math.Inf(1), "list": []float64{1, math.NaN()}, "chan": make(chan int)}, `{"chan":null,"inf":null,"list":[1,null]}`},
		{"kinds that other parts use", map[string]any{"ports": []uint16{22}, "hosts": []netip.Addr{netip.MustParseAddr("::1")}, "flags": uint8(2), "by": map[string]int{"b": 1, "a": 2}},
			`{"by":{"a":2,"b":1},"flags":2,"hosts":["::1"],"ports":[22]}`},
		{"empty lists and maps", map[string]any{"l": []any{}, "m": map[string]any{}, "n": nil, "t": true}, `{"l":[],"m":{},"n":null,"t":true}`},
		{"too deep", map[string]any{"a": []any{[]any{map[string]any{"b": []any{[]any{1}, 2}}}}}, `{"a":[[{"b":[null,2]}]]}`},
	} {
		if got := string(record("{").key("details").freeMap(c.in, event.MaxNested)); got != `{"details":`+c.want {
			t.Errorf("%s: %s", c.why, got)
		}
	}
}

// More names than the stack has room for are sorted too.
func TestManyNames(t *testing.T) {
	counters, methods, details := map[string]uint64{}, map[string]float64{}, map[string]any{}
	var want []string
	for i := range 100 {
		name := fmt.Sprintf("%03d", i)
		counters[name], methods[name], details[name] = 1, 1, 1
		want = append(want, `"`+name+`":1`)
	}
	text := "{" + strings.Join(want, ",") + "}"
	for name, got := range map[string]record{
		"counters": sorted(nil, counters, record.uint), "methods": sorted(nil, methods, record.float), "details": record(nil).freeMap(details, 1)} {
		if string(got) != text {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTechniques(t *testing.T) {
	for _, c := range []struct{ kind, want string }{
		{"portscan", "T1046"}, {"winscan", "T1046"}, {"horizontal_scan", "T1046"}, {"vertical_scan", "T1046"}, {"slow_scan", "T1046"},
		{"host_discovery", "T1018"}, {"syn_flood", "T1499.001"}, {"tcp_flood", "T1499.001"}, {"udp_flood", "T1498.001"}, {"icmp_flood", "T1498.001"},
		{"amplification", "T1498.002"}, {"beacon", "T1071"}, {"dns_tunnel", "T1071.004"}, {"brute_force", "T1110"}, {"new_peer", "T1021"},
		{"arp_spoof", "T1557.002"}, {"rogue_dhcp", "T1557.003"}, {"tcp_injection", "T1659"},
		{"spam", ""}, {"transfer", ""}, {"exfiltration", ""}, {"capture_loss", ""}, {"mine", ""},
	} {
		if got := technique(c.kind); got != c.want {
			t.Errorf("%s: %q, want %q", c.kind, got, c.want)
		}
	}
}
