package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"vft/capture/stat"
	"vft/correlate/spot"
	"vft/event"
)

// The defaults of Settings.
const (
	DefaultRecalibrate = 20
	DefaultQuiet       = 12
	DefaultNeeded      = 3
	DefaultAmong       = 5
)

// Settings say how one statistic is watched. Start from DefaultSettings.
type Settings struct {
	// Config holds the parameters of SPOT. Its Depth is that of the reference, the
	// moving mean that is subtracted first (0: none), and the values that fill it
	// count among NInit. Gamma is always kept within 0 and 0.8, of logarithms 0.2.
	spot.Config
	// Of the newest Among values so many must be abnormal before anything is told; at
	// least 1, at most Among. Among is 64 at most.
	Needed int `json:"needed"`
	Among  int `json:"among"`
	// Recalibrate is of how many values as large a part must be abnormal for this to
	// be the new normal; 2 to 64, and not less than Among.
	Recalibrate int `json:"recalibrate"`
	// Quiet is after how many intervals without an anomaly it is over; at least 1.
	Quiet int `json:"quiet"`
	// Weekly subtracts what is usual at the hour of the week, by UTC, once a whole
	// week was seen, and lets pass what was so at that hour of the day or week before.
	Weekly bool `json:"weekly"`
}

// DefaultSettings returns spot.DefaultConfig, three abnormal values of five, a new
// normal when they are as many of 20, over after 12 intervals, with the weekly baseline.
func DefaultSettings() Settings {
	return Settings{Config: spot.DefaultConfig(), Needed: DefaultNeeded, Among: DefaultAmong,
		Recalibrate: DefaultRecalibrate, Quiet: DefaultQuiet, Weekly: true}
}

// Budget returns the probability q that a value is beyond its threshold by chance with
// which so many statistics, each judged once a period, come to that many in that time.
func Budget(alarms float64, in time.Duration, statistics int, period time.Duration) float64 {
	return alarms / (float64(in) / float64(period) * float64(max(1, statistics)))
}

// Validate says what is wrong with the first setting that is.
func (s Settings) Validate() error {
	switch {
	case s.Among < 1 || s.Among > 64 || s.Needed < 1 || s.Needed > s.Among:
		return fmt.Errorf("cannot wait for %d abnormal values of %d: it must be 1 to all of at most 64", s.Needed, s.Among)
	case s.Recalibrate < 2 || s.Recalibrate > 64 || s.Recalibrate < s.Among:
		return fmt.Errorf("cannot recalibrate after %d values: it must be 2 to 64, and at least %d", s.Recalibrate, s.Among)
	case s.Quiet < 1:
		return fmt.Errorf("cannot call it over after %d quiet intervals: at least 1 is needed", s.Quiet)
	}
	return s.Config.Validate()
}

// StatsConfig says how Stats watches.
type StatsConfig struct {
	Settings  Settings            // of every statistic that Override does not name
	Override  map[string]Settings // by name of the statistic
	EmitStats bool                // write each value and its thresholds too
	Named     []string            // statistics that somebody asked for by name: told alone too, see stat.Statistic.Bulk
	Seed      [32]byte            // of the ids of vft.stat records; from crypto/rand, or fixed in a replay
}

// Stats watches statistics, each with a detector of its own. One goroutine uses it
// at a time. See the package comment for what it judges and when it speaks.
type Stats struct {
	cfg       StatsConfig
	emit      event.Emit
	find      event.Find
	ids       *event.IDs
	known     map[string]*stat.Statistic
	detectors map[string]*detector
	leading   int // told excursions of statistics that speak alone
	count     statsCounts
}

type statsCounts struct {
	samples, missing, anomalies, small, recurring, customary, restored, withheld, twins, bulk, episodes, newNormal, returned uint64
}

