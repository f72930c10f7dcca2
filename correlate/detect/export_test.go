package detect

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// exported plays records of exporters into Detections.
type exported struct {
	*Detections
	t       testing.TB
	records []event.Event
}

func newExported(t testing.TB, cfg Config) *exported {
	x := &exported{t: t}
	cfg.Emit = func(e event.Event) { x.records = append(x.records, e) }
	x.Detections = New(cfg)
	x.Advance(flowEpoch)
	return x
}

// fired closes the capture and returns "type by offender" of what fired, or of
// what it hit where nobody is to blame.
func (x *exported) fired() (all []string) {
	x.t.Helper()
	x.Close()
	wellFormed(x.t, x.t.Name(), x.records)
	for i := range x.records {
		if e := &x.records[i]; e.Threat.State == event.Firing {
			who := e.Threat.Offender
			if who == "" {
				who = "many"
			}
			all = append(all, e.Threat.Type+" by "+who)
		}
	}
	return all
}

var router = address("192.0.2.1")

// half is a record of one direction, as NetFlow has it, that router sent.
func half(src string, sport uint16, dst string, dport uint16, proto uint8, flags packet.Flags, packets, bytes uint64, at int64) flow.Record {
	ports := proto == protoTCP || proto == protoUDP
	if !ports {
		sport, dport = 0, 0
	}
	return flow.Record{
		Key: flow.Key{Src: address(src), Dst: address(dst), SrcPort: sport, DstPort: dport, Proto: proto, Ports: ports},
		Fwd: flow.Side{Packets: packets, Bytes: bytes, Flags: flags}, First: at, Last: at, End: flow.Finished,
		Export: flow.Export{Exporter: router, Version: flow.NetFlow9},
	}
}

// back is the record of the other direction.
func back(r flow.Record, flags packet.Flags, packets, bytes uint64) flow.Record {
	r.Key = r.Reverse()
	r.Fwd = flow.Side{Packets: packets, Bytes: bytes, Flags: flags}
	return r
}

// oneWay tells a flow as an exporter of one-way flows does.
func oneWay(r *flow.Record, tell func(*flow.Record)) {
	h := *r
	h.Export = flow.Export{Exporter: router, Version: flow.NetFlow9}
	h.Fwd = flow.Side{Packets: r.Fwd.Packets, Bytes: r.NetworkBytes(&r.Fwd), Flags: r.Fwd.Flags}
	h.Rev, h.LinkHeader, h.End = flow.Side{}, 0, flow.Finished
	tell(&h)
	if r.Rev.Packets > 0 {
		h.Key = r.Reverse()
		h.Fwd = flow.Side{Packets: r.Rev.Packets, Bytes: r.NetworkBytes(&r.Rev), Flags: r.Rev.Flags}
		tell(&h)
	}
}

// replayOneWay exports the flows of a capture.
func replayOneWay(t testing.TB, path string, cfg Config) (fired []event.Event, minutes float64) {
	t.Helper()
	cfg.Emit = func(e event.Event) {
		if e.Threat.State == event.Firing {
			fired = append(fired, e)
		}
	}
	d := New(cfg)
	table := flow.NewTable(flow.Config{Seed: 1, LinkHeader: 14, Emit: func(r *flow.Record) { oneWay(r, d.Flow) }})
	var p packet.Parsed
	begin, end := int64(0), int64(0)
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(pkt *capture.Packet) {
		if begin == 0 {
			begin, end = pkt.Time, pkt.Time
		}
		begin, end = min(begin, pkt.Time), max(end, pkt.Time)
		p.Decode(pkt.Link, pkt.Data, pkt.Wire)
		table.Advance(pkt.Time)
		d.Advance(pkt.Time)
		table.Packet(&p, pkt.Time)
	}); err != nil {
		t.Logf("%s: %v", path, err)
	}
	table.Flush()
	d.Close()
	return fired, float64(end-begin) / 6e10
}

func TestExportedNormalCaptures(t *testing.T) {
	alerts, minutes := 0, 0.0
	for _, path := range captures(t, "normal") {
		fired, long := replayOneWay(t, path, Config{})
		minutes += min(long, 60) // a capture that was merged spans years
		alerts += len(fired)
		for i := range fired {
			t.Log(filepath.Base(path), line(&fired[i]), fired[i].Dst)
		}
	}
	t.Logf("%d alerts in %.0f minutes", alerts, minutes)
	if float64(alerts) > minutes/10 {
		t.Errorf("%d alerts in %.0f minutes, limit one in ten minutes", alerts, minutes)
	}
}

