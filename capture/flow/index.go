package flow

// entry is a hash and 1 + a slot, or 0 for a free place.
type entry uint64

func (e entry) hash() uint32 { return uint32(e >> 32) }
func (e entry) slot() uint32 { return uint32(e) - 1 }

// index finds slots by hash: open addressing with linear probing, at most two
// thirds full. The whole hash stands in the entry, so growing and removing read
// no slot.
type index struct {
	entries []entry
	used    int
	most    int // entries at most
}

const firstIndex = 1 << 10

// reset empties the index and sizes it for most slots.
func (x *index) reset(most int) {
	x.most = most + most/2 + 2
	x.entries, x.used = make([]entry, min(x.most, firstIndex)), 0
}

// home maps a hash to a place by its high bits (Lemire, "Fast random integer
// generation in an interval", 2019).
func (x *index) home(hash uint32) uint32 { return uint32(uint64(hash) * uint64(len(x.entries)) >> 32) }

// first returns the entry that is looked at first for a hash.
func (x *index) first(hash uint32) entry { return x.entries[x.home(hash)] }

func (x *index) next(place uint32) uint32 {
	if place++; int(place) == len(x.entries) {
		return 0
	}
	return place
}

// distance is how far place lies behind from, around the end.
func (x *index) distance(from, place uint32) uint32 {
	if place < from {
		place += uint32(len(x.entries))
	}
	return place - from
}

// insert takes an entry in, from a place on where it may stand.
func (x *index) insert(hash, slot, from uint32) {
	if 3*x.used >= 2*len(x.entries) && len(x.entries) < x.most {
		x.grow()
		from = x.home(hash)
	}
	x.put(entry(hash)<<32|entry(slot+1), from)
	x.used++
}

func (x *index) put(e entry, i uint32) {
	for x.entries[i] != 0 {
		i = x.next(i)
	}
	x.entries[i] = e
}

func (x *index) grow() {
	old := x.entries
	x.entries = make([]entry, min(x.most, 16*len(old))) // few steps: each leaves garbage
	for _, e := range old {
		if e != 0 {
			x.put(e, x.home(e.hash()))
		}
	}
}

// remove takes out one entry and closes the gap: entries behind it move up when
// their home lies at or before the gap (Knuth, vol. 3, 6.4, algorithm R).
func (x *index) remove(hash, slot uint32) {
	gap := x.home(hash)
	for x.entries[gap] != entry(hash)<<32|entry(slot+1) {
		gap = x.next(gap)
	}
	for i := x.next(gap); ; i = x.next(i) {
		e := x.entries[i]
		if e == 0 {
			break
		}
		home := x.home(e.hash())
		if gap < i && i-home >= i-gap || gap > i && x.distance(home, i) >= x.distance(gap, i) { // a home behind i is one before the end
			x.entries[gap] = e
			gap = i
		}
	}
	x.entries[gap] = 0
	x.used--
}