// NewStats returns a Stats that has learned nothing. vft.stat records go through emit,
// what is abnormal through find. It refuses settings that do not validate, with the
// name of the statistic.
func NewStats(cfg StatsConfig, emit event.Emit, find event.Find) (*Stats, error) {
	if err := cfg.Settings.Validate(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Override)) {
		if err := cfg.Override[name].Validate(); err != nil {
			return nil, fmt.Errorf("statistic %s: %w", name, err)
		}
	}
	s := &Stats{cfg: cfg, emit: emit, find: find, ids: event.NewIDs(cfg.Seed), detectors: map[string]*detector{}, known: map[string]*stat.Statistic{}}
	for _, known := range stat.All() {
		if slices.ContainsFunc(cfg.Named, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), known.Name) }) {
			known.Bulk, known.Twin = false, ""
		}
		s.known[known.Name] = &known
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
	d := s.detectors[in.Name]
	if d == nil || d.count.Values == 0 {
		kind := s.kind(in.Name)
		if !kind.Monitored {
			s.write(in, nil)
			return
		}
		d = s.detector(kind, in)
	}
	s.write(in, d)
	d.last = in.End
	if !in.OK || !usable(in.Value) {
		d.count.Missing++
		s.count.missing++
		s.quiet(d, in)
		return
	}
	before := d.count
	v, changed := d.step(in)
	s.count.add(&d.count, &before)
	if v.abnormal() {
		s.abnormal(d, in, &v)
	} else {
		s.quiet(d, in)
	}
	if changed {
		s.count.newNormal++
		s.over(d, in.End, "new normal")
	}
}

// add adds what one step has counted.
func (c *statsCounts) add(now, before *detectorCounts) {
	c.anomalies += now.Anomalies - before.Anomalies
	c.small += now.Small - before.Small
	c.recurring += now.Recurring - before.Recurring
	c.customary += now.Customary - before.Customary
	c.restored += now.Restored - before.Restored
	c.withheld += now.Withheld - before.Withheld
	c.returned += now.Returned - before.Returned
}

// kind returns what is known of a statistic; of one that nobody knows it is watched.
func (s *Stats) kind(name string) *stat.Statistic {
	k := s.known[name]
	if k == nil {
		k = &stat.Statistic{Name: name, Monitored: true, Grain: 1}
		s.known[name] = k
	}
	return k
}

// detector returns the one of a statistic, a new one for the first sample. Whether it
// judges logarithms is known with the first value.
func (s *Stats) detector(kind *stat.Statistic, in *stat.Sample) *detector {
	logs := in.Below > 0 && kind.Scale != stat.Plain
	d := s.detectors[kind.Name]
	if d != nil && (d.logs == logs || !in.OK || d.count.Values > 0) {
		return d
	}
	fresh, err := newDetector(kind, s.settings(kind.Name), logs)
	if err != nil {
		panic("watch: settings that were validated: " + err.Error())
	}
	if d != nil {
		fresh.count = d.count
	}
	s.keep(fresh)
	return fresh
}

// keep takes a detector in and lets it know the one that says the same.
func (s *Stats) keep(d *detector) {
	s.detectors[d.name] = d
	for _, other := range s.detectors {
		if other.kind.Twin == d.name || d.kind.Twin == other.name {
			d.twin, other.twin = other, d
		}
	}
}

func (s *Stats) settings(name string) Settings {
	if set, own := s.cfg.Override[name]; own {
		return set
	}
	return s.cfg.Settings
}

