package amqp

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// The reasons for which a threat is dropped.
const (
	reasonFull    = iota // the queue was full; the threat that came is dropped, not one that waits
	reasonLarge          // larger than a message may be
	reasonStopped        // not confirmed when the time to stop was over, or sent after that
	reasons
)

// largest is the longest body in bytes. A broker may close the channel for one
// that is too long, which would keep all others from it.
const largest = 1 << 20

// queue holds the threats that no broker has confirmed. Any goroutine puts; the
// session takes, oldest first, and then says of each message whether it was
// delivered or must be published again.
type queue struct {
	wake  chan struct{} // has room for one: a message came
	lost  chan struct{} // has room for one: a threat was dropped
	freed chan struct{} // has room for one: a message was delivered, or the queue closed

	maxCount, maxBytes int

	mu        sync.Mutex // guards what follows
	again     []message  // to be published again, oldest first; older than those that wait
	waiting   []message  // oldest first
	held      int        // messages in again, in waiting and with the session
	bytes     int        // their sizes
	sent      uint64     // threats put, whatever became of them
	delivered uint64
	dropped   [reasons]uint64
	closed    bool
}

func newQueue(maxCount, maxBytes int) *queue {
	return &queue{
		wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		maxCount: maxCount, maxBytes: maxBytes,
	}
}

// put adds a message to the end, or drops it and counts why.
func (q *queue) put(m message) {
	q.mu.Lock()
	m.number = q.sent
	q.sent++
	if reason, ok := q.lockedRoom(&m); !ok {
		q.dropped[reason]++
		q.mu.Unlock()
		signal(q.lost)
		return
	}
	q.waiting = append(q.waiting, m)
	q.held++
	q.bytes += m.size()
	q.mu.Unlock()
	signal(q.wake)
}

func (q *queue) lockedRoom(m *message) (reason int, ok bool) {
	switch {
	case q.closed:
		return reasonStopped, false
	case len(m.body) > largest || m.size() > q.maxBytes:
		return reasonLarge, false
	case q.held >= q.maxCount || q.bytes+m.size() > q.maxBytes:
		return reasonFull, false
	}
	return 0, true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is set already
	}
}

// take hands out the oldest messages, at most so many.
func (q *queue) take(most int) []message {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []message
	for _, from := range []*[]message{&q.again, &q.waiting} {
		n := min(most-len(out), len(*from))
		out = append(out, (*from)[:n]...)
		clear((*from)[:n]) // the bodies are the session's now
		*from = (*from)[n:]
	}
	return out
}

// back takes messages back that were taken and are to be published again.
func (q *queue) back(messages ...message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.again = append(q.again, messages...)
	slices.SortFunc(q.again, func(a, b message) int { return cmp.Compare(a.number, b.number) })
}

// done forgets a message that was taken: the broker has it.
func (q *queue) done(m *message) {
	q.mu.Lock()
	q.held--
	q.bytes -= m.size()
	q.delivered++
	q.mu.Unlock()
	signal(q.freed)
}

// wait blocks until at most so many messages are held, the queue is closed, or
// ctx ends. One goroutine may wait.
func (q *queue) wait(ctx context.Context, most int) error {
	for {
		q.mu.Lock()
		there := q.closed || q.held <= most
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

// close drops what is held and whatever comes later, and returns how many were
// held. No message may be with a session.
func (q *queue) close() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := uint64(q.held)
	q.dropped[reasonStopped] += left
	q.again, q.waiting, q.held, q.bytes, q.closed = nil, nil, 0, 0, true
	signal(q.freed)
	return left
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
	return totals{q.sent, q.delivered, uint64(q.held), q.dropped}
}

func (t totals) lost() uint64 {
	var n uint64
	for _, one := range t.dropped {
		n += one
	}
	return n
}
