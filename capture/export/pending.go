package export

import (
	"slices"

	"vft/capture/flow"
)

// pending holds the sets of data whose template did not come yet.
type pending struct {
	sets  []*waitingSet // oldest first; those without an exporter are done
	done  int           // of these
	bytes int           // of the others
}

// waitingSet is a set of data with what decoding it needs of its datagram.
type waitingSet struct {
	exporter *exporter // nil: decoded or dropped
	clock    clock
	came     int64
	id, port uint16
	data     []byte
}

// waitingCost is what a set is charged besides its data, so that small ones are
// few as well.
const waitingCost = 256

func (w *waitingSet) cost() int { return waitingCost + len(w.data) }

// keep stores a set until its template comes, in place of the oldest ones when
// there is no room. One exporter gets a quarter of the room.
func (d *Decoder) keep(m *message, id uint16, set []byte) {
	d.expire(m.now)
	w := &waitingSet{exporter: m.exporter, clock: m.clock, came: m.now, id: id, port: m.port}
	cost := w.cost() + len(set)
	if m.waitingBytes+cost > d.cfg.MaxPending/4 {
		d.counts[pendingDropped]++
		m.missing++
		return
	}
	for d.pending.bytes+cost > d.cfg.MaxPending {
		d.giveUp(d.oldestWaiting(), pendingDropped)
	}
	w.data = slices.Clone(set)
	d.counts[pendingKept]++
	d.pending.sets = append(d.pending.sets, w)
	d.pending.bytes += cost
	if m.waiting == nil {
		m.waiting = map[uint16][]*waitingSet{}
	}
	m.waiting[id] = append(m.waiting[id], w)
	m.waitingBytes += cost
}

// expire drops the sets that waited too long.
func (d *Decoder) expire(now int64) {
	for w := d.oldestWaiting(); w != nil && now-w.came > int64(d.cfg.PendingAge); w = d.oldestWaiting() {
		d.giveUp(w, pendingExpired)
	}
}

// oldestWaiting returns the set that waits longest, or nil.
func (d *Decoder) oldestWaiting() *waitingSet {
	for len(d.pending.sets) > 0 && d.pending.sets[0].exporter == nil {
		d.pending.sets = d.pending.sets[1:]
		d.pending.done--
	}
	if len(d.pending.sets) == 0 {
		return nil
	}
	return d.pending.sets[0]
}

// giveUp drops a set without decoding it.
func (d *Decoder) giveUp(w *waitingSet, why counter) {
	e := w.exporter
	d.counts[why]++
	e.missing++
	e.waits(w.id, e.waiting[w.id][1:]) // the oldest of all is the first of its id
	d.settle(w)
}

// waits sets what waits for the template id.
func (e *exporter) waits(id uint16, sets []*waitingSet) {
	if len(sets) == 0 {
		delete(e.waiting, id)
	} else {
		e.waiting[id] = sets
	}
}

// settle takes back what a set was charged, once it left its exporter.
func (d *Decoder) settle(w *waitingSet) {
	d.pending.bytes -= w.cost()
	w.exporter.waitingBytes -= w.cost()
	w.exporter, w.data = nil, nil
	d.pending.done++
	if d.pending.done > len(d.pending.sets)/2+16 {
		d.pending.sets = slices.DeleteFunc(d.pending.sets, func(x *waitingSet) bool { return x.exporter == nil })
		d.pending.done = 0
	}
}

// release decodes the sets of the exporter of m that waited for the template id.
func (d *Decoder) release(m *message, id uint16, into []flow.Record) []flow.Record {
	if len(m.waiting[id]) == 0 {
		return into
	}
	d.expire(m.now)
	var ready []*waitingSet
	m.waits(id, slices.DeleteFunc(m.waiting[id], func(w *waitingSet) bool {
		known := m.template(id, w.port) != nil
		if known {
			ready = append(ready, w)
		}
		return known
	}))
	for _, w := range ready {
		d.counts[pendingDecoded]++
		old := message{exporter: m.exporter, port: w.port, clock: w.clock, now: w.came, left: MaxRecords}
		into = d.data(&old, m.template(id, w.port), w.data, into)
		d.settle(w)
	}
	return into
}

// abandon drops what waits for the templates of e.
func (d *Decoder) abandon(e *exporter) {
	for _, sets := range e.waiting {
		for _, w := range sets {
			d.counts[pendingDropped]++
			d.settle(w)
		}
	}
	e.waiting = nil
}