// abnormal takes the interval into the excursion, which is told of once enough of the
// newest values were abnormal, and while it goes on.
func (s *Stats) abnormal(d *detector, in *stat.Sample, v *verdict) {
	a := event.Anomaly{
		Detector: v.by, Statistic: d.name, Value: in.Value, Threshold: v.threshold, Probability: v.probability,
		Side: v.side.String(), Window: utc(in.End).Sub(utc(in.Start)),
	}
	if d.open == nil {
		d.open = &excursion{Since: in.Start}
	}
	d.open.extend(&a, v.expected, in.Value-v.expected, in.End)
	if !d.open.told() {
		if !d.sustained() || s.held(d) {
			return
		}
		d.by = v.by
		d.bursts.tell(in.Start)
		if d.twin != nil { // it says the same when this one says no more
			d.twin.bursts.tell(in.Start)
		}
		d.count.Episodes++
		s.count.episodes++
		if !d.kind.Bulk {
			s.leading++
		}
	} else if d.open.waits() {
		return
	}
	s.tell(d)
}

// tell tells of the excursion of a statistic.
func (s *Stats) tell(d *detector) {
	severity := d.open.severity()
	f := d.open.finding()
	f.Type, f.Key, f.Sensor, f.Unit = statisticFinding, d.name, d.by, d.kind.Unit
	f.Memory, f.Severity = findingMemory(d.set.Quiet, f.Window), severity
	s.find(&f)
}

// statisticFinding is the type of the findings.
const statisticFinding = "statistic"

// held reports whether somebody else must speak first: a twin has said it, or it is
// what any transfer does and nothing else is abnormal.
func (s *Stats) held(d *detector) bool {
	switch {
	case d.twin != nil && d.twin.open.told():
		s.count.twins++
		return true
	case d.kind.Bulk && s.leading == 0:
		s.count.bulk++
		return true
	}
	return false
}

// quiet forgets an excursion whose last abnormal interval is long enough ago.
func (s *Stats) quiet(d *detector, in *stat.Sample) {
	switch {
	case d.open == nil:
	case !d.open.told() && d.past&(1<<d.set.Among-1) == 0:
		d.open = nil
	case d.open.untold() && in.End-d.open.Told >= repeatEvery:
		s.tell(d)
	case d.open.told() && in.End-d.open.Until >= int64(d.set.Quiet)*int64(d.open.Best.Window):
		s.end(d)
	}
}

func (s *Stats) end(d *detector) {
	if d.open.told() && !d.kind.Bulk {
		s.leading--
	}
	d.open = nil
}

// over tells that an excursion is over for sure.
func (s *Stats) over(d *detector, at int64, reason string) {
	if d.open.untold() {
		s.tell(d)
	}
	if d.open.told() {
		f := d.open.finding()
		f.Type, f.Key, f.Sensor, f.Time, f.Over, f.Count = statisticFinding, d.name, d.by, utc(at), true, 0
		f.Details = []event.Detail{{Name: "reason", Value: reason}}
		s.find(&f)
	}
	s.end(d)
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
		st.Up, st.Down = d.thresholds(in.Start, d.like(in))
		st.Ready = d.now.calibrated()
	}
	s.emit(event.Event{ID: s.ids.Next(st.End), Time: st.End, Dataset: event.DatasetStat, Stat: st})
}

// Flush tells the rest of what is abnormal, at the end of a capture.
func (s *Stats) Flush() {
	for _, name := range s.names() {
		if d := s.detectors[name]; d.open.untold() {
			s.tell(d)
		}
	}
}

// Reset forgets what a statistic has taught, and what is abnormal is over; "" means all. It
// reports whether there is such a statistic.
func (s *Stats) Reset(name string) bool {
	found := false
	for _, have := range s.names() {
		if name == "" || name == have {
			s.over(s.detectors[have], s.detectors[have].last, "reset")
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
	yield("anomalies_insignificant", c.small)
	yield("anomalies_recurrent", c.recurring)
	yield("anomalies_seasonal", c.customary)
	yield("anomalies_reverted", c.restored)
	yield("anomalies_bulk_alone", c.bulk)
	yield("anomalies_of_twins", c.twins)
	yield("episodes", c.episodes)
	yield("new_normals", c.newNormal)
	yield("old_normals_returned", c.returned)
	yield("excesses_withheld", c.withheld)
	yield("statistics", uint64(len(s.detectors)))
}
