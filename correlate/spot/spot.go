// Package spot flags the extreme values of a stream without knowing its
// distribution: SPOT and DSPOT of Siffer, Fouque, Termier and Largouët,
// "Anomaly Detection in Streams with Extreme Value Theory", KDD 2017.
//
// The first values of a stream give a level t that only a few of them exceed.
// What exceeds t, less t, follows a generalized Pareto distribution, and that
// distribution tells the threshold z that a value exceeds with probability q.
// A value above z is an Anomaly and is not learned. A value between t and z is
// an Excess and moves the distribution. All others are Normal.
//
// A Spot watches the upper tail, the lower tail or both, of the values
// themselves (Depth 0, SPOT) or of their distance to the mean of the last Depth
// values that were no anomalies (DSPOT).
//
// The distribution is the maximum-likelihood one, to the precision of a float64,
// at every excess. Nothing here guards against floods that teach the model to
// accept them, or against a new normal: that is the business of the detector
// which uses the package.
package spot

import (
	"errors"
	"fmt"
	"math"
)

// Flag is the judgement on one value.
type Flag int8

// The judgements.
const (
	Normal  Flag = iota // within the level t, or nothing can be said yet
	Excess              // beyond t: the tail learned it
	Anomaly             // beyond the threshold z: not learned
)

// String returns "normal", "excess" or "anomaly".
func (f Flag) String() string {
	if f < Normal || f > Anomaly {
		return fmt.Sprintf("Flag(%d)", int8(f))
	}
	return [...]string{"normal", "excess", "anomaly"}[f]
}

// Side names a tail of the distribution.
type Side int8

// The sides. None stands for a value that is Normal.
const (
	Down Side = -1
	None Side = 0
	Up   Side = 1
)

// String returns "up", "down" or "none".
func (s Side) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "none"
}

// Result says what one value was, and on which side.
type Result struct {
	Flag Flag
	Side Side
}

// ErrNaN is returned for a value that is not a number.
var ErrNaN = errors.New("cannot learn NaN: give no value where there is none")

// Spot judges the values of one stream. It is not safe for concurrent use.
type Spot struct {
	cfg    Config
	fitted bool // the levels t are known
	n      int  // values learned, not counting those that only filled the window
	// A value within [low, high] is normal. Both are NaN before the levels are
	// known and the largest number on a side that is not watched: one pair of
	// comparisons decides for nearly every value, and no infinite one passes.
	low, high float64
	up, down  tail
	drift     window
	first     []float64 // the values so far, until there are NInit
	scratch   []float64 // room for one fit
}

// New returns a Spot that has learned nothing. It refuses a Config that does not
// validate.
func New(cfg Config) (*Spot, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Spot{cfg: cfg}
	s.Reset()
	return s, nil
}

// Config returns what the Spot was made with.
func (s *Spot) Config() Config { return s.cfg }

// Reset forgets everything learned: the next NInit values calibrate anew.
func (s *Spot) Reset() {
	s.fitted, s.n, s.first = false, 0, nil
	s.low, s.high = math.NaN(), math.NaN()
	s.up, s.down = tail{sign: Up}, tail{sign: Down}
	s.drift = window{}
}

// Step judges x and learns from it. Until NInit values have come (or Fit was
// called) it collects them and answers Normal; so does a side whose tail is not
// calibrated, see Calibrated.
//
// NaN gives ErrNaN and changes nothing. An infinite value is an Anomaly on a
// calibrated side, Normal otherwise, and is learned by no tail and no window.
func (s *Spot) Step(x float64) (Result, error) {
	if s.drift.depth == 0 && x >= s.low && x <= s.high {
		s.n++
		return Result{}, nil
	}
	return s.step(x)
}

// step is Step for every value that is not plainly normal.
func (s *Spot) step(x float64) (Result, error) {
	if x == x && !s.fitted {
		return Result{}, s.collect(x)
	}
	y := x - s.drift.mean
	r, err := s.Judge(x)
	switch {
	case err != nil:
	case r.Flag == Anomaly:
		s.tail(r.Side).anomalies++
	case !math.IsInf(y, 0):
		s.n++
		s.learn(y)
		s.drift.push(x)
	}
	return r, err
}

