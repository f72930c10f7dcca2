package flows

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/sensor"
	"vft/counters"
	"vft/event"
)

// Replay reads what exporters sent out of captures of it, as if it arrived now,
// on the clock of the captures.
type Replay struct {
	settings *Settings
	log      zerolog.Logger
	to       *Analyzer
	worker   *worker
	which    exportFilter
	parsed   packet.Parsed
	filter   *capture.PacketFilter
	own      *flow.Table // nil: only what exporters sent is judged
	second   int64       // when own looks for flows that ended
	sum      event.Summary
	alerts   func() uint64
	ticked   int64 // when whoever takes the events was told the time
}

// NewReplay returns a replay of the files of the settings; it opens nothing.
// With SensorsOnly the sensors judge the flows of the packets too.
func NewReplay(c Config) (*Replay, error) {
	filter, err := capture.NewPacketFilter(&c.Settings.Filter)
	if err != nil {
		return nil, err
	}
	to, err := NewAnalyzer(c)
	if err != nil {
		return nil, err
	}
	x := &Replay{settings: c.Settings, log: c.Log, to: to, worker: newWorker(c.Settings, to), alerts: c.Alerts, which: newExportFilter(c.Settings), filter: filter}
	if c.SensorsOnly {
		to.captured = sensor.New(sensor.Config{Definitions: c.Sensors.Captured, Seed: subSeed(c.Random, 10), Emit: to.deliver})
		x.own = flow.NewTable(flow.Config{Max: c.Settings.MaxFlows, LinkHeader: ethernetHeader, Emit: to.flow})
	}
	return x, nil
}

// ethernetHeader is the length of the header of an Ethernet frame, in bytes.
const ethernetHeader = 14

// Open reads the head of each file.
func (x *Replay) Open() error {
	files := capture.File{Paths: x.settings.Files}
	return files.Check()
}

// Run reads all files and writes the vft.summary record, and in words to out.
func (x *Replay) Run(ctx context.Context, progress func(done, total int64), out io.Writer) error {
	files := &capture.File{Paths: x.settings.Files, Progress: progress}
	reports, err := files.Run(ctx, x.packet)
	if x.own != nil {
		x.own.Flush()
	}
	x.to.close()
	x.worker.tally.Take(x.worker.decoder.Counts)
	if ctx.Err() != nil {
		err = nil // told to stop: what was read counts
	}
	for i := range reports {
		reports[i].LogTo(x.log)
	}
	if err == nil {
		err = x.filter.Err()
	}
	x.summarise(out, reports)
	return err
}

func (x *Replay) packet(pkt *capture.Packet) {
	if !x.filter.Passes(pkt) {
		return
	}
	if pkt.Time >= x.ticked {
		x.to.out.Tick(time.Unix(0, pkt.Time))
		x.ticked = pkt.Time + int64(time.Second)
	}
	x.sum.Packets++
	x.sum.Bytes += uint64(pkt.Wire)
	x.parsed.Decode(pkt.Link, pkt.Data, pkt.Wire)
	if x.parsed.Fault.Malformed() {
		x.sum.Malformed++
	}
	x.worker.packet(&x.which, &x.parsed, pkt.Time)
	if x.own == nil {
		return
	}
	if pkt.Time >= x.second {
		x.to.advance(pkt.Time)
		x.own.Advance(pkt.Time)
		x.second = pkt.Time + int64(time.Second)
	}
	x.own.Packet(&x.parsed, pkt.Time)
}

// AddCounters registers the counters of decoder, sensors and detections, as they
// are in the end.
func (x *Replay) AddCounters(all *counters.Registry) {
	all.Add("collectors", func(yield func(name string, n uint64)) {
		x.worker.tally.Counts(func(name string, n uint64) { yield(decoderCounter+name, n) })
		x.to.Counts(yield)
	})
}

// summarise writes the vft.summary record, and the same in words.
func (x *Replay) summarise(out io.Writer, reports []capture.Report) {
	sum := &x.sum
	sum.First, sum.Last = capture.Span(reports)
	sum.Seconds = sum.Last.Sub(sum.First).Seconds()
	sum.Flows, sum.Alerts, sum.Counters = x.to.records, x.to.findings, map[string]uint64{"filtered": x.filter.Dropped()}
	x.worker.counts(func(name string, n uint64) { sum.Counters[name] = n })
	x.to.out.Write(event.Event{Time: sum.Last, Dataset: event.DatasetSummary, Summary: sum})
	if x.alerts != nil {
		sum.Alerts = x.alerts()
	}
	fmt.Fprintf(out, "%d packets with %d exported flows in %.3f s of capture; %d alerts\n", sum.Packets, sum.Flows, sum.Seconds, sum.Alerts)
}
