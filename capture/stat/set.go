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
	limit  int  // most elements
}

const firstPlaces = 64

// NewSet returns a Set that is exact for three quarters of the given number of
// places, rounded up to a power of two.
func NewSet(places int) *Set {
	places = 1 << bits.Len(uint(max(places, firstPlaces)-1))
	return &Set{limit: places / 4 * 3}
}

// Add puts a well-mixed hash in.
func (s *Set) Add(hash uint64) {
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
	if s.n >= len(s.places)/4*3 {
		s.makeRoom()
		s.Add(hash)
		return
	}
	mask := uint64(len(s.places) - 1)
	for i := hash >> 20 & mask; ; i = (i + 1) & mask {
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

// makeRoom grows the table, or halves the sample when it is at its limit.
func (s *Set) makeRoom() {
	old := s.places
	size := firstPlaces
	if len(old) > 0 {
		size = len(old) * 4
	}
	if most := s.limit / 3 * 4; size > most {
		size = most
	}
	if len(old) == size {
		s.depth++
	}
	s.places, s.n = make([]uint64, size), 0
	if s.zero {
		s.n = 1
	}
	for _, hash := range old {
		if hash != 0 {
			s.Add(hash)
		}
	}
}

// Count returns the number of distinct hashes.
func (s *Set) Count() uint64 { return uint64(s.n) << s.depth }

// Exact reports whether Count is exact.
func (s *Set) Exact() bool { return s.depth == 0 }

// Merge puts all of o in.
func (s *Set) Merge(o *Set) {
	for s.depth < o.depth {
		s.thin()
	}
	if o.zero {
		s.Add(0)
	}
	for _, hash := range o.places {
		if hash != 0 {
			s.Add(hash)
		}
	}
}

// thin halves the sample.
func (s *Set) thin() {
	old := s.places
	s.depth++
	s.places, s.n = make([]uint64, len(old)), 0
	if s.zero {
		s.n = 1
	}
	for _, hash := range old {
		if hash != 0 {
			s.Add(hash)
		}
	}
}

// Reset empties the set. A table that was hardly used shrinks.
func (s *Set) Reset() {
	if s.n == 0 {
		return
	}
	if len(s.places) > firstPlaces && s.n < len(s.places)/16 {
		s.places = make([]uint64, len(s.places)/4)
	} else {
		clear(s.places)
	}
	s.n, s.zero, s.depth = 0, false, 0
}

// Ports is a set of port numbers.
type Ports struct {
	bits [1 << 16 / 64]uint64
	any  bool
}

// Add puts a port in.
func (p *Ports) Add(port uint16) {
	p.bits[port>>6] |= 1 << (port & 63)
	p.any = true
}

// Count returns how many ports are in.
func (p *Ports) Count() (n uint64) {
	if !p.any {
		return 0
	}
	for _, word := range p.bits {
		n += uint64(bits.OnesCount64(word))
	}
	return n
}

// CountWith returns how many ports are in p or o.
func (p *Ports) CountWith(o *Ports) (n uint64) {
	if !p.any && !o.any {
		return 0
	}
	for i, word := range p.bits {
		n += uint64(bits.OnesCount64(word | o.bits[i]))
	}
	return n
}

// Merge puts all of o in.
func (p *Ports) Merge(o *Ports) {
	if !o.any {
		return
	}
	for i, word := range o.bits {
		p.bits[i] |= word
	}
	p.any = true
}

// Reset empties the set.
func (p *Ports) Reset() {
	if p.any {
		*p = Ports{}
	}
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
