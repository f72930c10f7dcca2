package spot

import (
	"fmt"
	"math"
)

// Fit calibrates on values, oldest first, and forgets what was learned before.
// The first Depth of them fill the window of the moving mean; the Level quantile
// of the rest (the value of rank floor(Level*n), counted from 0, exactly) becomes
// t. Infinite values are left out. The number of values need not be NInit.
//
// It is no error when the tails have too little to be fitted: the Spot is then not
// calibrated and goes on learning, see Calibrated. A NaN, or no more than Depth
// finite values, is an error and changes nothing. It keeps no reference to values.
func (s *Spot) Fit(values []float64) error {
	return s.fit(values, func(residuals []float64) (up, down float64) {
		up = quantileOf(residuals, s.cfg.Level)
		for i := range residuals {
			residuals[i] = -residuals[i]
		}
		return up, -quantileOf(residuals, s.cfg.Level)
	})
}

// FitLevels is Fit with levels t that the caller gives instead of the quantiles;
// in DSPOT they are distances to the moving mean. The level of a side that is not
// watched is not read.
func (s *Spot) FitLevels(values []float64, up, down float64) error {
	if s.cfg.Up && (up != up || math.IsInf(up, 0)) || s.cfg.Down && (down != down || math.IsInf(down, 0)) {
		return fmt.Errorf("cannot take %v and %v as levels: they must be finite", up, down)
	}
	return s.fit(values, func([]float64) (float64, float64) { return up, down })
}

func (s *Spot) fit(values []float64, levels func(residuals []float64) (up, down float64)) error {
	finite, err := finiteOf(values)
	if err != nil {
		return err
	}
	if len(finite) <= s.cfg.Depth {
		return fmt.Errorf("cannot calibrate on %d finite values: the moving mean alone takes %d", len(finite), s.cfg.Depth)
	}
	s.Reset()
	residuals := s.residuals(finite)
	// The quantile by selection reorders what it reads, the tails need the order
	// in which the values came.
	up, down := levels(append(finite[:0], residuals...))
	s.begin(len(residuals), up, down)
	for _, y := range residuals {
		if y > s.high {
			s.up.push(y, s.cfg.MaxExcess)
		}
		if y < s.low {
			s.down.push(-y, s.cfg.MaxExcess)
		}
	}
	s.up.refit(s.cfg.limit(), s.scratch)
	s.down.refit(s.cfg.limit(), s.scratch)
	return nil
}

// residuals fills the window with the first values and returns how far each
// further one is from the mean of those before it.
func (s *Spot) residuals(values []float64) []float64 {
	s.drift = newWindow(s.cfg.Depth)
	for _, x := range values[:s.cfg.Depth] {
		s.drift.push(x)
	}
	rest := make([]float64, 0, len(values)-s.cfg.Depth)
	for _, x := range values[s.cfg.Depth:] {
		rest = append(rest, x-s.drift.mean)
		s.drift.push(x)
	}
	return rest
}

// begin sets the levels and makes the room that stepping needs.
func (s *Spot) begin(n int, up, down float64) {
	s.fitted, s.n = true, n
	s.low, s.high = -math.MaxFloat64, math.MaxFloat64
	s.scratch = make([]float64, s.cfg.MaxExcess)
	if s.cfg.Up {
		s.high = up
		s.up = newTail(Up, up, s.cfg.MaxExcess)
	}
	if s.cfg.Down {
		s.low = down
		s.down = newTail(Down, -down, s.cfg.MaxExcess)
	}
}

// finiteOf returns a copy of values without the infinite ones.
func finiteOf(values []float64) ([]float64, error) {
	finite := make([]float64, 0, len(values))
	for i, x := range values {
		if x != x {
			return nil, fmt.Errorf("value %d of %d: %w", i, len(values), ErrNaN)
		}
		if !math.IsInf(x, 0) {
			finite = append(finite, x)
		}
	}
	return finite, nil
}

// quantileOf returns the value of rank floor(level*n) and reorders values.
func quantileOf(values []float64, level float64) float64 {
	k := min(int(level*float64(len(values))), len(values)-1)
	lo, hi := 0, len(values)-1
	for lo < hi {
		i, j := partition(values, lo, hi)
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return values[k]
		}
	}
	return values[k]
}

// partition orders values[lo:hi+1] around the median of three of them (Hoare): what
// ends at j is not larger than what begins at i, and all between is equal.
func partition(values []float64, lo, hi int) (i, j int) {
	a, b, c := values[lo], values[lo+(hi-lo)/2], values[hi]
	pivot := max(min(a, b), min(max(a, b), c))
	i, j = lo, hi
	for i <= j {
		for values[i] < pivot {
			i++
		}
		for values[j] > pivot {
			j--
		}
		if i <= j {
			values[i], values[j] = values[j], values[i]
			i++
			j--
		}
	}
	return i, j
}
