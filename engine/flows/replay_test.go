package flows

import (
	"strings"
	"testing"

	"vft/correlate/sensor"
	"vft/counters"
	"vft/event"
)

func builtIn(t *testing.T) sensor.Definitions {
	t.Helper()
	d, err := sensor.Parse("sensors.yaml", sensor.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// replayed runs a replay and returns its records and what it says.
func replayed(t *testing.T, c Config) (records []event.Event, words string, counts map[string]uint64) {
	t.Helper()
	c.Emit = func(e event.Event) { records = append(records, e) }
	x, err := NewReplay(c)
	if err == nil {
		err = x.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := x.Run(t.Context(), nil, &out); err != nil {
		t.Fatal(err)
	}
	var all counters.Registry
	x.AddCounters(&all)
	counts = map[string]uint64{}
	for _, part := range all.Parts() {
		part.Counts(func(name string, n uint64) { counts[name] = n })
	}
	return records, out.String(), counts
}

// A replay decodes the exported flows of a capture; a trial of sensors judges the
// flows of its packets too.
func TestReplay(t *testing.T) {
	const capture = "../../testdata/exports.pcap"
	for _, c := range []struct {
		why      string
		settings Settings
		trial    bool
		flows    uint64
		fires    int
		words    string
	}{
		{"all exporters", Settings{Files: []string{capture}}, false, 690, 6, "24 packets with 690 exported flows in 9.501 s of capture; 6 alerts\n"},
		{"one of them", Settings{Files: []string{capture}, Exporters: prefixes("192.0.2.2/32")}, false, 345, 3, "345 exported flows"},
		{"what the filter passes", Settings{Files: []string{capture}, Filter: filterOf("src host 192.0.2.2")}, false, 345, 3, "345 exported flows"},
		{"a trial", Settings{Files: []string{capture}, MaxFlows: 1024}, true, 690, 6, "690 exported flows"},
	} {
		records, words, counts := replayed(t, Config{Settings: &c.settings, Sensors: Sensors{Exported: builtIn(t), Captured: builtIn(t)}, Host: "h", SensorsOnly: c.trial})
		fires := 0
		for _, e := range records {
			if e.Dataset == "" { // only the time
				continue
			}
			if e.Host != "h" || e.ID.IsZero() {
				t.Errorf("%s: a record without host or id: %+v", c.why, e)
			}
			if e.Threat != nil && e.Threat.State == event.Firing {
				fires++
			}
		}
		last := records[len(records)-1]
		if last.Summary == nil || last.Summary.Flows != c.flows || last.Summary.Counters["export_records"] != c.flows || counts["export_records"] != c.flows {
			t.Errorf("%s: the summary is %+v, the counters %v", c.why, last.Summary, counts)
		}
		if fires != c.fires || !strings.Contains(words, c.words) {
			t.Errorf("%s: %d threats, and %s", c.why, fires, words)
		}
		if own := counts["sensor_flows"] - c.flows; (own > 0) != c.trial {
			t.Errorf("%s: sensors saw %d flows of packets", c.why, own)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	x, err := NewReplay(Config{Settings: &Settings{Files: []string{"none.pcap"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Open(); err == nil || !strings.Contains(err.Error(), "none.pcap") {
		t.Errorf("a file that is not there: %v", err)
	}
	s := Settings{Filter: filterOf("nonsense")}
	if _, err := NewReplay(Config{Settings: &s}); err == nil || !strings.Contains(err.Error(), "column") {
		t.Errorf("a filter that is none: %v", err)
	}
}
