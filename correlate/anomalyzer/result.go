package anomalyzer

import "math"

// Method is a test.
type Method uint8

// The tests.
const (
	Magnitude Method = iota // change of the mean
	Diff                    // relative changes from value to value, against shuffles
	HighRank                // active values rank high, against shuffles
	LowRank                 // active values rank low, against shuffles
	CDF                     // changes from value to value, against those of the reference
	Fence                   // nearness of the mean to fixed bounds
	KS                      // Kolmogorov-Smirnov distance of the windows, against shuffles
	methodCount
)

var methodNames = [methodCount]string{"magnitude", "diff", "highrank", "lowrank", "cdf", "fence", "ks"}

// String returns the name of the test, as Config.Methods takes it.
func (m Method) String() string {
	if m >= methodCount {
		return "unknown"
	}
	return methodNames[m]
}

func methodByName(name string) (Method, bool) {
	for i, have := range methodNames {
		if have == name {
			return Method(i), true
		}
	}
	return 0, false
}

// Gate says why a probability is 0 although tests were not run.
type Gate uint8

// The gates.
const (
	GateOpen        Gate = iota // all tests were run
	GateDelay                   // Delay is set and the windows are not full
	GateSensitivity             // magnitude is below Sensitivity
)

// String returns "open", "delay" or "sensitivity".
func (g Gate) String() string {
	return [...]string{"open", "delay", "sensitivity"}[min(g, GateSensitivity)]
}

// Test is the outcome of one test.
type Test struct {
	Ran         bool    // it is one of Config.Methods and no gate was before it
	Applies     bool    // it had enough values, all of them usable
	Exact       bool    // computed, where the original draws permutations
	Raw         float64 // as the test gave it; magnitude may be above 1
	Probability float64 // Raw within 0 and 1; NaN only for an empty series or as Compatible
	Weight      float64 // its part in the weighted mean
}

// Result is the outcome of an evaluation.
type Result struct {
	Probability float64 // that the active window is abnormal, 0 to 1
	Gate        Gate
	Tests       [methodCount]Test // by Method
}

// Probabilities returns the probability of each test that ran and applied, by name.
func (r Result) Probabilities() map[string]float64 {
	return r.byName(func(t Test) float64 { return t.Probability })
}

// Weights returns the weight of each test that ran and applied, by name. Of highrank
// and lowrank only the larger one counts; the weight of the other is 0.
func (r Result) Weights() map[string]float64 {
	return r.byName(func(t Test) float64 { return t.Weight })
}

func (r Result) byName(value func(Test) float64) map[string]float64 {
	values := make(map[string]float64, len(r.Tests))
	for i, t := range r.Tests {
		if t.Applies && !math.IsNaN(t.Probability) {
			values[Method(i).String()] = value(t)
		}
	}
	return values
}

// outcome is what a test returns: a number, or that it does not apply.
type outcome struct {
	value   float64
	applies bool
}

var notApplicable = outcome{}

func value(x float64) outcome { return outcome{x, true} }

func (r *Result) set(m Method, o outcome) {
	t := &r.Tests[m]
	t.Ran, t.Applies, t.Raw = true, o.applies, o.value
	t.Probability = clamp(o.value)
}

func clamp(x float64) float64 { return max(0, min(1, x)) }

// The weights of the mean: magnitude and fence count ten times as much as the others
// when they are above heavyFrom.
const (
	light     = 0.5
	heavy     = 5.0
	heavyFrom = 0.8
)

// combine sets the weights and the weighted mean; it is 0 when nothing applies or a
// value is NaN.
func (r *Result) combine() {
	sum, weights := 0.0, 0.0
	for i := range r.Tests {
		t := &r.Tests[i]
		if !t.Applies || r.outranked(Method(i)) {
			continue
		}
		t.Weight = light
		if m := Method(i); (m == Magnitude || m == Fence) && t.Probability > heavyFrom {
			t.Weight = heavy
		}
		sum += t.Weight * t.Probability
		weights += t.Weight
	}
	r.Probability = 0
	if mean := sum / weights; mean == mean {
		r.Probability = mean
	}
}

// outranked reports whether m is the rank test that does not count beside the other.
func (r *Result) outranked(m Method) bool {
	high, low := r.Tests[HighRank], r.Tests[LowRank]
	if !high.Applies || !low.Applies {
		return false
	}
	return m == LowRank && low.Probability <= high.Probability ||
		m == HighRank && low.Probability > high.Probability
}
