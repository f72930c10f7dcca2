package modes

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/correlate/sensor"
	"vft/engine/flows"
	"vft/engine/packets"
	"vft/event"
	"vft/hostinfo"
	"vft/modes/config"
	"vft/setting"
)

// watches reports whether the options ask for packets at all.
func watches(v *config.Values) (live, replay bool) {
	return len(config.List[string](v, "interface")) > 0, len(config.List[string](v, "pcapfile")) > 0
}

// packetSettings are the settings of the capture.
func packetSettings(v *config.Values) *packets.Settings {
	s := &packets.Settings{
		Interfaces: config.List[string](v, "interface"), Files: config.List[string](v, "pcapfile"), Promiscuous: v.Bool("promiscuous"),
		Snaplen: v.Int("snaplen"), ReadTimeout: v.Duration("read-timeout"), Filter: filterSettings(v), Shards: v.Int("shards"), Inner: v.Bool("inner"),
		MaxFlows: v.Int("max-flows"), WriteFlows: v.Bool("flows"), Process: v.Text("process"),
		Home: config.List[netip.Prefix](v, "home"), LearnPeers: v.Duration("learn-peers"),
		Statistics: packets.StatisticSettings{
			Names: config.List[string](v, "stats"), Period: v.Duration("period"), Emit: v.Bool("emit-stats"), Q: v.Number("spot-q"), Level: v.Number("spot-level"),
			NInit: v.Int("spot-n-init"), Depth: v.Int("spot-depth"), MaxExcess: v.Int("spot-max-excess"), Up: v.Bool("spot-up"), Down: v.Bool("spot-down"),
		},
		Transfers: packets.TransferSettings{
			Interval: v.Duration("transfer-interval"), Methods: config.List[string](v, "anom-methods"), Sensitivity: v.Number("anom-sensitivity"),
			UpperBound: v.Number("anom-upper-bound"), LowerBound: v.Number("anom-lower-bound"), ActiveSize: v.Int("anom-active-size"),
			NSeasons: v.Int("anom-n-seasons"), Threshold: v.Number("anom-threshold"), Seed: v.Int("anom-seed"),
		},
		PacketLog: packets.PacketLogSettings{
			On: v.Bool("log-packets"), Dir: v.Text("log-dir"), Archive: v.Text("archive-dir"), MaxFile: v.Int("max-pcap-log-size"), Rotations: v.Int("max-pcap-rotations"),
		},
	}
	if v.Given("anom-gv-cap") { // else as many as the windows need
		s.Transfers.Cap = v.Int("anom-gv-cap")
	}
	return s
}

// filterSettings are the settings of what is looked at.
func filterSettings(v *config.Values) capture.FilterSettings {
	f := capture.FilterSettings{Expression: v.Text("filter"), Snaplen: v.Int("snaplen")}
	if nets := config.List[netip.Prefix](v, "filter-cidr"); len(nets) > 0 {
		on := v.Text("filter-on")
		f.Networks = append(f.Networks, capture.NetworkRule{Networks: nets, Src: on != "dst", Dst: on != "src", Both: on == "both", Drop: v.Text("filter-mode") == "drop"})
	}
	if nets := config.List[netip.Prefix](v, "filter-ip-CIDR"); len(nets) > 0 {
		if src, dst := v.Bool("filter-src"), v.Bool("filter-dst"); src || dst {
			f.Networks = append(f.Networks, capture.NetworkRule{Networks: nets, Src: src, Dst: dst, Drop: v.Bool("filter-bool")})
		}
	}
	return f
}

// flowSettings are the settings of exported flows.
func flowSettings(v *config.Values) *flows.Settings {
	s := &flows.Settings{
		Listen: listeners(v), Exporters: config.List[netip.Prefix](v, "exporters"), Workers: v.Int("collector-workers"),
		Files: config.List[string](v, "pcapfile"), Filter: filterSettings(v), MaxFlows: v.Int("max-flows"), WriteFlows: v.Bool("flows"),
		Home: config.List[netip.Prefix](v, "home"), LearnPeers: v.Duration("learn-peers"),
	}
	for _, r := range config.List[config.SamplingRate](v, "exporter-sampling") {
		s.Sampling = append(s.Sampling, flows.SamplingRate(r))
	}
	return s
}

