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
	idle    uint32 // intervals without a byte
	zeros   uint32 // newest of them that are not in the series yet
	at      uint32 // place in used
	ended   bool   // it will not be shown again, its successor may
}

// direction returns the key of one direction.
func (p *pipe) direction(side int) flow.Key {
	if side == 1 {
		return p.key.Reverse()
	}
	return p.key
}

// writeZeros puts the intervals that were passed over into the series.
func (p *pipe) writeZeros(limit int) {
	for ; p.zeros > 0; p.zeros-- {
		for side := range p.series {
			if len(p.series[side]) > 0 {
				p.series[side].push(0, limit)
			}
		}
	}
}

// rest counts an interval that is over.
func (p *pipe) rest() {
	if p.pending == [2]uint64{} {
		p.idle++
	} else {
		p.idle = 0
	}
}

// pipes is the bounded table of the flows that are watched. About 250 bytes a flow,
// and 8 more for each value of its series.
type pipes struct {
	limit  int
	index  map[flow.Key]uint32
	slots  []pipe
	used   []uint32 // slots of the flows, in no order
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
	return pipes{limit: limit, index: map[flow.Key]uint32{}, lost: -1 << 63}
}

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
	*p = pipe{key: key, at: uint32(len(t.used)), series: [2]series{p.series[0][:0], p.series[1][:0]}}
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
	if p.idle != q.idle {
		return p.idle > q.idle
	}
	return p.pending[0]+p.pending[1] < q.pending[0]+q.pending[1]
}

func (t *pipes) free(slot uint32) {
	p := &t.slots[slot]
	if !p.ended {
		t.lost = max(t.lost, p.first)
	}
	delete(t.index, p.key)
	moved := t.used[len(t.used)-1]
	t.used[p.at], t.slots[moved].at = moved, p.at
	t.used = t.used[:len(t.used)-1]
	t.spare = append(t.spare, slot)
}
