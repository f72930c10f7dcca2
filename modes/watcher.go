package modes

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/capture/packetlog"
	"vft/capture/process"
	"vft/capture/stat"
	"vft/correlate/detect"
	"vft/correlate/watch"
	"vft/event"
	"vft/ipproto"
	"vft/modes/config"
)

// watcher looks at the packets of this host, or of files. One goroutine decodes
// them, counts and keeps the flows. What comes of it is judged in lanes, which
// run at once on the same goroutine or, with several shards, beside it.
type watcher struct {
	values    *config.Values
	log       zerolog.Logger
	sieve     *sieve
	shard     *capture.Shard
	live      *capture.Live // nil in a replay
	process   *process.Lookup
	chosen    []stat.Statistic
	flows     bool  // each flow that ends is written
	due       int64 // when the open interval of the transfers ends; packet time
	stats     *watch.Stats
	detect    *detect.Detections
	packets   *packetlog.Log // nil: no packets are kept
	transfers *transfers     // nil: no method is chosen
	ids       *event.IDs
	emit      event.Emit // findings and records
	alerts    uint64
	exports   watchedExports
	kernel    kernelCounts // at the last look; of the lane of flows
	lanes     [lanes]lane
	conveyor
	tops topTicker
	all  *topFlows // of a replay, ended flows too; nil: live
}

// watches reports whether the options ask for packets at all.
func watches(v *config.Values) (live, replay bool) {
	return len(config.List[string](v, "interface")) > 0, len(config.List[string](v, "pcapfile")) > 0
}

// newWatcher checks the options and builds the parts; it opens nothing but
// reads the head of each file.
func newWatcher(v *config.Values, log zerolog.Logger, emit event.Emit) (*watcher, error) {
	live, replay := watches(v)
	if live && replay {
		return nil, v.Invalid("pcapfile", "reads files, --interface captures; choose one")
	}
	w := &watcher{values: v, log: log, emit: emit, tops: topTicker{log: log}, flows: v.Bool("flows")}
	for i := range w.lanes {
		w.lanes[i].number = i
	}
	var err error
	if w.sieve, err = newSieve(v); err != nil {
		return nil, err
	}
	if w.chosen, err = stat.Select(config.List[string](v, "stats")); err != nil {
		return nil, v.Invalid("stats", "%v", err)
	}
	random := seed()
	if replay {
		random, w.all = [32]byte{}, &topFlows{}
		if err := checkFiles(v); err != nil {
			return nil, err
		}
	}
	w.ids = event.NewIDs(random)
	if err := w.detectors(random); err != nil {
		return nil, err
	}
	w.shard = capture.NewShard(capture.ShardConfig{
		Period: v.Duration("period"), Inner: v.Bool("inner"), Interval: w.interval, Places: exactPlaces(replay),
		Flow: flow.Config{Max: v.Int("max-flows"), LinkHeader: ethernetHeader, Seed: binary.LittleEndian.Uint64(random[:]), Emit: w.flow},
	})
	if err := w.openPackets(); err != nil {
		return nil, err
	}
	if live {
		return w, w.openLive()
	}
	return w, nil
}

// exactPlaces is how many distinct addresses and flows the summary counts
// exactly: nearly any number in a replay; live there is no summary.
func exactPlaces(replay bool) int {
	if replay {
		return 1 << 24
	}
	return 1 << 10
}

// openLive opens the interfaces.
func (w *watcher) openLive() error {
	v := w.values
	method, err := process.ParseMethod(v.Text("process"))
	if err != nil {
		return v.Invalid("process", "%v", err)
	}
	w.process = process.New(process.Config{Method: method, Log: w.log})
	w.live = capture.NewLive(capture.LiveConfig{
		Interfaces: config.List[string](v, "interface"), Promiscuous: v.Bool("promiscuous"), Snaplen: v.Int("snaplen"),
		BlockTimeout: v.Duration("read-timeout"), Filter: w.sieve.live, Log: w.log,
	})
	if err := w.live.Open(); err != nil {
		return cannotOpen(err)
	}
	return nil
}

// runLive captures until ctx ends, then writes the busiest flows to out. What
// the statistics learn is kept in the file state.
func (w *watcher) runLive(ctx context.Context, out io.Writer, state string) error {
	w.restore(state)
	defer w.save(state)
	var g group
	looking, stop := context.WithCancel(ctx)
	defer stop()
	g.start(func() {}, func() error {
		if err := w.process.Run(looking); err != nil {
			w.log.Warn().Err(err).Msg("the process behind a connection is not looked for")
		}
		return nil
	})
	var err error
	var top topFlows
	w.through(func(to capture.LiveHandler) {
		packet := to.Packet
		to.Packet = func(p *capture.Packet) {
			if w.sieve.keeps(p) {
				packet(p)
			}
		}
		err = w.live.Run(ctx, []capture.LiveHandler{to})
		to.Tick(0)
		w.shard.Flows().Each(top.add)
	})
	w.live.Close()
	stop()
	err = errors.Join(err, g.wait())
	top.write(out)
	w.closePackets()
	logCounts(w.log, "capture", w.live.Counts)
	logCounts(w.log, "traffic", w.trafficCounts)
	return err
}

// measureDue closes the interval of the transfers when it ended before now.
func (w *watcher) measureDue(now int64) {
	if w.transfers != nil && now >= w.due {
		w.measure(now)
	}
}

