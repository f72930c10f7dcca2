package watch

import "vft/capture/flow"

// series is the bytes per interval of one direction, newest last.
type series []float64

// push appends x and keeps the newest limit values. The memory of a short series
// is small and that of a long one exactly its limit.
func (s *series) push(x float64, limit int) {
	v := *s
	if len(v) >= limit {
		copy(v, v[len(v)-limit+1:])
		v = v[:limit-1]
	}
	if len(v) == cap(v) {
		v = append(make(series, 0, min(limit, max(4, 2*len(v)))), v...)
	}
	*s = append(v, x)
}

// pipe is what is kept of a flow: its counts when it was last shown, and a series
// for each direction.
type pipe struct {
	key     flow.Key
	first   int64     // tells a flow from the next one of the same key
	last    [2]uint64 // payload bytes when it was last shown; along key, and back
	pending [2]uint64 // of the open interval
	series  [2]series
	seen    uint32 // number of the newest interval with a byte, of those that are closed
	written uint32 // number of the newest interval whose value is in the series
	at      uint32 // place in used
	before  uint32 // the slot that was seen before it, and the one after: see pipes.oldest
	after   uint32
	ended   bool // it will not be shown again, its successor may
	active  bool // it stands in pipes.active
}

// direction returns the key of one direction.
func (p *pipe) direction(side int) flow.Key {
	if side == 1 {
		return p.key.Reverse()
	}
	return p.key
}

// write puts the intervals that were passed over since into the series, up to the one
// before that number.
func (p *pipe) write(number uint32, limit int) {
	zeros := min(number-p.written-1, uint32(limit))
	p.written = number
	for side := range p.series {
		for n := uint32(0); n < zeros && len(p.series[side]) > 0; n++ {
			p.series[side].push(0, limit)
		}
	}
}

// directions is how many of the two have a series.
func (p *pipe) directions() (n uint64) {
	for side := range p.series {
		if len(p.series[side]) > 0 {
			n++
		}
	}
	return n
}

// pipes is the bounded table of the flows that are watched. About 250 bytes a flow,
// and 8 more for each value of its series. Most flows are at rest: those with a byte in
// the open interval stand in a list of their own, and those at rest need not be looked
// at before a value follows or they are forgotten.
type pipes struct {
	limit  int
	index  map[flow.Key]uint32
	slots  []pipe
	used   []uint32 // slots of the flows, in no order
	active []uint32 // slots with a byte in the open interval, and some that were freed since
	number uint32   // of the open interval
	oldest uint32   // slots in the order in which they were seen
	newest uint32
	spare  []uint32
	hand   int
	leaves func(slot uint32) // is told before a flow is driven out

	// A flow that began no later than lost may have been forgotten while it lived.
	// Then all that it carried is no burst, unless it began in the open interval.
	lost         int64
	start        int64 // of the open interval
	evictedFlows uint64
	rejoined     uint64
}

func newPipes(limit int) pipes {
	return pipes{limit: limit, index: map[flow.Key]uint32{}, number: 1, oldest: noSlot, newest: noSlot, lost: -1 << 63}
}

const noSlot = 1<<32 - 1

// link puts a slot at the end of the order, as the one seen last.
func (t *pipes) link(slot uint32) {
	p := &t.slots[slot]
	p.before, p.after = t.newest, noSlot
	if t.newest == noSlot {
		t.oldest = slot
	} else {
		t.slots[t.newest].after = slot
	}
	t.newest = slot
}

func (t *pipes) unlink(slot uint32) {
	p := &t.slots[slot]
	if p.before == noSlot {
		t.oldest = p.after
	} else {
		t.slots[p.before].after = p.after
	}
	if p.after == noSlot {
		t.newest = p.before
	} else {
		t.slots[p.after].before = p.before
	}
}

// rest counts the open interval of a flow with a byte in it.
func (t *pipes) rest(slot uint32) {
	p := &t.slots[slot]
	p.pending, p.seen = [2]uint64{}, t.number
	t.unlink(slot)
	t.link(slot)
}

// passed returns how many values of a flow were passed over, those of the open interval
// left out.
func (t *pipes) passed(p *pipe) uint64 { return uint64(t.number-1-p.written) * p.directions() }

// add counts what the flow carried since it was last shown, and returns it: along
// r.Key, and back.
func (t *pipes) add(r *flow.Record) (carried [2]uint64) {
	now := [2]uint64{r.Fwd.Payload, r.Rev.Payload}
	slot, known := t.index[r.Key]
	turned := false
	if !known {
		if slot, turned = t.index[r.Reverse()]; turned {
			known = true
			now[0], now[1] = now[1], now[0]
		}
	}
	if !known {
		if now == [2]uint64{} {
			return carried
		}
		slot = t.insert(r.Key)
		p := &t.slots[slot]
		p.first = r.First
		if r.First <= t.lost && r.First < t.start {
			p.last = now
			t.rejoined++
		}
	}
	p := &t.slots[slot]
	if p.first != r.First {
		p.first, p.last = r.First, [2]uint64{}
	}
	for i := range now {
		if now[i] > p.last[i] {
			carried[i] = now[i] - p.last[i]
			p.pending[i] += carried[i]
		}
	}
	if carried != [2]uint64{} && !p.active {
		p.active = true
		t.active = append(t.active, slot)
	}
	p.last, p.ended = now, r.End != flow.Alive
	if turned {
		carried[0], carried[1] = carried[1], carried[0]
	}
	return carried
}

func (t *pipes) insert(key flow.Key) uint32 {
	if len(t.used) >= t.limit {
		t.evict()
	}
	var slot uint32
	if n := len(t.spare); n > 0 {
		slot, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		slot = uint32(len(t.slots))
		t.slots = append(t.slots, pipe{})
	}
	p := &t.slots[slot]
	*p = pipe{key: key, at: uint32(len(t.used)), seen: t.number - 1, written: t.number - 1, series: [2]series{p.series[0][:0], p.series[1][:0]}}
	t.link(slot)
	t.used = append(t.used, slot)
	t.index[key] = slot
	return slot
}

// evictLook is how many flows are looked at to find one to drive out.
const evictLook = 16

// evict drives out one of the next flows: the one that was idle for the longest
// time, of those the one that carries least.
func (t *pipes) evict() {
	victim := uint32(0)
	for i := range min(evictLook, len(t.used)) {
		if t.hand++; t.hand >= len(t.used) {
			t.hand = 0
		}
		if slot := t.used[t.hand]; i == 0 || t.weaker(slot, victim) {
			victim = slot
		}
	}
	t.evictedFlows++
	t.leaves(victim)
	t.free(victim)
}

func (t *pipes) weaker(a, b uint32) bool {
	p, q := &t.slots[a], &t.slots[b]
	if p.seen != q.seen {
		return p.seen < q.seen
	}
	return p.pending[0]+p.pending[1] < q.pending[0]+q.pending[1]
}

func (t *pipes) free(slot uint32) {
	p := &t.slots[slot]
	if !p.ended {
		t.lost = max(t.lost, p.first)
	}
	p.active = false
	t.unlink(slot)
	delete(t.index, p.key)
	moved := t.used[len(t.used)-1]
	t.used[p.at], t.slots[moved].at = moved, p.at
	t.used = t.used[:len(t.used)-1]
	t.spare = append(t.spare, slot)
}
