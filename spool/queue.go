package spool

import (
	"slices"
	"sort"
)

// queue holds the records of one class.
type queue struct {
	chunks []*chunk // oldest first
	taken  uint64   // number of the next record
	next   uint64   // no record before it waits to be handed out
	counts Counts
}

// chunk is a run of records. None is empty.
type chunk struct {
	first   uint64 // number of its first record
	data    []byte
	ends    []uint32 // where each record ends in data
	states  []state  // of each record
	settled int
	out     int
}

type state uint8

const (
	waits state = iota
	handedOut
	settled
)

func (c *chunk) append(record []byte) {
	c.data = append(c.data, record...)
	c.ends = append(c.ends, uint32(len(c.data)))
	c.states = append(c.states, waits)
}

func (c *chunk) reset() {
	*c = chunk{data: c.data[:0], ends: c.ends[:0], states: c.states[:0]}
}

// fits reports whether a record of this size goes into the last chunk. It does
// not when a later one was given back, as numbers in a chunk leave out none.
func (q *queue) fits(size int) bool {
	n := len(q.chunks)
	if n == 0 {
		return false
	}
	c := q.chunks[n-1]
	return c.first+uint64(len(c.ends)) == q.taken && len(c.data)+size <= cap(c.data)
}

// find returns the place of the chunk that holds a record.
func (q *queue) find(number uint64) (place int, ok bool) {
	i := sort.Search(len(q.chunks), func(i int) bool { return q.chunks[i].first > number }) - 1
	return i, i >= 0 && number-q.chunks[i].first < uint64(len(q.chunks[i].ends))
}

// remove takes a chunk out.
func (q *queue) remove(i int) { q.chunks = slices.Delete(q.chunks, i, i+1) }

// seek returns where the oldest record is that was not handed out; a nil chunk
// when there is none.
func (q *queue) seek() (c *chunk, at int) {
	begin := sort.Search(len(q.chunks), func(i int) bool { return q.chunks[i].first > q.next }) - 1
	for _, c := range q.chunks[max(0, begin):] {
		at := 0
		if q.next > c.first {
			at = int(min(q.next-c.first, uint64(len(c.ends))))
		}
		for ; at < len(c.states); at++ {
			if c.states[at] == waits {
				q.next = c.first + uint64(at)
				return c, at
			}
		}
	}
	q.next = q.taken
	return nil, 0
}

// take hands out the records from a place on that wait side by side.
func (c *chunk) take(at, records, bytes int) Batch {
	n := 0
	for at+n < len(c.states) && c.states[at+n] == waits && n < records {
		c.states[at+n] = handedOut
		n++
	}
	all := Batch{First: c.first, Data: c.data, ends: c.ends}
	b := all.After(at).Before(n)
	if fit := b.Within(bytes); fit.Len() < n {
		for i := fit.Len(); i < n; i++ {
			c.states[at+i] = waits
		}
		b = fit
	}
	c.out += b.Len()
	return b
}

// turn gives another state to those records of b that are handed out, and
// returns how many they were.
func (c *chunk) turn(b Batch, to state) (n int) {
	at := int(b.First - c.first)
	for i := at; i < min(at+b.Len(), len(c.states)); i++ {
		if c.states[i] == handedOut {
			c.states[i] = to
			n++
		}
	}
	return n
}

// rewind makes every record that is handed out wait again.
func (q *queue) rewind() {
	for _, c := range q.chunks {
		for i := range c.states {
			if c.states[i] == handedOut {
				c.states[i] = waits
			}
		}
		c.out = 0
	}
	if len(q.chunks) > 0 {
		q.next = q.chunks[0].first
	}
	q.counts.Out = 0
}

// displaceable returns how many records and bytes of memory dropping the newest
// records would free, up to as much as is needed.
func (q *queue) displaceable(records, bytes int) (haveRecords, haveBytes int) {
	for i := len(q.chunks) - 1; i >= 0 && (haveRecords < records || haveBytes < bytes); i-- {
		c := q.chunks[i]
		if c.out > 0 {
			return haveRecords + c.tail(), haveBytes
		}
		haveRecords += len(c.ends) - c.settled
		haveBytes += cap(c.data)
	}
	return haveRecords, haveBytes
}

// tail returns how many records wait behind the last one that is handed out.
func (c *chunk) tail() (n int) {
	for at := len(c.states) - 1; c.states[at] != handedOut; at-- {
		if c.states[at] == waits {
			n++
		}
	}
	return n
}

// displace drops the newest record, unless it is handed out or there is none.
// A settled one behind it goes too. The numbers are used again.
func (q *queue) displace() bool {
	for len(q.chunks) > 0 {
		c := q.chunks[len(q.chunks)-1]
		last := len(c.ends) - 1
		if last < 0 || c.states[last] == handedOut {
			return false
		}
		was := c.states[last]
		c.cut(last)
		q.taken = c.first + uint64(last)
		q.next = min(q.next, q.taken)
		if was == waits {
			q.counts.Waiting--
			q.counts.Dropped[Displaced]++
			return true
		}
		c.settled--
	}
	return false
}

// cut removes the last record.
func (c *chunk) cut(last int) {
	begin := uint32(0)
	if last > 0 {
		begin = c.ends[last-1]
	}
	c.data, c.ends, c.states = c.data[:begin], c.ends[:last], c.states[:last]
}
