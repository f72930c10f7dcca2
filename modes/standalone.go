package modes

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	rules "vft/correlate/fleet"
	"vft/counters"
	"vft/datadir"
	"vft/engine/fleet"
	"vft/engine/flows"
	"vft/engine/host"
	"vft/event"
	"vft/modes/settings"
	"vft/siem"
)

// standalone is the running graph of `vft standalone`.
type standalone struct {
	deps
	dir          string
	counters     counters.Registry
	destinations []*siem.Destination
	writer       *recordWriter
	rules        atomic.Pointer[rules.Rules]
	fleet        *fleet.Correlator
	backpressure func() // of a replay: waits for slow destinations

	host      *host.Traps      // nil in a replay
	watcher   *watcher         // nil when no packets are watched
	collector *flows.Collector // nil when no flows are collected
}

// runStandalone is `vft standalone`.
func runStandalone(ctx context.Context, p deps) error {
	if p.settings.ListConnections {
		return listConnections(ctx, p)
	}
	s, err := newStandalone(p)
	if err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	if p.settings.Replay() {
		return s.replay(ctx)
	}
	return s.run(ctx)
}

// newStandalone builds all parts; it opens nothing.
func newStandalone(p deps) (*standalone, error) {
	s := &standalone{deps: p}
	targets, err := destinations(p.settings)
	if err != nil {
		return nil, err
	}
	r, err := loadRules(p.settings)
	if err != nil {
		return nil, err
	}
	sensors, err := loadSensors(p.settings)
	if err != nil {
		return nil, err
	}
	if !p.settings.Replay() { // which keeps nothing
		if s.dir, err = p.dataDir(); err != nil {
			return nil, err
		}
	}
	s.rules.Store(&r)
	s.buildDestinations(targets)
	s.writer = newRecordWriter(p.build, s.destinations)
	random := seed()
	if p.settings.Replay() {
		random = [32]byte{} // its records must repeat
	}
	s.fleet = newCorrelator(r, random, false, s.writer)
	if s.writer.notify, err = newNotifier(p.settings, s.log); err != nil {
		return nil, err
	}
	if s.watcher, err = watcherIfAny(p.settings, s.log, s.level.debug, s.fleet.Alerts, s.record); err != nil {
		return nil, err
	}
	if p.settings.Replay() {
		s.writer.created = func() time.Time { return time.Time{} }
		s.addCounters()
		return s, nil
	}
	if s.host, err = newTraps(p.settings, s.dir, s.log, s.emit); err != nil {
		return nil, err
	}
	if s.collector, err = collectorIfAny(p.settings, s.dir, s.log, sensors, s.record); err != nil {
		return nil, err
	}
	s.addCounters()
	return s, nil
}

// addCounters registers the counters of all parts.
func (s *standalone) addCounters() {
	if s.watcher != nil {
		s.watcher.AddCounters(&s.counters)
	}
	if s.collector != nil {
		s.collector.AddCounters(&s.counters)
	}
	if s.host != nil {
		s.counters.Add("traps", s.host.Counts)
	}
	addRuleCounters(&s.counters, s.fleet, &s.rules)
	for _, out := range s.destinations {
		s.counters.Add("destination", out.Counts)
	}
	if s.writer.notify != nil {
		s.counters.Add("amqp", s.writer.notify.Counts)
	}
}

// open opens what the parts read from, listen on and write to. What is wrong
// with a destination before the first record ends vft.
func (s *standalone) open() error {
	if !s.settings.Replay() {
		if err := datadir.Make(s.dir); err != nil {
			return cannotOpen(err)
		}
	}
	for _, out := range s.destinations {
		if err := out.Check(); err != nil {
			return cannotOpen(err)
		}
	}
	if s.watcher != nil {
		if err := s.watcher.open(); err != nil {
			return err
		}
	}
	if s.collector != nil {
		if err := openCollector(s.collector, s.log); err != nil {
			return err
		}
	}
	if s.host != nil {
		s.host.Open()
	}
	return nil
}

// replay reads the files and ends when every record is delivered.
func (s *standalone) replay(ctx context.Context) error {
	var g group
	reading, stop := context.WithCancel(ctx)
	defer stop()
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	s.send(&g, sending, stop)
	s.backpressure = func() { s.wait(reading, replayAhead) }
	err := s.watcher.replay(reading, s.streams)
	s.wait(reading, 0)
	stopSending()
	err = errors.Join(err, g.wait())
	logCounters(&s.counters, s.log.Debug)
	return err
}

