package packets

import (
	"net/netip"
	"path/filepath"
	"testing"

	"vft/capture"
	"vft/event"
)

// What analyzers hand over leaves in the order of the journal, whatever its form;
// the packets that a finding is about are kept.
func TestFindingsLeaveInOrder(t *testing.T) {
	src, dst := netip.MustParseAddrPort("192.0.2.1:1024"), netip.MustParseAddrPort("192.0.2.2:80") // of syn
	for _, c := range []struct {
		why   string
		found event.Event
		kept  bool
	}{
		{"a finding with its offender", event.Event{Dataset: event.DatasetThreat, Finding: &event.Finding{Type: "portscan", Offender: src.Addr()}}, true},
		{"a finding of another", event.Event{Dataset: event.DatasetThreat, Finding: &event.Finding{Type: "portscan", Offender: netip.MustParseAddr("192.0.2.9")}}, false},
		{"a finding about one flow", event.Event{Dataset: event.DatasetAnomaly, Finding: &event.Finding{Type: "transfer", Transport: "tcp", Src: src, Dst: dst}}, true},
		{"a finding about another", event.Event{Dataset: event.DatasetAnomaly, Finding: &event.Finding{Type: "transfer", Transport: "udp", Src: src, Dst: dst}}, false},
		{"a statistic", event.Event{Dataset: event.DatasetAnomaly, Finding: &event.Finding{Type: "statistic"}}, false},
		{"a threat", event.Event{Dataset: event.DatasetThreat, Threat: &event.Threat{Type: "portscan", Offender: src.Addr().String()}}, true},
		{"a value that is only written", event.Event{Dataset: event.DatasetStat, Transport: "tcp", Src: src, Dst: dst}, false},
	} {
		dir := t.TempDir()
		var left []event.Dataset
		e := engineOf(t, testSettings(func(s *Settings) {
			s.PacketLog = PacketLogSettings{On: true, Dir: filepath.Join(dir, "log"), Archive: filepath.Join(dir, "archive"), MaxFile: 1, Rotations: 1}
		}), func(found event.Event) { left = append(left, found.Dataset) })
		if err := e.packets.Open(); err != nil {
			t.Fatal(err)
		}
		batch := capture.NewBatch(2, 1000, false)
		for i := range 2 {
			batch.Add(&capture.Packet{Time: 1e18 + int64(i), Link: 101, Wire: 40, Data: syn()})
		}
		j := &journal{packets: batch, to: 2}
		j.found[flowsAnalyzer] = []finding{{1, event.Event{Dataset: "last"}}}
		j.found[detectionsAnalyzer] = []finding{{1, c.found}}
		j.found[transfersAnalyzer] = []finding{{0, event.Event{Dataset: "first"}}}
		e.deliver(j)
		e.closePackets()
		if len(left) != 3 || left[0] != "first" || left[1] != c.found.Dataset || left[2] != "last" {
			t.Errorf("%s: the order is %v", c.why, left)
		}
		files, err := filepath.Glob(filepath.Join(dir, "archive", "*"))
		if err != nil || (len(files) > 0) != c.kept {
			t.Errorf("%s: %d files are kept: %v", c.why, len(files), err)
		}
	}
}
