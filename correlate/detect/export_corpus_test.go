package detect

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"vft/capture"
	"vft/capture/export"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// replayExports runs the datagrams of a capture through a decoder and the
// detections, on the time of the packets, as a collector does.
func replayExports(t testing.TB, path string) (records []event.Event, flows int) {
	t.Helper()
	d := New(Config{Emit: func(e event.Event) { records = append(records, e) }})
	decoder := export.NewDecoder(export.Config{})
	var p packet.Parsed
	var into []flow.Record
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(pkt *capture.Packet) {
		p.Decode(pkt.Link, pkt.Data, pkt.Wire)
		if p.Transport != packet.UDP {
			return
		}
		d.Advance(pkt.Time)
		into = decoder.Datagram(netip.AddrPortFrom(p.Src.Netip(), p.SrcPort), p.Payload(), pkt.Time, into[:0])
		flows += len(into)
		for i := range into {
			d.Flow(&into[i])
		}
	}); err != nil {
		t.Logf("%s: %v", path, err)
	}
	d.Close()
	wellFormed(t, path, records)
	return records, flows
}

// exportLabel is an attack that the exports of the lab tell of.
type exportLabel struct {
	Kind      string   `json:"kind"`
	Attackers []string `json:"attackers"`
	Targets   []string `json:"targets"`
	Start     float64  `json:"start"`
	End       float64  `json:"end"`
}

func TestExportedLabels(t *testing.T) {
	root := filepath.Join(reference(t, "corpus"), "flow-export")
	b, err := os.ReadFile(filepath.Join(root, "LABELS_EXPORT.json"))
	if err != nil {
		t.Fatal(err)
	}
	var labels struct{ Labels []exportLabel }
	if err := json.Unmarshal(b, &labels); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(root, "*", "lab_mixed_*.pcap"))
	if len(paths) == 0 {
		t.Fatal("no exports of the lab")
	}
	for _, path := range paths {
		records, flows := replayExports(t, path)
		name := filepath.Base(path)
		t.Logf("%s: %d flows", name, flows)
		fired := map[string]string{}
		for i := range records {
			if e := &records[i]; e.Threat.State == event.Firing {
				t.Log("   ", line(e), e.Dst)
				fired[e.Threat.Type+" by "+e.Threat.Offender] = e.Time.String()
				if e.Threat.Observer != "127.0.0.1" && e.Threat.Observer != "127.0.1.1" {
					t.Errorf("%s: observed by %q", name, e.Threat.Observer)
				}
			}
		}
		for _, l := range labels.Labels {
			want := map[string]string{"tcp_syn_vertical": "vertical_scan", "tcp_syn_flood": "syn_flood", "tcp_syn_horizontal": "horizontal_scan", "icmp_flood": "icmp_flood"}[l.Kind]
			key := want + " by " + l.Attackers[0]
			if _, found := fired[key]; !found && unseen[name+" "+l.Kind] == "" {
				t.Errorf("%s: no %s", name, key)
			}
			delete(fired, key)
		}
		for key := range fired {
			if besides[key] == "" && unseen[name+" "+key] == "" {
				t.Errorf("%s: %s", name, key)
			}
		}
	}
}

// unseen is what an export cannot show, and what stands for it.
var unseen = map[string]string{
	"lab_mixed_pmacctd_1_7_7_nfprobe_v10.pcap tcp_syn_flood":                "has no record of it",
	"lab_mixed_pmacctd_1_7_7_nfprobe_v10.pcap tcp_syn_horizontal":           "has no record of it",
	"lab_mixed_pmacctd_1_7_7_nfprobe_v9.pcap tcp_syn_flood":                 "has no record of it",
	"lab_mixed_pmacctd_1_7_7_nfprobe_v9.pcap tcp_syn_horizontal":            "has no record of it",
	"lab_mixed_pmacctd_1_7_7_sfprobe_sampling_1_20.pcap tcp_syn_horizontal": "none of its five packets was sampled",
}

// besides is what the lab does besides its attacks.
var besides = map[string]string{
	"brute_force by 10.77.0.13": "more than 20 short connections to SSH that are alike in three minutes",
	"brute_force by 10.77.0.14": "more than 20 short connections to SSH that are alike in three minutes",
}
