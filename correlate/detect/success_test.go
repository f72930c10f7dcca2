package detect

import (
	"math"
	"testing"
	"unsafe"
)

func TestSuccesses(t *testing.T) {
	h := newHasher([32]byte{1})
	member := func(i int) uint64 { return h.of(address("10.0.0.1"), address("10.0.0.2"), uint64(i)) }
	const at, week = 1_700_000_000, 7 * 24 * 3600
	for _, c := range []struct {
		why         string
		n           int
		later       uint32 // when it is counted
		least, most int
	}{
		{"none", 0, 0, 0, 0},
		{"one", 1, 0, 1, 1},
		{"a few", 20, 0, 15, 26},
		{"half a week later they still count", 20, week / 2, 15, 26},
		{"a week later they do not", 20, week, 0, 0},
		{"more than can be told", 2000, 0, math.MaxInt, math.MaxInt},
	} {
		s := newSuccesses(week)
		for i := range c.n {
			s.add(99, member(i), at)
			s.add(99, member(i), at)
		}
		if n := s.count(99, at+c.later); n < c.least || n > c.most {
			t.Errorf("%s: %d", c.why, n)
		}
	}
}

// Many keys with one success each do not drive out one with many.
func TestSuccessesAreBounded(t *testing.T) {
	h := newHasher([32]byte{1})
	s := newSuccesses(7 * 24 * 3600)
	key := func(i int) uint64 { return h.of(address("10.0.0.1"), address("10.0.0.2"), uint64(i)) }
	for i := range 40 {
		s.add(key(1), key(i), 1000)
	}
	before := s.count(key(1), 1000)
	for i := range 4 * maxSuccesses {
		s.add(key(100+i), key(i), 1001)
	}
	if after := s.count(key(1), 1001); after != before || s.evicted == 0 {
		t.Errorf("%d, then %d; %d left", before, after, s.evicted)
	}
	if size := unsafe.Sizeof(s.lines[0]); size != 64 {
		t.Errorf("two of them take %d bytes, not a line of the cache", size)
	}
}
