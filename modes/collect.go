package modes

import (
	"context"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/export"
	"vft/modes/config"
)

// collectors receive exported flows over the network and have them judged.
type collectors struct {
	values  *config.Values
	log     zerolog.Logger
	exports *exports
	socket  *export.Collector
	intakes []*intake
	state   string // file of what the exporters told
}

// newCollectors returns nil when no address to collect on is given. It opens
// nothing.
func newCollectors(v *config.Values, dir string, log zerolog.Logger, x *exports) *collectors {
	at := listeners(v)
	if len(at) == 0 {
		return nil
	}
	workers := v.Int("collector-workers")
	if workers == 0 {
		workers = min(runtime.NumCPU(), 4)
	}
	c := export.CollectorConfig{Allow: config.List[netip.Prefix](v, "exporters"), Workers: workers, Log: log}
	for _, l := range at {
		c.Listen = append(c.Listen, netip.AddrPortFrom(l.Addr, l.Port))
	}
	out := &collectors{values: v, log: log, exports: x, state: filepath.Join(dir, "exporters.json"), socket: export.NewCollector(c)}
	for range out.socket.Workers() {
		out.intakes = append(out.intakes, newIntake(v, x))
	}
	return out
}

// open binds the addresses and says so, whatever the log level is.
func (c *collectors) open() error {
	if err := c.socket.Open(); err != nil {
		return cannotOpen(err)
	}
	for _, at := range c.socket.Addrs() {
		c.log.Log().Str(zerolog.LevelFieldName, zerolog.LevelInfoValue).Stringer("address", at).Msgf("collecting flows on %s", at)
	}
	return nil
}

// run receives until ctx ends.
func (c *collectors) run(ctx context.Context) error {
	c.restore()
	ctx, stop := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	defer keeping.Wait()
	defer stop() // Run may end by itself
	keeping.Go(func() { c.saveOften(ctx) })
	handlers := make([]export.Handler, len(c.intakes))
	for i, in := range c.intakes {
		handlers[i] = export.Handler{Datagram: in.datagram, Tick: in.tick, Lost: c.lost}
	}
	err := c.socket.Run(ctx, handlers)
	for _, in := range c.intakes {
		in.flush(time.Now().UnixNano())
		in.look(time.Now().UnixNano())
	}
	c.save()
	c.exports.close()
	logCounts(c.log, "collectors", c.counts)
	return err
}

// lost tells that the kernel dropped datagrams.
func (c *collectors) lost(l export.Loss) { c.exports.lost(l.At.String(), l.Received, l.Dropped, l.Now) }

// counts yields the counters of sockets, decoders, sensors and detections.
func (c *collectors) counts(yield func(name string, value uint64)) {
	c.socket.Counts(yield)
	sums := map[string]uint64{}
	for _, in := range c.intakes {
		in.decoder.Counts(func(name string, n uint64) { sums[name] += n })
	}
	c.intakes[0].decoder.Counts(func(name string, _ uint64) { yield(exportCounter+name, sums[name]) })
	c.exports.counts(yield)
}
