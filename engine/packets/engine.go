// Package packets is the capture of one host, or of files: packets are read in
// batches, counted and put into flows by one goroutine, and judged by analyzers
// that do not know each other. What those find leaves in the order in which it
// was seen, whatever the number of goroutines.
package packets

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packetlog"
	"vft/capture/process"
	"vft/capture/stat"
	"vft/correlate/anomalyzer"
	"vft/correlate/detect"
	"vft/correlate/watch"
	"vft/engine/record"
	"vft/setting"
)

// Engine looks at the packets of this host, or of files. One goroutine decodes
// them, counts and keeps the flows. What comes of it is judged by analyzers,
// which run at once on the same goroutine or, with several shards, beside it.
type Engine struct {
	settings  *Settings
	log       zerolog.Logger
	replay    bool
	filter    *capture.PacketFilter
	shard     *capture.Shard
	live      *capture.Live // nil in a replay
	process   *process.Lookup
	due       int64          // when the open interval of the transfers ends; packet time
	shown     int64          // until when the transfers have seen all flows; packet time
	packets   *packetlog.Log // nil: no packets are kept
	out       *record.Writer
	alerts    uint64
	incidents func() uint64 // that came of it; nil: that is not known
	tops      topTicker
	all       *topFlows // of a replay, ended flows too; nil: live

	outlets   [analyzers]outlet
	chosen    []stat.Statistic
	stats     *watch.Stats
	detect    *detect.Detections
	transfers *watch.Transfers // nil: no method is chosen
	flows     FlowAnalyzer
	kernel    kernelCounts // at the last look; of the analyzer of flows
	tallies   tallies
	reader
}

// New checks the settings and builds the parts; it opens nothing. A setting that
// cannot be used is a *setting.Error.
func New(c Config) (*Engine, error) {
	s := c.Settings
	e := &Engine{settings: s, log: c.Log, replay: len(s.Files) > 0, tops: topTicker{log: c.Log, on: c.Debug}}
	for i := range e.outlets {
		e.outlets[i].analyzer = i
	}
	if len(s.Interfaces) > 0 && e.replay {
		return nil, setting.Invalid(&s.Files, "reads files, --interface captures; choose one")
	}
	var err error
	if e.filter, err = capture.NewPacketFilter(&s.Filter); err != nil {
		return nil, err
	}
	if e.chosen, err = stat.Select(s.Statistics.Names); err != nil {
		return nil, setting.Invalid(&s.Statistics.Names, "%v", err)
	}
	if s.PacketLog.On && s.PacketLog.Dir == "" {
		return nil, setting.Invalid(&s.PacketLog.On, "needs --log-dir: where the packets of flows go first")
	}
	if e.replay {
		e.all = &topFlows{}
	}
	e.out, e.incidents = record.NewWriter(c.Random, c.Host, c.Emit), c.Alerts
	if err := e.buildAnalyzers(&c); err != nil {
		return nil, err
	}
	e.shard = capture.NewShard(capture.ShardConfig{
		Period: s.Statistics.Period, Inner: s.Inner, Interval: e.interval, Places: exactPlaces(e.replay),
		Flow: flow.Config{Max: s.MaxFlows, LinkHeader: ethernetHeader, Seed: binary.LittleEndian.Uint64(c.Random[:]), Emit: e.flow},
	})
	e.tallyAll()
	return e, e.buildSource()
}

// ethernetHeader is the length of the header of an Ethernet frame, in bytes.
const ethernetHeader = 14

// exactPlaces is how many distinct addresses and flows the summary counts
// exactly: nearly any number in a replay; live there is no summary.
func exactPlaces(replay bool) int {
	if replay {
		return 1 << 24
	}
	return 1 << 10
}

