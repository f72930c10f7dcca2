package detect

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// shared returns a directory of reference data.
func shared(t testing.TB, name string) string {
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
		}
		t.Skipf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
	}
	return dir
}

// run is what one capture gave.
type run struct {
	records     []event.Event
	first, last int64
	packets     int
}

// fired returns the records that begin an episode.
func (r *run) fired() (out []event.Event) {
	for _, e := range r.records {
		if e.Threat.State == event.Firing {
			out = append(out, e)
		}
	}
	return out
}

// replay runs a capture through the detections as a shard does.
func replay(t testing.TB, path string, cfg Config) *run {
	t.Helper()
	out := &run{}
	cfg.Emit = func(e event.Event) { out.records = append(out.records, e) }
	d := New(cfg)
	table := flow.NewTable(flow.Config{Seed: 1, Emit: d.Flow})
	var p packet.Parsed
	sweep := int64(0)
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(pkt *capture.Packet) {
		p.Decode(pkt.Link, pkt.Data, pkt.Wire)
		if sec := pkt.Time / second; sec > sweep {
			sweep = sec
			table.Advance(pkt.Time)
		}
		if out.packets == 0 {
			out.first, out.last = pkt.Time, pkt.Time
		}
		out.first, out.last = min(out.first, pkt.Time), max(out.last, pkt.Time)
		out.packets++
		d.Packet(&p, table.Packet(&p, pkt.Time), pkt.Time)
	}); err != nil {
		t.Logf("%s: %v", path, err)
	}
	d.Close()
	wellFormed(t, path, out.records)
	return out
}

// wellFormed holds that each episode fires once, first, and is resolved once,
// last, with at most one update in ten seconds between.
func wellFormed(t testing.TB, path string, records []event.Event) {
	t.Helper()
	wrote := map[string]time.Time{}
	for _, e := range records {
		last, live := wrote[e.Threat.Episode]
		switch e.Threat.State {
		case event.Firing:
			if live {
				t.Errorf("%s: %s fires twice", path, e.Message)
			}
		case event.Updated:
			if !live || e.Time.Sub(last) < 10*time.Second {
				t.Errorf("%s: %s is updated out of turn", path, e.Message)
			}
		case event.Resolved:
			if !live {
				t.Errorf("%s: %s is resolved and never fired", path, e.Message)
			}
			delete(wrote, e.Threat.Episode)
			continue
		}
		wrote[e.Threat.Episode] = e.Time
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for id := range wrote {
		t.Errorf("%s: episode %s is never resolved", path, id)
	}
}

func line(e *event.Event) string {
	d := e.Threat.Details
	return fmt.Sprintf("%-16s %-9v %-16s %v/%v ports %v hosts %v %v%v", e.Threat.Type, cmp.Or[any](d["scan"], d["injection"], "-"), cmp.Or(e.Threat.Offender, "many"), d["value"], d["threshold"],
		cmp.Or[any](d["distinct_ports"], 0), d["hosts"], cmp.Or[any](d["domain"], ""), cmp.Or[any](d["tool"], ""))
}

func TestTable(t *testing.T) {
	root := shared(t, "corpus")
	for _, folder := range strings.Split(cmp.Or(os.Getenv("FOLDERS"), "scan attack normal"), " ") {
		paths, _ := filepath.Glob(filepath.Join(root, folder, "*.pcap*"))
		minutes, alerts := 0.0, 0
		for _, path := range paths {
			if !slices.Contains([]string{".pcap", ".pcapng", ".cap"}, filepath.Ext(path)) {
				continue
			}
			r := replay(t, path, Config{})
			minutes += min(float64(r.last-r.first)/6e10, 60)
			fired := r.fired()
			alerts += len(fired)
			if len(fired) == 0 && folder == "normal" {
				continue
			}
			t.Logf("%s/%s  %.1f s", folder, filepath.Base(path), float64(r.last-r.first)/1e9)
			for i := range fired {
				if i >= 12 {
					t.Logf("      ... %d more", len(fired)-i)
					break
				}
				t.Logf("    %+7.2f s %s", float64(fired[i].Time.UnixNano()-r.last)/1e9, line(&fired[i]))
			}
		}
		t.Logf("%s: %d alerts in %.0f minutes", folder, alerts, minutes)
	}
}
