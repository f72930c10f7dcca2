package link

import (
	"sync"

	"vft/event"
)

// The limits of a Spool in memory.
const (
	defaultSpoolEvents = 1 << 16
	defaultSpoolBytes  = 32 << 20
	eventOverhead      = 32 // bytes of a waiting event beside its JSON
)

// Spool keeps a client's events, as JSON, from when they happen until the
// server has stored them. Events are numbered from 1 on. When it is full the
// newest event is dropped and counted: what was seen before a flood cannot be
// washed out by the flood, which the count shows. Any goroutine may use it.
//
// A spool on disk needs the same methods and no others.
type Spool struct {
	maxEvents int
	maxBytes  int
	changed   chan struct{} // holds one signal after Append and Ack

	mu      sync.Mutex // guards what follows
	waiting [][]byte   // events not acknowledged, oldest first
	first   uint64     // number of waiting[0]
	sent    int        // how many of waiting were handed out since Rewind
	bytes   int
	dropped uint64
}

// NewSpool returns an empty Spool of at most so many events and bytes; 0 is the
// default of 65,536 events and 32 MiB.
func NewSpool(events, bytes int) *Spool {
	if events == 0 {
		events = defaultSpoolEvents
	}
	if bytes == 0 {
		bytes = defaultSpoolBytes
	}
	return &Spool{maxEvents: events, maxBytes: bytes, first: 1, changed: make(chan struct{}, 1)}
}

// Append adds e, or drops it when the spool is full. It never blocks for long.
func (s *Spool) Append(e *event.Event) {
	if s.full(0) {
		return
	}
	// Encoded outside of the lock, and once: a batch that is sent again is not
	// encoded again, and the size of what waits is exact.
	var scratch [1024]byte
	text := append([]byte(nil), e.AppendJSON(scratch[:0])...)
	if s.add(text) {
		s.signal()
	}
}

// full reports, and counts as dropped, that size more bytes do not fit.
func (s *Spool) full(size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lockedFull(size)
}

func (s *Spool) lockedFull(size int) bool {
	full := len(s.waiting) >= s.maxEvents || s.bytes+size+eventOverhead > s.maxBytes
	if full {
		s.dropped++
	}
	return full
}

func (s *Spool) add(text []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lockedFull(len(text)) {
		return false
	}
	if len(text) > batchBytes {
		s.dropped++ // no frame could carry it
		return false
	}
	s.waiting = append(s.waiting, text)
	s.bytes += len(text) + eventOverhead
	return true
}

// Next appends the next events that were not handed out since Rewind to dst, as
// one frame: at most limit of them. It returns the frame and how many they are.
func (s *Spool) Next(dst []byte, limit int) (frame []byte, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.waiting[s.sent:]
	if len(batch) == 0 {
		return dst, 0
	}
	start := len(dst)
	dst = appendEvents(dst, s.first+uint64(s.sent))
	for n < min(limit, len(batch)) && len(dst)-start < batchBytes {
		dst = append(append(dst, batch[n]...), ',')
		n++
	}
	s.sent += n
	return append(dst[:len(dst)-1], endEvents...), n
}

// Ack forgets the events up to the number seq, which the server has stored.
func (s *Spool) Ack(seq uint64) {
	s.mu.Lock()
	n := 0
	if seq >= s.first {
		n = int(min(seq-s.first+1, uint64(len(s.waiting))))
	}
	for _, text := range s.waiting[:n] {
		s.bytes -= len(text) + eventOverhead
	}
	clear(s.waiting[:n])
	s.waiting = s.waiting[n:]
	s.first += uint64(n)
	s.sent = max(0, s.sent-n)
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
	s.mu.Unlock()
	s.signal()
}

// Rewind makes Next begin again with the oldest event that was not acknowledged.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = 0
}

// Len returns how many events wait for their acknowledgement.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// Unsent returns how many events wait to be handed out by Next, and how many
// were handed out and wait for their acknowledgement.
func (s *Spool) Unsent() (unsent, sent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) - s.sent, s.sent
}

// Dropped returns how many events were lost because the spool was full.
func (s *Spool) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Changed receives after Append and Ack.
func (s *Spool) Changed() <-chan struct{} { return s.changed }

func (s *Spool) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
