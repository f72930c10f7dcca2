package modes

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/export"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/detect"
	"vft/correlate/sensor"
	"vft/event"
	"vft/modes/config"
)

// exports judges the flows that exporters send. Intakes decode them, each for
// itself; then one after the other hands its records over, so that sensors and
// detections see every record once and in the order of each exporter.
type exports struct {
	log   zerolog.Logger
	ids   *event.IDs
	emit  event.Emit
	flows bool // write each record

	mu       sync.Mutex // guards what follows
	sensors  *sensor.Set
	captured *sensor.Set // that look at vft's own flows; may be sensors, or nil
	losses   *detect.Losses
	detect   *detect.Detections // nil: sensors only
	moves    *exportedTransfers
	records  uint64
	findings uint64 // threats and anomalies that fired
}

// newExports opens nothing. Windows run on the times of the flows, held against
// the clock that judge and advance bring: the arrival of the datagrams.
func newExports(v *config.Values, definitions sensor.Definitions, random [32]byte, log zerolog.Logger, emit event.Emit) (*exports, error) {
	x := &exports{log: log, ids: event.NewIDs(part(random, 5)), emit: emit, flows: v.Bool("flows")}
	x.sensors = sensor.New(sensor.Config{Definitions: definitions, Seed: part(random, 6), Emit: x.finding})
	x.losses = detect.NewLosses(detect.Config{Seed: part(random, 8), Emit: x.finding})
	home := config.List[netip.Prefix](v, "home")
	var err error
	if x.moves, err = newExportedTransfers(home, random, x.finding); err != nil {
		return nil, err
	}
	x.detect = detect.New(detect.Config{Seed: part(random, 7), Home: home, Emit: x.finding, Exported: x.moves.flow})
	x.detect.Learn(v.Duration("learn-peers"))
	return x, nil
}

// judge takes the records that an intake decoded until now.
func (x *exports) judge(records []flow.Record, now int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clock(now)
	for i := range records {
		r := &records[i]
		if x.detect != nil {
			x.detect.Flow(r)
		}
		x.sensors.Flow(r)
		if x.flows {
			x.record(exportedEvent(r))
		}
	}
	x.records += uint64(len(records))
}

// clock tells that it is now; x.mu is held.
func (x *exports) clock(now int64) {
	for _, s := range x.sets() {
		s.Advance(now)
	}
	x.losses.Advance(now)
	if x.detect != nil {
		x.detect.Advance(now)
		x.moves.advance(now)
	}
}

// own takes a flow of vft's own capture that ended.
func (x *exports) own(r *flow.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.captured != nil {
		x.captured.Flow(r)
	}
}

// advance lets time pass while no record comes.
func (x *exports) advance(now int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clock(now)
}

// reload changes the sensors; those that stay as they were keep their windows.
func (x *exports) reload(definitions sensor.Definitions) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sensors.Reload(definitions)
}

// sets are the sensors of both kinds of flows.
func (x *exports) sets() []*sensor.Set {
	if x.captured == nil || x.captured == x.sensors {
		return []*sensor.Set{x.sensors}
	}
	return []*sensor.Set{x.sensors, x.captured}
}

// close resolves what is open.
func (x *exports) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.sets() {
		s.Close()
	}
	x.losses.Close()
	if x.detect != nil {
		x.detect.Close() // which tells x.moves of the last flows
		x.moves.close()
	}
}

// finding takes what a sensor or a detection found; x.mu is held.
func (x *exports) finding(e event.Event) {
	if e.Anomaly != nil && e.Anomaly.State == event.Firing || e.Threat != nil && e.Threat.State == event.Firing {
		x.findings++
	}
	x.record(e)
}

func (x *exports) record(e event.Event) {
	if e.ID.IsZero() {
		e.ID = x.ids.Next(e.Time)
	}
	if e.Host == "" {
		e.Host = hostname()
	}
	x.emit(e)
}

// counts yields the counters of sensors and detections.
func (x *exports) counts(yield func(name string, value uint64)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.sets() {
		s.Counts(yield)
	}
	x.losses.Counts(yield)
	if x.detect != nil {
		x.detect.Counts(yield)
		x.moves.counts(yield)
	}
}

// exportedEvent is a flow that an exporter sent, as an event.
func exportedEvent(r *flow.Record) event.Event {
	e := flowEvent(r)
	f, rate := e.Flow, uint64(max(r.Export.Sampling, 1))
	f.Ended, f.Exporter, f.Version, f.Sampling = "", r.Export.Exporter.String(), r.Export.Version.String(), r.Export.Sampling
	f.SampledPackets, f.SampledBytes = f.Packets/rate, f.Bytes/rate
	return e
}

// intake decodes the datagrams of one socket, or of one replay. One goroutine
// owns it.
type intake struct {
	decoder *export.Decoder
	to      *exports
	records []flow.Record
	due     int64                           // when look is called next
	known   export.State                    // as look found it; exports.mu guards it
	seen    map[exporterKey]export.Exporter // the same
}

