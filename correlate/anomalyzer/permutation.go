package anomalyzer

import (
	"math"
	"math/bits"
)

// scratch is the memory of the tests. Each part grows to the longest series seen.
type scratch struct {
	shuffled []float64
	change   []float64
	sorted   []float64
	rank     []int
	ways     []float64
	point    []float64
	balance  []int
}

// sized returns a slice of length n in the memory of buffer.
func sized[T any](buffer *[]T, n int) []T {
	if cap(*buffer) < n {
		*buffer = make([]T, n)
	}
	*buffer = (*buffer)[:n]
	return *buffer
}

func (s *scratch) changes(n int) []float64 { return sized(&s.change, n) }

func (s *scratch) copyOf(v []float64) []float64 {
	shuffled := sized(&s.shuffled, len(v))
	copy(shuffled, v)
	return shuffled
}

// random is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
type random uint64

// randomFor returns the random numbers of one test of one series: they depend on
// nothing else, not on what was evaluated before.
func (d *Detector) randomFor(m Method, v []float64) random {
	r := random(d.cfg.Seed + uint64(m))
	for _, x := range v {
		r = random(r.next() ^ math.Float64bits(x))
	}
	return r
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1; for the sizes here its bias is below 2^-50.
func (r *random) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// draw puts a random choice of count values, in random order, at the end of v.
func (r *random) draw(v []float64, count int) {
	for i := len(v) - 1; i >= max(1, len(v)-count); i-- {
		j := r.below(i + 1)
		v[i], v[j] = v[j], v[i]
	}
}

// population returns the values that a permutation test shuffles.
func (d *Detector) population(v []float64) []float64 {
	if d.cfg.WindowOnly {
		v = v[max(0, len(v)-d.reference-d.cfg.ActiveSize):]
	}
	return v
}

// share returns how many of all permutations a count is.
func (d *Detector) share(count int) outcome {
	return value(float64(count) / float64(d.cfg.PermCount))
}

// diff ranks the relative changes from value to value and compares the rank sum of the
// active window with those of the shuffled series.
func (d *Detector) diff(v []float64) outcome {
	v = d.population(v)
	if len(v) < 2 {
		return notApplicable
	}
	changes := d.scratch.changes(len(v) - 1)
	_, act, ok := windows(changes, d.reference-1, d.cfg.ActiveSize, d.cfg.ActiveSize)
	if !ok || !d.finite(v) {
		return notApplicable
	}
	relativeChanges(changes, v)
	sum := rankSum(changes, len(act))
	random, shuffled, less := d.randomFor(Diff, v), d.scratch.copyOf(v), 0
	for range d.cfg.PermCount {
		random.draw(shuffled, len(shuffled))
		relativeChanges(changes, shuffled)
		if rankSum(changes, len(act)) < sum {
			less++
		}
	}
	return d.share(less)
}

// relativeChanges divides by the newer value: 0 after 0 is NaN, 0 after anything else
// is infinite.
func relativeChanges(changes, v []float64) {
	old := v[0]
	for i, x := range v[1:] {
		changes[i] = math.Abs((x - old) / x)
		old = x
	}
}

// rankSum returns the sum of the ranks of the last active values among all.
func rankSum(values []float64, active int) int {
	sum := 0
	for _, x := range values[len(values)-active:] {
		sum += rankOf(x, values)
	}
	return sum
}

// rankOf returns how many values sort before x: equal ones share the lowest rank, NaN
// sorts first and has the rank -1.
func rankOf(x float64, values []float64) int {
	if x != x {
		return -1
	}
	before := 0
	for _, y := range values {
		if !(y >= x) {
			before++
		}
	}
	return before
}

// ks compares the largest distance between the distributions of the two windows with
// those of the shuffled series. It applies when the reference is a multiple of the
// active window.
func (d *Detector) ks(v []float64) outcome {
	ref, act, ok := windows(v, d.reference, d.cfg.ActiveSize, d.cfg.ActiveSize)
	if !ok || len(ref)%len(act) != 0 {
		return notApplicable
	}
	v = d.population(v)
	if !d.finite(v) {
		return notApplicable
	}
	shuffled := d.scratch.copyOf(v)
	window := shuffled[len(v)-len(ref)-len(act):]
	distance := d.distance(window, len(ref))
	random, less := d.randomFor(KS, v), 0
	for range d.cfg.PermCount {
		random.draw(shuffled, len(window))
		if d.distance(window, len(ref)) < distance {
			less++
		}
	}
	return d.share(less)
}

// distance returns the largest distance of the empirical distributions of window[:ref]
// and window[ref:], seen at as many equally spaced points as there are values, from the
// least to the largest, times the product of the window sizes: integers, so that equal
// distances compare equal. The points are sums of the step, as the original's are: with
// their rounding the last one may be just below the largest value.
func (d *Detector) distance(window []float64, ref int) int {
	n, least, most := len(window), math.Inf(1), math.Inf(-1)
	for _, x := range window {
		if x < least {
			least = x
		}
		if x > most {
			most = x
		}
	}
	points, balance := sized(&d.scratch.point, n), sized(&d.scratch.balance, n+1)
	step, at := (most-least)/float64(n-1), least
	for i := range points {
		points[i] = at
		at += step
	}
	clear(balance)
	for i, x := range window {
		weight := n - ref
		if i >= ref {
			weight = -ref
		}
		balance[firstNotBelow(points, x, (x-least)/step)] += weight
	}
	far, sum := 0, 0
	for _, b := range balance[:n] {
		sum += b
		far = max(far, sum, -sum)
	}
	return far
}

// firstNotBelow returns the index of the first point that is at least x, starting from
// a guess; len(points) if there is none.
func firstNotBelow(points []float64, x, guess float64) int {
	i := 0
	if guess > 0 && guess <= float64(len(points)) {
		i = int(guess)
	}
	for i > 0 && points[i-1] >= x {
		i--
	}
	for i < len(points) && points[i] < x {
		i++
	}
	return i
}
