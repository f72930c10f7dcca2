// Package siem carries records from a standalone vft to where they are kept: a
// TCP or TLS connection, UDP, a file, stdout. Parse reads a destination as it
// is typed, New makes a Destination of it, Run carries what Send was given.
//
// A destination that is late, slow, gone or resetting never holds up the
// sender: records wait in a bounded queue and arrive, in order, when it is
// back. Each arrives once as far as the transport can tell.
package siem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rs/zerolog"

	"vft/retry"
	"vft/spool"
)

// Config configures a Destination. Only Target has no default.
type Config struct {
	Target     Target
	MaxRecords int           // records that wait at most; default 65,536
	MaxBytes   int           // memory that they take at most, in bytes; default 64 MiB
	Drain      time.Duration // how long Run goes on delivering after its context ended; default 5 s

	Log    zerolog.Logger
	Now    func() time.Time                                                     // default time.Now
	Random func() float64                                                       // in [0, 1), for the time between attempts; one goroutine calls it; default 0.5 always
	Stdout io.Writer                                                            // where stdout:// writes; required for it
	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // default: the net package

	// OnDrop, if set, is told how many records were dropped since the start:
	// soon after the first drop, then at most once a minute, while there are
	// new ones. A goroutine of Run calls it, so it may call Send.
	OnDrop func(dropped uint64)
}

// Destination is one place that records go to. Send may be called by any
// goroutine, Run once.
type Destination struct {
	config    Config
	transport transport
	log       spool.Log
	runner    spool.Runner
}

// transport is one kind of destination. session opens it and carries records
// from the log, acknowledging each when it has arrived, until something fails,
// which it returns, or until stop is closed and the log is empty: nil. When
// ctx ends it returns at once. check finds what is wrong before the first
// record, without the network.
type transport interface {
	check() error
	session(ctx context.Context, stop <-chan struct{}, log spool.Log) error
}

// permanent is an error that no second attempt can mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// New returns a Destination that is not yet running. Records sent before Run
// wait.
func New(c Config) *Destination {
	c.MaxRecords = orDefault(c.MaxRecords, 65_536)
	c.MaxBytes = orDefault(c.MaxBytes, 64<<20)
	c.Drain = orDefault(c.Drain, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = func() float64 { return 0.5 }
	}
	if c.Dial == nil {
		c.Dial = dial
	}
	d := &Destination{config: c}
	largest := c.MaxBytes
	switch c.Target.Scheme {
	case "tls", "tcp":
		d.transport = newStream(c)
	case "udp":
		d.transport, largest = &datagram{dial: c.Dial, address: c.Target.Address}, maxDatagram
	case "file":
		d.transport = &appender{path: c.Target.Path}
	default:
		d.transport = &pipe{w: c.Stdout}
	}
	d.log = spool.NewMemory(spool.Limits{Records: c.MaxRecords, Bytes: c.MaxBytes, Largest: largest})
	complain := complaint{log: c.Log, now: c.Now, name: c.Target.String()}
	d.runner = spool.Runner{
		Log: d.log, Drain: c.Drain, Now: c.Now, OnDrop: c.OnDrop, Final: isPermanent,
		Backoff: retry.Backoff{Least: 250 * time.Millisecond, Most: 10 * time.Second, Random: c.Random},
		Session: func(ctx context.Context, stop <-chan struct{}) error { return d.transport.session(ctx, stop, d.log) },
		Failed:  func(err error) { complain.failed(err, d.log.Totals().All()) },
	}
	return d
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Check finds what would keep the destination from ever working, without the
// network: certificate files that cannot be read, a file that cannot be opened
// for writing (which it makes when it is missing). Call it before Run.
func (d *Destination) Check() error {
	if err := d.transport.check(); err != nil {
		return fmt.Errorf("cannot open %s: %w", d.config.Target, err)
	}
	return nil
}

// Send copies one record, with its line end, into the queue; one without gets
// its line end in another copy. It never blocks and never fails: a record that finds the queue full
// is dropped and counted, those that wait keep their place.
func (d *Destination) Send(record []byte) {
	if n := len(record); n == 0 || record[n-1] != '\n' {
		record = append(record[:n:n], '\n')
	}
	d.log.Append(spool.Events, record)
}

// Wait blocks until at most so many records wait to be delivered, Run has
// ended, or ctx ends, whose error it returns. It is for a sender that can be
// held up, as a replay can: one that sends only after Wait loses nothing. One
// goroutine may wait.
func (d *Destination) Wait(ctx context.Context, most int) error { return d.log.Wait(ctx, most) }

// Counts yields the counters: sent, delivered, queued, dropped_queue_full,
// dropped_too_large, dropped_stopped, attempts and failures (of connecting, or
// opening). At any moment sent = delivered + queued + all that is dropped.
func (d *Destination) Counts(yield func(name string, n uint64)) { d.runner.Counts(yield) }

// Run carries records until ctx ends, then what is left for at most
// Config.Drain, and releases everything. End ctx after the last Send, or what
// is sent then may be dropped. Run returns nil when all was delivered; an error
// when records were left, which are counted as dropped, or when the destination
// can never work again: stdout was closed.
func (d *Destination) Run(ctx context.Context) error {
	left, err := d.runner.Run(ctx)
	switch {
	case err == nil:
		return nil
	case left == 0:
		return fmt.Errorf("cannot send to %s: %w", d.config.Target, err)
	}
	return fmt.Errorf("cannot deliver %d records to %s: %w", left, d.config.Target, err)
}

func isPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}
