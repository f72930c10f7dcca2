package detect

import (
	"math/bits"

	"vft/capture/packet"
)

// hasher turns addresses into keys of 64 bits that only the holder of the seed
// can make collide.
type hasher struct{ a, b, c uint64 }

func newHasher(seed [32]byte) hasher {
	var w [3]uint64
	for i := range 24 {
		w[i/8] = w[i/8]<<8 | uint64(seed[i])
	}
	return hasher{w[0] ^ 0x9e3779b97f4a7c15, w[1] ^ 0xd6e8feb86659fd93, w[2] ^ 0xa0761d6478bd642f}
}

func fold(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

// of returns the key of an ordered pair and a number. It is never 0.
func (h *hasher) of(from, to packet.Addr, x uint64) uint64 {
	k := fold(from.Lo^h.a, from.Hi^h.b)
	k = fold(k^to.Lo, to.Hi^h.c)
	return fold(k^x, h.b^0xe7037ed1a0b428db) | 1
}

// cache keeps a V for each of a fixed number of keys, in sets of four. When a
// set is full the weak entry that was not used for the longest time leaves, then
// the strong one. It allocates once, and a look-up touches one line of memory
// before the value.
type cache[V any] struct {
	sets    []set
	values  []V
	mask    uint64
	stale   uint32 // ticks without a use after which a strong entry counts as weak
	evicted uint64
}

type set struct {
	keys   [4]uint64 // 0: free
	used   [4]uint32 // in units of 2^24 ns; only differences mean something
	strong uint8     // a bit for each
	_      [8]byte   // to the end of the line of the processor's cache
}

// newCache returns a cache of n entries, a power of two.
func newCache[V any](n int) *cache[V] {
	return &cache[V]{sets: make([]set, n/4), values: make([]V, n), mask: uint64(n/4 - 1), stale: staleTime}
}

func tick(now int64) uint32 { return uint32(now >> 24) }

// find returns the value of key, nil when there is none, and counts as a use.
// The pointer is valid until the next get.
func (c *cache[V]) find(key uint64, now int64) *V {
	at := key >> 8 & c.mask
	s := &c.sets[at]
	for i := range 4 {
		if s.keys[i] == key {
			s.used[i] = tick(now)
			return &c.values[at*4+uint64(i)]
		}
	}
	return nil
}

// get returns the value of key, zero when it is fresh.
func (c *cache[V]) get(key uint64, now int64) (v *V, fresh bool) {
	if v := c.find(key, now); v != nil {
		return v, false
	}
	at := key >> 8 & c.mask
	s := &c.sets[at]
	i := s.victim(tick(now), c.stale)
	if s.keys[i] != 0 {
		c.evicted++
	}
	s.keys[i], s.used[i] = key, tick(now)
	s.strong &^= 1 << i
	v = &c.values[at*4+uint64(i)]
	var zero V
	*v = zero
	return v, true
}

// peek returns the value of key, nil when there is none, and counts as no use.
func (c *cache[V]) peek(key uint64) *V {
	at := key >> 8 & c.mask
	for i, k := range c.sets[at].keys {
		if k == key {
			return &c.values[at*4+uint64(i)]
		}
	}
	return nil
}

// peekStrong is peek for strong entries. It looks at the value of no other.
func (c *cache[V]) peekStrong(key uint64) *V {
	at := key >> 8 & c.mask
	s := &c.sets[at]
	for i, k := range s.keys {
		if k == key && s.strong>>i&1 != 0 {
			return &c.values[at*4+uint64(i)]
		}
	}
	return nil
}

// leaving returns the strong value that a get of key, which is not there, would
// drive out; nil when there is room or a weak one to leave.
func (c *cache[V]) leaving(key uint64, now int64) *V {
	at := key >> 8 & c.mask
	s := &c.sets[at]
	i := s.victim(tick(now), c.stale)
	if s.keys[i] == 0 || s.strong>>i&1 == 0 {
		return nil
	}
	return &c.values[at*4+uint64(i)]
}

// staleTime is when a strong entry counts as weak, unless its cache says otherwise: about
// ten minutes.
const staleTime = 600 * 60

func (s *set) victim(now, stale uint32) (worst int) {
	most := uint32(0)
	for i := range s.keys {
		if s.keys[i] == 0 {
			return i
		}
		age := uint32(max(int32(now-s.used[i]), 0)) >> 1
		if s.strong>>i&1 == 0 || age > stale/2 {
			age |= 1 << 30
		}
		if age >= most {
			most, worst = age, i
		}
	}
	return worst
}

// strengthen keeps key from leaving while a weak one is in its set.
func (c *cache[V]) strengthen(key uint64) {
	s := &c.sets[key>>8&c.mask]
	for i := range 4 {
		if s.keys[i] == key {
			s.strong |= 1 << i
		}
	}
}

// weaken takes strengthen back.
func (c *cache[V]) weaken(key uint64) {
	s := &c.sets[key>>8&c.mask]
	for i := range 4 {
		if s.keys[i] == key {
			s.strong &^= 1 << i
		}
	}
}
