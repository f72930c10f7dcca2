package watch

import (
	"math"
	"slices"
	"sort"

	"vft/correlate/spot"
)

// The robust judgement, for the time in which there is no tail to judge by.
const (
	robustKeep  = 128  // newest normal values that are kept
	robustLeast = 60   // values before anything is judged
	robustMoved = 10   // of them that differ from the median, where that is 0
	robustZ     = 10   // robust standard deviations
	robustFloor = 0.02 // least standard deviation of the logarithm: two percent
	robustFar   = 1.39 // least distance of logarithms that have doubt: 4 times
	robustNone  = 2.77 // the same of what has hardly varied, as where nothing was: 16 times
)

// robust tells a value that stands far from all before it, by the median and the
// median absolute deviation (MAD) of the logarithms log1p. Heavy tails are common,
// so a value must also lie twice as far from the median as any value kept.
type robust struct {
	logs        ring // signed log1p of the normal values; their mean is not kept
	least, most float64
	ranged      bool // least and most are those of logs
	given       bool // the values are logarithms already, with the doubt of small counts
	scratch     []float64
}

func newRobust(logs bool) robust {
	return robust{logs: newRing(robustKeep), given: logs, scratch: make([]float64, 0, robustKeep)}
}

func (r *robust) push(x float64) {
	y := r.log(x)
	if r.logs.full() {
		if gone := r.logs.values[r.logs.head]; gone != y && (gone == r.least || gone == r.most) {
			r.ranged = false // another value may be as extreme, or none
		}
	}
	r.logs.put(y)
	r.least, r.most = min(r.least, y), max(r.most, y)
}

func (r *robust) clear() {
	r.logs.clear()
	r.ranged = false
}

// fill replaces the logarithms, the newest of them last.
func (r *robust) fill(logs []float64) {
	r.logs.fill(logs)
	r.ranged = false
}

// mean returns what a value is on the average.
func (r *robust) mean() float64 {
	r.logs.sum()
	return r.exp(r.logs.mean)
}

// within reports whether a logarithm lies in the range of those kept, beyond
// which all thresholds are. Nearly every value does, and then none need be known.
func (r *robust) within(y float64) bool {
	if !r.ranged {
		r.least, r.most, r.ranged = slices.Min(r.logs.values), slices.Max(r.logs.values), true
	}
	return r.least <= y && y <= r.most
}

// thresholds returns the values beyond which a value is abnormal, false while
// too little is known: there are too few values, or silence with hardly an
// exception, which does not tell how loud it is otherwise.
func (r *robust) thresholds() (down, up float64, ok bool) {
	if len(r.logs.values) < robustLeast {
		return 0, 0, false
	}
	s := append(r.scratch[:0], r.logs.values...)
	slices.Sort(s)
	least, most, median := s[0], s[len(s)-1], s[len(s)/2]
	for i := range s {
		s[i] = math.Abs(s[i] - median)
	}
	slices.Sort(s)
	moved := s[sort.SearchFloat64s(s, math.SmallestNonzeroFloat64):]
	deviation := s[len(s)/2]
	if deviation == 0 && median == 0 && !r.given {
		if len(moved) < robustMoved {
			return 0, 0, false
		}
		deviation = moved[len(moved)/2]
	}
	// 1.4826 MAD is the standard deviation of a normal distribution.
	far := robustZ * 1.4826 * deviation
	if r.given {
		far = max(far, robustFar)
		if deviation < robustFloor {
			far = max(far, robustNone)
		}
	} else {
		far = max(far, robustZ*leastDeviation(median))
	}
	down = r.exp(median - max(far, 2*(median-least)))
	up = r.exp(median + max(far, 2*(most-median)))
	return down, up, true
}

// leastDeviation is what the logarithm of a value may vary by although it was not
// seen to: two percent, and what a count of that size does (Poisson). A median below
// 1 is a share and no count.
func leastDeviation(median float64) float64 {
	if x := math.Abs(expOf(median)); x >= 1 {
		return max(robustFloor, 1/math.Sqrt(1+x))
	}
	return robustFloor
}

// judge returns the side on which x is abnormal among those wanted, and the
// threshold there.
func (r *robust) judge(x float64, up, down bool) (spot.Side, float64) {
	if len(r.logs.values) < robustLeast || r.within(r.log(x)) {
		return spot.None, 0
	}
	low, high, ok := r.thresholds()
	switch {
	case !ok:
	case up && x > high:
		return spot.Up, high
	case down && x < low:
		return spot.Down, low
	}
	return spot.None, 0
}

func (r *robust) log(x float64) float64 {
	if r.given {
		return x
	}
	return logOf(x)
}

func (r *robust) exp(y float64) float64 {
	if r.given {
		return y
	}
	return expOf(y)
}

// logOf is log1p, mirrored below zero.
func logOf(x float64) float64 { return math.Copysign(math.Log1p(math.Abs(x)), x) }

func expOf(y float64) float64 {
	return math.Copysign(math.Expm1(min(math.Abs(y), 700)), y)
}
