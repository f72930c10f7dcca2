package beacon

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

const day = 86400

// pair makes connections at begin plus each of the offsets.
func pair(offsets []int64, bytes func(i int) uint64) *Pair {
	p := &Pair{}
	for i, at := range offsets {
		p.Add(1_700_000_000+at, bytes(i))
	}
	return p
}

func every(seconds, jitter int64, random *rand.Rand) (at []int64) {
	for t := int64(0); t < day; t += seconds {
		if jitter == 0 {
			at = append(at, t)
			continue
		}
		at = append(at, max(0, t+random.Int64N(2*jitter+1)-jitter))
	}
	return at
}

func TestScores(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	same := func(int) uint64 { return 512 }
	wild := func(int) uint64 { return uint64(random.ExpFloat64() * 20000) }
	browse := []int64{}
	for at := int64(9 * 3600); at < 17*3600; at += int64(random.ExpFloat64() * 400) {
		browse = append(browse, at)
	}
	for _, c := range []struct {
		why       string
		pair      *Pair
		low, high float64 // of the total
	}{
		{"a call every five minutes, the same size, all day", pair(every(300, 0, random), same), 0.99, 1},
		{"the same with 10 % jitter", pair(every(300, 30, random), same), High, 1},
		{"the same with 30 % jitter", pair(every(300, 90, random), same), Medium, 1},
		{"a person who browses at work", pair(browse, wild), 0, Medium},
	} {
		s, ok := c.pair.Score(day)
		if !ok || s.Total < c.low || s.Total > c.high {
			t.Errorf("%s: %+v, %v; wanted a total from %v to %v", c.why, s, ok, c.low, c.high)
		}
	}
}

func TestTooFewOrTooMany(t *testing.T) {
	for _, c := range []struct {
		why string
		at  []int64
		ok  bool
	}{
		{"three connections", []int64{0, 60, 120}, false},
		{"four connections", []int64{0, 60, 120, 180}, true},
		{"four in the same second have no intervals", []int64{0, 0, 0, 0}, false},
		{"one a second for a day is a stream", every(1, 0, nil), false},
	} {
		if _, ok := pair(c.at, func(int) uint64 { return 1 }).Score(day); ok != c.ok {
			t.Errorf("%s: judged %v", c.why, ok)
		}
	}
}

func TestScoresStayInTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Pair{}
		n := rapid.IntRange(0, 600).Draw(t, "n")
		for range n {
			p.Add(rapid.Int64Range(0, 1<<40).Draw(t, "start"), rapid.Uint64().Draw(t, "bytes"))
		}
		s, ok := p.Score(day)
		for _, part := range []float64{s.Timestamps, s.Bytes, s.Histogram, s.Duration, s.Total} {
			if part < 0 || part > 1 || part != part {
				t.Fatalf("%+v (%v) leaves the range from 0 to 1", s, ok)
			}
		}
		if p.Connections() != n {
			t.Fatalf("%d connections were counted as %d", n, p.Connections())
		}
	})
}

func TestAddDoesNotAllocate(t *testing.T) {
	p := &Pair{}
	at := int64(0)
	if n := testing.AllocsPerRun(1000, func() { at += 60; p.Add(at, 100) }); n != 0 {
		t.Errorf("%v allocations for a connection", n)
	}
}

func BenchmarkScore(b *testing.B) {
	p := pair(every(300, 30, rand.New(rand.NewPCG(1, 2))), func(int) uint64 { return 512 })
	for b.Loop() {
		p.Score(day)
	}
}
