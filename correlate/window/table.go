package window

import (
	"hash/maphash"
	"unsafe"
)

// Key is what a table is keyed by: an IPv6 address, an IPv4 address mapped into
// one, or a number.
type Key [16]byte

// Table keeps one V for each key, at most a fixed number. When it is full, the
// weak entry that was not used for the longest time leaves; only when no entry
// is weak, the strong one. V must hold no pointers: the entries stand in large
// pieces that the garbage collector then need not look into, found through an
// index of 4 bytes a place (open addressing, linear probing, at most 3/4 full).
// A place holds bits of the hash too, so that an entry, which is far away in
// memory, is looked at only when it is very likely the one.
type Table[V any] struct {
	seed   maphash.Seed
	index  []uint32 // tag | slot + 1; 0 is free; length a power of two
	slabs  []slab[V]
	count  uint32
	used   uint32 // slots ever handed out
	free   uint32 // first free slot + 1, linked by next
	limit  uint32
	lists  [2]list // weak, strong: newest first
	leaves func(Key, *V)
}

// list is a doubly linked list through the slots; 0 is none, slot i is i + 1.
type list struct{ head, tail uint32 }

// slab is a piece of the slots. What a look-up walks over stands apart from the
// values, close together: most of its cost is memory that is far away.
type slab[V any] struct {
	entries []entry
	values  []V
}

// entry is one slot. The top bit of next says that it is strong: a field of its
// own would cost 4 bytes.
type entry struct {
	key        Key
	prev, next uint32
}

const strongBit = 1 << 31

func (e *entry) strong() bool      { return e.next&strongBit != 0 }
func (e *entry) after() uint32     { return e.next &^ strongBit }
func (e *entry) setAfter(n uint32) { e.next = e.next&strongBit | n }
func (e *entry) strengthen()       { e.next |= strongBit }

const slabSize = 1 << 12

// The limits of a place in the index: 23 bits of slot + 1, 9 of the hash.
const (
	slotMask = 1<<23 - 1
	tagMask  = ^uint32(slotMask)
	maxLimit = slotMask
)

// NewTable returns a table of at most limit entries, from 1 to 2^23 - 1. evicted is called with
// each entry that leaves to make room, before it does. The hash is seeded anew,
// so that nobody outside can choose keys that collide; results never depend on
// it.
func NewTable[V any](limit int, evicted func(Key, *V)) *Table[V] {
	return &Table[V]{seed: maphash.MakeSeed(), index: make([]uint32, 64), limit: uint32(min(max(limit, 1), maxLimit)), leaves: evicted}
}

// Len returns the number of entries.
func (t *Table[V]) Len() int { return int(t.count) }

// Bytes returns how much memory the table takes.
func (t *Table[V]) Bytes() int {
	n := 4 * cap(t.index)
	for _, s := range t.slabs {
		n += cap(s.entries)*int(unsafe.Sizeof(s.entries[0])) + cap(s.values)*int(unsafe.Sizeof(s.values[0]))
	}
	return n
}

// Find returns the value of key, nil when there is none. The pointer is valid
// until the next Get or Delete.
func (t *Table[V]) Find(key Key) *V {
	if place, _ := t.place(key); t.index[place] != 0 {
		return t.value(t.slot(place))
	}
	return nil
}

// Get returns the value of key, zero when it is new, and makes it the one that
// was used last. strong keeps it from leaving while a weak one is there; an
// entry that is strong stays so. The pointer is valid until the next Get or
// Delete.
func (t *Table[V]) Get(key Key, strong bool) (value *V, fresh bool) {
	place, tag := t.place(key)
	if t.index[place] != 0 {
		slot := t.slot(place)
		e := t.at(slot)
		t.unlink(e)
		if strong {
			e.strengthen()
		}
		t.link(slot, e)
		return t.value(slot), false
	}
	if t.count >= t.limit {
		t.evict()
		place, _ = t.place(key)
	}
	slot := t.take()
	e := t.at(slot)
	*e = entry{key: key}
	if strong {
		e.strengthen()
	}
	t.index[place] = tag | (slot + 1)
	t.count++
	t.link(slot, e)
	t.grow()
	value = t.value(slot)
	*value = *new(V)
	return value, true
}

// place returns where key stands in the index, or where it would, and the bits
// of its hash that stand there with it.
func (t *Table[V]) place(key Key) (place, tag uint32) {
	home, tag := t.hash(key)
	mask := uint32(len(t.index) - 1)
	for i := home; ; i = (i + 1) & mask {
		switch known := t.index[i]; {
		case known == 0:
			return i, tag
		case known&tagMask == tag && t.at(known&slotMask-1).key == key:
			return i, tag
		}
	}
}