// manyRecords is how many records may wait to be judged.
const manyRecords = 4096

func newIntake(v *config.Values, to *exports) *intake {
	rates := config.List[config.SamplingRate](v, "exporter-sampling")
	return &intake{to: to, decoder: export.NewDecoder(export.Config{
		MaxSkew: -1, // the times in a record are those that its exporter stated
		Sampling: func(exporter packet.Addr) uint32 {
			i := slices.IndexFunc(rates, func(r config.SamplingRate) bool { return packet.AddrFrom(r.Exporter) == exporter })
			if i < 0 {
				return 0
			}
			return rates[i].Rate
		},
	})}
}

// datagram decodes one datagram.
func (in *intake) datagram(from netip.AddrPort, payload []byte, now int64) {
	in.records = in.decoder.Datagram(from, payload, now, in.records)
	if len(in.records) >= manyRecords {
		in.flush(now)
	}
}

// tick hands over what a batch brought, and lets time pass for the rest.
func (in *intake) tick(now int64) {
	if len(in.records) > 0 {
		in.flush(now)
	} else {
		in.to.advance(now)
	}
	if now >= in.due {
		in.look(now)
		in.due = now + int64(lookEvery)
	}
}

// lookEvery is how often an intake looks at its exporters.
const lookEvery = 10 * time.Second

// flush hands over what was decoded.
func (in *intake) flush(now int64) {
	in.to.judge(in.records, now)
	in.records = in.records[:0]
}

// exportPorts are where exporters usually send to.
var exportPorts = []uint16{2055, 2056, 4739, 6343, 9995, 9996}

// listeners are the addresses to collect on.
func listeners(v *config.Values) (all []config.Listener) {
	for _, name := range []string{"netflow", "ipfix", "sflow"} {
		for _, l := range config.List[config.Listener](v, name) {
			if l.Port != 0 && !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}

// sieveOfExports tells which packets of a capture are exported flows.
type sieveOfExports struct {
	ports []uint16
	allow []netip.Prefix
}

func newSieveOfExports(v *config.Values) sieveOfExports {
	s := sieveOfExports{allow: config.List[netip.Prefix](v, "exporters")}
	for _, l := range listeners(v) {
		s.ports = append(s.ports, l.Port)
	}
	if len(s.ports) == 0 {
		s.ports = exportPorts
	}
	return s
}

// datagram returns what an exporter sent in the packet p.
func (s *sieveOfExports) datagram(p *packet.Parsed) (from netip.AddrPort, payload []byte, ok bool) {
	if p.Transport != packet.UDP || !p.HasPorts || !slices.Contains(s.ports, p.DstPort) {
		return from, nil, false
	}
	from = netip.AddrPortFrom(p.Src.Netip(), p.SrcPort)
	if len(s.allow) > 0 && !slices.ContainsFunc(s.allow, func(n netip.Prefix) bool { return n.Contains(from.Addr()) }) {
		return from, nil, false
	}
	return from, p.Payload(), true
}

// lost takes what did not arrive of the datagrams to an address.
func (x *exports) lost(observer string, received, dropped uint64, now int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.losses.Loss(observer, detect.KernelDrops, received, dropped, now)
}

// watchedExports is how a watcher judges flows as a whole: its own by sensors,
// and in a replay also those that exporters tell of in the captures.
type watchedExports struct {
	judge *exports
	in    *intake // nil: live
	which sieveOfExports
}

// watchExports builds it; what is found goes into a lane of its own.
func (w *watcher) watchExports(random [32]byte) error {
	definitions, err := loadSensors(w.values)
	if err != nil {
		return err
	}
	x, err := newExports(w.values, definitions, random, w.log, w.lanes[laneFlows].emit)
	if err != nil {
		return err
	}
	if x.captured, err = capturedSensors(w.values, x, random); err != nil {
		return err
	}
	w.exports = watchedExports{judge: x, which: newSieveOfExports(w.values)}
	if _, replay := watches(w.values); replay {
		w.exports.in = newIntake(w.values, x)
	} else {
		x.detect = nil
	}
	return nil
}

// capturedSensors are those that look at vft's own flows. Of the built-in ones
// winscan is left out: a single flow is enough for it, and a host on the internet
// is probed by thousands a day, whose scans the detections tell. Who names a file
// gets what is in it.
func capturedSensors(v *config.Values, x *exports, random [32]byte) (*sensor.Set, error) {
	if v.Text("sensors") != "" {
		return x.sensors, nil
	}
	definitions, err := sensor.Parse("sensors.yaml", []byte("sensors: {winscan: off}"))
	return sensor.New(sensor.Config{Definitions: definitions, Seed: part(random, 10), Emit: x.finding}), err
}
