// Package amqp tells an AMQP 0-9-1 broker, as RabbitMQ, of threats: one message
// for each threat that a detection or a sensor found. Parse reads the address
// of the broker, New makes a Notifier of it, Run carries what Send was given.
//
// A broker that is late, gone, full or refuses never holds up the sender:
// threats wait in a bounded queue until the broker has confirmed them. A
// message whose confirmation never came is published again, so one threat
// arrives at least once; all its messages have the same message-id.
package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"vft/event"
	"vft/retry"
	"vft/throttle"
)

// DefaultQueue is where threats go unless something else is said.
const DefaultQueue = "security-threat"

// Config configures a Notifier. Only Target has no default.
type Config struct {
	Target Target

	// Exchange names an exchange that exists; it is not declared, nor is a
	// queue bound to it. Empty: the default exchange, which puts a message into
	// the queue that its routing key names; that queue is declared, durable,
	// unless it exists, and then used as it is.
	Exchange   string
	Queue      string // default DefaultQueue
	RoutingKey string // with an Exchange; default the name of the queue

	Max      int           // threats that wait at most; default 65,536
	MaxBytes int           // memory that they take at most, in bytes; default 64 MiB
	Drain    time.Duration // how long Run goes on delivering after its context ended; default 5 s
	Confirm  time.Duration // how long the broker may take to confirm a message; default 30 s

	Log    zerolog.Logger
	Now    func() time.Time // default time.Now
	Random func() float64   // in [0, 1), for the time between attempts; one goroutine calls it; default 0.5 always

	// OnDrop, if set, is told how many threats were dropped since the start:
	// soon after the first drop, then at most once a minute, while there are
	// new ones. A goroutine of Run calls it, so it may call Send.
	OnDrop func(dropped uint64)
}

// Notifier sends threats to one broker. Send may be called by any goroutine,
// Run once.
type Notifier struct {
	config    Config
	queue     *queue
	wait      retry.Backoff // between two attempts to connect
	refused   retry.Backoff // the same, where the broker refuses the user
	again     retry.Backoff // between a refused message and the next
	setup     time.Duration // until a broker must have let us in
	quiet     time.Duration // between two calls of OnDrop
	lines     throttle.Throttle
	told      bool          // that the broker takes threats; the goroutine of Run owns it
	attempts  atomic.Uint64 // connections tried
	failures  atomic.Uint64 // attempts that failed, and connections that broke
	nacked    atomic.Uint64 // messages that the broker did not take
	returned  atomic.Uint64 // messages that no queue took
	unsettled atomic.Uint64 // messages in flight when a connection broke
	blocked   atomic.Uint64 // how often the broker stopped publishers
}

// New returns a Notifier that is not yet running. Threats sent before Run wait.
func New(c Config) *Notifier {
	if c.Queue == "" {
		c.Queue = DefaultQueue
	}
	if c.RoutingKey == "" || c.Exchange == "" {
		c.RoutingKey = c.Queue
	}
	c.Max = orDefault(c.Max, 65_536)
	c.MaxBytes = orDefault(c.MaxBytes, 64<<20)
	c.Drain = orDefault(c.Drain, 5*time.Second)
	c.Confirm = orDefault(c.Confirm, 30*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = func() float64 { return 0.5 }
	}
	return &Notifier{
		config: c, queue: newQueue(c.Max, c.MaxBytes), setup: 15 * time.Second, quiet: time.Minute,
		wait:    retry.Backoff{Least: 250 * time.Millisecond, Most: 10 * time.Second, Random: c.Random},
		refused: retry.Backoff{Least: 5 * time.Second, Most: time.Minute, Random: c.Random},
		again:   retry.Backoff{Least: 250 * time.Millisecond, Most: 10 * time.Second, Random: c.Random},
	}
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Check finds what would keep the Notifier from ever working, without the
// network: certificate files that cannot be read, names that AMQP does not
// take. Call it before Run.
func (n *Notifier) Check() error {
	c := n.config
	for what, name := range map[string]string{"exchange": c.Exchange, "queue": c.Queue, "routing key": c.RoutingKey} {
		if len(name) > 255 {
			return fmt.Errorf("the name of the AMQP %s has %d bytes; at most 255 are allowed", what, len(name))
		}
	}
	if _, err := n.tls(); err != nil {
		return fmt.Errorf("cannot connect to %s: %w", c.Target, err)
	}
	return nil
}

func (n *Notifier) tls() (*tls.Config, error) { return n.config.Target.tlsConfig() }

// Send takes an event into the queue when it says that a threat began: its
// state is firing. Updates, ends and all other events are left out, for a
// consumer of the queue acts on each message. Send never blocks and never
// fails: a threat that finds the queue full is dropped and counted, those that
// wait keep their place.
func (n *Notifier) Send(e *event.Event) {
	if e.Threat == nil || e.Threat.State != event.Firing {
		return
	}
	n.queue.put(newMessage(e))
}

// Wait blocks until at most so many threats wait to be delivered, Run has
// ended, or ctx ends, whose error it returns. It is for a sender that can be
// held up, as a replay can. One goroutine may wait.
func (n *Notifier) Wait(ctx context.Context, most int) error { return n.queue.wait(ctx, most) }

// Counts yields the counters: sent, delivered (confirmed by the broker),
// queued, dropped_queue_full, dropped_too_large and dropped_stopped, in threats;
// attempts and failures, in connections; nacked (the broker did not take it: the
// queue is full), returned (no queue took it) and unsettled (a connection broke
// before the confirmation; it may arrive twice), in messages that were kept and
// published again; blocked, how often the broker was short of memory or disk
// and stopped its publishers. At any moment
// sent = delivered + queued + the three dropped.
func (n *Notifier) Counts(yield func(name string, n uint64)) {
	t := n.queue.totals()
	yield("sent", t.sent)
	yield("delivered", t.delivered)
	yield("queued", t.queued)
	yield("dropped_queue_full", t.dropped[reasonFull])
	yield("dropped_too_large", t.dropped[reasonLarge])
	yield("dropped_stopped", t.dropped[reasonStopped])
	yield("attempts", n.attempts.Load())
	yield("failures", n.failures.Load())
	yield("nacked", n.nacked.Load())
	yield("returned", n.returned.Load())
	yield("unsettled", n.unsettled.Load())
	yield("blocked", n.blocked.Load())
}

// Run delivers until ctx ends, then what is left for at most Config.Drain, and
// releases everything. End ctx after the last Send, or what is sent then may be
// dropped. Run never ends for what a broker does. It returns nil when all was
// delivered, and an error when threats were left, which are counted as dropped.
func (n *Notifier) Run(ctx context.Context) error {
	hard, cancel := outlive(ctx, n.timeToStop)
	defer cancel()
	var reporter sync.WaitGroup
	reporter.Go(func() { n.reportDrops(hard) })
	err := n.carry(hard, ctx.Done())
	cancel()
	reporter.Wait()
	left := n.queue.close()
	if left == 0 {
		return nil
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = errors.New("the time to stop was over")
	}
	return fmt.Errorf("cannot deliver %d threats to %s: %w", left, n.config.Target, err)
}

// timeToStop is how long to go on: without threats only to say goodbye.
func (n *Notifier) timeToStop() time.Duration {
	if n.queue.totals().queued == 0 {
		return min(n.config.Drain, 200*time.Millisecond)
	}
	return n.config.Drain
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