// buildAnalyzers builds what judges the traffic.
func (e *Engine) buildAnalyzers(c *Config) error {
	s := e.settings
	var err error
	e.stats, err = watch.NewStats(watch.StatsConfig{
		Settings: s.Statistics.judged(e.chosen), EmitStats: s.Statistics.Emit, Named: s.Statistics.Names, Seed: subSeed(c.Random, 1),
	}, e.outlets[statisticsAnalyzer].emit, record.Find(e.outlets[statisticsAnalyzer].emit))
	if err != nil {
		return setting.Invalid(&s.Statistics.Q, "with the other --spot- options: %v", err)
	}
	e.detect = detect.New(detect.Config{Seed: subSeed(c.Random, 3), Emit: e.outlets[detectionsAnalyzer].emit, Home: s.Home, Gateways: c.Gateways})
	e.detect.Learn(s.LearnPeers)
	if e.flows, err = c.Flows(e.outlets[flowsAnalyzer].emit); err != nil {
		return err
	}
	if len(s.Transfers.Methods) == 0 {
		return nil
	}
	transfer := watch.DefaultTransferConfig()
	transfer.Interval, transfer.Seed = s.Transfers.Interval, subSeed(c.Random, 2)
	transfer.Anomalyzer = s.Transfers.anomalyzer(c.Random)
	e.transfers, err = watch.NewTransfers(watch.TransfersConfig{
		Transfer: transfer, All: s.Transfers.All, Home: s.Home, WeeklySeed: subSeed(c.Random, 9),
	}, record.Find(e.outlets[transfersAnalyzer].emit))
	if err != nil {
		return setting.Invalid(&s.Transfers.Methods, "with the other --anom- options: %v", err)
	}
	return nil
}

// judged is how the chosen statistics are judged.
func (s *StatisticSettings) judged(chosen []stat.Statistic) watch.Settings {
	set := watch.DefaultSettings()
	set.Level, set.NInit, set.Depth, set.MaxExcess, set.Up, set.Down = s.Level, s.NInit, s.Depth, s.MaxExcess, s.Up, s.Down
	if set.Q = s.Q; set.Q == 0 {
		set.Q = watch.Budget(s.Budget, time.Second, len(chosen), s.Period)
		set.Q = min(max(set.Q, 1e-12), (1-s.Level)/2) // what the tails can tell
	}
	return set
}

// anomalyzer is how the anomalyzer works. Wherefore judged from the first
// interval that its windows allowed.
func (s *TransferSettings) anomalyzer(random [32]byte) anomalyzer.Config {
	c := watch.DefaultTransferConfig().Anomalyzer
	c.Methods, c.Sensitivity = s.Methods, aboveZero(s.Sensitivity)
	c.UpperBound, c.LowerBound = s.UpperBound, s.LowerBound
	if math.IsNaN(c.LowerBound) {
		c.LowerBound = anomalyzer.NA
	}
	c.ActiveSize, c.NSeasons, c.Cap = s.ActiveSize, s.NSeasons, s.Cap
	c.Threshold = aboveZero(s.Threshold)
	c.Seed = uint64(s.Seed)
	if c.Seed == 0 {
		c.Seed = uint64(random[0]) | uint64(random[1])<<8 | uint64(random[2])<<16 | uint64(random[3])<<24
	}
	return c
}

// aboveZero keeps a 0 that was asked for from meaning the default.
func aboveZero(x float64) float64 { return max(x, math.SmallestNonzeroFloat64) }

// subSeed makes a seed of its own for each analyzer out of one.
func subSeed(random [32]byte, n byte) [32]byte {
	random[31] ^= n
	return random
}

// buildSource builds what the packets come from and where they are kept.
func (e *Engine) buildSource() error {
	s := e.settings
	if s.PacketLog.On {
		e.packets = packetlog.New(packetlog.Config{
			Dir: s.PacketLog.Dir, Archive: s.PacketLog.Archive, MaxFile: int64(s.PacketLog.MaxFile) * 1_000_000,
			Rotations: s.PacketLog.Rotations, Snaplen: s.Snaplen, Log: e.log,
		})
	}
	if len(s.Interfaces) == 0 {
		return nil
	}
	method, err := process.ParseMethod(s.Process)
	if err != nil {
		return setting.Invalid(&s.Process, "%v", err)
	}
	e.process = process.New(process.Config{Method: method, Log: e.log})
	e.live = capture.NewLive(capture.LiveConfig{
		Interfaces: s.Interfaces, Promiscuous: s.Promiscuous, Snaplen: s.Snaplen,
		BlockTimeout: s.ReadTimeout, Filter: e.filter.Live, Log: e.log,
	})
	return nil
}

// Open opens the packet log and the interfaces, or reads the head of each file.
func (e *Engine) Open() error {
	if e.replay {
		files := capture.File{Paths: e.settings.Files}
		if err := files.Check(); err != nil {
			return err
		}
	}
	if e.packets != nil {
		if err := e.packets.Open(); err != nil {
			return err
		}
	}
	if e.live != nil {
		return e.live.Open()
	}
	return nil
}
