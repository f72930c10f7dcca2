package window

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// mix is a hash of a number (the finalizer of MurmurHash3).
func mix(n uint64) uint64 {
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	n *= 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

func TestVectorCounts(t *testing.T) {
	const now = 1_700_000_000
	for _, c := range []struct {
		why     string
		members int
		error   float64 // four standard errors and the rounding, as a share
	}{
		{"none", 0, 0},
		{"one", 1, 0},
		{"about as many as a threshold", 20, 0.15},
		{"a hundred", 100, 0.15},
		{"more than cells", 1000, 0.19},
		{"four times the cells", 2000, 0.32},
	} {
		var v Vector
		for i := range c.members {
			v.Add(mix(uint64(i)), now)
			v.Add(mix(uint64(i)), now-1) // again, and late
		}
		if n := v.Count(now, 60); math.Abs(float64(n-c.members)) > c.error*float64(c.members) {
			t.Errorf("%s: %d of %d", c.why, n, c.members)
		}
		if n := v.Count(now+61, 60); n != 0 {
			t.Errorf("%s: %d are left after the window", c.why, n)
		}
	}
}

func TestVectorFull(t *testing.T) {
	var v Vector
	for i := range uint64(100_000) {
		v.Add(mix(i), 1000)
	}
	if n := v.Count(1000, 60); n != MostCounted || n != int(math.Round(VectorCells*math.Log(VectorCells))) {
		t.Errorf("%d, want %d", n, MostCounted)
	}
}

// A count never falls when the window grows, a member more never lowers it, and what
// was seen before the window never counts.
func TestVectorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v Vector
		now := rapid.Uint32Range(1, math.MaxUint32/2).Draw(t, "now")
		last := map[uint64]uint32{}
		for range rapid.IntRange(0, 60).Draw(t, "members") {
			m, age := rapid.Uint64Range(0, 40).Draw(t, "member"), rapid.Uint32Range(0, min(now-1, 1000)).Draw(t, "age")
			v.Add(mix(m), now-age)
			last[m] = max(last[m], now-age)
		}
		before := 0
		for _, window := range []uint32{0, 10, 100, 1000, math.MaxUint32} {
			n, exact := v.Count(now, window), 0
			for _, at := range last {
				if at+min(window, now) >= now {
					exact++
				}
			}
			if n < before || math.Abs(float64(n-exact)) > 2+0.2*float64(exact) {
				t.Fatalf("%d in %d s, exact %d, %d in the window before", n, window, exact, before)
			}
			before = n
		}
	})
}

func TestVectorAllocates(t *testing.T) {
	v := &Vector{}
	if n := testing.AllocsPerRun(100, func() {
		v.Add(mix(3), 7)
		v.Count(7, 60)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVector(b *testing.B) {
	v, at := &Vector{}, uint32(1)
	for b.Loop() {
		at++
		v.Add(mix(uint64(at)), at)
		v.Count(at, 3600)
	}
	b.ReportMetric(1000, "limit-ns/op")
}
