package detect

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"

	"vft/event"
)

// Days of two hosts that the internet reaches: the slow scanners that knock at them are
// told, and nothing that the hosts do themselves.
func TestSlowScansOfLabelledDays(t *testing.T) {
	for _, c := range []struct {
		why, name string
		scanners  []string
	}{
		{"28 hours, 3,800 of 5,400 connections without an answer", "008-zeek-mixed__data__conn.log.labeled.gz",
			[]string{"104.156.155.13", "79.124.62.34", "79.124.62.110", "218.75.31.110", "193.201.9.236", "79.124.62.86", "185.156.72.48"}},
		{"24 hours, 3,000 of 4,900 without an answer", "010-zeek-mixed__data__conn.log.labeled.gz", []string{"79.124.62.34", "79.124.62.78"}},
		{"50 minutes of a host that calls its server in vain, 237 times", "001-zeek-scenario-malicious__labeled-conn.log", nil},
	} {
		lines := zeekLines(t, filepath.Join(reference(t, "corpus"), "labelled", "stratosphere", c.name))
		slices.SortStableFunc(lines, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
		var fired []string
		d := New(Config{Home: networks("147.32.80.0/22"), Emit: func(e event.Event) {
			if e.Threat.State == event.Firing {
				fired = append(fired, e.Threat.Offender)
			}
		}})
		for _, v := range lines {
			r, ok := zeekFlow(v)
			if state := v[11]; ok && r.Proto == protoTCP && state != "OTH" {
				d.Advance(r.First)
				d.slow.contact(r.Src, r.Dst, r.DstPort, slices.Contains([]string{"S0", "REJ", "RSTOS0", "RSTRH", "SH"}, state), r.First)
			}
		}
		d.Close()
		// What many sources do to one service is told too, without an offender.
		fired = slices.DeleteFunc(fired, func(offender string) bool { return offender == "" })
		slices.Sort(c.scanners)
		slices.Sort(fired)
		if !slices.Equal(slices.Compact(fired), c.scanners) || len(lines) == 0 {
			t.Errorf("%s: %v of %d connections, want %v", c.why, fired, len(lines), c.scanners)
		}
	}
}
