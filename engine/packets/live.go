package packets

import (
	"context"
	"io"
	"strings"
	"sync"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/stat"
)

// RunLive captures until ctx ends, then writes the busiest flows to out. What
// the statistics learn is kept in the file state.
func (e *Engine) RunLive(ctx context.Context, out io.Writer, state string) error {
	e.restore(state)
	defer e.save(state)
	looking, stop := context.WithCancel(ctx)
	defer stop()
	var lookup sync.WaitGroup
	lookup.Go(func() {
		if err := e.process.Run(looking); err != nil {
			e.log.Warn().Err(err).Msg("the process behind a connection is not looked for")
		}
	})
	var err error
	var top topFlows
	e.runPipeline(func(to capture.LiveHandler) {
		take := to.Packet
		to.Packet = func(p *capture.Packet) {
			if e.filter.PassesNetworks(p) {
				take(p)
			}
		}
		err = e.live.Run(ctx, to)
		to.Tick(0)
		e.shard.Flows().Each(top.add)
	})
	e.live.Close()
	stop()
	lookup.Wait()
	top.write(out)
	e.closePackets()
	e.tallyAll()
	return err
}

// kernelCounts is what the kernel had of the packets of a live capture.
type kernelCounts struct{ received, dropped uint64 }

// checkLoss tells what the kernel dropped of a live capture since the last
// look.
func (e *Engine) checkLoss(now int64) {
	if e.live == nil {
		return
	}
	var is kernelCounts
	e.live.Counts(func(name string, n uint64) {
		switch name {
		case "capture_received":
			is.received = n
		case "capture_dropped":
			is.dropped = n
		}
	})
	was := e.kernel
	e.kernel = is
	e.flows.Loss(strings.Join(e.settings.Interfaces, ","), increase(is.received, was.received), increase(is.dropped, was.dropped), now)
}

// increase is by how much a counter grew; it is smaller than before when it began
// anew.
func increase(now, before uint64) uint64 { return now - min(now, before) }

// measureDue closes the interval of the transfers when it ended before now.
func (e *Engine) measureDue(now int64) {
	if e.transfers != nil && now >= e.due {
		e.measure(now)
	}
}

// measure shows the transfers what each flow has carried and closes their
// intervals up to now.
func (e *Engine) measure(now int64) {
	e.show(now)
	e.addStep(stepMeasure, now)
	every := int64(e.settings.Transfers.Interval)
	e.due = now - (now%every+every)%every + every
}

// show shows the transfers each flow that had packets since it was shown last: once in
// an interval of theirs, unless those of the statistics are shorter.
func (e *Engine) show(now int64) {
	e.shard.Flows().Fresh(e.shown, e.view)
	e.shown = now
}

// closePackets closes the packet log.
func (e *Engine) closePackets() {
	if e.packets == nil {
		return
	}
	if err := e.packets.Close(); err != nil {
		e.log.Warn().Err(err).Msg("the packet log is not closed in order")
	}
}

// interval takes an interval that has ended. The flow table forgets now which
// flows had packets in it.
func (e *Engine) interval(iv *stat.Interval) {
	if e.transfers != nil {
		e.measureDue(iv.End)
		e.show(iv.End) // what no measure has shown
	}
	s := e.addStep(stepSamples, iv.End)
	s.from = len(e.open.samples)
	e.open.samples = stat.AppendSamples(e.open.samples, iv, e.chosen)
	s.to = len(e.open.samples)
	e.addStep(stepInterval, iv.End)
	if e.tallyDue(analyzers, iv.End) {
		e.tallyReader()
	}
	e.tops.tick(iv.End, e.shard.Flows().Each)
}

// view takes a live flow that had packets.
func (e *Engine) view(r *flow.Record) { e.addStep(stepView, r.Last).record = *r }

// flow takes a flow that has ended.
func (e *Engine) flow(r *flow.Record) {
	if e.all != nil {
		e.all.add(r)
	}
	e.addStep(stepEnded, r.Last).record = *r
}
