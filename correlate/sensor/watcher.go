package sensor

import "math"

// The limits of the notes that a sensor keeps.
const (
	mostNotes   = 4096 // of one key; where more flows are in a window, older ones share a note
	lateInARow  = 8    // so many flows that are too late move a window back: its newest one had a wrong time
	memberSpace = 4    // metrics whose members are counted
)

// watcher is one sensor at work: its windows.
type watcher struct {
	Definition
	hash    hasher
	keys    keys
	pool    pool
	members members
	most    uint16   // notes of a key
	counted []metric // distinct metrics that the condition uses
	values  values   // of the window that was looked at last

	now     uint32 // by Set.Advance, seconds
	matched uint64
	late    uint64
	evicted uint64
	failed  uint64 // conditions that could not be computed
	fired   uint64
}

func newWatcher(d Definition, h hasher, maxKeys int) *watcher {
	w := &watcher{Definition: d, hash: h}
	enough := d.condition.enough()
	heavy := enough == 0 || enough > mostNotes
	w.most = mostNotes
	switch {
	case d.window.kind == count:
		w.most = uint16(d.window.flows)
	case !heavy:
		w.most = uint16(enough)
	}
	if c := d.condition; c != nil {
		for m := distinctSrc; m <= distinctDstPort; m++ {
			if c.uses[m] {
				w.counted = append(w.counted, m)
			}
		}
	}
	w.keys = newKeys(maxKeys, heavy)
	// Nearly two blocks a key, seven flows on the average: those that have one or
	// two leave theirs to those that have hundreds.
	w.pool = pool{heavy: heavy, limit: uint32(max(maxKeys/8*15, mostNotes/blockFlows+3))}
	return w
}

// flow takes a flow and reports whether the condition holds for its window,
// whose values are then in w; slot is the key's, -1 where the sensor looks at
// each flow alone.
func (w *watcher) flow(r record) (slot int, holds bool) {
	w.matched++
	if w.window.kind == single {
		w.alone(r)
		return -1, w.holds()
	}
	slot = w.slot(r)
	if !w.insert(slot, r) {
		return slot, false
	}
	w.measure(slot)
	return slot, w.holds()
}

func (w *watcher) holds() bool {
	holds, err := w.condition.holds(&w.values)
	if err != nil {
		w.failed++
	}
	return holds
}

// alone measures a window of one flow.
func (w *watcher) alone(r record) {
	w.values = values{Flows: 1, SumBytes: clamp(r.NetworkBytes(&r.Fwd)), SumPackets: clamp(r.Fwd.Packets), DistinctSrc: 1, DistinctDst: 1, DistinctSrcPort: 1, DistinctDstPort: 1}
}

func clamp(n uint64) int { return int(min(n, math.MaxInt)) }

// measure takes the metrics of the window of a key.
func (w *watcher) measure(slot int) {
	v := &w.values
	v.Flows = int(w.keys.slots[slot].flows)
	if w.keys.heavy {
		s := &w.keys.sums[slot]
		v.SumBytes, v.SumPackets = clamp(s.bytes), clamp(s.packets)
		v.DistinctSrc, v.DistinctDst = int(s.distinct[0]), int(s.distinct[1])
		v.DistinctSrcPort, v.DistinctDstPort = int(s.distinct[2]), int(s.distinct[3])
	}
}

// slot returns the slot of the key of r.
func (w *watcher) slot(r record) int {
	hash := w.hash.of(r, w.key)
	slot := w.keys.find(hash)
	if slot < 0 {
		if w.keys.count >= w.keys.limit {
			w.evict(-1)
		}
		slot = w.keys.insert(hash)
		w.keys.slots[slot].newest = milliseconds(r)
	}
	return slot
}

// evict drives out the weakest of a few keys, but not that of slot except.
func (w *watcher) evict(except int) {
	over := int32(min(w.window.forgets()/1000+30, math.MaxInt32))
	victim := w.keys.weakest(w.now, over, except)
	if victim < 0 {
		return
	}
	w.evicted++
	w.clear(victim)
	w.keys.remove(victim)
}

// clear empties the window of a key.
func (w *watcher) clear(slot int) {
	for w.keys.slots[slot].log.n > 0 {
		w.dropFirst(slot)
	}
}

// milliseconds returns the time at which a flow ended.
func milliseconds(r record) int64 { return floor(r.Last, 1e6) / 1e6 }

// insert takes a flow into the window of its key, and reports whether it still
// belongs there.
func (w *watcher) insert(slot int, r record) bool {
	k, at := &w.keys.slots[slot], milliseconds(r)
	k.used = w.now
	if w.tooLate(k, at) {
		w.late++
		if k.late++; k.late < lateInARow {
			return false
		}
		w.clear(slot)
		k.newest = at
	}
	k.late = 0
	w.move(slot, max(at, k.newest), at)
	for !w.pool.room(&k.log) && w.keys.count > 1 {
		w.evict(slot)
	}
	if int(k.log.n) >= int(w.most) && w.keys.heavy && w.window.kind != count {
		w.shorten(slot)
	}
	w.add(slot, r, at)
	if k.log.n > w.most {
		began := k.oldest
		if w.dropFirst(slot); w.window.kind == session {
			k.oldest = began // the session goes on
		}
	}
	return true
}

