package stat

import "math/bits"

// Set counts distinct 64-bit hashes in bounded memory, 8 bytes for each place.
// It is exact until it is full. Then it keeps every second, every fourth ... of
// the hashes and estimates, with a relative error of about 1.2/sqrt(limit)
// (adaptive sampling: Flajolet, "On adaptive sampling", Computing 43, 1990).
// What it counts does not depend on the order.
type Set struct {
	places []uint64 // open addressing; 0 is a free place
	n      int
	zero   bool // the hash 0 is in
	depth  uint // hashes whose low depth bits are not 0 are left out
	most   int  // places at most
	// Hashes wait to be put in together, so that the misses of the cache overlap.
	waiting int
	warmth  uint64
	wait    [64]uint64
}

const (
	firstPlaces = 64
	inCache     = 1 << 12 // places that stay in the first cache without help
)

// NewSet returns a Set that is exact for three quarters of the given number of
// places, rounded up to a power of two.
func NewSet(places int) *Set {
	return &Set{most: 1 << bits.Len(uint(max(places, firstPlaces)-1))}
}

// Add puts a well-mixed hash in.
func (s *Set) Add(hash uint64) {
	if hash&(1<<s.depth-1) != 0 {
		return
	}
	if s.waiting == len(s.wait) {
		s.flush()
	}
	s.wait[s.waiting] = hash
	s.waiting++
}

func (s *Set) flush() {
	if s.waiting > 1 && len(s.places) > inCache {
		for _, hash := range s.wait[:s.waiting] { // loads that wait for nothing run side by side
			s.warmth ^= s.places[s.home(hash)]
		}
	}
	for _, hash := range s.wait[:s.waiting] {
		for s.n >= len(s.places)/4*3 {
			s.makeRoom()
		}
		s.put(hash)
	}
	s.waiting = 0
}

// home is where to look for a hash first. It uses other bits than depth does.
func (s *Set) home(hash uint64) int { return int(hash >> 32 & uint64(len(s.places)-1)) }

func (s *Set) next(i int) int { return (i + 1) & (len(s.places) - 1) }

func (s *Set) put(hash uint64) {
	if hash&(1<<s.depth-1) != 0 {
		return
	}
	if hash == 0 {
		if !s.zero {
			s.zero = true
			s.n++
		}
		return
	}
	for i := s.home(hash); ; i = s.next(i) {
		switch s.places[i] {
		case hash:
			return
		case 0:
			s.places[i] = hash
			s.n++
			return
		}
	}
}

// makeRoom grows the table, or halves the sample when it has its full size.
func (s *Set) makeRoom() {
	if len(s.places) == s.most {
		s.thin()
		return
	}
	old := s.places
	s.places = make([]uint64, min(s.most, max(firstPlaces, 16*len(old))))
	s.n = 0
	if s.zero {
		s.n = 1
	}
	for _, hash := range old {
		if hash != 0 {
			s.put(hash)
		}
	}
}

// thin halves the sample in place. From a free place on, each hash is taken out
// and what stays is put back: it finds its old place or a gap before it.
func (s *Set) thin() {
	s.depth++
	if len(s.places) == 0 {
		return
	}
	start := 0
	for s.places[start] != 0 {
		start++
	}
	for k := range s.places {
		i := (start + k) & (len(s.places) - 1)
		hash := s.places[i]
		if hash == 0 {
			continue
		}
		s.places[i] = 0
		s.n--
		s.put(hash)
	}
}

// Count returns the number of distinct hashes.
func (s *Set) Count() uint64 {
	s.flush()
	return uint64(s.n) << s.depth
}

// Exact reports whether Count is exact.
func (s *Set) Exact() bool {
	s.flush()
	return s.depth == 0
}

// Reset empties the set. A table that was hardly used shrinks.
func (s *Set) Reset() {
	s.waiting = 0
	if s.n == 0 {
		return
	}
	if len(s.places) > inCache && s.n < len(s.places)/64 {
		s.places = make([]uint64, len(s.places)/16)
	} else {
		clear(s.places)
	}
	s.n, s.zero, s.depth = 0, false, 0
}

// Ports is a set of port numbers.
type Ports struct {
	bits [1 << 16 / 64]uint64
	n    int
	few  [64]uint8 // high bytes of the first ports, so that a small set empties fast
}

// Add puts a port in.
func (p *Ports) Add(port uint16) {
	word, bit := &p.bits[port>>6], uint64(1)<<(port&63)
	if *word&bit == 0 {
		*word |= bit
		if p.n < len(p.few) {
			p.few[p.n] = uint8(port >> 8)
		}
		p.n++
	}
}

// Count returns how many ports are in.
func (p *Ports) Count() uint64 { return uint64(p.n) }

// CountWith returns how many ports are in p or o.
func (p *Ports) CountWith(o *Ports) uint64 {
	if p.n == 0 || o.n == 0 {
		return uint64(p.n + o.n)
	}
	n := 0
	for i, word := range p.bits {
		n += bits.OnesCount64(word | o.bits[i])
	}
	return uint64(n)
}

// Reset empties the set.
func (p *Ports) Reset() {
	if p.n > len(p.few) {
		*p = Ports{}
		return
	}
	for _, high := range p.few[:p.n] {
		clear(p.bits[int(high)*4 : int(high)*4+4])
	}
	p.n = 0
}

// mix spreads the bits of x; different x give different results
// (finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
