package detect

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// zeekLines reads the columns of a Zeek conn.log, see zeekFlow.
func zeekLines(t testing.TB, path string) (all [][]string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	in := io.Reader(file)
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if v := strings.Split(lines.Text(), "\t"); len(v) > 20 && v[0][0] != '#' {
			all = append(all, v)
		}
	}
	return all
}

// zeekFlows reads the connections of a Zeek conn.log in the order in which they
// ended, as a flow table reports them.
func zeekFlows(t testing.TB, path string) (all []flow.Record) {
	t.Helper()
	for _, v := range zeekLines(t, path) {
		if r, ok := zeekFlow(v); ok {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b flow.Record) int { return cmp.Compare(a.Last, b.Last) })
	return all
}

// zeekFlow reads the columns ts uid orig_h orig_p resp_h resp_p proto service
// duration orig_bytes resp_bytes conn_state ... history orig_pkts orig_ip_bytes
// resp_pkts resp_ip_bytes.
func zeekFlow(v []string) (r flow.Record, ok bool) {
	number := func(i int) float64 { f, _ := strconv.ParseFloat(v[i], 64); return f }
	r.Proto, ok = map[string]uint8{"tcp": protoTCP, "udp": protoUDP}[v[6]]
	if !ok {
		return r, false
	}
	const epoch = 1.5e9 // of logs whose times begin at 0
	ts := number(0)
	if ts < epoch {
		ts += epoch
	}
	r.Src, r.Dst = packet.AddrFrom(netip.MustParseAddr(v[2])), packet.AddrFrom(netip.MustParseAddr(v[4]))
	r.SrcPort, r.DstPort, r.Ports = uint16(number(3)), uint16(number(5)), true
	r.First = int64(ts * 1e9)
	r.Last = r.First + int64(number(8)*1e9)
	r.Fwd = flow.Side{Packets: uint64(number(16)), Bytes: uint64(number(17)), Payload: uint64(number(9))}
	r.Rev = flow.Side{Packets: uint64(number(18)), Bytes: uint64(number(19)), Payload: uint64(number(10))}
	if strings.Contains(v[15], "S") {
		r.Fwd.Flags = packet.SYN
	}
	if strings.Contains(v[15], "h") {
		r.Fwd.Flags |= packet.ACK
		r.Rev.Flags = packet.SYN | packet.ACK
	}
	return r, true
}

func replayFlows(t testing.TB, all []flow.Record, cfg Config) (*Detections, []event.Event) {
	t.Helper()
	var fired []event.Event
	cfg.Emit = func(e event.Event) {
		if e.Threat.State == event.Firing {
			fired = append(fired, e)
		}
	}
	d := New(cfg)
	for i := range all {
		d.Advance(all[i].Last)
		d.Flow(&all[i])
	}
	d.Close()
	return d, fired
}

// networks are prefixes as a test writes them.
func networks(of ...string) (all []netip.Prefix) {
	for _, n := range of {
		all = append(all, netip.MustParsePrefix(n))
	}
	return all
}

func TestLabelledFlows(t *testing.T) {
	for _, c := range []struct {
		why, name string
		home      []netip.Prefix
		peer      string // that the one beacon which must be found calls
		most      int    // alerts
	}{
		{"NjRAT calls its server every 11 s for 45 minutes", "001-zeek-scenario-malicious__labeled-conn.log", nil, "41.108.179.197", 1},
		{"a day of Windows with updates every 15 minutes: three of them and Dropbox are regular", "008-zeek-mixed__data__conn.log.labeled.gz", networks("147.32.80.0/22"), "", 4},
		{"a day of another Windows that is attacked from outside: one site asked every 10 minutes", "010-zeek-mixed__data__conn.log.labeled.gz", networks("147.32.80.0/22"), "", 1},
	} {
		all := zeekFlows(t, filepath.Join(reference(t, "corpus"), "labelled", "stratosphere", c.name))
		_, fired := replayFlows(t, all, Config{Home: c.home})
		found := c.peer == ""
		fired = slices.DeleteFunc(fired, func(e event.Event) bool { return e.Threat.Type == "long_connection" }) // leads
		for i := range fired {
			t.Log(line(&fired[i]))
			found = found || fired[i].Threat.Type == "beacon" && fired[i].Dst.Addr().String() == c.peer
		}
		if !found || len(fired) > c.most {
			t.Errorf("%s: %d alerts, found %v", c.why, len(fired), found)
		}
	}
}

// replayFlowsOf runs the flows of a capture, to the last one, through the
// detections of flows.
func replayFlowsOf(t testing.TB, path string, cfg Config) (fired []event.Event, minutes float64) {
	t.Helper()
	cfg.Emit = func(e event.Event) {
		if e.Threat.State == event.Firing {
			fired = append(fired, e)
		}
	}
	d := New(cfg)
	table := flow.NewTable(flow.Config{Seed: 1, Emit: d.Flow})
	var p packet.Parsed
	first, last := int64(0), int64(0)
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(pkt *capture.Packet) {
		if first == 0 {
			first, last = pkt.Time, pkt.Time
		}
		first, last = min(first, pkt.Time), max(last, pkt.Time)
		p.Decode(pkt.Link, pkt.Data, pkt.Wire)
		table.Advance(pkt.Time)
		d.Advance(pkt.Time)
		table.Packet(&p, pkt.Time)
	}); err != nil {
		t.Logf("%s: %v", path, err)
	}
	table.Flush()
	d.Close()
	return fired, float64(last-first) / 6e10
}

func TestFlowsOfNormalCaptures(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join(reference(t, "corpus"), "normal", "*.*cap*"))
	alerts, minutes, captures := 0, 0.0, 0
	for _, path := range paths {
		if !slices.Contains([]string{".pcap", ".pcapng", ".cap"}, filepath.Ext(path)) {
			continue
		}
		fired, long := replayFlowsOf(t, path, Config{})
		captures++
		minutes += min(long, 60) // a capture that was merged spans years
		alerts += len(fired)
		for i := range fired {
			t.Log(filepath.Base(path), line(&fired[i]))
		}
	}
	t.Logf("%d alerts in %.0f minutes of %d captures", alerts, minutes, captures)
	if captures == 0 || float64(alerts) > minutes/10 {
		t.Errorf("%d alerts in %.0f minutes of %d captures, limit one in ten minutes", alerts, minutes, captures)
	}
}

func TestCommandAndControlCapture(t *testing.T) {
	path := filepath.Join(reference(t, "corpus"), "attack", "StratosphereLinuxIPS__test-cc_test-cc-capture-1.pcap")
	fired, _ := replayFlowsOf(t, path, Config{Home: networks("147.32.80.0/22")})
	if len(fired) != 1 || fired[0].Threat.Type != "beacon" || fired[0].Threat.Offender != "147.32.80.37" || fired[0].Dst.String() != "141.193.213.21:443" {
		t.Errorf("%+v", fired)
	}
}
