package flows

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/export"
	"vft/counters"
)

// Collector receives exported flows over the network and has them judged.
type Collector struct {
	log     zerolog.Logger
	to      *Analyzer
	socket  *export.Collector
	workers []*worker
	state   string // file of what the exporters told
}

// NewCollector opens nothing. What the exporters told is kept in the file state.
func NewCollector(cfg Config, state string) (*Collector, error) {
	s, log := cfg.Settings, cfg.Log
	to, err := NewAnalyzer(cfg)
	if err != nil {
		return nil, err
	}
	workers := s.Workers
	if workers == 0 {
		workers = min(runtime.NumCPU(), 4)
	}
	c := &Collector{log: log, to: to, state: state, socket: export.NewCollector(export.CollectorConfig{
		Listen: s.Listen, Allow: s.Exporters, Workers: workers, Log: log,
	})}
	for range c.socket.Workers() {
		c.workers = append(c.workers, newWorker(s, to))
	}
	return c, nil
}

// Reload changes the sensors before the next flow or tick of the clock. Any
// goroutine may call it.
func (c *Collector) Reload(s Sensors) { c.to.Reload(s) }

// Open binds the addresses.
func (c *Collector) Open() error { return c.socket.Open() }

// Addrs are the addresses that are bound.
func (c *Collector) Addrs() []netip.AddrPort { return c.socket.Addrs() }

// Run receives until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	c.restore()
	ctx, stop := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	defer keeping.Wait()
	defer stop() // the socket may end by itself
	keeping.Go(func() { c.saveOften(ctx) })
	handlers := make([]export.Handler, len(c.workers))
	for i, w := range c.workers {
		handlers[i] = export.Handler{Datagram: w.datagram, Tick: w.tick, Lost: c.lost}
	}
	err := c.socket.Run(ctx, handlers)
	for _, w := range c.workers {
		w.flush(time.Now().UnixNano())
		w.checkpoint(time.Now().UnixNano())
	}
	c.save()
	c.to.close()
	return err
}

// lost tells that the kernel dropped datagrams.
func (c *Collector) lost(l export.Loss) { c.to.loss(l.At.String(), l.Received, l.Dropped, l.Now) }

// AddCounters registers the counters of sockets, decoders, sensors and
// detections.
func (c *Collector) AddCounters(all *counters.Registry) { all.Add("collectors", c.counts) }

func (c *Collector) counts(yield func(name string, value uint64)) {
	c.socket.Counts(yield)
	var decoders []counters.Func
	for _, w := range c.workers {
		decoders = append(decoders, w.tally.Counts)
	}
	counters.Sum(decoders...)(func(name string, n uint64) { yield(decoderCounter+name, n) })
	c.to.Counts(yield)
}