// tooLate reports whether a flow that ended at at lies before the window.
func (w *watcher) tooLate(k *key, at int64) bool {
	switch w.window.kind {
	case count:
		return false
	case session:
		return k.log.n > 0 && k.newest-at >= int64(uint32(k.newest)-k.oldest)+w.window.size
	}
	return at < w.window.begin(k.newest)
}

// move lets the window of a key end at newest, and drops what is before it. at
// is the time of the flow that comes.
func (w *watcher) move(slot int, newest, at int64) {
	k := &w.keys.slots[slot]
	begin := w.window.begin(newest)
	switch {
	case w.window.kind == count && k.newest-at >= w.window.forgets():
		w.clear(slot)
		newest = at
	case newest-k.newest >= w.window.forgets():
		w.clear(slot)
	case w.window.kind == period || w.window.kind == hopping:
		for k.log.n > 0 && int32(k.oldest-uint32(begin)) < 0 {
			w.dropFirst(slot)
		}
	}
	k.newest = newest
}

// add notes a flow of a window, for which there is room.
func (w *watcher) add(slot int, r record, at int64) {
	k := &w.keys.slots[slot]
	n := note{at: uint32(at), dst: w.hash.short(r.Dst), port: r.DstPort, kind: kindOf(r)}
	if !w.keys.heavy {
		k.flows++
		w.order(k, w.pool.append(&k.log, n, nil))
		return
	}
	x := weight{bytes: r.NetworkBytes(&r.Fwd), packets: r.Fwd.Packets, flows: 1, src: w.hash.short(r.Src), srcPort: r.SrcPort}
	s := &w.keys.sums[slot]
	k.flows += x.flows
	s.bytes += x.bytes
	s.packets += x.packets
	for _, m := range w.counted {
		if w.members.add(w.memberOf(k.hash, m, &n, &x)) {
			s.distinct[m-distinctSrc]++
		}
	}
	w.order(k, w.pool.append(&k.log, n, &x))
}

func kindOf(r record) (kind noteKind) {
	if !r.Dst.Is4() {
		kind |= wide
	}
	if r.Ports {
		kind |= ported
	}
	return kind
}

// order puts the last note in its place. The last flows count as they came.
func (w *watcher) order(k *key, last spot) {
	at := w.pool.note(last).at
	if w.window.kind != count {
		w.pool.sort(&k.log, last)
	}
	if k.log.n == 1 || int32(at-k.oldest) < 0 {
		k.oldest = at
	}
}

// memberOf returns the hash of what a note adds to a distinct metric of a key.
func (w *watcher) memberOf(key uint64, m metric, n *note, x *weight) uint64 {
	value := uint32(n.port)
	switch m {
	case distinctSrc:
		value = x.src
	case distinctDst:
		value = n.dst
	case distinctSrcPort:
		value = uint32(x.srcPort)
	}
	return fold(key^uint64(m)<<56^uint64(value), w.hash.b)
}

// dropFirst removes the oldest flow of a key.
func (w *watcher) dropFirst(slot int) {
	k := &w.keys.slots[slot]
	if w.keys.heavy {
		w.subtract(slot, k.log.first())
	} else {
		k.flows--
	}
	w.pool.drop(&k.log)
	if k.log.n > 0 {
		k.oldest = w.pool.note(k.log.first()).at
	}
}

func (w *watcher) subtract(slot int, at spot) {
	k, s, x := &w.keys.slots[slot], &w.keys.sums[slot], w.pool.weight(at)
	k.flows -= x.flows
	s.bytes -= x.bytes
	s.packets -= x.packets
	w.forget(slot, at)
}

// forget takes a note out of the distinct metrics.
func (w *watcher) forget(slot int, at spot) {
	k, s := &w.keys.slots[slot], &w.keys.sums[slot]
	for _, m := range w.counted {
		if w.members.remove(w.memberOf(k.hash, m, w.pool.note(at), w.pool.weight(at))) {
			s.distinct[m-distinctSrc]--
		}
	}
}

// shorten makes one note of each two: it has the time of the older one, so that
// a window never counts a flow that is not in it, and the sums of both.
func (w *watcher) shorten(slot int) {
	l := &w.keys.slots[slot].log
	from, to := l.first(), l.first()
	half := l.n / 2
	for i := range half {
		a, b := from, w.pool.after(from)
		from = w.pool.after(b)
		w.forget(slot, b)
		n, x, y := *w.pool.note(a), *w.pool.weight(a), w.pool.weight(b)
		x.bytes, x.packets, x.flows = x.bytes+y.bytes, x.packets+y.packets, x.flows+y.flows
		*w.pool.note(to), *w.pool.weight(to) = n, x
		if i+1 < half {
			to = w.pool.after(to)
		}
	}
	if l.n%2 == 1 {
		to = w.pool.after(to)
		*w.pool.note(to), *w.pool.weight(to) = *w.pool.note(from), *w.pool.weight(from)
	}
	w.pool.truncate(l, half+l.n%2)
}

// expire drops the windows of a few keys that are long over.
func (w *watcher) expire(look int) {
	over := int32(min(w.window.forgets()/1000+30, math.MaxInt32))
	for range min(look, len(w.keys.slots)) {
		if w.keys.hand++; w.keys.hand >= len(w.keys.slots) {
			w.keys.hand = 0
		}
		if k := &w.keys.slots[w.keys.hand]; k.taken && int32(w.now-k.used) > over {
			w.clear(w.keys.hand)
			w.keys.remove(w.keys.hand)
		}
	}
}
