package siem

import (
	"context"
	"slices"
	"sort"
	"sync"
)

// The reasons for which a record is dropped.
const (
	reasonFull    = iota // the queue was full; the record that came is dropped, not one that waits
	reasonLarge          // larger than the destination takes
	reasonStopped        // not delivered when the time to stop was over, or sent after that
	reasons
)

// queue holds the records of one destination in the order in which they came,
// each with its line end. Any goroutine puts; one takes. A record is numbered
// by its place since the start; it stays until it is released, so that it can
// be taken again when a connection broke.
//
// The bytes lie in chunks, so that a batch is one contiguous write and a
// million records are no million objects. The spare capacity of the last chunk
// is filled while the bytes before it are being written.
type queue struct {
	wake  chan struct{} // has room for one: a record came
	lost  chan struct{} // has room for one: a record was dropped
	freed chan struct{} // has room for one: a record was released, or the queue closed

	largest   int // bytes of a record with its line end
	chunk     int // bytes of a chunk, unless one record is larger
	maxCount  int
	maxMemory int

	mu        sync.Mutex // guards what follows
	chunks    []*chunk   // oldest first; none is empty
	spare     *chunk     // emptied, for the next
	memory    int        // bytes that chunks hold, used or not
	sent      uint64     // records put, whatever became of them
	taken     uint64     // number of the next record that is accepted
	released  uint64     // number of the oldest record that waits
	dropped   [reasons]uint64
	discarded uint64 // of the released, those that were dropped
	closed    bool
}

// chunk is a run of records.
type chunk struct {
	first uint64 // number of its first record
	data  []byte
	ends  []uint32 // where each record ends in data
}

// batch is a run of whole records that lie side by side. It is valid until its
// records are released.
type batch struct {
	first uint64 // number of the first record
	base  uint32 // where data begins in its chunk
	data  []byte
	ends  []uint32 // where each record ends, counted from the start of the chunk
}

const chunkSize = 64 << 10

func newQueue(maxCount, maxMemory, largest int) *queue {
	return &queue{
		wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		maxCount: maxCount, maxMemory: maxMemory, largest: min(largest, maxMemory),
		chunk: min(chunkSize, maxMemory/16),
	}
}

// put copies a record, and a line end unless it has one, to the end.
func (q *queue) put(record []byte) {
	size := len(record)
	if size == 0 || record[size-1] != '\n' {
		size++
	}
	q.mu.Lock()
	q.sent++
	c, reason := q.lockedRoom(size)
	if c == nil {
		q.dropped[reason]++
		q.mu.Unlock()
		signal(q.lost)
		return
	}
	c.data = append(c.data, record...)
	if size > len(record) {
		c.data = append(c.data, '\n')
	}
	c.ends = append(c.ends, uint32(len(c.data)))
	q.taken++
	q.mu.Unlock()
	signal(q.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is set already
	}
}

// lockedRoom returns the chunk that has room for a record, or the reason why
// there is none.
func (q *queue) lockedRoom(size int) (c *chunk, reason int) {
	switch {
	case q.closed:
		return nil, reasonStopped
	case size > q.largest:
		return nil, reasonLarge
	case q.taken-q.released >= uint64(q.maxCount):
		return nil, reasonFull
	}
	if n := len(q.chunks); n > 0 {
		if c = q.chunks[n-1]; len(c.data)+size <= cap(c.data) {
			return c, 0
		}
	}
	room := max(size, q.chunk)
	if q.memory+room > q.maxMemory {
		return nil, reasonFull
	}
	if c = q.spare; c != nil && room == q.chunk {
		q.spare = nil
	} else {
		c = &chunk{data: make([]byte, 0, room)}
	}
	c.first = q.taken
	q.memory += room
	q.chunks = append(q.chunks, c)
	return c, 0
}

// head returns the number of the oldest record that waits.
func (q *queue) head() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.released
}

// from returns the records that lie side by side from number on, which must not
// be released; empty when there is none yet.
func (q *queue) from(number uint64) batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.chunks {
		if skip := int(number - c.first); skip < len(c.ends) {
			all := batch{first: c.first, data: c.data, ends: c.ends}
			return all.after(skip)
		}
	}
	return batch{first: number}
}

// after returns the batch without its first n records.
func (b batch) after(n int) batch {
	if n == 0 {
		return b
	}
	end := b.ends[n-1]
	return batch{first: b.first + uint64(n), base: end, data: b.data[end-b.base:], ends: b.ends[n:]}
}

// within returns as many records as fit into limit bytes, at least one.
func (b batch) within(limit int) batch {
	if len(b.data) <= limit {
		return b
	}
	n := sort.Search(len(b.ends), func(i int) bool { return int(b.ends[i]-b.base) > limit })
	n = max(n, 1)
	return batch{first: b.first, base: b.base, data: b.data[:b.ends[n-1]-b.base], ends: b.ends[:n]}
}

// whole returns how many records end within the first n bytes.
func (b batch) whole(n int) int {
	return sort.Search(len(b.ends), func(i int) bool { return int(b.ends[i]-b.base) > n })
}

// next returns the number of the record after the batch.
func (b batch) next() uint64 { return b.first + uint64(len(b.ends)) }

// release forgets the records before number: they are delivered. It never goes
// back.
func (q *queue) release(number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lockedRelease(number)
}

func (q *queue) lockedRelease(number uint64) {
	q.released = max(q.released, number)
	done := 0
	for done < len(q.chunks) && q.chunks[done].next() <= q.released {
		c := q.chunks[done]
		q.memory -= cap(c.data)
		if cap(c.data) == q.chunk {
			c.data, c.ends = c.data[:0], c.ends[:0]
			q.spare = c
		}
		done++
	}
	q.chunks = slices.Delete(q.chunks, 0, done)
	signal(q.freed)
}

// wait blocks until at most so many records wait, the queue is closed, or ctx
// ends. One goroutine may wait.
func (q *queue) wait(ctx context.Context, most int) error {
	for {
		q.mu.Lock()
		there := q.closed || q.taken-q.released <= uint64(most)
		q.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-q.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next returns the number of the record after the last of the chunk.
func (c *chunk) next() uint64 { return c.first + uint64(len(c.ends)) }

// discard drops the oldest record that waits.
func (q *queue) discard(reason int) {
	q.mu.Lock()
	q.dropped[reason]++
	q.discarded++
	q.lockedRelease(q.released + 1)
	q.mu.Unlock()
	signal(q.lost)
}

// close drops what waits and whatever comes later, and returns how many waited.
func (q *queue) close() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	waited := q.taken - q.released
	q.dropped[reasonStopped] += waited
	q.discarded += waited
	q.released, q.closed, q.chunks, q.spare, q.memory = q.taken, true, nil, nil, 0
	signal(q.freed)
	return waited
}

// totals are the counts of a queue at one moment:
// sent = delivered + queued + the sum of dropped.
type totals struct {
	sent, delivered, queued uint64
	dropped                 [reasons]uint64
}

func (q *queue) totals() totals {
	q.mu.Lock()
	defer q.mu.Unlock()
	return totals{q.sent, q.released - q.discarded, q.taken - q.released, q.dropped}
}

func (t totals) lost() uint64 {
	var n uint64
	for _, one := range t.dropped {
		n += one
	}
	return n
}
