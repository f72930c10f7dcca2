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
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"vft/retry"
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
	queue     *queue
	transport transport
	wait      retry.Backoff
	quiet     time.Duration // between two calls of OnDrop
	attempts  atomic.Uint64 // connections tried, files opened
	failures  atomic.Uint64 // attempts that failed, and connections that broke
}

// transport is one kind of destination. session opens it and carries records
// from the queue, releasing each when it has arrived, until something fails,
// which it returns, or until stop is closed and the queue is empty: nil. When
// ctx ends it returns at once. check finds what is wrong before the first
// record, without the network.
type transport interface {
	check() error
	session(ctx context.Context, stop <-chan struct{}, q *queue) error
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
	d := &Destination{config: c, quiet: time.Minute, wait: retry.Backoff{Least: 250 * time.Millisecond, Most: 10 * time.Second, Random: c.Random}}
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
	d.queue = newQueue(c.MaxRecords, c.MaxBytes, largest)
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

// Send copies one record, a JSON object with or without its line end, into the
// queue. It never blocks and never fails: a record that finds the queue full
// is dropped and counted, those that wait keep their place.
func (d *Destination) Send(record []byte) { d.queue.put(record) }

// Wait blocks until at most so many records wait to be delivered, Run has
// ended, or ctx ends, whose error it returns. It is for a sender that can be
// held up, as a replay can: one that sends only after Wait loses nothing. One
// goroutine may wait.
func (d *Destination) Wait(ctx context.Context, most int) error { return d.queue.wait(ctx, most) }

// Counts yields the counters: sent, delivered, queued, dropped_queue_full,
// dropped_too_large, dropped_stopped, attempts and failures (of connecting, or
// opening). At any moment sent = delivered + queued + the three dropped.
func (d *Destination) Counts(yield func(name string, n uint64)) {
	t := d.queue.totals()
	yield("sent", t.sent)
	yield("delivered", t.delivered)
	yield("queued", t.queued)
	yield("dropped_queue_full", t.dropped[reasonFull])
	yield("dropped_too_large", t.dropped[reasonLarge])
	yield("dropped_stopped", t.dropped[reasonStopped])
	yield("attempts", d.attempts.Load())
	yield("failures", d.failures.Load())
}

// Run carries records until ctx ends, then what is left for at most
// Config.Drain, and releases everything. End ctx after the last Send, or what
// is sent then may be dropped. Run returns nil when all was delivered; an error
// when records were left, which are counted as dropped, or when the destination
// can never work again: stdout was closed.
func (d *Destination) Run(ctx context.Context) error {
	hard, cancel := outlive(ctx, d.timeToStop)
	defer cancel()
	var reporter sync.WaitGroup
	reporter.Go(func() { d.reportDrops(hard) })
	err := d.carry(hard, ctx.Done())
	cancel()
	reporter.Wait()
	left := d.queue.close()
	if left == 0 && !isPermanent(err) {
		return nil
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = errTime
	}
	if left == 0 {
		return fmt.Errorf("cannot send to %s: %w", d.config.Target, err)
	}
	return fmt.Errorf("cannot deliver %d records to %s: %w", left, d.config.Target, err)
}

var errTime = errors.New("the time to stop was over")

func isPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

// timeToStop is how long to go on: without records only to say goodbye, not
// until a peer that says nothing has answered.
func (d *Destination) timeToStop() time.Duration {
	if d.queue.totals().queued == 0 {
		return min(d.config.Drain, 200*time.Millisecond)
	}
	return d.config.Drain
}

// outlive returns a context that ends a while after ctx did.
func outlive(ctx context.Context, while func() time.Duration) (context.Context, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(while())
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-hard.Done():
		}
	})
	return hard, func() { stop(); cancel() }
}

// carry runs one session after another. It returns nil when all is delivered
// after stop, or the last error when there is no more time.
func (d *Destination) carry(ctx context.Context, stop <-chan struct{}) error {
	log := complaint{log: d.config.Log, now: d.config.Now, name: d.config.Target.String()}
	for failed := 0; ; failed++ {
		before, began := d.queue.head(), d.config.Now()
		d.attempts.Add(1)
		err := d.transport.session(ctx, stop, d.queue)
		if err == nil || isPermanent(err) {
			return err
		}
		d.failures.Add(1)
		if ctx.Err() != nil {
			return err
		}
		log.failed(err, d.queue.totals())
		if d.queue.head() != before || d.config.Now().Sub(began) > d.wait.Most {
			failed = 0 // it worked for a while
		}
		if !d.pause(ctx, stop, d.wait.After(failed)) {
			return err
		}
	}
}

// pause waits before the next attempt. It reports false when there is none to
// make: no time is left, or the end has come and nothing waits.
func (d *Destination) pause(ctx context.Context, stop <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-stop:
			if d.queue.totals().queued == 0 {
				return false
			}
			stop = nil
		}
	}
}

// reportDrops calls OnDrop until ctx ends.
func (d *Destination) reportDrops(ctx context.Context) {
	if d.config.OnDrop == nil {
		return
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-d.queue.lost:
			d.config.OnDrop(d.queue.totals().lost())
		}
		select {
		case <-ctx.Done():
		case <-time.After(d.quiet):
		}
	}
}
