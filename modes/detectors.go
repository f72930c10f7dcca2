package modes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"strings"

	"github.com/google/renameio/v2/maybe"

	"vft/capture/packetlog"
	"vft/correlate/anomalyzer"
	"vft/correlate/detect"
	"vft/correlate/watch"
	"vft/modes/config"
)

// detectors builds what judges the packets, from the options.
func (w *watcher) detectors(random [32]byte) error {
	var err error
	settings := watch.DefaultSettings()
	settings.Q, settings.Level = w.values.Number("spot-q"), w.values.Number("spot-level")
	settings.NInit, settings.Depth = w.values.Int("spot-n-init"), w.values.Int("spot-depth")
	settings.MaxExcess = w.values.Int("spot-max-excess")
	settings.Up, settings.Down = w.values.Bool("spot-up"), w.values.Bool("spot-down")
	w.stats, err = watch.NewStats(watch.StatsConfig{Settings: settings, EmitStats: w.values.Bool("emit-stats"), Seed: part(random, 1)}, w.lanes[laneStatistics].emit)
	if err != nil {
		return w.values.Invalid("spot-q", "with the other --spot- options: %v", err)
	}
	known := detect.Config{Seed: part(random, 3), Emit: w.lanes[laneDetections].emit, Home: config.List[netip.Prefix](w.values, "home")}
	if live, _ := watches(w.values); live {
		known.Gateways = gateways()
	}
	w.detect = detect.New(known)
	w.detect.Learn(w.values.Duration("learn-peers"))
	if err := w.watchExports(random); err != nil {
		return err
	}
	methods := config.List[string](w.values, "anom-methods")
	if len(methods) == 0 {
		return nil
	}
	c := watch.DefaultTransferConfig()
	c.Interval, c.Seed = w.values.Duration("transfer-interval"), part(random, 2)
	c.Anomalyzer = w.anomalyzer(methods, random)
	if w.transfers, err = newTransfers(c, config.List[netip.Prefix](w.values, "home"), random, w.lanes[laneTransfers].emit); err != nil {
		return w.values.Invalid("anom-methods", "with the other --anom- options: %v", err)
	}
	return nil
}

// anomalyzer reads the --anom- options. Wherefore judged from the first
// interval that its windows allowed.
func (w *watcher) anomalyzer(methods []string, random [32]byte) anomalyzer.Config {
	v := w.values
	c := watch.DefaultTransferConfig().Anomalyzer
	c.Methods, c.Sensitivity = methods, aboveZero(v.Number("anom-sensitivity"))
	c.UpperBound, c.LowerBound = v.Number("anom-upper-bound"), v.Number("anom-lower-bound")
	if math.IsNaN(c.LowerBound) {
		c.LowerBound = anomalyzer.NA
	}
	c.ActiveSize, c.NSeasons = v.Int("anom-active-size"), v.Int("anom-n-seasons")
	c.Threshold = aboveZero(v.Number("anom-threshold"))
	if c.Cap = v.Int("anom-gv-cap"); !v.Given("anom-gv-cap") {
		c.Cap = 0 // as many as the windows need, if that is more
	}
	c.Seed = uint64(v.Int("anom-seed"))
	if c.Seed == 0 {
		c.Seed = uint64(random[0]) | uint64(random[1])<<8 | uint64(random[2])<<16 | uint64(random[3])<<24
	}
	return c
}

// aboveZero keeps a 0 that was asked for from meaning the default.
func aboveZero(x float64) float64 { return max(x, math.SmallestNonzeroFloat64) }

// part makes a seed of its own for each detector out of one.
func part(random [32]byte, n byte) [32]byte {
	random[31] ^= n
	return random
}

func errNoLogDir(v *config.Values) error {
	return v.Invalid("log-packets", "needs --log-dir: where the packets of flows go first")
}

// openPackets opens the packet log, when one is asked for.
func (w *watcher) openPackets() error {
	v := w.values
	if !v.Bool("log-packets") {
		return nil
	}
	if v.Text("log-dir") == "" {
		return errNoLogDir(v)
	}
	w.packets = packetlog.New(packetlog.Config{
		Dir: v.Text("log-dir"), Archive: v.Text("archive-dir"), MaxFile: int64(v.Int("max-pcap-log-size")) * 1_000_000,
		Rotations: v.Int("max-pcap-rotations"), Snaplen: v.Int("snaplen"), Log: w.log,
	})
	if err := w.packets.Open(); err != nil {
		return cannotOpen(err)
	}
	return nil
}

// learned is what a host keeps of its traffic from one run to the next.
type learned struct {
	Statistics watch.StatsState `json:"statistics"`
	transfersState
	Peers *detect.State `json:"peers,omitempty"`
}

// restore lets the statistics go on with what an earlier run had learned.
func (w *watcher) restore(path string) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var state learned
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err == nil {
		err = w.stats.Restore(state.Statistics)
	}
	if err == nil && w.transfers != nil {
		err = w.transfers.restore(state.transfersState)
	}
	if err == nil && state.Peers != nil {
		err = w.detect.Restore(*state.Peers)
	}
	if err != nil {
		w.log.Warn().Msgf("what the statistics had learned is not used, they learn anew: %s", strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
	}
}

// save keeps what the statistics have learned.
func (w *watcher) save(path string) {
	peers := w.detect.Save()
	state := learned{Statistics: w.stats.Save(), Peers: &peers}
	if w.transfers != nil {
		state.transfersState = w.transfers.save()
	}
	text, err := json.Marshal(state)
	if err == nil {
		err = maybe.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		w.log.Warn().Err(err).Msg("what the statistics have learned is not kept; the next start learns anew")
	}
}
