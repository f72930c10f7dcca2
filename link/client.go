package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"vft/event"
	"vft/retry"
	"vft/spool"
	"vft/throttle"
)

// ClientConfig is what a Client needs. The funcs may be nil.
type ClientConfig struct {
	Server    string              // host:port
	Dir       string              // keeps identity.json; empty: a new identity each time
	Secret    func() string       // asked at each attempt, for its file may come late; empty: none
	Insist    bool                // prove the secret although the server knows this client's identity
	Join      *Join               // pin and token; its address is not used, Server is
	Trust     []*x509.Certificate // of --cert: only these, or what they signed
	Plaintext bool                // no TLS, for loopback

	Hello    func() Hello                   // version, hostname, addresses, traps, want, pool, failed, features
	OnDeal   func(ports []uint16)           // open these trap ports and no others; a welcome without ports does not call it
	OnIgnore func([]netip.Prefix)           // peers whose hits to ignore
	SelfTest func(context.Context) error    // before each heartbeat, until the next one is due; nil: not tested
	Traps    func() (open, failed []uint16) // for heartbeats
	Load     func() float64                 // for heartbeats

	SpoolEvents int // that wait for the server at most; 0: 65,536
	SpoolBytes  int // that they take at most; 0: 32 MiB
	Now         func() time.Time
	Rand        func() float64 // from [0, 1), for the jitter; nil: random
	Dial        func(ctx context.Context, network, addr string) (net.Conn, error)
	Log         zerolog.Logger
	Drain       time.Duration // how long Run goes on delivering when its context ends; 0: 3 s
}

// Client is a client's end of the link.
type Client struct {
	cfg      ClientConfig
	boot     string
	outbox   *outbox
	runner   spool.Runner
	dialer   websocket.Dialer
	sessions tls.ClientSessionCache
	counts   clientCounts
	throttle throttle.Throttle
	state    atomic.Pointer[ClientStatus]

	// Only Run uses what follows.
	identity *identity
	strange  bool // the server does not know the identity
	welcomed bool // since start
	selfTest string
}

// ClientStatus is what a client knows of its link.
type ClientStatus struct {
	ID        string // dealt by the server; empty before the first welcome
	Connected bool
	Since     time.Time // of the last change of Connected
	Error     string    // why it is not connected
}

const (
	firstDelay = time.Second // the span of the first wait before another attempt
	lastDelay  = time.Minute // and the longest

	connectTimeout = 10 * time.Second
	longEnough     = time.Minute // a connection that lived so long starts the delays anew
)

// NewClient returns a Client that takes events and sends none until Run.
func NewClient(cfg ClientConfig) *Client {
	cfg.defaults()
	c := &Client{cfg: cfg, outbox: newOutbox(cfg.SpoolEvents, cfg.SpoolBytes), boot: rand.Text(), sessions: tls.NewLRUClientSessionCache(1)}
	c.dialer = websocket.Dialer{ReadBufferSize: 1024, WriteBufferSize: sendBuffer, WriteBufferPool: new(sync.Pool), Subprotocols: []string{subprotocol}}
	c.state.Store(&ClientStatus{Since: cfg.Now()})
	c.runner = spool.Runner{
		Log: c.outbox.log, Session: c.connectAndServe, Drain: cfg.Drain, Now: cfg.Now,
		Failed: c.failed, Final: c.isFinal, Delay: c.pause, Fresh: func(lived time.Duration) bool { return lived > longEnough },
	}
	return c
}

