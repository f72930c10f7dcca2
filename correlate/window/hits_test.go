package window

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fullest is how many of times lie in the fullest window that contains t.
func fullest(times []Tick, t Tick, window int32) (most int) {
	for _, end := range times {
		if after := end.Since(t); after < 0 || after > window {
			continue
		}
		n := 0
		for _, u := range times {
			if age := end.Since(u); age >= 0 && age <= window {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// origins are where a run of ticks begins: somewhere, and shortly before the
// ticks wrap around.
func origin(t *rapid.T) Tick {
	return rapid.SampledFrom([]Tick{0, 1 << 31, 1<<32 - 1, 1<<32 - 3000, 1<<31 - 2000}).Draw(t, "origin")
}

// stream draws events whose times are at most late ticks behind the newest.
func stream(t *rapid.T, window, late int32) (times []Tick) {
	now := origin(t)
	for range rapid.IntRange(1, 60).Draw(t, "events") {
		step := rapid.SampledFrom([]int32{0, 1, window / 100, window / 12, window/12 - 1, window / 3, window, window + 1}).Draw(t, "step")
		now += Tick(rapid.Int32Range(0, step).Draw(t, "ahead"))
		times = append(times, now-Tick(rapid.Int32Range(0, late).Draw(t, "late")))
	}
	return times
}

func TestHitsAreExactToEight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(100, 40000).Draw(t, "window")
		var h Hits
		times := stream(t, window, 0)
		for n, at := range times {
			got, since := h.Add(at, window)
			want := fullest(times[:n+1], at, window)
			if got > want || got < min(want, 8) {
				t.Fatalf("%d events in the window, counted %d", want, got)
			}
			if !slices.Contains(times[:n+1], since) || at.Since(since) < 0 || at.Since(since) > window {
				t.Fatalf("they began at %d", since)
			}
		}
	})
}

// No later than 30 s in windows of at least 60 s, whatever the order.
func TestLateHitsNeverCountTooMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(6000, 40000).Draw(t, "window")
		var h Hits
		times := stream(t, window, 3000)
		for n, at := range times {
			got, _ := h.Add(at, window)
			want := fullest(times[:n+1], at, window)
			if got > want || got < min(want, 5) {
				t.Fatalf("%d events in the window, counted %d", want, got)
			}
		}
	})
}

// However late an event comes, it counts itself and never what is not there.
func TestHitsOfAnyAge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(100, 40000).Draw(t, "window")
		var h Hits
		times := stream(t, window, 1<<20)
		for n, at := range times {
			if got, _ := h.Add(at, window); got < 1 || got > fullest(times[:n+1], at, window) {
				t.Fatalf("%d events in the window, counted %d", fullest(times[:n+1], at, window), got)
			}
		}
	})
}

// Above 8, only events of the oldest twelfth may be missed.
func TestHitsMissAtMostATwelfth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(100, 40000).Draw(t, "window")
		var h Hits
		times := stream(t, window, 0)
		for n, at := range times {
			got, _ := h.Add(at, window)
			sure := 0
			for _, u := range times[:n+1] {
				if at.Since(u) < 11*(window/12) {
					sure++
				}
			}
			if got < sure {
				t.Fatalf("%d events in eleven twelfths of the window, counted %d", sure, got)
			}
		}
	})
}

func TestHitsSaturate(t *testing.T) {
	var h Hits
	got := 0
	for range 1 << 17 {
		got, _ = h.Add(5, 1200)
	}
	if got != 1<<16-1 {
		t.Errorf("a twelfth with %d events counts %d", 1<<17, got)
	}
}

func TestHitsDoNotAllocate(t *testing.T) {
	var h Hits
	at := Tick(0)
	if n := testing.AllocsPerRun(1000, func() { at += 7; h.Add(at, 1000) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