// send starts what carries records away.
func (s *standalone) send(g *group, ctx context.Context, stop context.CancelFunc) {
	for _, out := range s.destinations {
		g.start(stop, func() error { return out.Run(ctx) })
	}
	if s.writer.notify != nil {
		g.start(stop, func() error { return s.writer.notify.Run(ctx) })
	}
}

// replayAhead is how many records of a replay may wait at a destination: a
// replay is held up rather than lose one.
const replayAhead = 32768

// wait waits until at most so many records wait at each destination.
func (s *standalone) wait(ctx context.Context, most int) {
	for _, out := range s.destinations {
		_ = out.Wait(ctx, most) // ends early only when vft ends
	}
	if s.writer.notify != nil {
		_ = s.writer.notify.Wait(ctx, most)
	}
}

// record writes a finding or a record of the watcher.
func (s *standalone) record(e event.Event) {
	e.Client = s.writer.hostname
	s.fleet.Record(e)
	if s.backpressure != nil {
		s.backpressure()
	}
}

// destinations reads --dest.
func destinations(v *settings.Settings) (targets []siem.Target, err error) {
	for _, text := range v.Output.Destinations {
		target, err := siem.Parse(text)
		if err != nil {
			return nil, v.Invalid(&v.Output.Destinations, "%v", err)
		}
		targets = append(targets, target)
	}
	if len(targets) == 0 {
		return nil, v.Invalid(&v.Output.Destinations, "names no destination; stdout:// is one")
	}
	return targets, nil
}

// buildDestinations builds the destinations.
func (s *standalone) buildDestinations(targets []siem.Target) {
	for _, target := range targets {
		for _, warning := range target.Warnings() {
			s.log.Warn().Msg(warning)
		}
		s.destinations = append(s.destinations, siem.New(siem.Config{
			Target: target, Stdout: s.streams.Out, Log: s.log, Random: newRandom().Float64,
			OnDrop: func(dropped uint64) { s.dropped(target, dropped) },
		}))
	}
}

// run watches until ctx ends or a destination fails for good. The traps end
// first: what they saw last is still delivered.
func (s *standalone) run(ctx context.Context) error {
	var g group
	trapping, stop := context.WithCancel(ctx)
	defer stop()
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	s.send(&g, sending, stop)
	g.start(stop, func() error {
		defer stopSending()
		var inner group
		inner.start(stop, func() error { return s.runTraps(trapping) })
		if s.watcher != nil {
			inner.start(stop, func() error { return s.watcher.run(trapping, s.streams, s.dir) })
		}
		if s.collector != nil {
			inner.start(stop, func() error { return s.collector.Run(trapping) })
		}
		return inner.wait()
	})
	defer onReload(func() { s.reloadWith(s.prepare) })()
	err := g.waitAfter(trapping)
	logCounters(&s.counters, s.log.Info)
	return err
}

// runTraps runs the traps and moves the clock of the rules on, until ctx ends.
func (s *standalone) runTraps(ctx context.Context) error {
	var g group
	g.start(func() {}, func() error { return s.host.Run(ctx) })
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return g.wait()
		case now := <-ticker.C:
			s.fleet.Advance(now.UTC())
		}
	}
}

// emit judges and writes one hit.
func (s *standalone) emit(e event.Event) {
	e.Client = s.writer.hostname
	s.fleet.Observe(&e, true)
}

// dropped writes that a destination lost records.
func (s *standalone) dropped(target siem.Target, dropped uint64) {
	s.log.Warn().Stringer("dest", target).Uint64("dropped", dropped).Msg("records were dropped: the destination is away or too slow")
	now := time.Now().UTC()
	var traps []uint16
	if s.host != nil {
		traps, _ = s.host.Ports()
	}
	s.fleet.Record(event.Event{
		Time: now, Dataset: event.DatasetClient, Client: s.writer.hostname, Host: s.writer.hostname,
		Member: &event.Member{ID: s.writer.hostname, State: event.Dropping, Version: s.build.Version, Traps: traps, Dropped: dropped},
	})
}

// prepare checks what a running standalone takes of settings that were read
// again.
func (s *standalone) prepare(read *settings.Settings) (change func(), err error) {
	r, err := loadRules(read)
	if err != nil {
		return nil, err
	}
	sensors, err := loadSensors(read)
	if err != nil {
		return nil, err
	}
	return func() {
		s.rules.Store(&r)
		s.fleet.SetRules(r)
		if s.collector != nil {
			s.collector.Reload(sensors)
		}
		if s.watcher != nil {
			s.watcher.flows.Reload(sensors)
		}
	}, nil
}