// listeners are the addresses to collect on.
func listeners(v *config.Values) (all []netip.AddrPort) {
	for _, name := range []string{"netflow", "ipfix", "sflow"} {
		for _, l := range config.List[config.Listener](v, name) {
			if at := netip.AddrPortFrom(l.Addr, l.Port); l.Port != 0 && !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// placed says where a setting of the capture that cannot be used was written.
func placed(v *config.Values, s *packets.Settings, err error) error {
	var bad *setting.Error
	if !errors.As(err, &bad) {
		return err
	}
	names := map[any]string{
		&s.Files: "pcapfile", &s.Filter.Expression: "filter", &s.Statistics.Names: "stats", &s.Statistics.Q: "spot-q",
		&s.Transfers.Methods: "anom-methods", &s.Process: "process", &s.PacketLog.On: "log-packets",
	}
	return v.Invalid(names[bad.Field], "%v", bad.Err)
}

// watcher is what watches packets, with where its settings were written.
type watcher struct {
	*packets.Engine
	values   *config.Values
	settings *packets.Settings
	flows    *flows.Captured
}

// newWatcher builds what watches packets; it opens nothing.
func newWatcher(v *config.Values, log zerolog.Logger, debug func() bool, emit event.Emit) (*watcher, error) {
	live, replay := watches(v)
	definitions, err := loadSensors(v)
	if err != nil {
		return nil, err
	}
	own, err := ownSensors(v)
	if err != nil {
		return nil, err
	}
	w := &watcher{values: v, settings: packetSettings(v)}
	c := packets.Config{Settings: w.settings, Random: seed(), Host: hostname(), Log: log, Debug: debug, Emit: emit}
	if replay {
		c.Random = [32]byte{}
	}
	if live {
		c.Gateways = hostinfo.Gateways()
	}
	c.Flows = func(emit event.Emit) (packets.FlowAnalyzer, error) {
		judged := flows.Config{Settings: flowSettings(v), Sensors: definitions, Random: c.Random, Host: c.Host, Log: log, Emit: emit}
		w.flows, err = flows.NewCaptured(judged, own, replay)
		return w.flows, err
	}
	w.Engine, err = packets.New(c)
	return w, placed(v, w.settings, err)
}

// open opens what packets come from and go to.
func (w *watcher) open() error {
	if err := w.Open(); err != nil {
		return cannotOpen(placed(w.values, w.settings, err))
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
	return replayed(w.values, &w.settings.Filter, w.Replay(ctx, progress, s.Err))
}

// replayed marks what a replay found wrong with the filter as bad usage.
func replayed(v *config.Values, f *capture.FilterSettings, err error) error {
	var bad *setting.Error
	if errors.As(err, &bad) && bad.Field == any(&f.Expression) {
		return v.Invalid("filter", "%v", bad.Err)
	}
	return err
}

// newCollector returns nil when no address to collect on is given. It opens
// nothing.
func newCollector(v *config.Values, dir string, log zerolog.Logger, to *flows.Analyzer) *flows.Collector {
	s := flowSettings(v)
	if len(s.Listen) == 0 {
		return nil
	}
	return flows.NewCollector(s, filepath.Join(dir, "exporters.json"), log, to)
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

// ownSensors are those that look at vft's own flows, nil for all of them. Of the
// built-in ones winscan is left out: a single flow is enough for it, and a host
// on the internet is probed by thousands a day, whose scans the detections tell.
// Who names a file gets what is in it.
func ownSensors(v *config.Values) (sensor.Definitions, error) {
	if v.Text("sensors") != "" {
		return nil, nil
	}
	return sensor.Parse("sensors.yaml", []byte("sensors: {winscan: off}"))
}
