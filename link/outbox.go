package link

import (
	"sync"

	"vft/event"
	"vft/spool"
)

// The limits of a client's spool in memory.
const (
	defaultSpoolEvents = 1 << 16
	defaultSpoolBytes  = 32 << 20
)

// outbox keeps a client's events, as JSON, from when they happen until the
// server has stored them. Events are numbered as they are sent, from 1 on,
// since what waits may still lose its place. Any goroutine may use it.
type outbox struct {
	log     spool.Log
	scratch sync.Pool // of *[]byte, for encoding

	mu    sync.Mutex  // guards what follows
	sent  []sentBatch // not acknowledged, oldest first
	acked uint64      // number of the last event that the server has stored
	last  uint64      // number of the last event that was sent
}

// sentBatch is a row of events that were sent.
type sentBatch struct {
	last uint64 // number of the last of them
	spool.Batch
}

func newOutbox(events, bytes int) *outbox {
	if events == 0 {
		events = defaultSpoolEvents
	}
	if bytes == 0 {
		bytes = defaultSpoolBytes
	}
	return &outbox{
		log:     spool.NewMemory(spool.Limits{Records: events, Bytes: bytes, Largest: batchBytes}),
		scratch: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// add takes an event. It never blocks for long.
func (o *outbox) add(e *event.Event) {
	// Encoded once: a batch that is sent again is not encoded again, and the
	// size of what waits is exact.
	text := o.scratch.Get().(*[]byte)
	*text = e.AppendJSON((*text)[:0])
	o.log.Append(spool.Events, *text)
	o.scratch.Put(text)
}

// next appends the next events that were not sent to dst, as one frame: at most
// limit of them. It returns the frame and how many they are.
func (o *outbox) next(dst []byte, limit int) (frame []byte, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	start := len(dst)
	dst = appendEvents(dst, o.last+1)
	for n < limit && len(dst)-start < batchBytes {
		b := o.log.Take(limit-n, batchBytes-(len(dst)-start))
		if b.Len() == 0 {
			break
		}
		for i := range b.Len() {
			dst = append(append(dst, b.Record(i)...), ',')
		}
		n += b.Len()
		o.last += uint64(b.Len())
		o.sent = append(o.sent, sentBatch{o.last, b})
	}
	if n == 0 {
		return dst[:start], 0
	}
	return append(dst[:len(dst)-1], endEvents...), n
}

// ack forgets the events up to the number seq, which the server has stored.
func (o *outbox) ack(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lockedAck(min(seq, o.last)) // none of the others was ever sent
}

func (o *outbox) lockedAck(seq uint64) {
	if seq <= o.acked {
		return
	}
	o.acked = seq
	done := 0
	for done < len(o.sent) && o.sent[done].last <= seq {
		o.log.Ack(o.sent[done].Batch)
		done++
	}
	o.sent = append(o.sent[:0], o.sent[done:]...)
	if len(o.sent) == 0 {
		return
	}
	f := &o.sent[0]
	if n := f.Len() - int(min(f.last-seq, uint64(f.Len()))); n > 0 {
		o.log.Ack(f.Before(n))
		f.Batch = f.After(n)
	}
}

// resume begins a connection to a server that has stored the events up to seq,
// and no more: the others that were sent are sent again, with new numbers.
func (o *outbox) resume(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lockedAck(min(seq, maxSeq))
	o.log.Rewind()
	o.sent, o.last = nil, o.acked
}

// waiting returns how many events wait to be sent, and how many were sent and
// wait for their acknowledgement.
func (o *outbox) waiting() (unsent, sent int) {
	all := o.log.Totals().All()
	return int(all.Waiting - all.Out), int(all.Out)
}

// len returns how many events wait for their acknowledgement.
func (o *outbox) len() int {
	all := o.log.Totals().All()
	return int(all.Waiting)
}

// dropped returns how many events were lost.
func (o *outbox) dropped() uint64 {
	all := o.log.Totals().All()
	return all.Lost()
}
