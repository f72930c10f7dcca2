// Package spool keeps what waits for somebody else: records that a client has
// for its server, a standalone for a SIEM, alerts for a broker. A Log takes
// records without ever holding up who appends them, hands them out in batches,
// and keeps each until it is acknowledged. A Runner carries them away, one
// session after another.
//
// Of each class of records, and so of all, at any moment
// sent = delivered + waiting + dropped, and every drop has its Reason.
package spool

import (
	"context"

	"vft/event"
)

// Class ranks records. A record of a higher class is handed out before all of
// the lower ones and, when a log is full, takes the place of one of them.
type Class uint8

// The classes, highest first.
const (
	Alerts   Class = iota // incidents
	Findings              // what a detector saw
	Events                // everything else
	classes
)

// String returns the name of the class as counters have it.
func (c Class) String() string { return [classes]string{"alerts", "findings", "events"}[c] }

// ClassOf returns the class of the records of a dataset.
func ClassOf(d event.Dataset) Class {
	switch d {
	case event.DatasetAlert:
		return Alerts
	case event.DatasetThreat, event.DatasetAnomaly:
		return Findings
	}
	return Events
}

// Reason says why a record was dropped.
type Reason uint8

// The reasons.
const (
	QueueFull Reason = iota // the log was full of records of its class or of higher ones; the newest goes, not one that waits
	Displaced               // a record of a higher class took its place
	TooLarge                // larger than the log, or whom it is for, takes
	Stopped                 // not delivered when the time to stop was over, or appended after that
	reasons
)

// String returns the name of the reason as counters have it.
func (r Reason) String() string {
	return [reasons]string{"queue_full", "displaced", "too_large", "stopped"}[r]
}

// Log is a log of records with acknowledgement. A record is numbered within
// its class and handed out in that order, once, until it is given back. What is
// handed out is never dropped to make room. Any goroutine may append and wait;
// one at a time takes, and settles what it took.
type Log interface {
	// Append copies a record to the end of its class. It never blocks for long
	// and never fails: a record that finds no room is dropped and counted.
	Append(class Class, record []byte)

	// Take hands out the next records that lie side by side: those of the
	// highest class, oldest first, at most so many with at most so many bytes,
	// but at least one if any waits. The batch is empty when none waits, or
	// when too much is handed out already.
	Take(records, bytes int) Batch

	Ack(b Batch)                 // b was delivered: it is forgotten
	Nack(b Batch)                // b was not delivered: it is handed out again
	Drop(b Batch, reason Reason) // b can never be delivered
	Rewind()                     // whatever is handed out was not delivered

	// Wait blocks until at most so many records, in half of the memory, are
	// not delivered, the log is closed, or ctx ends, whose error it returns. A
	// sender that can be held up and waits first loses nothing.
	Wait(ctx context.Context, most int) error

	// Close drops what is not delivered and whatever is appended later, and
	// returns how many records it dropped.
	Close() (left uint64)

	Totals() Totals
	Changed() <-chan struct{} // receives after records came, were settled or were given back
	Dropped() <-chan struct{} // receives after records were dropped
}

// Totals are the counts of a log at one moment.
type Totals struct {
	Of [classes]Counts // by class
}

// Counts are the counts of one class: Sent = Delivered + Waiting + Lost().
type Counts struct {
	Sent      uint64 // appended, whatever became of them
	Delivered uint64 // acknowledged
	Waiting   uint64 // neither delivered nor dropped
	Out       uint64 // of those that wait, handed out
	Dropped   [reasons]uint64
}

// Lost returns how many records were dropped for any reason.
func (c *Counts) Lost() (n uint64) {
	for _, dropped := range c.Dropped {
		n += dropped
	}
	return n
}

// All returns the sum of all classes.
func (t Totals) All() (sum Counts) {
	for i := range t.Of {
		c := &t.Of[i]
		sum.Sent += c.Sent
		sum.Delivered += c.Delivered
		sum.Waiting += c.Waiting
		sum.Out += c.Out
		for reason, n := range c.Dropped {
			sum.Dropped[reason] += n
		}
	}
	return sum
}

// Yield yields the counters of a class or of a sum of classes: sent, delivered,
// queued, and dropped_REASON for each reason.
func (c *Counts) Yield(yield func(name string, n uint64)) {
	yield("sent", c.Sent)
	yield("delivered", c.Delivered)
	yield("queued", c.Waiting)
	for reason := range reasons {
		yield("dropped_"+reason.String(), c.Dropped[reason])
	}
}

// Yield yields the counters of all classes together, then those of each class
// with its name in front, as in alerts_sent.
func (t Totals) Yield(yield func(name string, n uint64)) {
	all := t.All()
	all.Yield(yield)
	for class := range classes {
		t.Of[class].Yield(func(name string, n uint64) { yield(class.String()+"_"+name, n) })
	}
}
