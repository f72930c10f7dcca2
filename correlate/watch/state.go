package watch

import (
	"errors"
	"fmt"
	"maps"
	"slices"

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
	Recent   []float64      `json:"recent,omitempty"`
	Run      int            `json:"run,omitempty"`
	Back     int            `json:"back,omitempty"`
	Week     *week          `json:"week,omitempty"`
	Last     int64          `json:"last"`
	Open     *episode       `json:"open,omitempty"`
	Count    detectorCounts `json:"count"`
}

// ModelState is a reference and the tails around it.
type ModelState struct {
	Reference []float64  `json:"reference,omitempty"` // oldest first
	Spot      spot.State `json:"spot"`
	Slow      [2]slow    `json:"slow"`
	Learned   uint64     `json:"learned"`
	Alarmed   uint64     `json:"alarmed"`
	Logs      []float64  `json:"logs,omitempty"` // of the robust judgement, oldest first
}

// Save returns a copy of all that was learned, open episodes included.
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
		d, err := restoreDetector(name, s.settings(name), state.Statistics[name])
		if err != nil {
			all = append(all, fmt.Errorf("statistic %s learns anew: %w", name, err))
			continue
		}
		s.detectors[name] = d
		s.newest = max(s.newest, d.last)
	}
	return errors.Join(all...)
}

func (d *detector) save() DetectorState {
	state := DetectorState{
		Settings: d.set, Now: d.now.save(), Recent: d.recent.oldestFirst(),
		Run: d.run, Back: d.back, Last: d.last, Count: d.count,
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
	return ModelState{m.ref.oldestFirst(), m.spot.Save(), m.slow, m.learned, m.alarmed, m.robust.logs.oldestFirst()}
}

func restoreDetector(name string, set Settings, state DetectorState) (*detector, error) {
	if state.Settings != set {
		return nil, errors.New("it was learned with other settings")
	}
	if err := state.check(); err != nil {
		return nil, err
	}
	d, err := newDetector(name, set)
	if err != nil {
		return nil, err
	}
	if d.now, err = restoreModel(set.Config, state.Now); err != nil {
		return nil, err
	}
	if state.Before != nil {
		if d.before, err = restoreModel(set.Config, *state.Before); err != nil {
			return nil, err
		}
	}
	d.recent.fill(state.Recent)
	d.run, d.back, d.last, d.count = state.Run, state.Back, state.Last, state.Count
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

func restoreModel(cfg spot.Config, state ModelState) (*model, error) {
	m, err := newModel(cfg)
	if err != nil {
		return nil, err
	}
	if state.Spot.Config != inner(cfg) {
		return nil, errors.New("its tails were learned with other settings")
	}
	if m.spot, err = spot.Restore(state.Spot); err != nil {
		return nil, err
	}
	for _, values := range [][]float64{state.Reference, state.Logs, {state.Slow[0].Z, state.Slow[1].Z}} {
		if !allUsable(values) {
			return nil, errors.New("a value is not finite")
		}
	}
	m.ref.fill(state.Reference)
	m.robust.fill(state.Logs)
	m.slow, m.learned, m.alarmed = state.Slow, state.Learned, state.Alarmed
	return m, nil
}

// check says what no detector can have.
func (s *DetectorState) check() error {
	switch {
	case s.Run < 0 || s.Back < 0:
		return errors.New("a run of values is negative")
	case !allUsable(s.Recent):
		return errors.New("a value is not finite")
	case (s.Week != nil) != s.Settings.Weekly:
		return errors.New("the week is missing, or not wanted")
	case s.Open != nil && s.Open.Anomaly.Window <= 0:
		return errors.New("the open episode has no window")
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
	if known != s.Week.Known || s.Week.N < 0 || !allUsable(s.Week.Bins[:]) || !usable(s.Week.Sum) {
		return errors.New("the week does not fit together")
	}
	return nil
}

func allUsable(values []float64) bool {
	return !slices.ContainsFunc(values, func(x float64) bool { return !usable(x) })
}