// Attacks of the corpus that flows of one direction show, found as captures of
// the same show them.
func TestExportedAttackCaptures(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"attack/lab_ackflood.pcap", "tcp_flood ack 10.77.0.66"},
		{"attack/lab_rstflood.pcap", "tcp_flood rst 10.77.0.67"},
		{"attack/lab_icmpflood.pcap", "icmp_flood icmp 10.77.0.66"},
		{"attack/lab_udpflood.pcap", "udp_flood udp 10.77.0.66"},
		{"attack/lab_synflood_fixed.pcap", "syn_flood syn 10.77.0.66"},
		{"attack/lab_synflood_rand.pcap", "syn_flood syn many"},
		{"attack/packet-captures__pkt.TCP.synflood.spoofed.pcap", "syn_flood syn many"},
		{"attack/packet-captures__amp.dns.RRSIG.fragmented.pcap", "amplification udp many"},
		{"attack/zeek__ftp_bruteforce.pcap", "brute_force - 192.168.56.1"},
		{"scan/lab_nmap_D.pcap", "vertical_scan syn 10.77.0.33"},
		{"scan/lab_nmap_T2.pcap", "vertical_scan syn 10.77.0.66"},
		{"scan/lab_nmap_sA.pcap", "vertical_scan ack 10.77.0.66"},
		{"scan/lab_nmap_sF.pcap", "vertical_scan fin 10.77.0.66"},
		{"scan/lab_nmap_sN.pcap", "vertical_scan null 10.77.0.66"},
		{"scan/lab_nmap_sS.pcap", "vertical_scan syn 10.77.0.66"},
		{"scan/lab_nmap_sT.pcap", "vertical_scan connect 10.77.0.66"},
		{"scan/lab_nmap_sU.pcap", "vertical_scan udp 10.77.0.66"},
		{"scan/lab_nmap_sX.pcap", "vertical_scan xmas 10.77.0.66"},
		{"scan/lab_nmap_v6.pcap", "vertical_scan syn fd77:7::66"},
		{"scan/lab_nmap_horizontal.pcap", "horizontal_scan syn 10.77.0.66"},
		{"scan/lab_trap_sweep.pcap", "horizontal_scan connect 203.0.113.66"},
		{"scan/lab_masscan_ext.pcap", "horizontal_scan syn 203.0.113.66"},
	} {
		fired, _ := replayOneWay(t, filepath.Join(reference(t, "corpus"), c.path), Config{})
		var got []string
		for i := range fired {
			e := &fired[i]
			got = append(got, fmt.Sprint(e.Threat.Type, " ", cmp.Or[any](e.Threat.Details["scan"], "-"), " ", cmp.Or(e.Threat.Offender, "many")))
		}
		if !slices.Contains(got, c.want) {
			t.Errorf("%s: %v, not %s", c.path, got, c.want)
		}
	}
}

// The clock of one exporter moves no other, and its own records count all the
// same.
func TestExportersWithWrongClocks(t *testing.T) {
	const year = 365 * 24 * hour
	for _, c := range []struct {
		why string
		off int64
	}{{"right", 0}, {"20 s behind", -20 * second}, {"an hour ahead", hour}, {"a day behind", -24 * hour}, {"of another time", -20 * year}, {"of a time to come", 20 * year}} {
		x := newExported(t, Config{Off: []string{"slow_scan"}})
		for i := range 30 {
			at := flowEpoch + int64(i)*second
			x.Advance(at)
			wrong, right := probe("203.0.113.1", hostName(i), 23, at+c.off), probe("203.0.113.2", hostName(i), 23, at)
			wrong.Export.Exporter = address("192.0.2.9")
			x.Flow(&wrong)
			x.Flow(&right)
		}
		x.Advance(flowEpoch + 100*second)
		if x.clock != flowEpoch+100*second {
			t.Errorf("%s: the clock went to %v", c.why, x.clock)
		}
		if got := x.fired(); !slices.Equal(got, []string{"horizontal_scan by 203.0.113.1", "horizontal_scan by 203.0.113.2"}) {
			t.Errorf("%s: %v", c.why, got)
		}
		for i := range x.records {
			if off := x.records[i].Threat.Start.UnixNano() - flowEpoch; off < -21*second || off > 31*second {
				t.Errorf("%s: begins %v s from where it should", c.why, off/second)
			}
		}
	}
}

