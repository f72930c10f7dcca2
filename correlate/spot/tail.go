package spot

import "math"

// tail models what lies beyond one level. The lower tail works on negated values,
// so that both look alike from within.
type tail struct {
	sign      Side
	level     float64   // t, negated for the lower tail
	peaks     []float64 // distances beyond t: a ring once it is full
	head      int       // where the next peak goes when the ring is full
	excesses  int       // Nt: peaks ever taken
	anomalies int
	fit       pareto

	z  float64 // threshold for zn values; valid iff zn > 0
	zn int
}

func newTail(sign Side, level float64, maxExcess int) tail {
	return tail{sign: sign, level: level, peaks: make([]float64, 0, maxExcess)}
}

// push takes the value y, beyond the level, into the ring; the oldest peak leaves
// a full one.
func (t *tail) push(y float64, maxExcess int) {
	t.excesses++
	if len(t.peaks) < maxExcess {
		t.peaks = append(t.peaks, y-t.level)
		return
	}
	t.peaks[t.head] = y - t.level
	if t.head++; t.head == maxExcess {
		t.head = 0
	}
}

// refit finds the distribution anew from all peaks in the ring. Nothing is carried
// over from the fit before: sums cannot drift, and the same ring gives the same
// fit.
func (t *tail) refit(limit gammaRange, scratch []float64) {
	t.fit, t.zn = fitPareto(t.peaks, limit, scratch), 0
}

// threshold returns z for the next of n values, +Inf while there is no fit. It is
// kept until n or the fit changes: n stands still while anomalies go on.
func (t *tail) threshold(q float64, n int) float64 {
	if !t.fit.ok() {
		return math.Inf(1)
	}
	if t.zn != n {
		t.z, t.zn = t.quantile(q, n), n
	}
	return t.z
}

func (t *tail) quantile(q float64, n int) float64 {
	ratio := q * float64(n) / float64(t.excesses)
	if ratio >= 1 {
		return t.level
	}
	return t.level + t.fit.quantile(ratio)
}

func (t *tail) probability(y float64, n int) float64 {
	share := float64(t.excesses) / float64(n)
	if y <= t.level {
		return share
	}
	return share * t.fit.survival(y-t.level)
}
