package detect

import (
	"fmt"
	"testing"

	"vft/event"
)

func TestLosses(t *testing.T) {
	type report struct{ seen, lost uint64 }
	same := func(n int, r report) (all []report) {
		for range n {
			all = append(all, r)
		}
		return all
	}
	for _, c := range []struct {
		why     string
		reports []report // one a second
		want    []event.AlertState
		share   float64 // of the last record
	}{
		{"nothing is lost", same(100, report{1000, 0}), nil, 0},
		{"one in a hundred and one", same(100, report{1000, 10}), nil, 0},
		{"two in a hundred", same(5, report{980, 20}), []event.AlertState{event.Firing, event.Resolved}, 0.02},
		{"few are lost of few", same(3, report{0, 3}), nil, 0},
		{"all are lost", same(1, report{0, 10}), []event.AlertState{event.Firing, event.Resolved}, 1},
		{"a burst among much", append(same(29, report{100_000, 0}), report{100_000, 20_000}), []event.AlertState{event.Firing, event.Resolved}, 20_000. / 120_000},
		{"it lasts 25 s: told again every ten", same(25, report{900, 100}), []event.AlertState{event.Firing, event.Updated, event.Updated, event.Resolved}, 0.1},
		{"it ends, and comes back after the quiet", append(append(same(2, report{900, 100}), same(200, report{1_000_000, 0})...), same(2, report{0, 10_000_000})...),
			[]event.AlertState{event.Firing, event.Updated, event.Resolved, event.Firing, event.Resolved}, 0},
	} {
		var got []event.AlertState
		var last event.Event
		episodes := map[string]int{}
		l := NewLosses(Config{Emit: func(e event.Event) {
			got, last = append(got, e.Threat.State), e
			episodes[e.Threat.Episode]++
		}})
		now := start
		for _, r := range c.reports {
			now += second
			l.Loss("eth0", KernelDrops, r.seen, r.lost, now)
			l.Advance(now)
		}
		l.Close()
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
			continue
		}
		if len(got) == 0 {
			continue
		}
		d := last.Threat.Details
		if last.Threat.Type != "capture_loss" || last.Threat.Observer != "eth0" || d["kind"] != KernelDrops || c.share != 0 && d["value"] != c.share || last.Message == "" {
			t.Errorf("%s: %+v %v", c.why, last.Threat, d)
		}
	}
}

// Each observer and kind has an episode of its own; it sums what it covers, and ends by
// itself.
func TestLossEpisodes(t *testing.T) {
	live := map[string]*event.Threat{}
	l := NewLosses(Config{Emit: func(e event.Event) {
		key := e.Threat.Observer + " " + e.Threat.Details["kind"].(string)
		live[key] = e.Threat
	}})
	for i := range int64(20) {
		now := start + i*second
		l.Loss("192.0.2.1", SequenceGaps, 100, 5, now)
		l.Loss("192.0.2.1", MissingTemplates, 50, 50, now)
		l.Loss("192.0.2.2", SequenceGaps, 100, 0, now)
		l.Advance(now)
	}
	if len(live) != 2 {
		t.Fatalf("%v", live)
	}
	l.Advance(start + 79*second)
	if s := live["192.0.2.1 sequence_gaps"].State; s == event.Resolved {
		t.Error("it ends before a minute is over")
	}
	l.Advance(start + 80*second)
	for key, threat := range live {
		if threat.State != event.Resolved || threat.Details["lost"].(uint64) < 90 || !threat.End.After(threat.Start) {
			t.Errorf("%s: %+v", key, threat)
		}
	}
	l.Advance(start + 200*second)
	if len(l.all) != 0 || len(l.order) != 0 {
		t.Errorf("%d are kept after the quiet", len(l.all))
	}
}

// What strangers report does not grow without end, and is told as one beyond the
// first; off is off.
func TestLossesAreBounded(t *testing.T) {
	var all []event.Event
	l := NewLosses(Config{Emit: func(e event.Event) { all = append(all, e) }})
	const strangers = maxLosses + 50
	for round := range int64(3) {
		now := start + round*10*second
		for i := range strangers {
			l.Loss(fmt.Sprint(i), SequenceGaps, 0, 100, now)
		}
		l.Advance(now)
	}
	counts := map[string]uint64{}
	l.Counts(func(name string, v uint64) { counts[name] = v })
	if len(l.all) > maxLosses+1 || counts["capture_losses_folded"] != 3*(strangers-maxOpen) || counts["capture_losses_fired"] != maxOpen+1 {
		t.Errorf("%d are kept, %v", len(l.all), counts)
	}
	rest := all[maxOpen].Threat
	if rest.Observer != "" || rest.Details["folded"] != true || len(all) > 3*(maxOpen+1) {
		t.Errorf("%d records, the one of the rest %+v", len(all), rest)
	}
	l.Advance(start + 300*second) // they end, and there is room again
	all = nil
	l.Loss("192.0.2.1", SequenceGaps, 0, 100, start+301*second)
	if len(all) != 1 || all[0].Threat.Observer != "192.0.2.1" || l.open != 1 {
		t.Errorf("%d are open: %v", l.open, all)
	}
	quiet := NewLosses(Config{Off: []string{"capture_loss"}, Emit: func(event.Event) { t.Error("it is off") }})
	quiet.Loss("eth0", KernelDrops, 0, 1000, start)
}
