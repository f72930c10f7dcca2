package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"vft/throttle"
)

// CollectorConfig says where a Collector receives and from whom. The zero value
// of every field but Listen means its default.
type CollectorConfig struct {
	Listen        []netip.AddrPort // where, each but once; without an address every one, IPv4 and IPv6; port 0 is any free one
	Allow         []netip.Prefix   // exporters that are heard; empty: all
	Workers       int              // sockets per address, each read by a goroutine of its own; 1
	ReceiveBuffer int              // bytes asked of the kernel for each socket; 32 MiB
	Now           func() time.Time // time.Now; asked once for each batch
	Log           zerolog.Logger
}

// Handler is what one worker of a Collector calls, always from one goroutine.
type Handler struct {
	// Datagram gets the payload of a datagram, which is valid until it returns,
	// its sender (IPv4 never as 4-in-6, IPv6 without a zone) and the time at
	// which its batch was read, in nanoseconds since 1970.
	Datagram func(from netip.AddrPort, payload []byte, now int64)
	// Tick is called at the end of each batch and at least every 100 ms, so what
	// Datagram gathered may be handed on. It may be nil.
	Tick func(now int64)
	// Lost is called after the kernel had no room for datagrams. It may be nil;
	// they are counted and logged anyway.
	Lost func(Loss)
}

// Loss tells of datagrams that the kernel dropped since the last look at the
// socket, about 100 ms before.
type Loss struct {
	At       netip.AddrPort // the address of the Collector that they were sent to
	Dropped  uint64
	Received uint64 // the others to this address and worker since the last look
	Now      int64  // nanoseconds since 1970
}

// Collector receives exported flows over UDP, and never sends anything. With
// several workers all datagrams of one source address, whatever their port,
// come to the same one, so each may have a Decoder of its own. What a datagram
// is tells its content, so every protocol may come to every address.
//
// On other systems than Linux there is one worker, and what the kernel drops
// is not known.
type Collector struct {
	config  CollectorConfig
	counts  collectorCounts
	logged  throttle.Throttle
	workers []*worker
}

type collectorCounts struct{ received, refused, dropped, batches atomic.Uint64 }

const (
	longestWait   = 100 * time.Millisecond // so that Tick comes and ctx is seen
	longestFinish = 2 * time.Second        // to read what has arrived when ctx ends
)

// NewCollector prepares a Collector. Nothing is opened.
func NewCollector(c CollectorConfig) *Collector {
	return &Collector{config: c.withDefaults()}
}

func (c CollectorConfig) withDefaults() CollectorConfig {
	c.Workers = max(c.Workers, 1)
	if c.ReceiveBuffer <= 0 {
		c.ReceiveBuffer = 32 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	allow := make([]netip.Prefix, 0, len(c.Allow))
	for _, prefix := range c.Allow {
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		allow = append(allow, prefix)
	}
	c.Allow = allow
	return c
}

// Workers returns how many handlers Run wants: CollectorConfig.Workers on
// Linux, otherwise 1.
func (c *Collector) Workers() int { return c.config.workers() }

// Open binds every address. What arrives then waits in the kernel for Run. The
// error names the address that cannot be bound, why, and what to do; then none
// stays bound.
func (c *Collector) Open() error {
	if len(c.config.Listen) == 0 {
		return errors.New("cannot collect flows: no address to listen on is named")
	}
	for range c.Workers() {
		c.workers = append(c.workers, newWorker(c))
	}
	for i, at := range c.config.Listen {
		if at.Port() != 0 && slices.Contains(c.config.Listen[:i], at) {
			continue // for two protocols, which need but one
		}
		if err := c.bind(at); err != nil {
			c.Close()
			c.workers = nil
			return bindError(at, err)
		}
	}
	return nil
}

// Run calls the handler of each worker until ctx ends, then hands over what the
// kernel still holds, and closes everything. It opens what is not open yet. The
// end of ctx is no error.
func (c *Collector) Run(ctx context.Context, handlers []Handler) error {
	if len(handlers) != c.Workers() {
		return fmt.Errorf("a collector with %d workers was given %d handlers", c.Workers(), len(handlers))
	}
	if len(c.workers) == 0 {
		if err := c.Open(); err != nil {
			return err
		}
	}
	defer c.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wait sync.WaitGroup
	for i, w := range c.workers {
		wait.Go(func() {
			if err := w.run(ctx, handlers[i]); err != nil {
				stop(err)
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

// Close ends a Collector that was opened and does not run. Its counters stay.
func (c *Collector) Close() {
	for _, w := range c.workers {
		w.close()
	}
}

// Addrs returns the addresses that were bound, in the order of
// CollectorConfig.Listen; one for every address is [::].
func (c *Collector) Addrs() []netip.AddrPort {
	if len(c.workers) == 0 {
		return nil
	}
	return c.workers[0].addrs()
}

// Counts yields every counter: collector_received (datagrams read),
// collector_refused (those of them whose sender is not allowed),
// collector_dropped (by the kernel, for which there was no room; never read)
// and collector_batches. Any goroutine may ask once Open has returned.
func (c *Collector) Counts(yield func(name string, n uint64)) {
	for _, w := range c.workers {
		w.collect()
	}
	yield("collector_received", c.counts.received.Load())
	yield("collector_refused", c.counts.refused.Load())
	yield("collector_dropped", c.counts.dropped.Load())
	yield("collector_batches", c.counts.batches.Load())
}

// allows reports whether an exporter is heard, and counts and logs it when not.
func (c *Collector) allows(from netip.Addr, now int64) bool {
	if len(c.config.Allow) == 0 {
		return true
	}
	for _, prefix := range c.config.Allow {
		if prefix.Contains(from) {
			return true
		}
	}
	c.counts.refused.Add(1)
	if suppressed, ok := c.logged.Pass("refused", time.Unix(0, now)); ok {
		c.config.Log.Warn().Stringer("from", from).Uint64("suppressed", suppressed).
			Msg("refused flows of an exporter that is not allowed")
	}
	return false
}

// lost logs what the kernel dropped and tells the handler.
func (c *Collector) lost(to Handler, l Loss) {
	if suppressed, ok := c.logged.Pass("dropped", time.Unix(0, l.Now)); ok {
		c.config.Log.Warn().Stringer("at", l.At).Uint64("dropped", l.Dropped).Uint64("suppressed", suppressed).
			Msg("the kernel dropped exported flows: vft is too slow or the receive buffer too small")
	}
	if to.Lost != nil {
		to.Lost(l)
	}
}

// bindError says what a user can do about err.
func bindError(at netip.AddrPort, err error) error {
	host := "*"
	if at.Addr().IsValid() {
		host = at.Addr().String()
	}
	remedy := "is UDP allowed here (container, seccomp)?"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "is another vft or collector running?"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		remedy = "ports below 1024 need root or the capability cap_net_bind_service"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "no interface of this host has the address"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		remedy = "raise the limit of open files (ulimit -n)"
	}
	return fmt.Errorf("cannot bind %s: %w; %s", net.JoinHostPort(host, strconv.Itoa(int(at.Port()))), err, remedy)
}
