// Package anomalyzer gives the probability that the newest values of a series are
// abnormal. It follows lytics/anomalyzer (commit 13cee10, ranks as in govector
// b958ac0): up to seven tests compare an active window, the newest values, with the
// reference window before it, and a weighted mean combines them.
//
// It departs from the original in these points, and in none of them when
// Config.Compatible is set:
//
//   - magnitude divides by the absolute mean of the reference, so that it also works
//     below zero;
//   - Sensitivity must lie within 0 and 1: above 1 nothing would ever be abnormal;
//   - a test that would have to use NaN or an infinite value does not apply.
//
// And, always: random numbers come from a seed and from the values alone, so that
// the same series gives the same probability whatever was looked at before; highrank
// and lowrank are computed exactly where that is cheap (see exactWork); the other
// tests are not run when magnitude alone decides that the probability is 0.
package anomalyzer

import "math"

// Vector holds the newest values of one series, oldest first. It has no more than
// Config.Cap of them when it is filled by a Detector. The zero value is empty.
type Vector []float64

// Detector evaluates any number of series with one configuration. It owns the
// scratch memory of the tests: use one Detector per goroutine.
type Detector struct {
	cfg       Config
	methods   []Method
	reference int // size of the reference window
	scratch   scratch
}

// New returns a Detector. It fills in the defaults of cfg and refuses one that is not
// valid.
func New(cfg Config) (*Detector, error) {
	cfg, methods, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	return &Detector{cfg: cfg, methods: methods, reference: cfg.NSeasons * cfg.ActiveSize}, nil
}

// Config returns the configuration with its defaults filled in.
func (d *Detector) Config() Config { return d.cfg }

// Push appends x to v, drops what is older than the newest Config.Cap values, and
// evaluates what remains.
func (d *Detector) Push(v *Vector, x float64) Result {
	v.add(x, d.cfg.Cap)
	return d.Eval(*v)
}

// Update appends values to v and keeps the newest reference and active window alone.
func (d *Detector) Update(v *Vector, values ...float64) {
	*v = append(*v, values...)
	if extra := len(*v) - d.reference - d.cfg.ActiveSize; extra > 0 {
		*v = (*v)[:copy(*v, (*v)[extra:])]
	}
}

// add appends x and keeps the newest limit values. The memory of a short series is
// small and that of a long one is exactly its limit.
func (v *Vector) add(x float64, limit int) {
	s := *v
	if extra := len(s) + 1 - limit; extra > 0 {
		s = s[:copy(s, s[extra:])]
	}
	if len(s) == cap(s) {
		s = append(make(Vector, 0, min(limit, max(4, 2*len(s)))), s...)
	}
	*v = append(s, x)
}

// Eval returns the probability that the newest values of v are abnormal. When that is
// 0 for the reason in Result.Gate, the tests that do not matter are not run. It does
// not keep v, and does not allocate once it has seen a series of that length.
func (d *Detector) Eval(v []float64) Result {
	var r Result
	if d.cfg.Delay && len(v) < d.reference+d.cfg.ActiveSize {
		r.Gate = GateDelay
		return r
	}
	if d.uses(Magnitude) {
		if t := d.run(Magnitude, v, &r); t.Applies && t.Probability < d.cfg.Sensitivity {
			r.Gate = GateSensitivity
			return r
		}
	}
	d.runOthers(v, &r)
	r.combine()
	return r
}

// EvalByTest runs every test, whatever Delay and Sensitivity say: it is what the
// original's EvalByTest tells. The probability of the result is the weighted mean.
func (d *Detector) EvalByTest(v []float64) Result {
	var r Result
	if d.uses(Magnitude) {
		d.run(Magnitude, v, &r)
	}
	d.runOthers(v, &r)
	r.combine()
	return r
}

// Anomalous reports whether a result is above the threshold.
func (d *Detector) Anomalous(r Result) bool { return r.Probability > d.cfg.Threshold }

func (d *Detector) uses(m Method) bool {
	for _, have := range d.methods {
		if have == m {
			return true
		}
	}
	return false
}

func (d *Detector) runOthers(v []float64, r *Result) {
	for _, m := range d.methods {
		if m != Magnitude && !r.Tests[m].Ran {
			d.run(m, v, r)
		}
	}
}

// run runs one test, or both rank tests, and puts the outcome into r.
func (d *Detector) run(m Method, v []float64, r *Result) Test {
	switch m {
	case Magnitude:
		r.set(m, d.magnitude(v))
	case Fence:
		r.set(m, d.fence(v))
	case CDF:
		r.set(m, d.cdf(v))
	case Diff:
		r.set(m, d.diff(v))
	case KS:
		r.set(m, d.ks(v))
	case HighRank, LowRank:
		high, low, exact := d.ranks(v)
		if d.uses(HighRank) {
			r.set(HighRank, high)
			r.Tests[HighRank].Exact = exact
		}
		if d.uses(LowRank) {
			r.set(LowRank, low)
			r.Tests[LowRank].Exact = exact
		}
	}
	return r.Tests[m]
}

// finite reports whether the tests may use the values: all are finite, or the
// original is followed.
func (d *Detector) finite(values []float64) bool {
	return d.cfg.Compatible || allFinite(values)
}

func allFinite(values []float64) bool {
	for _, x := range values {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}
