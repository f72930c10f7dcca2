package detect

import (
	"math"
	"math/bits"
)

// maxSuccesses is how many keys have their successes counted, 32 bytes each.
const maxSuccesses = 1 << 16

// success is what one key succeeded with: a bit for each hashed member, in the half of
// a span that runs and in the one before.
type success struct {
	key         uint64
	now, before uint64
	begin       uint32 // second
	_           uint32
}

// successes counts for each of a fixed number of keys with how many distinct members
// it succeeded. Each first contact that succeeds counts here, so that a key is found
// with one look at memory: two share a line of the processor's cache, and of the two
// the one with fewer successes leaves. What came is kept until there are some, or until
// somebody asks: then the looks at memory, which are far apart, overlap.
type successes struct {
	lines   [][2]success
	half    uint32 // of the span, in seconds
	waiting []met
	touched uint64 // nothing; it keeps the first looks at memory from being left out
	evicted uint64
}

// met is two keys that succeeded with each other.
type met struct {
	a, b uint64
	at   uint32
}

func newSuccesses(span uint32) *successes {
	return &successes{lines: make([][2]success, maxSuccesses/2), half: span / 2, waiting: make([]met, 0, 64)}
}

// both notes that two keys succeeded with each other, at so many seconds.
func (s *successes) both(a, b uint64, at uint32) {
	s.waiting = append(s.waiting, met{a, b, at})
	if len(s.waiting) == cap(s.waiting) {
		s.settle()
	}
}

// settle counts what waits.
func (s *successes) settle() {
	for i := range s.waiting {
		m := &s.waiting[i]
		s.touched += s.line(m.a)[0].key + s.line(m.b)[0].key
	}
	for _, m := range s.waiting {
		s.add(m.a, m.b, m.at)
		s.add(m.b, m.a, m.at)
	}
	s.waiting = s.waiting[:0]
}

func (s *successes) line(key uint64) *[2]success { return &s.lines[key>>8%uint64(len(s.lines))] }

// add notes a success of key with a member of that hash, at so many seconds.
func (s *successes) add(key, member uint64, at uint32) {
	e := s.find(key)
	if e == nil {
		e = s.put(success{key: key, begin: at})
	}
	e.roll(at, s.half)
	e.now |= 1 << (member >> 58)
}

// put makes room for a key that is not there.
func (s *successes) put(fresh success) *success {
	line := s.line(fresh.key)
	e := &line[0]
	if e.weight(fresh.begin, s.half) > line[1].weight(fresh.begin, s.half) {
		e = &line[1]
	}
	if e.key != 0 {
		s.evicted++
	}
	*e = fresh
	return e
}

func (s *successes) find(key uint64) *success {
	line := s.line(key)
	for i := range line {
		if line[i].key == key {
			return &line[i]
		}
	}
	return nil
}

// weight is how much is lost when e leaves.
func (e *success) weight(at, half uint32) int {
	switch {
	case e.key == 0:
		return -1
	case int64(at)-int64(e.begin) >= 2*int64(half):
		return 0
	}
	return bits.OnesCount64(e.now | e.before)
}

// roll moves the halves on.
func (e *success) roll(at, half uint32) {
	switch age := int64(at) - int64(e.begin); {
	case age >= 2*int64(half):
		e.begin, e.now, e.before = at, 0, 0
	case age >= int64(half):
		e.begin, e.now, e.before = e.begin+half, 0, e.now
	}
}

// count returns with about how many members key succeeded in the span before at, by
// linear counting (Whang, Vander-Zanden and Taylor 1990); once all bits are set, which
// takes some 266, more than can be told.
func (s *successes) count(key uint64, at uint32) int {
	const all = 64
	s.settle()
	e := s.find(key)
	if e == nil {
		return 0
	}
	e.roll(at, s.half)
	empty := all - bits.OnesCount64(e.now|e.before)
	if empty == 0 {
		return math.MaxInt
	}
	return int(math.Round(-all * math.Log(float64(empty)/all)))
}
