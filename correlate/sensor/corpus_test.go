package sensor

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vft/capture"
	"vft/capture/export"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// corpus returns the directory of the reference captures.
func corpus(t testing.TB) string {
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(root, "corpus")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
		}
		t.Skipf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
	}
	return dir
}

// replay hands every flow of a capture to flow: those of its packets and those
// that it exports. advance gets the time of the packets, once a second.
func replay(t testing.TB, path string, flow_ func(*flow.Record), advance func(now int64)) {
	t.Helper()
	table := flow.NewTable(flow.Config{Seed: 1, Emit: flow_})
	decoder := export.NewDecoder(export.Config{})
	var p packet.Parsed
	var records []flow.Record
	sweep := int64(0)
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(pkt *capture.Packet) {
		p.Decode(pkt.Link, pkt.Data, pkt.Wire)
		if now := pkt.Time / second; now > sweep {
			sweep = now
			table.Advance(pkt.Time)
			advance(pkt.Time)
		}
		table.Packet(&p, pkt.Time)
		if from, payload, ok := datagram(&p); ok {
			records = decoder.Datagram(from, payload, pkt.Time, records[:0])
			for i := range records {
				flow_(&records[i])
			}
		}
	}); err != nil {
		t.Logf("%s: %v", path, err)
	}
	table.Flush()
}

// datagram returns the payload of a UDP packet whole enough to have one.
func datagram(p *packet.Parsed) (from netip.AddrPort, payload []byte, ok bool) {
	if p.Transport != packet.UDP || !p.HasPorts || p.Fragment || p.TransOff+8 > len(p.Data) {
		return from, nil, false
	}
	payload = p.Data[p.TransOff+8:]
	n := int(binary.BigEndian.Uint16(p.Data[p.TransOff+4:])) - 8
	if n < 0 || n > len(payload) {
		return from, nil, false
	}
	return netip.AddrPortFrom(p.Src.Netip(), p.SrcPort), payload[:n], true
}

// rebuilt is the built-in sensors as somebody else would write them.
const rebuilt = `
builtin: off
sensors:
  spam:
    filter: {any: [{dst_port: 25}, {dst_port: 465}, {dst_port: 587}, {dst_port_range: 993-993}]}
    key: [observer, source]
    window: {period: 1m}
    report_if: not (count <= 20)
    cool-down: 10m
    severity: 60
  winscan:
    filter:
    - dst_ports: [135, 137, 139, 445, 1433, 3389]
    - bits_per_packet_lower_than: 512
    - protocol: tcp
    - none: [{tcp_flags_any: fin+psh+ack+urg+ece+cwr}]
    - tcp_flags_all: syn
    window: {count: 1}
    report_if: count >= 1
    severity: 40
  portscan:
    filter:
      not: {dst_port: 8443}
      any:
      - {bits_per_packet_lower_than: 500, tcp_flags: syn+rst}
      - {bits_per_packet_lower_than: 1000, tcp_flags: syn}
      - {bits_per_packet_lower_than: 224, protocol: 17}
    window: {period: 60}
    report_if: 101 <= count
`

// Sensors that are written in other words find what the built-in ones find, in
// every capture there is.
func TestRebuiltSensorsFindTheSame(t *testing.T) {
	captures, threats := 0, map[string]int{}
	err := filepath.WalkDir(corpus(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".pcap", ".pcapng", ".cap"}, filepath.Ext(path)) {
			return err
		}
		captures++
		built, other, thorough := listen(t, parse(t, "")), listen(t, parse(t, rebuilt)), listen(t, parse(t, strings.ReplaceAll(rebuilt, "report_if:", "report_if: distinct(src) == 1 and")))
		all := []*listener{built, other, thorough}
		replay(t, path, func(r *flow.Record) { each(all, func(l *listener) { l.Flow(r) }) }, func(now int64) { each(all, func(l *listener) { l.Advance(now) }) })
		each(all, func(l *listener) { l.Close(); wellFormed(t, l.events) })
		if a, b := told(built.events), told(other.events); !slices.Equal(a, b) {
			t.Errorf("%s:\n%s\nrebuilt:\n%s", path, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
		if a, b := fired(built), fired(thorough); !slices.Equal(a, b) {
			t.Errorf("%s:\n%s\nwith a condition that needs all flows:\n%s", path, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
		for _, e := range built.fired() {
			threats[e.Threat.Type]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d captures, threats %v", captures, threats)
	if captures < 100 || threats["portscan"] < 10 || threats["winscan"] < 5 {
		t.Errorf("%d captures hold %v", captures, threats)
	}
}

func each(all []*listener, do func(*listener)) {
	for _, l := range all {
		do(l)
	}
}

// fired is what a set raised.
func fired(l *listener) (list []string) {
	for _, e := range l.fired() {
		list = append(list, fmt.Sprint(e.Time, " ", e.Threat.Type, " ", e.Threat.Observer, " ", e.Threat.Offender))
	}
	return list
}

// told is what records say, without what differs by the words of the file.
func told(events []event.Event) (list []string) {
	for _, e := range events {
		d := e.Threat.Details
		list = append(list, fmt.Sprint(e.Time, e.Threat.State, e.Threat.Type, e.Threat.Observer, e.Threat.Offender, e.Threat.Start, e.Threat.End,
			d["attacked_hosts"], d["ports"], d["hosts"], d["distinct_ports"], d["count"], e.Dst, e.Transport))
	}
	return list
}

// The scan in the laboratory is found in what exporters told of it, in each
// version, also where they sampled or told both directions in one record. The
// sweep of one port on 49 hosts is less than a portscan.
func TestScansInExportedFlows(t *testing.T) {
	dir := filepath.Join(corpus(t), "flow-export")
	all, err := filepath.Glob(filepath.Join(dir, "*", "lab_mixed*.pcap"))
	if err != nil || len(all) < 7 {
		t.Fatalf("%d captures in %s, %v", len(all), dir, err)
	}
	for _, path := range all {
		l := listen(t, parse(t, ""))
		replay(t, path, l.Flow, l.Advance)
		offenders := map[string]string{}
		for _, e := range l.fired() {
			offenders[e.Threat.Type] += e.Threat.Offender
		}
		if offenders["portscan"] != "10.77.0.66" {
			t.Errorf("%s: %v", filepath.Base(path), offenders)
		}
	}
}
