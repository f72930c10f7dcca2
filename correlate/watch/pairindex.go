package watch

import "math/bits"

// pairIndex finds the slots of pairs of hosts, for each record of an exporter, in less
// time than a map: open addressing with linear probing, at most half full, 8 bytes a
// place, in which the hash stands beside the slot, so that a slot, which is far away in
// memory, is looked at only when it is as good as surely the one. Nobody who does not
// know the seed can choose pairs that collide.
type pairIndex struct {
	seed   [3]uint64
	places []uint64 // hash &^ slotMask | slot + 1; 0: free; length a power of two
	shift  uint8    // of a hash, to its home
	used   int
	key    func(slot uint32) *pairKey
}

const (
	slotMask    = 1<<21 - 1
	fewestPairs = 6 // bits
)

// newPairIndex returns an index without pairs; key tells which one a slot holds.
func newPairIndex(seed [32]byte, key func(slot uint32) *pairKey) pairIndex {
	x := pairIndex{places: make([]uint64, 1<<fewestPairs), shift: 64 - fewestPairs, key: key}
	x.seed = [3]uint64{0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 0xa0761d6478bd642f}
	for i, b := range seed[:24] {
		x.seed[i/8] ^= uint64(b) << (i % 8 * 8)
	}
	return x
}

func (x *pairIndex) hash(k *pairKey) uint64 {
	h := fold(k.src.Lo^x.seed[0], k.src.Hi^x.seed[1])
	return fold(fold(h^k.dst.Lo, k.dst.Hi^x.seed[2])^x.seed[1], x.seed[0])
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// find returns the slot of a pair.
func (x *pairIndex) find(k *pairKey) (slot uint32, known bool) {
	at := x.place(k)
	return uint32(x.places[at]&slotMask) - 1, x.places[at] != 0
}

// place returns where a pair stands, or where it would.
func (x *pairIndex) place(k *pairKey) uint64 {
	hash, mask := x.hash(k), uint64(len(x.places)-1)
	for at := hash >> x.shift; ; at = (at + 1) & mask {
		p := x.places[at]
		if p == 0 || (p^hash)&^slotMask == 0 && *x.key(uint32(p&slotMask) - 1) == *k {
			return at
		}
	}
}

// put says which slot, less than slotMask, a pair has.
func (x *pairIndex) put(k *pairKey, slot uint32) {
	if 2*(x.used+1) > len(x.places) {
		x.grow()
	}
	at := x.place(k)
	if x.places[at] == 0 {
		x.used++
	}
	x.places[at] = x.hash(k)&^slotMask | uint64(slot+1)
}

func (x *pairIndex) grow() {
	old := x.places
	x.places = make([]uint64, 2*len(old))
	x.shift--
	mask := uint64(len(x.places) - 1)
	for _, p := range old {
		if p == 0 {
			continue
		}
		at := p >> x.shift
		for x.places[at] != 0 {
			at = (at + 1) & mask
		}
		x.places[at] = p
	}
}

// remove takes a pair out whose slot still holds it, and closes the gap (Knuth, vol. 3,
// 6.4, algorithm R).
func (x *pairIndex) remove(k *pairKey) {
	gap, mask := x.place(k), uint64(len(x.places)-1)
	if x.places[gap] == 0 {
		return
	}
	for at := (gap + 1) & mask; x.places[at] != 0; at = (at + 1) & mask {
		if home := x.places[at] >> x.shift; (at-home)&mask >= (at-gap)&mask {
			x.places[gap] = x.places[at]
			gap = at
		}
	}
	x.places[gap] = 0
	x.used--
}
