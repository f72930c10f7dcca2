package record

import (
	"testing"
	"time"

	"vft/event"
)

// A finding that goes on begins once and is over when it was quiet for as long as its
// detector remembers; incidents are left to others.
func TestFindings(t *testing.T) {
	var out []event.Event
	f := NewFindings([32]byte{}, func(e event.Event) { out = append(out, e) })
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		at := start.Add(time.Duration(i) * 10 * time.Second)
		f.Find(&event.Finding{Type: "statistic", Sensor: "spot", Key: "R_SYN", Time: at, Count: 1, Memory: 30 * time.Second, Severity: 20,
			Value: 0.9, Threshold: 0.5, Anomaly: &event.Anomaly{Detector: "spot", Statistic: "R_SYN", Value: 0.9}})
		f.Advance(at.UnixNano())
	}
	f.Advance(start.Add(2 * time.Minute).UnixNano())
	if len(out) != 2 || out[0].Anomaly.State != event.Firing || out[1].Anomaly.State != event.Resolved || out[1].Anomaly.Count != 5 {
		t.Fatalf("%+v", out)
	}
	f.Find(&event.Finding{Type: "exfiltration", Time: start.Add(time.Hour), Memory: time.Hour, Severity: 60, Count: 1})
	f.Close()
	if len(out) != 4 || out[2].Threat == nil || out[3].Threat.State != event.Resolved {
		t.Errorf("%d records", len(out))
	}
}
