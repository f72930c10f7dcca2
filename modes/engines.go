package modes

import (
	"context"
	"path/filepath"

	"github.com/rs/zerolog"

	"vft/engine/flows"
	"vft/engine/packets"
	"vft/event"
	"vft/hostinfo"
	"vft/modes/settings"
)

// watcher is what watches packets, with where its settings were written.
type watcher struct {
	*packets.Engine
	settings *settings.Settings
	flows    *flows.Captured
}

// newWatcher builds what watches packets; it opens nothing.
func newWatcher(s *settings.Settings, log zerolog.Logger, debug func() bool, alerts func() uint64, emit event.Emit) (*watcher, error) {
	definitions, err := loadSensors(s)
	if err != nil {
		return nil, err
	}
	w := &watcher{settings: s}
	c := packets.Config{Settings: &s.Packets, Random: seed(), Host: hostinfo.Name(), Log: log, Debug: debug, Alerts: alerts, Emit: emit}
	if s.Replay() {
		c.Random = [32]byte{}
	}
	if s.Live() {
		c.Gateways = hostinfo.Gateways()
		own := hostinfo.Networks()
		s.Packets.Home, s.Flows.Home = hostinfo.Inside(s.Packets.Home, own), hostinfo.Inside(s.Flows.Home, own)
	}
	c.Flows = func(emit event.Emit) (packets.FlowAnalyzer, error) {
		judged := flows.Config{Settings: &s.Flows, Sensors: definitions, Random: c.Random, Host: c.Host, Log: log, Emit: emit}
		w.flows, err = flows.NewCaptured(judged, s.Replay())
		return w.flows, err
	}
	w.Engine, err = packets.New(c)
	return w, s.Placed(err)
}

// watcherIfAny returns nil when no packets are watched. Wrong settings of a
// capture are refused then too: who gives them will want them one day.
func watcherIfAny(s *settings.Settings, log zerolog.Logger, debug func() bool, alerts func() uint64, emit event.Emit) (*watcher, error) {
	watched := s.Live() || s.Replay()
	if !watched && !s.GivenCapture() {
		return nil, nil
	}
	w, err := newWatcher(s, log, debug, alerts, emit)
	if !watched {
		return nil, err
	}
	return w, err
}

// open opens what packets come from and go to.
func (w *watcher) open() error {
	if err := w.Open(); err != nil {
		return cannotOpen(w.settings.Placed(err))
	}
	return nil
}

// run captures until ctx ends.
func (w *watcher) run(ctx context.Context, s Streams, dir string) error {
	return w.RunLive(ctx, s.Err, filepath.Join(dir, "statistics.json"))
}

// replay reads the capture files.
func (w *watcher) replay(ctx context.Context, s Streams) error {
	progress, done := showProgress(s)
	defer done()
	return w.settings.Placed(w.Replay(ctx, progress, s.Err))
}

// collectorIfAny returns nil when no address to collect on is given. It opens
// nothing.
func collectorIfAny(s *settings.Settings, dir string, log zerolog.Logger, sensors flows.Sensors, emit event.Emit) (*flows.Collector, error) {
	if len(s.Flows.Listen) == 0 {
		return nil, nil
	}
	return flows.NewCollector(flows.Config{Settings: &s.Flows, Sensors: sensors, Random: seed(), Host: hostinfo.Name(), Log: log, Emit: emit}, filepath.Join(dir, "exporters.json"))
}

// openCollector binds the addresses and says so, whatever the log level is.
func openCollector(c *flows.Collector, log zerolog.Logger) error {
	if err := c.Open(); err != nil {
		return cannotOpen(err)
	}
	for _, at := range c.Addrs() {
		log.Log().Str(zerolog.LevelFieldName, zerolog.LevelInfoValue).Stringer("address", at).Msgf("collecting flows on %s", at)
	}
	return nil
}
