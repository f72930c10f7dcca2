package watch

import (
	"fmt"
	"maps"
	"slices"

	"vft/capture/stat"
	"vft/correlate/spot"
	"vft/event"
)

// The defaults of Settings.
const (
	DefaultRecalibrate = 20
	DefaultQuiet       = 12
)

// Settings say how one statistic is watched. Start from DefaultSettings.
type Settings struct {
	// Config holds the parameters of SPOT. Its Depth is that of the reference, the
	// moving mean that is subtracted first (0: none), and the values that fill it
	// count among NInit. Gamma is always kept within 0 and 0.8.
	spot.Config
	// Recalibrate is after how many abnormal values in a row the abnormal is the
	// new normal; at least 2.
	Recalibrate int `json:"recalibrate"`
	// Quiet is how many intervals without an anomaly end an episode; at least 1.
	Quiet int `json:"quiet"`
	// Weekly subtracts what is usual at the hour of the week, by UTC, once a whole
	// week was seen.
	Weekly bool `json:"weekly"`
}

// DefaultSettings returns spot.DefaultConfig, a new normal after 20 abnormal values,
// the end of an episode after 12 intervals, no weekly baseline.
func DefaultSettings() Settings {
	return Settings{Config: spot.DefaultConfig(), Recalibrate: DefaultRecalibrate, Quiet: DefaultQuiet}
}

// Validate says what is wrong with the first setting that is.
func (s Settings) Validate() error {
	switch {
	case s.Recalibrate < 2:
		return fmt.Errorf("cannot recalibrate after %d anomalies: at least 2 are needed", s.Recalibrate)
	case s.Quiet < 1:
		return fmt.Errorf("cannot end an episode after %d quiet intervals: at least 1 is needed", s.Quiet)
	}
	return s.Config.Validate()
}

// StatsConfig says how Stats watches.
type StatsConfig struct {
	Settings  Settings            // of every statistic that Override does not name
	Override  map[string]Settings // by name of the statistic
	EmitStats bool                // write each value and its thresholds too
	Seed      [32]byte            // of the ids of events; from crypto/rand, or fixed in a replay
}

// Stats watches statistics, each with a detector of its own. One goroutine uses it
// at a time. See the package comment for what it judges and when it speaks.
type Stats struct {
	cfg       StatsConfig
	emit      event.Emit
	ids       *event.IDs
	detectors map[string]*detector
	unwatched map[string]bool
	newest    int64
	count     statsCounts
}

type statsCounts struct{ samples, missing, anomalies, withheld, episodes, newNormal, returned uint64 }

// NewStats returns a Stats that has learned nothing. Events go through emit. It
// refuses settings that do not validate, with the name of the statistic.
func NewStats(cfg StatsConfig, emit event.Emit) (*Stats, error) {
	if err := cfg.Settings.Validate(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Override)) {
		if err := cfg.Override[name].Validate(); err != nil {
			return nil, fmt.Errorf("statistic %s: %w", name, err)
		}
	}
	s := &Stats{cfg: cfg, emit: emit, ids: event.NewIDs(cfg.Seed), detectors: map[string]*detector{}, unwatched: map[string]bool{}}
	for _, known := range stat.All() {
		s.unwatched[known.Name] = !known.Monitored
	}
	return s, nil
}

// Samples judges the statistics of one interval and learns from them, in the order
// given. A sample without a value teaches nothing; one that must not be monitored
// is written with EmitStats and not judged. It does not keep samples.
func (s *Stats) Samples(samples []stat.Sample) {
	for i := range samples {
		s.sample(&samples[i])
	}
}

func (s *Stats) sample(in *stat.Sample) {
	s.count.samples++
	s.newest = max(s.newest, in.End)
	if s.unwatched[in.Name] {
		s.write(in, nil)
		return
	}
	d := s.detector(in.Name)
	s.write(in, d)
	d.last = in.End
	if !in.OK || !usable(in.Value) {
		d.count.Missing++
		s.count.missing++
		s.quiet(d, in)
		return
	}
	withheld, returned := d.count.Withheld, d.count.Returned
	v, changed := d.step(in.Value, in.Start)
	s.count.withheld += d.count.Withheld - withheld
	s.count.returned += d.count.Returned - returned
	if v.abnormal() {
		s.count.anomalies++
		s.abnormal(d, in, &v)
	} else {
		s.quiet(d, in)
	}
	if changed {
		s.count.newNormal++
		s.resolve(d, in.End, "new normal")
	}
}

