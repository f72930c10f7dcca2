package spot

import (
	"fmt"
	"math"
)

// State is everything a Spot has learned. It holds only finite numbers, so that it
// can be written as JSON, and comes back from there bit by bit: a restored Spot
// judges all that follows as the saved one would have.
type State struct {
	Config Config      `json:"config"`
	Fitted bool        `json:"fitted"`
	N      int         `json:"n"`
	First  []float64   `json:"first,omitempty"` // values before the calibration
	Window WindowState `json:"window"`
	Up     TailState   `json:"up"`
	Down   TailState   `json:"down"`
}

// WindowState is the window of the moving mean: a ring whose next place is Head,
// and its running sum.
type WindowState struct {
	Values []float64 `json:"values,omitempty"`
	Head   int       `json:"head,omitempty"`
	Sum    float64   `json:"sum,omitempty"`
	Lost   float64   `json:"lost,omitempty"`
}

// TailState is a tail: a ring of peaks whose next place is Head. The distribution
// is not kept, for the peaks give it again.
type TailState struct {
	Level     float64   `json:"level"` // t, of the negated values for the lower tail
	Peaks     []float64 `json:"peaks,omitempty"`
	Head      int       `json:"head,omitempty"`
	Excesses  int       `json:"excesses"`
	Anomalies int       `json:"anomalies"`
}

// Save returns a copy of what has been learned.
func (s *Spot) Save() State {
	return State{
		Config: s.cfg, Fitted: s.fitted, N: s.n,
		First:  clone(s.first),
		Window: WindowState{clone(s.drift.values), s.drift.head, s.drift.sum, s.drift.lost},
		Up:     s.up.save(),
		Down:   s.down.save(),
	}
}

func (t *tail) save() TailState {
	return TailState{t.level, clone(t.peaks), t.head, t.excesses, t.anomalies}
}

// Restore returns a Spot that goes on where the saved one was. It refuses a state
// that no Spot can have.
func Restore(state State) (*Spot, error) {
	s, err := New(state.Config)
	if err != nil {
		return nil, fmt.Errorf("cannot restore a state: %w", err)
	}
	if err := state.check(); err != nil {
		return nil, fmt.Errorf("cannot restore a state: %w; remove it to learn anew", err)
	}
	if !state.Fitted {
		if len(state.First) > 0 {
			s.first = append(make([]float64, 0, s.cfg.NInit), state.First...)
		}
		return s, nil
	}
	s.begin(state.N, state.Up.Level, -state.Down.Level)
	s.up.restore(state.Up, s)
	s.down.restore(state.Down, s)
	s.drift = newWindow(s.cfg.Depth)
	s.drift.restore(state.Window)
	return s, nil
}

func (t *tail) restore(state TailState, s *Spot) {
	if !s.watched(t.sign) {
		return
	}
	t.peaks = append(t.peaks, state.Peaks...)
	t.head, t.excesses, t.anomalies = state.Head, state.Excesses, state.Anomalies
	t.refit(s.cfg.limit(), s.scratch)
}

func (w *window) restore(state WindowState) {
	w.values = append(w.values, state.Values...)
	w.head, w.sum, w.lost = state.Head, state.Sum, state.Lost
	if w.depth > 0 {
		w.mean = (w.sum + w.lost) / float64(w.depth)
	}
}

func (s State) check() error {
	switch {
	case s.N < 0:
		return fmt.Errorf("n is %d", s.N)
	case s.Fitted && len(s.Window.Values) != s.Config.Depth:
		return fmt.Errorf("%d values in a window of %d", len(s.Window.Values), s.Config.Depth)
	case !s.Fitted && len(s.First) >= s.Config.NInit:
		return fmt.Errorf("%d first values where %d calibrate", len(s.First), s.Config.NInit)
	case !finite(s.First) || !finite(s.Window.Values) || !finite([]float64{s.Window.Sum, s.Window.Lost}):
		return fmt.Errorf("a value is not finite")
	case s.Window.Head < 0 || s.Window.Head > max(0, s.Config.Depth-1):
		return fmt.Errorf("place %d in a window of %d", s.Window.Head, s.Config.Depth)
	}
	for _, t := range [2]TailState{s.Up, s.Down} {
		if err := t.check(s.N, s.Config.MaxExcess); err != nil {
			return err
		}
	}
	return nil
}

func (t TailState) check(n, maxExcess int) error {
	switch {
	case len(t.Peaks) > maxExcess || t.Excesses < len(t.Peaks) || t.Excesses > n || t.Anomalies < 0:
		return fmt.Errorf("%d peaks of %d excesses among %d values, %d at most", len(t.Peaks), t.Excesses, n, maxExcess)
	case t.Head < 0 || t.Head > 0 && t.Head >= len(t.Peaks):
		return fmt.Errorf("place %d in a ring of %d peaks", t.Head, len(t.Peaks))
	case !finite(t.Peaks) || !finite([]float64{t.Level}):
		return fmt.Errorf("a peak is not finite")
	}
	for _, y := range t.Peaks {
		if y <= 0 {
			return fmt.Errorf("a peak is %v", y)
		}
	}
	return nil
}

func finite(values []float64) bool {
	for _, x := range values {
		if x != x || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

func clone(values []float64) []float64 { return append([]float64(nil), values...) }
