package modes

import (
	"context"
	"fmt"
	"time"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
	"vft/modes/config"
)

// exportReplay reads what exporters sent out of captures of it, as if it
// arrived now, on the clock of the captures.
type exportReplay struct {
	values *config.Values
	which  sieveOfExports
	in     *intake
	parsed packet.Parsed
	sieve  *sieve
	own    *flow.Table // nil: only what exporters sent is judged
	second int64       // when own looks for flows that ended
	sum    event.Summary
}

func newExportReplay(v *config.Values, to *exports) (*exportReplay, error) {
	if err := checkFiles(v); err != nil {
		return nil, err
	}
	s, err := newSieve(v)
	return &exportReplay{values: v, which: newSieveOfExports(v), in: newIntake(v, to), sieve: s}, err
}

// run reads all files and writes the vft.summary record.
func (x *exportReplay) run(ctx context.Context, s Streams) error {
	files := &capture.File{Paths: config.List[string](x.values, "pcapfile")}
	defer showProgress(files, s)()
	reports, err := files.Run(ctx, x.packet)
	if x.own != nil {
		x.own.Flush()
	}
	x.in.to.close()
	if ctx.Err() != nil {
		err = nil // told to stop: what was read counts
	}
	for _, r := range reports {
		reportFile(x.in.to.log, r)
	}
	if err == nil && x.sieve.err != nil {
		err = badUsage(x.sieve.err)
	}
	x.summarise(s, reports)
	return err
}

func (x *exportReplay) packet(pkt *capture.Packet) {
	if !x.sieve.passes(pkt) {
		return
	}
	x.sum.Packets++
	x.sum.Bytes += uint64(pkt.Wire)
	x.parsed.Decode(pkt.Link, pkt.Data, pkt.Wire)
	if x.parsed.Fault.Malformed() {
		x.sum.Malformed++
	}
	x.in.packet(&x.which, &x.parsed, pkt.Time)
	if x.own == nil {
		return
	}
	if pkt.Time >= x.second {
		x.in.to.advance(pkt.Time)
		x.own.Advance(pkt.Time)
		x.second = pkt.Time + int64(time.Second)
	}
	x.own.Packet(&x.parsed, pkt.Time)
}

// keepOwn has the flows of the packets judged too.
func (x *exportReplay) keepOwn() {
	x.own = flow.NewTable(flow.Config{Max: x.values.Int("max-flows"), LinkHeader: ethernetHeader, Emit: func(r *flow.Record) {
		x.in.to.own(r)
	}})
}

// ethernetHeader is the length of the header of an Ethernet frame, in bytes.
const ethernetHeader = 14

// packet takes a packet of a capture, if it is a datagram of an exporter.
func (in *intake) packet(which *sieveOfExports, p *packet.Parsed, now int64) {
	if from, payload, ok := which.datagram(p); ok {
		in.datagram(from, payload, now)
		in.flush(now) // before the next packet is judged by others
	}
}

// summarise writes the vft.summary record, and the same in words.
func (x *exportReplay) summarise(s Streams, reports []capture.Report) {
	sum := &x.sum
	sum.First, sum.Last, sum.Seconds = spanOf(reports)
	sum.Flows, sum.Alerts, sum.Counters = x.in.to.records, x.in.to.findings, map[string]uint64{"filtered": x.sieve.dropped}
	x.in.countInto(sum.Counters)
	x.in.to.record(event.Event{Time: sum.Last, Dataset: event.DatasetSummary, Summary: sum})
	fmt.Fprintf(s.Err, "%d packets with %d exported flows in %.3f s of capture; %d alerts\n", sum.Packets, sum.Flows, sum.Seconds, sum.Alerts)
}

// countInto adds what the decoder counted to the counters of a summary.
func (in *intake) countInto(counters map[string]uint64) {
	in.decoder.Counts(func(name string, n uint64) {
		if n > 0 {
			counters[exportCounter+name] = n
		}
	})
}

// exportCounter is how the counters of decoders begin where others stand beside them.
const exportCounter = "export_"