func (c *ClientConfig) defaults() {
	orDefault(&c.Drain, 3*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = mathrand.Float64
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Secret == nil {
		c.Secret = func() string { return "" }
	}
	if c.Hello == nil {
		c.Hello = func() Hello { return Hello{} }
	}
	if c.OnDeal == nil {
		c.OnDeal = func([]uint16) {}
	}
	if c.OnIgnore == nil {
		c.OnIgnore = func([]netip.Prefix) {}
	}
	if c.Traps == nil {
		c.Traps = func() (open, failed []uint16) { return nil, nil }
	}
	if c.Load == nil {
		c.Load = func() float64 { return 0 }
	}
}

// Emit takes an event for delivery. It never blocks; an event that does not fit
// in the spool, or that Event.Check refuses, is dropped and counted. Any
// goroutine may call it.
func (c *Client) Emit(e event.Event) {
	if err := e.Check(); err != nil {
		c.counts.add(cInvalid)
		c.log("invalid").Err(err).Msg("BUG: an event that no server would take was dropped")
		return
	}
	c.outbox.add(&e)
}

// Check reads the client's identity, so that a damaged file shows before
// anything is opened. Run reads it anew.
func (c *Client) Check() error {
	_, err := loadIdentity(c.cfg.Dir)
	return err
}

// Status returns how the link is now.
func (c *Client) Status() ClientStatus { return *c.state.Load() }

// Counts calls yield with each counter of the client.
func (c *Client) Counts(yield func(name string, n uint64)) {
	for i := range c.counts {
		yield(clientCounters[i], c.counts[i].Load())
	}
	yield("events_dropped", c.outbox.dropped())
	yield("events_spooled", uint64(c.outbox.len()))
}

// Run keeps the client connected until ctx ends; then it delivers what waits,
// for as long as the configuration allows, and returns nil. A server that is
// away, or comes late, is tried for ever. Only before the first welcome Run
// ends with an error that wraps ErrRefused, when trying again cannot help.
func (c *Client) Run(ctx context.Context) (err error) {
	if c.identity, err = loadIdentity(c.cfg.Dir); err != nil {
		return err
	}
	left, err := c.runner.Run(ctx)
	if c.isFinal(err) {
		c.status(false, err)
		c.counts.add(cRefused)
		return err
	}
	c.status(false, nil)
	if left > 0 {
		c.cfg.Log.Warn().Uint64("events", left).AnErr("reason", err).Msg("events not delivered: the server did not acknowledge them in time")
	}
	return nil
}

// isFinal reports whether trying again cannot help.
func (c *Client) isFinal(err error) bool { return errors.Is(err, ErrRefused) && !c.welcomed }

// failed notes why a connection ended, or did not come about.
func (c *Client) failed(err error) {
	c.status(false, err)
	if errors.Is(err, ErrRefused) {
		c.counts.add(cRefused)
		c.strange = false // the server may have found its list of clients again
	}
}

// pause says, and returns, how long to wait after the attempt that ended with
// err.
func (c *Client) pause(err error, attempt int) time.Duration {
	delay := c.delay(attempt, err)
	kind := "disconnected"
	if errors.Is(err, ErrRefused) {
		kind = "refused"
	}
	c.log(kind).Err(err).Dur("retry_ms", delay).Msg("not connected to " + c.cfg.Server)
	return delay
}

// delay returns how long to wait after the attempt that ended with err.
func (c *Client) delay(attempt int, err error) time.Duration {
	if errors.Is(err, errTryOtherKey) {
		return 0
	}
	wait := retry.Backoff{Least: firstDelay, Most: lastDelay, Random: c.cfg.Rand}
	if errors.Is(err, errReplaced) { // two that take turns shall not do so in a hurry
		wait.Least = lastDelay
	}
	return wait.After(attempt)
}

func (c *Client) status(connected bool, err error) {
	was := c.state.Load()
	now := ClientStatus{ID: c.identity.ID, Connected: connected, Since: was.Since}
	if err != nil {
		now.Error = err.Error()
	}
	if was.Connected != connected {
		now.Since = c.cfg.Now()
	}
	c.state.Store(&now)
}

// log starts a warning of this kind, or nothing when there was one less than a
// minute ago.
func (c *Client) log(kind string) *zerolog.Event {
	suppressed, ok := c.throttle.Pass(kind, c.cfg.Now())
	if !ok {
		return nil
	}
	return c.cfg.Log.Warn().Uint64("suppressed", suppressed)
}

// refusedf returns an error that trying again does not help against.
func refusedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// millis returns the duration of n milliseconds within bounds, whatever n is.
func millis(n int64, least, most time.Duration) time.Duration {
	n = max(0, min(n, math.MaxInt64/int64(time.Millisecond)))
	return max(least, min(most, time.Duration(n)*time.Millisecond))
}
