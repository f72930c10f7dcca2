package packets

import (
	"context"
	"fmt"
	"io"

	"vft/capture"
	"vft/event"
)

// Replay reads capture files; a Progress of theirs is called. Everything runs on
// the time of the packets, so that the same files give the same records. The
// busiest flows and the totals are written to out in words.
func (e *Engine) Replay(ctx context.Context, progress func(done, total int64), out io.Writer) error {
	files := &capture.File{Paths: e.settings.Files, Progress: progress}
	var reports []capture.Report
	var err error
	e.runPipeline(func(to capture.LiveHandler) {
		reports, err = files.Run(ctx, func(p *capture.Packet) {
			if e.filter.Passes(p) {
				to.Packet(p)
			}
		})
	})
	e.closePackets()
	e.tallyAll()
	if ctx.Err() != nil {
		err = nil // told to stop: what was read counts
	}
	for i := range reports {
		reports[i].LogTo(e.log)
	}
	if err == nil {
		err = e.filter.Err()
	}
	e.all.write(out)
	e.summarise(out, reports)
	return err
}

// summarise writes the vft.summary record, and the same in words.
func (e *Engine) summarise(out io.Writer, reports []capture.Report) {
	totals := e.shard.Totals()
	sum := &event.Summary{Packets: totals.Packets, Bytes: totals.Bytes, Alerts: e.alerts, Counters: map[string]uint64{}}
	sum.First, sum.Last = capture.Span(reports)
	sum.Seconds = sum.Last.Sub(sum.First).Seconds()
	for _, c := range totals.Summary() {
		sum.Counters[c.Name] = c.Value
	}
	sum.Flows, sum.Malformed = e.shard.Flows().Counters().Started, sum.Counters["malformed"]
	sum.Counters["filtered"] = e.filter.Dropped()
	e.flows.DecoderCounts(func(name string, n uint64) { sum.Counters[name] = n })
	e.out.Write(event.Event{Time: sum.Last, Dataset: event.DatasetSummary, Summary: sum})
	if e.incidents != nil {
		sum.Alerts = e.incidents()
	}
	fmt.Fprintf(out, "%d packets, %d bytes, %d flows in %.3f s of capture; %d malformed, %d alerts\n",
		sum.Packets, sum.Bytes, sum.Flows, sum.Seconds, sum.Malformed, sum.Alerts)
}