// measure shows the transfers what each flow has carried and closes their
// intervals up to now.
func (w *watcher) measure(now int64) {
	w.shard.Flows().Fresh(w.view)
	w.begin(stepMeasure, now)
	every := int64(w.values.Duration("transfer-interval"))
	w.due = now - (now%every+every)%every + every
}

// closePackets closes the packet log.
func (w *watcher) closePackets() {
	if w.packets == nil {
		return
	}
	if err := w.packets.Close(); err != nil {
		w.log.Warn().Err(err).Msg("the packet log is not closed in order")
	}
}

// logPacket keeps a packet.
func (w *watcher) logPacket(p *packet.Parsed, now int64) {
	if key, ok := flow.KeyOf(p); ok {
		w.packets.Packet(key, p.Link, now, p.Wire, p.Data)
	}
}

// interval takes an interval that has ended. The flow table forgets now which
// flows had packets in it.
func (w *watcher) interval(iv *stat.Interval) {
	if w.transfers != nil {
		w.shard.Flows().Fresh(w.view)
		w.measureDue(iv.End)
	}
	s := w.begin(stepSamples, iv.End)
	s.from = len(w.open.samples)
	w.open.samples = stat.AppendSamples(w.open.samples, iv, w.chosen)
	s.to = len(w.open.samples)
	w.begin(stepInterval, iv.End)
	w.tops.tick(iv.End, w.shard.Flows().Each)
}

// view takes a live flow that had packets.
func (w *watcher) view(r *flow.Record) { w.begin(stepView, r.Last).record = *r }

// flow takes a flow that has ended.
func (w *watcher) flow(r *flow.Record) {
	if w.all != nil {
		w.all.add(r)
	}
	w.begin(stepEnded, r.Last).record = *r
}

// tellFlow writes a flow that has ended.
func (w *watcher) tellFlow(r *flow.Record) {
	if w.flows {
		e := flowEvent(r)
		e.Process = w.owner(r)
		w.record(e)
	}
	// After the other ends the flow goes on, or the packet log itself closes.
	if w.packets != nil && (r.End == flow.Idle || r.End == flow.Evicted) {
		w.packets.End(r.Key)
	}
}

// finding takes what a detector has found.
func (w *watcher) finding(e event.Event) {
	if e.Dataset != event.DatasetStat {
		if e.Anomaly != nil && e.Anomaly.State == event.Firing || e.Threat != nil && e.Threat.State == event.Firing {
			w.alerts++
		}
		e.Process = w.ownerOf(e.Transport, e.Src, e.Dst)
		w.archive(&e)
	}
	w.record(e)
}

// archive keeps the packets that a finding is about.
func (w *watcher) archive(e *event.Event) {
	switch {
	case w.packets == nil:
	case e.Threat != nil:
		if offender, err := netip.ParseAddr(e.Threat.Offender); err == nil {
			w.packets.ArchiveHost(packet.AddrFrom(offender))
		}
	case e.Dst.IsValid():
		w.packets.Archive(flow.Key{Src: packet.AddrFrom(e.Src.Addr()), Dst: packet.AddrFrom(e.Dst.Addr()),
			SrcPort: e.Src.Port(), DstPort: e.Dst.Port(), Proto: protoOf(e.Transport), Ports: e.Src.Port() != 0})
	}
}

// record gives an event its id and hands it on.
func (w *watcher) record(e event.Event) {
	if e.ID.IsZero() {
		e.ID = w.ids.Next(e.Time)
	}
	if e.Host == "" {
		e.Host = hostname()
	}
	w.emit(e)
}

// flowEvent is a flow as an event.
func flowEvent(r *flow.Record) event.Event {
	return event.Event{
		Time: time.Unix(0, r.Last).UTC(), Dataset: event.DatasetFlow, Transport: ipproto.Name(r.Proto),
		Src: netip.AddrPortFrom(r.Src.Netip(), r.SrcPort), Dst: netip.AddrPortFrom(r.Dst.Netip(), r.DstPort),
		Flow: &event.Flow{
			Bytes: r.Bytes(), Packets: r.Packets(), SrcBytes: r.Fwd.Bytes, SrcPackets: r.Fwd.Packets,
			DstBytes: r.Rev.Bytes, DstPackets: r.Rev.Packets, Payload: r.Fwd.Payload + r.Rev.Payload,
			Start: time.Unix(0, r.First).UTC(), End: time.Unix(0, r.Last).UTC(),
			TCPFlags: uint8(r.Fwd.Flags | r.Rev.Flags), Ended: r.End.String(),
		},
	}
}

// protoOf is the IP protocol of a network.transport.
func protoOf(transport string) uint8 {
	number, _ := ipproto.Number(transport)
	return number
}

// owner is the process of the local end of a flow, if it is a local one.
func (w *watcher) owner(r *flow.Record) *event.Process {
	if w.process == nil || !r.Ports {
		return nil
	}
	src, dst := netip.AddrPortFrom(r.Src.Netip(), r.SrcPort), netip.AddrPortFrom(r.Dst.Netip(), r.DstPort)
	return w.ownerOf(ipproto.Name(r.Proto), src, dst)
}

func (w *watcher) ownerOf(transport string, src, dst netip.AddrPort) *event.Process {
	if w.process == nil || transport != "tcp" && transport != "udp" {
		return nil
	}
	p, _, ok := w.process.Either(transport, src, dst)
	if !ok {
		return nil
	}
	return &event.Process{PID: p.PID, Name: p.Name, CommandLine: p.CommandLine, User: p.User, Container: p.Container}
}
