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
func newWatcher(s *settings.Settings, log zerolog.Logger, debug func() bool, emit event.Emit) (*watcher, error) {
	definitions, err := loadSensors(s)
	if err != nil {
		return nil, err
	}
	w := &watcher{settings: s}
	c := packets.Config{Settings: &s.Packets, Random: seed(), Host: hostname(), Log: log, Debug: debug, Emit: emit}
	if s.Replay() {
		c.Random = [32]byte{}
	}
	if s.Live() {
		c.Gateways = hostinfo.Gateways()
	}
	c.Flows = func(emit event.Emit) (packets.FlowAnalyzer, error) {
		judged := flows.Config{Settings: &s.Flows, Sensors: definitions, Random: c.Random, Host: c.Host, Log: log, Emit: emit}
		w.flows, err = flows.NewCaptured(judged, s.Replay())
		return w.flows, err
	}
	w.Engine, err = packets.New(c)
	return w, s.Placed(err)
}

// open opens what packets come from and go to.
func (w *watcher) open() error {
	if err := w.Open(); err != nil {
		return cannotOpen(w.settings.Placed(err))
	}
	return nil
}

// run captures until ctx ends.
func (w *watcher) run(ctx context.Context, s Streams, dir string, log zerolog.Logger) error {
	err := w.RunLive(ctx, s.Err, filepath.Join(dir, "statistics.json"))
	logCounts(log, "capture", w.CaptureCounts)
	logCounts(log, "traffic", w.TrafficCounts)
	return err
}

// replay reads the capture files.
func (w *watcher) replay(ctx context.Context, s Streams) error {
	progress, done := showProgress(s)
	defer done()
	return w.settings.Placed(w.Replay(ctx, progress, s.Err))
}

// newCollector returns nil when no address to collect on is given. It opens
// nothing.
func newCollector(s *settings.Settings, dir string, log zerolog.Logger, to *flows.Analyzer) *flows.Collector {
	if len(s.Flows.Listen) == 0 {
		return nil
	}
	return flows.NewCollector(&s.Flows, filepath.Join(dir, "exporters.json"), log, to)
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

// runCollector receives until ctx ends.
func runCollector(ctx context.Context, c *flows.Collector, log zerolog.Logger) error {
	err := c.Run(ctx)
	logCounts(log, "collectors", c.Counts)
	return err
}