// detector returns the one of a statistic, a new one for the first sample.
func (s *Stats) detector(name string) *detector {
	if d := s.detectors[name]; d != nil {
		return d
	}
	d, err := newDetector(name, s.settings(name))
	if err != nil {
		panic("watch: settings that were validated: " + err.Error())
	}
	s.detectors[name] = d
	return d
}

func (s *Stats) settings(name string) Settings {
	if set, own := s.cfg.Override[name]; own {
		return set
	}
	return s.cfg.Settings
}

// abnormal begins an episode or takes the interval into the open one.
func (s *Stats) abnormal(d *detector, in *stat.Sample, v *verdict) {
	a := event.Anomaly{
		Detector: v.by, Statistic: d.name, Value: in.Value, Threshold: v.threshold, Probability: v.probability,
		Side: v.side.String(), Start: utc(in.Start),
	}
	if d.open != nil {
		d.open.extend(&a, in.Value-v.expected, in.End)
		return
	}
	a.Window = utc(in.End).Sub(utc(in.Start))
	d.open = &episode{Anomaly: a}
	d.open.extend(&a, in.Value-v.expected, in.End)
	d.count.Episodes++
	s.count.episodes++
	s.emit(d.open.record(s.ids, in.End, event.Firing, ""))
}

// quiet ends an episode whose last abnormal interval is long enough ago.
func (s *Stats) quiet(d *detector, in *stat.Sample) {
	if d.open != nil && in.End-d.open.End >= int64(d.set.Quiet)*int64(d.open.Anomaly.Window) {
		s.resolve(d, in.End, "quiet")
	}
}

func (s *Stats) resolve(d *detector, at int64, reason string) {
	if d.open == nil {
		return
	}
	s.emit(d.open.record(s.ids, at, event.Resolved, reason))
	d.open = nil
}

// write writes the value with the thresholds that it is held against.
func (s *Stats) write(in *stat.Sample, d *detector) {
	if !s.cfg.EmitStats {
		return
	}
	st := &event.Stat{Name: in.Name, Start: utc(in.Start), End: utc(in.End)}
	if in.OK && usable(in.Value) {
		value := in.Value
		st.Value = &value
	}
	if d != nil {
		st.Up, st.Down = d.thresholds(in.Start)
		st.Ready = d.now.calibrated()
	}
	s.emit(event.Event{ID: s.ids.Next(st.End), Time: st.End, Dataset: event.DatasetStat, Stat: st})
}

// Flush ends the open episodes, at the end of a capture. Before a Save that will be
// restored it is not called: the episodes go on then.
func (s *Stats) Flush() {
	for _, name := range s.names() {
		s.resolve(s.detectors[name], s.newest, "end of capture")
	}
}

// Reset forgets what a statistic has taught and ends its episode; "" means all. It
// reports whether there is such a statistic.
func (s *Stats) Reset(name string) bool {
	found := false
	for _, have := range s.names() {
		if name == "" || name == have {
			s.resolve(s.detectors[have], s.newest, "reset")
			delete(s.detectors, have)
			found = true
		}
	}
	return found
}

// names returns the statistics seen so far, in their order.
func (s *Stats) names() []string { return slices.Sorted(maps.Keys(s.detectors)) }

// Counts yields every counter by its name.
func (s *Stats) Counts(yield func(name string, n uint64)) {
	c := &s.count
	yield("samples", c.samples)
	yield("samples_without_value", c.missing)
	yield("anomalies", c.anomalies)
	yield("episodes", c.episodes)
	yield("new_normals", c.newNormal)
	yield("old_normals_returned", c.returned)
	yield("excesses_withheld", c.withheld)
	yield("statistics", uint64(len(s.detectors)))
}