// Judge says what Step would say of x, and learns and counts nothing: for values that
// must not teach. With a level below one half x may be beyond both levels; the Side is
// then the upper one.
func (s *Spot) Judge(x float64) (Result, error) {
	if x != x {
		return Result{}, ErrNaN
	}
	y := x - s.drift.mean
	if side := s.beyond(y); side != None {
		return Result{Anomaly, side}, nil
	}
	switch {
	case math.IsInf(y, 0):
		return Result{}, nil
	case y > s.high:
		return Result{Excess, Up}, nil
	case y < s.low:
		return Result{Excess, Down}, nil
	}
	return Result{}, nil
}

// beyond returns the side on which y exceeds its threshold.
func (s *Spot) beyond(y float64) Side {
	switch {
	case y > s.high && y > s.up.threshold(s.cfg.Q, s.n):
		return Up
	case y < s.low && y < -s.down.threshold(s.cfg.Q, s.n):
		return Down
	}
	return None
}

// learn gives y to each tail whose level it exceeds.
func (s *Spot) learn(y float64) {
	if y < s.low {
		s.down.push(-y, s.cfg.MaxExcess)
		s.down.refit(s.cfg.limit(), s.scratch)
	}
	if y > s.high {
		s.up.push(y, s.cfg.MaxExcess)
		s.up.refit(s.cfg.limit(), s.scratch)
	}
}

// collect keeps one of the first values, and calibrates on the last of them.
func (s *Spot) collect(x float64) error {
	if math.IsInf(x, 0) {
		return nil
	}
	if s.first == nil {
		s.first = make([]float64, 0, s.cfg.NInit)
	}
	s.first = append(s.first, x)
	if len(s.first) < s.cfg.NInit {
		return nil
	}
	return s.Fit(s.first)
}

// Learned returns how many values have been learned, those in the first window
// included, and how many calibrate. have is at least need once Fitted.
func (s *Spot) Learned() (have, need int) {
	if !s.fitted {
		return len(s.first), s.cfg.NInit
	}
	return max(s.n+s.cfg.Depth, s.cfg.NInit), s.cfg.NInit
}

// Fitted reports whether the levels t are known: Fit was called or NInit values
// came.
func (s *Spot) Fitted() bool { return s.fitted }

// Calibrated reports whether the tail of a side can raise an Anomaly. It cannot
// before the levels are known, with fewer than MinPeaks values beyond the level,
// or when these are all equal; it can as soon as enough of them have come.
func (s *Spot) Calibrated(side Side) bool {
	return s.watched(side) && s.fitted && s.tail(side).fit.ok()
}

// Threshold returns the value beyond which the next value of a side is an
// Anomaly, computed from what has been learned so far; in DSPOT it moves with the
// mean of the window. It is false while the side is not calibrated.
func (s *Spot) Threshold(side Side) (float64, bool) {
	return s.Quantile(side, s.cfg.Q)
}

// Quantile returns the value that the stream exceeds (falls below, for Down) with
// probability q:
//
//	z = t + sigma/gamma * ((q*n/Nt)^-gamma - 1)    gamma = 0: t - sigma*ln(q*n/Nt)
//
// (equation 1 of the paper). A q larger than the share Nt/n of values beyond t
// gives t, for the tail knows nothing of what lies within. It is false while the
// side is not calibrated and for a q outside of (0, 1).
func (s *Spot) Quantile(side Side, q float64) (float64, bool) {
	if !s.Calibrated(side) || !(q > 0 && q < 1) {
		return 0, false
	}
	return float64(side)*s.tail(side).quantile(q, s.n) + s.drift.mean, true
}

// Probability returns the probability that the next value is beyond x:
//
//	P = Nt/n * (1 + gamma*(x-t)/sigma)^(-1/gamma)    gamma = 0: Nt/n * exp(-(x-t)/sigma)
//
// It is 0 where the distribution ends (gamma < 0) and Nt/n for every x within the
// level t, for the tail knows nothing more of these. It is false while the side is
// not calibrated and for NaN.
func (s *Spot) Probability(side Side, x float64) (float64, bool) {
	if !s.Calibrated(side) || x != x {
		return 0, false
	}
	return s.tail(side).probability(float64(side)*(x-s.drift.mean), s.n), true
}

// Drift returns the mean that DSPOT subtracts from the next value; 0 in SPOT.
func (s *Spot) Drift() float64 { return s.drift.mean }

func (s *Spot) watched(side Side) bool {
	return side == Up && s.cfg.Up || side == Down && s.cfg.Down
}

func (s *Spot) tail(side Side) *tail {
	if side == Down {
		return &s.down
	}
	return &s.up
}
