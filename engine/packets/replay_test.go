package packets

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"vft/counters"
	"vft/engine/flows"
	"vft/event"
	"vft/setting"
)

// replayed runs a replay of testdata/mixed.pcap and returns its records and what
// it says.
func replayed(t *testing.T, e *Engine) (words string) {
	t.Helper()
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.Replay(t.Context(), nil, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func mixed(s *Settings) { s.Files = []string{"../../testdata/mixed.pcap"} }

// A replay ends with its summary, in words too, and its counters agree with it.
func TestReplay(t *testing.T) {
	var last event.Event
	e := engineOf(t, testSettings(mixed), func(found event.Event) { last = found })
	words := replayed(t, e)
	sum := last.Summary
	if sum == nil || sum.Packets == 0 || sum.Flows == 0 || sum.Seconds <= 0 || sum.Counters["tcp"] == 0 {
		t.Fatalf("the last record is %+v", last)
	}
	if !strings.Contains(words, "packets,") || strings.Count(words, " > ") != topMost {
		t.Errorf("it says %s", words)
	}
	var all counters.Registry
	e.AddCounters(&all)
	counts := map[string]uint64{}
	for _, part := range all.Parts() {
		part.Counts(func(name string, n uint64) { counts[part.Name+" "+name] = n })
	}
	for name, want := range map[string]uint64{
		"traffic packets": sum.Packets, "traffic bytes": sum.Bytes, "flow table flows_started": sum.Flows,
		"sensors sensor_flows": counts["flow table flows_finished"] + counts["flow table flows_idle"] + counts["flow table flows_active"],
	} {
		if counts[name] != want || want == 0 {
			t.Errorf("%s is %d, not %d", name, counts[name], want)
		}
	}
	if counts["statistics samples"] == 0 || counts["transfers transfer_records"] == 0 {
		t.Errorf("not every analyzer counted: %v", counts)
	}
}

// The packets of what alerts are kept, those of other flows are not.
func TestReplayKeepsThePacketsOfAlerts(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "archive")
	e := engineOf(t, testSettings(func(s *Settings) {
		s.Files = []string{"../../testdata/scan.pcap"}
		s.PacketLog = PacketLogSettings{On: true, Dir: filepath.Join(dir, "log"), Archive: kept, MaxFile: 1, Rotations: 10}
	}), func(event.Event) {})
	replayed(t, e)
	archived, err := os.ReadDir(kept)
	if err != nil || len(archived) == 0 {
		t.Errorf("nothing of the scan is kept: %v", err)
	}
	if rest, err := filepath.Glob(filepath.Join(dir, "log", "*.pcapng")); err != nil || len(rest) > 0 {
		t.Errorf("%d files of flows without an alert stay: %v", len(rest), err)
	}
}

// What was learned goes on in the next run; what is damaged is learned anew.
func TestStateOfTheStatistics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "statistics.json")
	first := engineOf(t, testSettings(mixed), func(event.Event) {})
	replayed(t, first)
	first.save(path)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why    string
		text   string
		known  bool
		warned bool
	}{
		{"what was kept", string(good), true, false},
		{"no file", "", false, false},
		{"no JSON", string(good[:len(good)/2]), false, true},
	} {
		var log strings.Builder
		e := engineOf(t, testSettings(), func(event.Event) {})
		e.log = zerolog.New(&log)
		at := filepath.Join(t.TempDir(), "statistics.json")
		if c.text != "" {
			if err := os.WriteFile(at, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e.restore(at)
		if known := len(e.stats.All()) > 0; known != c.known || (log.Len() > 0) != c.warned {
			t.Errorf("%s: known: %v, log %q", c.why, known, log.String())
		}
	}
}

// A setting that cannot be used is named by its field.
func TestRefusedSettings(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*Settings)
		field  func(*Settings) any
	}{
		{"files and an interface", func(s *Settings) { s.Interfaces = []string{"lo"} }, func(s *Settings) any { return &s.Files }},
		{"a filter that is none", func(s *Settings) { s.Filter.Expression = "nonsense" }, func(s *Settings) any { return &s.Filter.Expression }},
		{"a statistic that is none", func(s *Settings) { s.Statistics.Names = []string{"NOPE"} }, func(s *Settings) any { return &s.Statistics.Names }},
		{"a chance that is none", func(s *Settings) { s.Statistics.Q = math.NaN() }, func(s *Settings) any { return &s.Statistics.Q }},
		{"a method that is none", func(s *Settings) { s.Transfers.Methods = []string{"nope"} }, func(s *Settings) any { return &s.Transfers.Methods }},
		{"packets that are kept nowhere", func(s *Settings) { s.PacketLog.On = true }, func(s *Settings) any { return &s.PacketLog.On }},
		{"a way to find processes that is none", func(s *Settings) { s.Files, s.Interfaces, s.Process = nil, []string{"lo"}, "magic" }, func(s *Settings) any { return &s.Process }},
	} {
		s := testSettings(c.change)
		_, err := New(Config{Settings: s, Flows: noFlows})
		bad, ok := err.(*setting.Error)
		if !ok || bad.Field != c.field(s) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// noFlows is an analyzer of flows without sensors.
func noFlows(emit event.Emit) (FlowAnalyzer, error) {
	return flows.NewCaptured(flows.Config{Settings: &flows.Settings{}, Emit: emit}, false)
}
