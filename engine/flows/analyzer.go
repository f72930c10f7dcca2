// Package flows is the collection of exported flows: datagrams of exporters are
// decoded into records, which sensors and detections judge.
package flows

import (
	"slices"
	"sync"

	"vft/capture/flow"
	"vft/correlate/detect"
	"vft/correlate/sensor"
	"vft/correlate/watch"
	"vft/counters"
	"vft/engine/record"
	"vft/event"
)

// Analyzer judges flows. Workers decode them, each for itself; then one after
// the other hands its records over, so that sensors and detections see every
// record once and in the order of each exporter.
type Analyzer struct {
	writeFlows bool

	mu       sync.Mutex // guards what follows
	out      *record.Writer
	exported *sensor.Set // look at what exporters send; nil: nothing of it can come
	captured *sensor.Set // look at vft's own flows; nil: there are none
	reloaded *Sensors    // take the place of both; nil: none
	losses   *detect.Losses
	detect   *detect.Detections // nil: sensors only
	moves    *watch.ExportedTransfers
	records  uint64
	findings uint64 // threats and anomalies that fired
}

// NewAnalyzer returns what judges the flows that exporters send. It opens nothing. Windows run on the times of the flows, held against
// the clock that Judge and Advance bring: the arrival of the datagrams.
func NewAnalyzer(c Config) (*Analyzer, error) {
	s := c.Settings
	a := &Analyzer{out: record.NewWriter(subSeed(c.Random, 5), c.Host, c.Emit), writeFlows: s.WriteFlows}
	a.losses = detect.NewLosses(detect.Config{Seed: subSeed(c.Random, 8), Emit: a.deliver})
	a.exported = sensor.New(sensor.Config{Definitions: c.Sensors.Exported, Seed: subSeed(c.Random, 6), Emit: a.deliver})
	if c.SensorsOnly {
		return a, nil
	}
	var err error
	a.moves, err = watch.NewExportedTransfers(subSeed(c.Random, 2), watch.TransfersConfig{
		Home: s.Home, WeeklySeed: subSeed(c.Random, 9),
	}, record.Find(a.deliver))
	if err != nil {
		return nil, err
	}
	a.detect = detect.New(detect.Config{Seed: subSeed(c.Random, 7), Home: s.Home, Emit: a.deliver, Exported: a.moves.Flow})
	a.detect.Learn(s.LearnPeers)
	return a, nil
}

// judge takes the records that a worker decoded until now.
func (a *Analyzer) judge(records []flow.Record, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clock(now)
	for i := range records {
		r := &records[i]
		if a.detect != nil {
			a.detect.Flow(r)
		}
		a.exported.Flow(r)
		if a.writeFlows {
			a.out.Write(record.ExportedFlow(r))
		}
	}
	a.records += uint64(len(records))
}

// clock tells that it is now; a.mu is held.
func (a *Analyzer) clock(now int64) {
	a.reload()
	for _, s := range []*sensor.Set{a.exported, a.captured} {
		if s != nil {
			s.Advance(now)
		}
	}
	a.losses.Advance(now)
	if a.detect != nil {
		a.detect.Advance(now)
		a.moves.Advance(now)
	}
}

// flow takes a flow of vft's own capture that ended.
func (a *Analyzer) flow(r *flow.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	if a.captured != nil {
		a.captured.Flow(r)
	}
}

// loss takes how much of what was sent to an address the kernel had and dropped.
func (a *Analyzer) loss(observer string, received, dropped uint64, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.losses.Loss(observer, detect.KernelDrops, received, dropped, now)
}

// advance lets time pass while no record comes.
func (a *Analyzer) advance(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clock(now)
}

// Reload changes the sensors before the next flow or tick of the clock; those
// that stay as they were keep their windows. Any goroutine may call it: what a
// sensor that is gone still has to say leaves on the goroutine of the others.
func (a *Analyzer) Reload(s Sensors) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reloaded = &s
}

// reload takes what Reload was given; a.mu is held.
func (a *Analyzer) reload() {
	if a.reloaded == nil {
		return
	}
	if a.exported != nil {
		a.exported.Reload(a.reloaded.Exported)
	}
	if a.captured != nil {
		a.captured.Reload(a.reloaded.Captured)
	}
	a.reloaded = nil
}

// sets are the sensors of both kinds of flows.
func (a *Analyzer) sets() []*sensor.Set {
	return slices.DeleteFunc([]*sensor.Set{a.exported, a.captured}, func(s *sensor.Set) bool { return s == nil })
}

// close resolves what is open.
func (a *Analyzer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sets() {
		s.Close()
	}
	a.losses.Close()
	if a.detect != nil {
		a.detect.Close() // which tells a.moves of the last flows
		a.moves.Close()
	}
}

// deliver is where all that sensors and detections find leaves, in order; a.mu
// is held.
func (a *Analyzer) deliver(e event.Event) {
	if record.Fires(&e) {
		a.findings++
	}
	a.out.Write(e)
}

// Counts yields the counters of sensors and detections. Any goroutine may ask.
func (a *Analyzer) Counts(yield func(name string, value uint64)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sensors []counters.Func
	for _, s := range a.sets() {
		sensors = append(sensors, s.Counts)
	}
	counters.Sum(sensors...)(yield)
	a.losses.Counts(yield)
	if a.detect != nil {
		a.detect.Counts(yield)
		a.moves.Counts(yield)
	}
}
