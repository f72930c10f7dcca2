package modes

import (
	"context"
	"errors"
	"time"

	rules "vft/correlate/fleet"
	"vft/engine/flows"
	"vft/event"
	"vft/hostinfo"
	"vft/siem"
)

// buildFlows builds what collects and judges exported flows, and what tells a
// broker of threats. It opens nothing.
func (s *server) buildFlows() (err error) {
	if s.writer.notify, err = newNotifier(s.settings, s.log); err != nil {
		return err
	}
	definitions, err := loadSensors(s.settings)
	if err != nil {
		return err
	}
	s.collector, err = collectorIfAny(s.settings, s.dir, s.log, definitions, s.record)
	return err
}

// record writes what the flows of exporters show.
func (s *server) record(e event.Event) {
	e.Client = s.writer.hostname
	s.fleet.Record(e)
}

// replayFlows judges the exported flows in capture files and ends when every
// record is delivered. Nothing is listened on.
func replayFlows(ctx context.Context, p deps) error {
	s := &server{deps: p}
	definitions, err := loadSensors(s.settings)
	if err != nil {
		return err
	}
	return s.judgeFiles(ctx, definitions, false)
}

// judgeFiles reads the capture files through sensors and, unless only those are
// asked for, detections.
func (s *server) judgeFiles(ctx context.Context, definitions flows.Sensors, sensorsOnly bool) (err error) {
	s.out = siem.New(siem.Config{Target: siem.Target{Scheme: "stdout"}, Stdout: s.streams.Out, Log: s.log, Random: newRandom().Float64})
	s.writer = newRecordWriter(s.build, []*siem.Destination{s.out})
	s.fleet = newCorrelator(rules.DefaultRules(), [32]byte{}, false, s.writer)
	s.writer.created = func() time.Time { return time.Time{} }
	if !sensorsOnly { // a trial tells nobody else
		s.writer.notify, err = newNotifier(s.settings, s.log)
	}
	if err != nil {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	files, err := flows.NewReplay(flows.Config{Settings: &s.settings.Flows, Sensors: definitions, Host: hostinfo.Name(), Log: s.log, SensorsOnly: sensorsOnly, Alerts: s.fleet.Alerts, Emit: func(e event.Event) {
		s.record(e)
		_ = s.out.Wait(reading, replayAhead) // ends early only when vft ends
	}})
	if err != nil {
		return s.settings.Placed(err)
	}
	if err := files.Open(); err != nil {
		return cannotOpen(err)
	}
	files.AddCounters(&s.counters)
	var g group
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	g.start(stop, func() error { return s.out.Run(sending) })
	if s.writer.notify != nil {
		g.start(stop, func() error { return s.writer.notify.Run(sending) })
	}
	progress, done := showProgress(s.streams)
	err = s.settings.Placed(files.Run(reading, progress, s.streams.Err))
	done()
	_ = s.out.Wait(reading, 0)
	if s.writer.notify != nil {
		_ = s.writer.notify.Wait(reading, 0)
	}
	stopSending()
	err = errors.Join(err, g.wait())
	logCounters(&s.counters, s.log.Debug)
	return err
}