// slot is what a place that is not free refers to.
func (t *Table[V]) slot(place uint32) uint32 { return t.index[place]&slotMask - 1 }

// hash returns where key would stand in an empty index, and the bits of its
// hash that stand there with it.
func (t *Table[V]) hash(key Key) (home, tag uint32) {
	h := maphash.Bytes(t.seed, key[:])
	return uint32(h) & uint32(len(t.index)-1), uint32(h>>32) & tagMask
}

// grow doubles the index when it is 3/4 full.
func (t *Table[V]) grow() {
	if uint64(t.count)*4 < uint64(len(t.index))*3 {
		return
	}
	old := t.index
	t.index = make([]uint32, 2*len(old))
	mask := uint32(len(t.index) - 1)
	for _, known := range old {
		if known == 0 {
			continue
		}
		i, _ := t.hash(t.at(known&slotMask - 1).key)
		for t.index[i] != 0 {
			i = (i + 1) & mask
		}
		t.index[i] = known
	}
}

// vacate frees a place of the index and moves up what stands behind it only
// because this place was taken (Knuth, TAOCP 3, 6.4, algorithm R).
func (t *Table[V]) vacate(hole uint32) {
	mask := uint32(len(t.index) - 1)
	for i := (hole + 1) & mask; t.index[i] != 0; i = (i + 1) & mask {
		home, _ := t.hash(t.at(t.slot(i)).key)
		if (i-home)&mask >= (i-hole)&mask {
			t.index[hole] = t.index[i]
			hole = i
		}
	}
	t.index[hole] = 0
}

// Oldest returns the entry of the weak and of the strong ones that was not used
// for the longest time, false when there is none.
func (t *Table[V]) Oldest(strong bool) (Key, *V, bool) {
	l := &t.lists[class(strong)]
	if l.tail == 0 {
		return Key{}, nil, false
	}
	return t.at(l.tail - 1).key, t.value(l.tail - 1), true
}

// Each calls visit for every entry: the weak before the strong, each from the
// one that was not used for the longest time. visit must not Get or Delete.
func (t *Table[V]) Each(visit func(key Key, value *V, strong bool)) {
	for _, l := range t.lists {
		for slot := l.tail; slot != 0; {
			e := t.at(slot - 1)
			visit(e.key, t.value(slot-1), e.strong())
			slot = e.prev
		}
	}
}

// Delete removes key.
func (t *Table[V]) Delete(key Key) {
	place, _ := t.place(key)
	if t.index[place] == 0 {
		return
	}
	slot := t.slot(place)
	e := t.at(slot)
	t.vacate(place)
	t.unlink(e)
	t.count--
	*e = entry{next: t.free}
	t.free = slot + 1
}

func (t *Table[V]) evict() {
	slot := t.lists[0].tail
	if slot == 0 {
		slot = t.lists[1].tail
	}
	key := t.at(slot - 1).key
	if t.leaves != nil {
		t.leaves(key, t.value(slot-1))
	}
	t.Delete(key)
}

func (t *Table[V]) take() uint32 {
	if t.free != 0 {
		slot := t.free - 1
		t.free = t.at(slot).next
		return slot
	}
	if t.used%slabSize == 0 {
		n := min(slabSize, t.limit-t.used)
		t.slabs = append(t.slabs, slab[V]{make([]entry, n), make([]V, n)})
	}
	t.used++
	return t.used - 1
}

func (t *Table[V]) at(slot uint32) *entry { return &t.slabs[slot/slabSize].entries[slot%slabSize] }

func (t *Table[V]) value(slot uint32) *V { return &t.slabs[slot/slabSize].values[slot%slabSize] }

func (t *Table[V]) link(slot uint32, e *entry) {
	l := &t.lists[class(e.strong())]
	e.prev = 0
	e.setAfter(l.head)
	if l.head != 0 {
		t.at(l.head - 1).prev = slot + 1
	} else {
		l.tail = slot + 1
	}
	l.head = slot + 1
}

func (t *Table[V]) unlink(e *entry) {
	l := &t.lists[class(e.strong())]
	if e.prev != 0 {
		t.at(e.prev - 1).setAfter(e.after())
	} else {
		l.head = e.after()
	}
	if e.after() != 0 {
		t.at(e.after() - 1).prev = e.prev
	} else {
		l.tail = e.prev
	}
}

func class(strong bool) int {
	if strong {
		return 1
	}
	return 0
}
