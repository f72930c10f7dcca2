package watch

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"vft/capture/stat"
	"vft/correlate/spot"
)

// StatsState is everything that Stats has learned, in numbers that JSON can hold.
// It comes back from there bit by bit.
type StatsState struct {
	Statistics map[string]DetectorState `json:"statistics"`
}

// DetectorState is what one statistic has taught.
type DetectorState struct {
	Settings Settings       `json:"settings"`
	Now      ModelState     `json:"now"`
	Before   *ModelState    `json:"before,omitempty"` // from before the new normal
	Logs     bool           `json:"logs,omitempty"`   // values are logarithms, see normalizer
	Usual    [2]float64     `json:"usual"`            // parts of the usual ratio
	Shown    [2]float64     `json:"shown"`            // parts of the newest value
	Recent   []float64      `json:"recent,omitempty"`
	Past     uint64         `json:"past,omitempty"`
	Bursts   recurrence     `json:"bursts"`
	Back     int            `json:"back,omitempty"`
	Week     *week          `json:"week,omitempty"`
	Last     int64          `json:"last"`
	Open     *excursion     `json:"open,omitempty"`
	By       string         `json:"by,omitempty"` // who found what Open has told
	Count    detectorCounts `json:"count"`
}

// ModelState is a reference and the tails around it.
type ModelState struct {
	Reference []float64  `json:"reference,omitempty"` // oldest first
	Spot      spot.State `json:"spot"`
	Slow      [2]slow    `json:"slow"`
	Level     slow       `json:"level"`
	Learned   uint64     `json:"learned"`
	Alarmed   uint64     `json:"alarmed"`
	Logs      []float64  `json:"logs,omitempty"` // of the robust judgement, oldest first
}

// Save returns a copy of all that was learned, and of what is abnormal.
func (s *Stats) Save() StatsState {
	state := StatsState{Statistics: map[string]DetectorState{}}
	for name, d := range s.detectors {
		state.Statistics[name] = d.save()
	}
	return state
}

// Restore goes on where Save left. A statistic whose state is damaged, or was
// learned with other settings, is left out and learns anew; the error tells of each
// of them. The others are restored all the same.
func (s *Stats) Restore(state StatsState) error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(state.Statistics)) {
		d, err := restoreDetector(s.kind(name), s.settings(name), state.Statistics[name])
		if err != nil {
			all = append(all, fmt.Errorf("statistic %s learns anew: %w", name, err))
			continue
		}
		s.keep(d)
		if d.open.told() && !d.kind.Bulk {
			s.leading++
		}
	}
	return errors.Join(all...)
}

func (d *detector) save() DetectorState {
	state := DetectorState{
		Settings: d.set, Now: d.now.save(), Recent: d.recent.oldestFirst(),
		Logs: d.logs, Usual: [2]float64{d.norm.Above, d.norm.Below}, Shown: [2]float64{d.shown.Above, d.shown.Below},
		By: d.by, Past: d.past, Bursts: d.bursts, Back: d.back, Last: d.last, Count: d.count,
	}
	if d.before != nil {
		before := d.before.save()
		state.Before = &before
	}
	if d.week != nil {
		w := *d.week
		state.Week = &w
	}
	if d.open != nil {
		e := *d.open
		state.Open = &e
	}
	return state
}

func (m *model) save() ModelState {
	return ModelState{m.ref.oldestFirst(), m.spot.Save(), m.slow, m.level, m.learned, m.alarmed, m.robust.logs.oldestFirst()}
}

func restoreDetector(kind *stat.Statistic, set Settings, state DetectorState) (*detector, error) {
	if state.Settings != set {
		return nil, errors.New("it was learned with other settings")
	}
	if err := state.check(); err != nil {
		return nil, err
	}
	d, err := newDetector(kind, set, state.Logs)
	if err != nil {
		return nil, err
	}
	if d.now, err = restoreModel(set.Config, state.Logs, state.Now); err != nil {
		return nil, err
	}
	if state.Before != nil {
		if d.before, err = restoreModel(set.Config, state.Logs, *state.Before); err != nil {
			return nil, err
		}
	}
	d.recent.fill(state.Recent)
	d.norm.Above, d.norm.Below = state.Usual[0], state.Usual[1]
	d.shown = stat.Sample{Above: state.Shown[0], Below: state.Shown[1]}
	d.by, d.past, d.bursts, d.back, d.last, d.count = state.By, state.Past, state.Bursts, state.Back, state.Last, state.Count
	if state.Week != nil {
		w := *state.Week
		d.week = &w
	}
	if state.Open != nil {
		e := *state.Open
		d.open = &e
	}
	return d, nil
}

func restoreModel(cfg spot.Config, logs bool, state ModelState) (*model, error) {
	m, err := newModel(cfg, logs)
	if err != nil {
		return nil, err
	}
	if state.Spot.Config != inner(cfg, logs) {
		return nil, errors.New("its tails were learned with other settings")
	}
	if m.spot, err = spot.Restore(state.Spot); err != nil {
		return nil, err
	}
	for _, values := range [][]float64{state.Reference, state.Logs, {state.Slow[0].Z, state.Slow[1].Z, state.Level.Z}} {
		if !allUsable(values) {
			return nil, errors.New("a value is not finite")
		}
	}
	m.ref.fill(state.Reference)
	m.robust.fill(state.Logs)
	m.slow, m.level, m.learned, m.alarmed = state.Slow, state.Level, state.Learned, state.Alarmed
	return m, nil
}

// check says what no detector can have.
func (s *DetectorState) check() error {
	switch {
	case s.Back < 0:
		return errors.New("a run of values is negative")
	case !allUsable(s.Recent) || !allUsable(s.Usual[:]) || !allUsable(s.Shown[:]):
		return errors.New("a value is not finite")
	case s.Usual[0] < 0 || s.Usual[1] < 0:
		return errors.New("what is usual is negative")
	case (s.Week != nil) != s.Settings.Weekly:
		return errors.New("the week is missing, or not wanted")
	case s.Open != nil && (s.Open.Best.Window <= 0 || s.Open.All < 0 || s.Open.New < 0 || !allUsable([]float64{s.Open.Best.Value, s.Open.Best.Threshold, s.Open.Usual, s.Open.Distance})):
		return errors.New("what is abnormal has no window, or a value that is not finite")
	}
	if s.Week == nil {
		return nil
	}
	known := 0
	for _, weeks := range s.Week.Weeks {
		if weeks > 0 {
			known++
		}
	}
	w := s.Week
	if known != w.Known || w.N < 0 || w.Next < 0 || w.Next >= len(w.Newest) || !allUsable(w.Bins[:]) || !allUsable(w.High[:]) || !allUsable(w.Low[:]) ||
		!allUsable(w.Newest[:]) || !allUsable([]float64{w.Mean, w.Most, w.Least}) {
		return errors.New("the week does not fit together")
	}
	return nil
}

func allUsable(values []float64) bool {
	return !slices.ContainsFunc(values, func(x float64) bool { return !usable(x) })
}
