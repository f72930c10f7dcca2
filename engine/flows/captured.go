package flows

import (
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/sensor"
)

// Captured judges the flows of a capture: its own by sensors, and in a replay
// also those that exporters tell of in its packets. It is a
// packets.FlowAnalyzer.
type Captured struct {
	*Analyzer
	worker *worker // nil: live
	which  exportFilter
}

// NewCaptured builds what judges the flows of a capture. Of what exporters send
// only a replay knows.
func NewCaptured(c Config, replay bool) (*Captured, error) {
	c.SensorsOnly = !replay
	a, err := NewAnalyzer(c)
	if err != nil {
		return nil, err
	}
	a.captured = sensor.New(sensor.Config{Definitions: c.Sensors.Captured, Seed: subSeed(c.Random, 10), Emit: a.deliver})
	out := &Captured{Analyzer: a, which: newExportFilter(c.Settings)}
	if replay {
		out.worker = newWorker(c.Settings, a)
	} else {
		a.exported = nil
	}
	return out, nil
}

// Packet takes a packet of a replay.
func (c *Captured) Packet(p *packet.Parsed, now int64) { c.worker.packet(&c.which, p, now) }

// Flow takes a flow that ended.
func (c *Captured) Flow(r *flow.Record) { c.flow(r) }

// Loss takes how many packets the kernel had and dropped since the last call.
func (c *Captured) Loss(observer string, received, dropped uint64, now int64) {
	c.loss(observer, received, dropped, now)
}

// Advance lets time pass.
func (c *Captured) Advance(now int64) { c.advance(now) }

// Close resolves what is open.
func (c *Captured) Close() {
	c.close()
	if c.worker != nil {
		c.worker.tally.Take(c.worker.decoder.Counts)
	}
}

// Counts yields the counters of sensors, and of what a replay decoded. Any
// goroutine may ask.
func (c *Captured) Counts(yield func(name string, n uint64)) {
	c.Analyzer.Counts(yield)
	if c.worker != nil {
		c.worker.tally.Counts(func(name string, n uint64) { yield(decoderCounter+name, n) })
	}
}

// DecoderCounts yields what was decoded of the packets of a replay.
func (c *Captured) DecoderCounts(yield func(name string, n uint64)) {
	if c.worker != nil {
		c.worker.counts(yield)
	}
}
