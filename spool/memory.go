package spool

import (
	"context"
	"sync"
)

// Limits bound a log. A limit that is 0 has the default.
type Limits struct {
	Records int // that wait at most; default 65,536
	Bytes   int // of memory that they take at most; default 64 MiB
	Largest int // bytes of a record; default Bytes
}

// chunkSize is how many bytes of records a log asks memory for at once, where
// its limit is not too small for that.
const chunkSize = 64 << 10

// Memory is a Log in memory. A record costs its length and five bytes, in
// chunks of 64 KiB: a million records are no million objects.
type Memory struct {
	limits  Limits
	chunk   int // bytes of a chunk, unless one record is larger
	changed chan struct{}
	dropped chan struct{}
	freed   chan struct{} // has room for one: a record left, or the log closed

	mu      sync.Mutex // guards what follows
	queues  [classes]queue
	spare   *chunk // emptied, for the next
	memory  int    // bytes of the chunks, used or not
	lent    int    // of these, bytes of chunks with records that are handed out
	waiting int    // records that are neither delivered nor dropped
	out     int    // of these, handed out
	closed  bool
}

var _ Log = (*Memory)(nil)

// NewMemory returns an empty log.
func NewMemory(l Limits) *Memory {
	if l.Records <= 0 {
		l.Records = 1 << 16
	}
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.Largest <= 0 {
		l.Largest = l.Bytes
	}
	l.Largest = min(l.Largest, l.Bytes)
	return &Memory{
		limits: l, chunk: min(chunkSize, l.Bytes/16),
		changed: make(chan struct{}, 1), dropped: make(chan struct{}, 1), freed: make(chan struct{}, 1),
	}
}

// Append implements Log.
func (m *Memory) Append(class Class, record []byte) {
	m.mu.Lock()
	q := &m.queues[class]
	q.counts.Sent++
	if reason, ok := m.lockedRoom(class, len(record)); !ok {
		q.counts.Dropped[reason]++
		m.mu.Unlock()
		signal(m.dropped)
		return
	}
	displaced := m.lockedDisplace(class, len(record))
	m.lockedChunk(q, len(record)).append(record)
	q.taken++
	q.counts.Waiting++
	m.waiting++
	m.mu.Unlock()
	signal(m.changed)
	if displaced {
		signal(m.dropped)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is set already
	}
}

// lockedRoom reports whether there is room for a record, or would be if lower
// classes lost theirs, and otherwise why not.
func (m *Memory) lockedRoom(class Class, size int) (reason Reason, ok bool) {
	switch {
	case m.closed:
		return Stopped, false
	case size > m.limits.Largest:
		return TooLarge, false
	case m.lockedFits(class, size):
		return 0, true
	}
	records, bytes := m.waiting-m.limits.Records, m.memory+m.lockedNeeds(class, size)-m.limits.Bytes
	for lower := classes - 1; lower > class; lower-- {
		r, b := m.queues[lower].displaceable(records+1, bytes)
		records, bytes = records-r, bytes-b
	}
	return QueueFull, records < 0 && bytes <= 0
}

// lockedFits reports whether there is room for a record of this size.
func (m *Memory) lockedFits(class Class, size int) bool {
	return m.waiting < m.limits.Records && m.memory+m.lockedNeeds(class, size) <= m.limits.Bytes
}

// lockedNeeds returns how many bytes of memory a record needs that are not
// asked for yet.
func (m *Memory) lockedNeeds(class Class, size int) int {
	if m.queues[class].fits(size) {
		return 0
	}
	return max(size, m.chunk)
}

// lockedDisplace drops the newest records of the lowest classes until a record
// has room, and reports whether it had to.
func (m *Memory) lockedDisplace(class Class, size int) (displaced bool) {
	for lower := classes - 1; lower > class && !m.lockedFits(class, size); {
		q := &m.queues[lower]
		if !q.displace() {
			lower--
			continue
		}
		m.waiting--
		displaced = true
		m.lockedFree(q, len(q.chunks)-1)
	}
	return displaced
}

// lockedChunk returns a chunk at the end of a queue that has room for a record.
func (m *Memory) lockedChunk(q *queue, size int) *chunk {
	if q.fits(size) {
		return q.chunks[len(q.chunks)-1]
	}
	room := max(size, m.chunk)
	c := m.spare
	if c != nil && room == m.chunk {
		m.spare = nil
	} else {
		c = &chunk{data: make([]byte, 0, room)}
	}
	c.first = q.taken
	m.memory += room
	q.chunks = append(q.chunks, c)
	return c
}