// A record of long ago is left out, unless all are: then the clock is wrong.
func TestLateRecords(t *testing.T) {
	x := newExported(t, Config{})
	now := probe("10.0.0.5", "203.0.113.7", 443, flowEpoch)
	x.Flow(&now)
	old := now
	old.First, old.Last = now.First-2*hour, now.Last-2*hour
	for range lateRun - 1 {
		x.Flow(&old)
	}
	if x.exports.late != lateRun-1 || x.exports.shifted != 0 {
		t.Errorf("%d late, %d clocks corrected", x.exports.late, x.exports.shifted)
	}
	x.Flow(&old)
	if x.exports.late != lateRun-1 || x.exports.shifted != 1 {
		t.Errorf("%d late, %d clocks corrected", x.exports.late, x.exports.shifted)
	}
}

// Without Advance, the flows move the clock.
func TestExportsWithoutAdvance(t *testing.T) {
	x := &exported{t: t}
	x.Detections = New(Config{Off: []string{"slow_scan"}, Emit: func(e event.Event) { x.records = append(x.records, e) }})
	for i := range 25 {
		r := probe("203.0.113.2", hostName(i), 23, flowEpoch+int64(i)*10*second)
		x.Flow(&r)
	}
	if got := x.clock; got != flowEpoch+240*second {
		t.Errorf("the clock stands at %v", got)
	}
	if got := x.fired(); !slices.Equal(got, []string{"horizontal_scan by 203.0.113.2"}) {
		t.Errorf("%v", got)
	}
}

func TestHalves(t *testing.T) {
	for _, c := range []struct {
		why  string
		at   []int64
		want int
	}{
		{"all at once", []int64{100, 100, 100}, 3},
		{"within the window", []int64{100, 104, 109}, 3},
		{"the first is out of it", []int64{100, 106, 111}, 2},
		{"late, by less than the window", []int64{100, 104, 95}, 3},
		{"the clock went back far", []int64{100, 104, 50}, 1},
		{"after a long time", []int64{100, 200}, 1},
	} {
		var h halves
		n := 0
		for _, at := range c.at {
			n = h.add(at, 10)
		}
		if n != c.want {
			t.Errorf("%s: %d, not %d", c.why, n, c.want)
		}
	}
}

// Nobody can grow a table beyond its maximum, and what leaves is counted: a
// scanner is found while a flood of false sources passes.
func TestExportTablesAreBounded(t *testing.T) {
	x := newExported(t, Config{Off: []string{"slow_scan"}})
	const flood = 400_000
	for i := range uint32(flood) {
		at := flowEpoch + int64(i)*second/40_000
		if i%4_000 == 0 {
			x.Advance(at)
			r := probe("203.0.113.66", hostName(int(i/4_000)), 23, at)
			x.Flow(&r)
		}
		r := probe("203.0.113.1", "10.0.0.9", 80, at)
		r.Src, r.Dst, r.SrcPort = packet.Addr4(i*2654435761), packet.Addr4(0x0a000001+i*8), uint16(i)
		x.Flow(&r)
	}
	counts := map[string]uint64{}
	x.Counts(func(name string, v uint64) { counts[name] += v })
	for _, name := range []string{"exported_flows_evicted", "exported_flows_hurried", "exported_attempts_evicted", "exported_scan_sources_evicted", "exported_scan_pairs_evicted", "exported_targets_evicted"} {
		if counts[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	// So many sources that try one port of as many hosts are a scan themselves.
	if got := x.fired(); !slices.Equal(got, []string{"horizontal_scan by many", "horizontal_scan by 203.0.113.66"}) {
		t.Errorf("%v, counters %v", got, counts)
	}
}

// A flood of false sources costs no place that others need.
func TestExportedFloodDrivesNobodyOut(t *testing.T) {
	x := newExported(t, Config{Off: []string{"slow_scan"}})
	for i := range uint32(400_000) {
		at := flowEpoch + int64(i)*second/40_000
		if i%4_000 == 0 {
			x.Advance(at)
		}
		r := probe("203.0.113.1", "10.0.0.9", 80, at)
		r.Src, r.SrcPort = packet.Addr4(i*2654435761), uint16(i)
		x.Flow(&r)
	}
	if e := x.exports; e.meetings.all.evicted+e.scans.attempts.evicted+e.floods.heats.evicted != 0 || e.floods.folded < 390_000 {
		t.Errorf("%d records folded, %d flows driven out", e.floods.folded, e.meetings.all.evicted)
	}
	if got := x.fired(); !slices.Equal(got, []string{"syn_flood by many"}) {
		t.Errorf("%v", got)
	}
}
