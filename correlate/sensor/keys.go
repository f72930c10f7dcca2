package sensor

// key is the window of one key: a line of the processor's cache, without
// pointers.
type key struct {
	hash   uint64
	newest int64  // flow time of the newest flow, milliseconds
	oldest uint32 // that of the first note, which stands elsewhere; when a session began
	used   uint32 // when a flow came last, by Set.Advance, seconds
	flows  uint32 // in the window
	log    log
	late   uint8 // flows in a row that were too late
	taken  bool
	_      [20]byte
}

// sums are kept of a key besides, where the condition needs them.
type sums struct {
	bytes, packets uint64
	distinct       [4]uint32 // distinctSrc and those that follow it
}

// keys is the bounded table of the keys of a sensor: slots, found through an
// index of 4 bytes a place (open addressing, linear probing, at most 3/4 full),
// in which bits of the hash stand besides the slot, so that a slot, which is far
// away in memory, is looked at only when it is very likely the one.
type keys struct {
	index []uint32 // tag | slot + 1; 0 is free; length a power of two
	slots []key
	sums  []sums // nil: not needed
	heavy bool
	free  []uint32
	count int
	limit int
	hand  int
}

const (
	slotMask = 1<<23 - 1
	tagMask  = ^uint32(slotMask)
	maxSlots = slotMask
)

func newKeys(limit int, heavy bool) keys {
	return keys{index: make([]uint32, 64), limit: limit, heavy: heavy}
}

// find returns the slot of a key, -1 when there is none.
func (k *keys) find(hash uint64) int {
	if at := k.index[k.at(hash)]; at != 0 {
		return int(at&slotMask) - 1
	}
	return -1
}

// at returns where a hash stands in the index, or where it would.
func (k *keys) at(hash uint64) uint32 {
	mask, tag := uint32(len(k.index)-1), uint32(hash>>32)&tagMask
	for i := uint32(hash>>1) & mask; ; i = (i + 1) & mask {
		known := k.index[i]
		if known == 0 || known&tagMask == tag && k.slots[known&slotMask-1].hash == hash {
			return i
		}
	}
}

// insert adds a key that is not there. There must be room.
func (k *keys) insert(hash uint64) int {
	if 4*(k.count+1) > 3*len(k.index) {
		k.grow()
	}
	slot := uint32(len(k.slots))
	if n := len(k.free); n > 0 {
		slot, k.free = k.free[n-1], k.free[:n-1]
	} else {
		k.extend()
	}
	k.slots[slot] = key{hash: hash, taken: true}
	if k.heavy {
		k.sums[slot] = sums{}
	}
	k.index[k.at(hash)] = uint32(hash>>32)&tagMask | (slot + 1)
	k.count++
	return int(slot)
}

// extend adds a slot; the slots grow by quarters to exactly their limit.
func (k *keys) extend() {
	if len(k.slots) == cap(k.slots) {
		room := min(k.limit, max(1024, len(k.slots)+len(k.slots)/4))
		k.slots = append(make([]key, 0, room), k.slots...)
		if k.heavy {
			k.sums = append(make([]sums, 0, room), k.sums...)
		}
	}
	k.slots = append(k.slots, key{})
	if k.heavy {
		k.sums = append(k.sums, sums{})
	}
}

// remove frees a slot; its log must be empty.
func (k *keys) remove(slot int) {
	mask := uint32(len(k.index) - 1)
	hole := k.at(k.slots[slot].hash)
	for i := (hole + 1) & mask; k.index[i] != 0; i = (i + 1) & mask {
		home := uint32(k.slots[k.index[i]&slotMask-1].hash>>1) & mask
		if (i-home)&mask >= (i-hole)&mask {
			k.index[hole] = k.index[i]
			hole = i
		}
	}
	k.index[hole] = 0
	k.slots[slot] = key{}
	k.free = append(k.free, uint32(slot))
	k.count--
}

func (k *keys) grow() {
	old := k.index
	k.index = make([]uint32, 2*len(old))
	mask := uint32(len(k.index) - 1)
	for _, known := range old {
		if known == 0 {
			continue
		}
		i := uint32(k.slots[known&slotMask-1].hash>>1) & mask
		for k.index[i] != 0 {
			i = (i + 1) & mask
		}
		k.index[i] = known
	}
}

// evictLook is how many keys are looked at to find one to drive out.
const evictLook = 16

// weakest returns the slot of the next keys that should leave: one whose window
// is long over, else the one with the fewest flows, of those the one that was
// not used for the longest time. It never returns except.
func (k *keys) weakest(now uint32, over int32, except int) int {
	victim, looked := -1, 0
	for range len(k.slots) {
		if k.hand++; k.hand >= len(k.slots) {
			k.hand = 0
		}
		if !k.slots[k.hand].taken || k.hand == except {
			continue
		}
		if victim < 0 || k.weaker(k.hand, victim, now, over) {
			victim = k.hand
		}
		if looked++; looked == evictLook {
			break
		}
	}
	return victim
}

func (k *keys) weaker(a, b int, now uint32, over int32) bool {
	x, y := &k.slots[a], &k.slots[b]
	xAge, yAge := int32(now-x.used), int32(now-y.used)
	if xOver, yOver := xAge > over, yAge > over; xOver != yOver {
		return xOver
	}
	if x.flows != y.flows {
		return x.flows < y.flows
	}
	return xAge > yAge
}

// bytes is the memory of the table.
func (k *keys) bytes() int { return cap(k.index)*4 + cap(k.slots)*64 + cap(k.sums)*32 + cap(k.free)*4 }
