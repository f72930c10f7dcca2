package modes

import (
	"context"
	"fmt"
	"strings"

	"vft/capture"
	"vft/event"
	"vft/modes/config"
)

// replay reads capture files through the watcher. Everything runs on the time
// of the packets, so that the same files give the same records.
func (w *watcher) replay(ctx context.Context, s Streams) error {
	paths := config.List[string](w.values, "pcapfile")
	files := &capture.File{Paths: paths}
	defer showProgress(files, s)()
	var reports []capture.Report
	var err error
	w.through(func(to capture.LiveHandler) {
		reports, err = files.Run(ctx, func(p *capture.Packet) {
			if w.sieve.passes(p) {
				to.Packet(p)
			}
		})
	})
	w.closePackets()
	if ctx.Err() != nil {
		err = nil // told to stop: what was read counts
	}
	for _, r := range reports {
		reportFile(w.log, r)
	}
	if err == nil && w.sieve.err != nil {
		err = badUsage(w.sieve.err)
	}
	w.all.write(s.Err)
	w.summarise(s, reports)
	return err
}

// summarise writes the vft.summary record, and the same in words.
func (w *watcher) summarise(s Streams, reports []capture.Report) {
	totals := w.shard.Totals()
	sum := &event.Summary{Packets: totals.Packets, Bytes: totals.Bytes, Alerts: w.alerts, Counters: map[string]uint64{}}
	sum.First, sum.Last, sum.Seconds = spanOf(reports)
	for _, c := range totals.Summary() {
		sum.Counters[c.Name] = c.Value
	}
	sum.Flows, sum.Malformed = w.shard.Flows().Counters().Started, sum.Counters["malformed"]
	sum.Counters["filtered"] = w.sieve.dropped
	w.exports.in.countInto(sum.Counters)
	w.record(event.Event{Time: sum.Last, Dataset: event.DatasetSummary, Summary: sum})
	fmt.Fprintf(s.Err, "%d packets, %d bytes, %d flows in %.3f s of capture; %d malformed, %d alerts\n",
		sum.Packets, sum.Bytes, sum.Flows, sum.Seconds, sum.Malformed, sum.Alerts)
}

// trafficCounts yields what a vft.summary would say of the packets. Of what is
// distinct only exact counts are told, which live are those of little traffic.
func (w *watcher) trafficCounts(yield func(name string, n uint64)) {
	totals := w.shard.Totals()
	yield("packets", totals.Packets)
	yield("bytes", totals.Bytes)
	yield("flows", w.shard.Flows().Counters().Started)
	yield("filtered", w.sieve.dropped)
	for _, c := range totals.Summary() {
		if totals.Exact() || !strings.HasPrefix(c.Name, "unique_") {
			yield(c.Name, c.Value)
		}
	}
}

// checkFiles opens every file once, so that a wrong path shows before work
// starts.
func checkFiles(v *config.Values) error {
	files := capture.File{Paths: config.List[string](v, "pcapfile")}
	if err := files.Check(); err != nil {
		return cannotOpen(err)
	}
	return nil
}