// lockedFree gives a chunk of q back when all its records are settled.
func (m *Memory) lockedFree(q *queue, i int) {
	c := q.chunks[i]
	if c.settled < len(c.ends) {
		return
	}
	m.memory -= cap(c.data)
	if cap(c.data) == m.chunk {
		c.reset()
		m.spare = c
	}
	q.remove(i)
}

// Take implements Log.
func (m *Memory) Take(records, bytes int) Batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	// An eighth of the room is never handed out, so that there is always
	// something that a higher class can displace.
	mayOut := m.limits.Records - m.limits.Records/8 - m.out
	if m.out == 0 {
		mayOut = max(mayOut, 1)
	}
	records = min(records, mayOut)
	for class := range classes {
		q := &m.queues[class]
		c, at := q.seek()
		if c == nil {
			continue
		}
		if c.out == 0 {
			if m.out > 0 && m.lent+cap(c.data) > m.limits.Bytes-m.limits.Bytes/8 {
				return Batch{}
			}
			m.lent += cap(c.data)
		}
		b := c.take(at, records, bytes)
		b.Class = class
		if c.out == 0 {
			m.lent -= cap(c.data)
		}
		m.out += b.Len()
		q.counts.Out += uint64(b.Len())
		return b
	}
	return Batch{}
}

// Ack implements Log.
func (m *Memory) Ack(b Batch) {
	if b.Len() > 0 && m.settle(b, func(c *Counts, n uint64) { c.Delivered += n }) {
		signal(m.changed)
		signal(m.freed)
	}
}

// Drop implements Log.
func (m *Memory) Drop(b Batch, reason Reason) {
	if b.Len() > 0 && m.settle(b, func(c *Counts, n uint64) { c.Dropped[reason] += n }) {
		signal(m.changed)
		signal(m.freed)
		signal(m.dropped)
	}
}

// settle forgets records that are handed out; count is told how many. It
// reports whether there was any.
func (m *Memory) settle(b Batch, count func(*Counts, uint64)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := &m.queues[b.Class]
	i, ok := q.find(b.First)
	if !ok {
		return false
	}
	c := q.chunks[i]
	n := c.turn(b, settled)
	c.settled += n
	m.lockedBack(q, c, n)
	m.waiting -= n
	q.counts.Waiting -= uint64(n)
	count(&q.counts, uint64(n))
	m.lockedFree(q, i)
	return n > 0
}

// lockedBack counts that n records of a chunk are no longer handed out.
func (m *Memory) lockedBack(q *queue, c *chunk, n int) {
	if n == 0 {
		return
	}
	m.out -= n
	q.counts.Out -= uint64(n)
	if c.out -= n; c.out == 0 {
		m.lent -= cap(c.data)
	}
}

// Nack implements Log.
func (m *Memory) Nack(b Batch) {
	if b.Len() == 0 {
		return
	}
	m.mu.Lock()
	q := &m.queues[b.Class]
	if i, ok := q.find(b.First); ok {
		m.lockedBack(q, q.chunks[i], q.chunks[i].turn(b, waits))
		q.next = min(q.next, b.First)
	}
	m.mu.Unlock()
	signal(m.changed)
}

// Rewind implements Log.
func (m *Memory) Rewind() {
	m.mu.Lock()
	for class := range m.queues {
		m.queues[class].rewind()
	}
	m.out, m.lent = 0, 0
	m.mu.Unlock()
	signal(m.changed)
}

// Wait implements Log. One goroutine may wait.
func (m *Memory) Wait(ctx context.Context, most int) error {
	for {
		m.mu.Lock()
		there := m.closed || m.waiting <= most && (m.memory <= m.limits.Bytes/2 || m.waiting == 0)
		m.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-m.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close implements Log.
func (m *Memory) Close() (left uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for class := range m.queues {
		q := &m.queues[class]
		left += q.counts.Waiting
		q.counts.Dropped[Stopped] += q.counts.Waiting
		q.counts.Waiting, q.counts.Out, q.chunks = 0, 0, nil
	}
	m.spare, m.memory, m.lent, m.waiting, m.out, m.closed = nil, 0, 0, 0, 0, true
	signal(m.freed)
	return left
}

// Totals implements Log.
func (m *Memory) Totals() (t Totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for class := range m.queues {
		t.Of[class] = m.queues[class].counts
	}
	return t
}

// Changed implements Log.
func (m *Memory) Changed() <-chan struct{} { return m.changed }

// Dropped implements Log.
func (m *Memory) Dropped() <-chan struct{} { return m.dropped }
