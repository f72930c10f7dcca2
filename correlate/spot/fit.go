package spot

import "math"

// fitPareto returns the generalized Pareto distribution of the largest likelihood
// for the peaks, among those with gamma in the range. It is no fit with fewer than
// MinPeaks peaks or when they are all equal. scratch must be as long as peaks.
//
// With theta = gamma/sigma the likelihood has one unknown: the best gamma for a
// theta is the mean of ln(1+theta*x), see Grimshaw, "Computing Maximum Likelihood
// Estimates for the Generalized Pareto Distribution", Technometrics 35 (1993). The
// peaks are divided by their mean first, so that their unit does not matter. In
// theta, the likelihood is looked at on a grid that covers all it can be, and each
// hill of the grid is climbed. What remains are the borders: gamma = 0, where the
// distribution is exponential, and the ends of the range.
//
// The moment estimate needs no look of its own: its likelihood is below that of
// the best gamma for its theta.
func fitPareto(peaks []float64, limit gammaRange, scratch []float64) pareto {
	s, ok := newSample(peaks, scratch)
	if !ok {
		return pareto{}
	}
	best := estimate{rate: math.Inf(-1)}
	if limit.min <= 0 && limit.max >= 0 {
		best = estimate{0, 1, -1}
	}
	best = s.search(best, limit)
	n := float64(len(peaks))
	return pareto{best.gamma, best.sigma * s.mean, n * (best.rate - math.Log(s.mean))}
}

// estimate is a distribution of a sample and its log-likelihood per peak, the rate.
type estimate struct{ gamma, sigma, rate float64 }

// sample holds peaks divided by their mean.
type sample struct {
	x      []float64
	mean   float64 // of the peaks
	min    float64 // of x
	max    float64 // of x
	square float64 // mean square of x
}

func newSample(peaks, scratch []float64) (sample, bool) {
	if len(peaks) < MinPeaks {
		return sample{}, false
	}
	sum, least, most := 0.0, peaks[0], peaks[0]
	for _, y := range peaks {
		sum += y
		least, most = min(least, y), max(most, y)
	}
	mean := sum / float64(len(peaks))
	// Outside of these bounds 1/mean or a square is no float64 any more.
	if most == least || !(mean > 1e-150 && mean < 1e150) {
		return sample{}, false
	}
	x, scale, square := scratch[:len(peaks)], 1/mean, 0.0
	for i, y := range peaks {
		v := y * scale
		x[i] = v
		square += v * v
	}
	return sample{x, mean, least * scale, most * scale, square / float64(len(peaks))}, true
}

// rate returns the log-likelihood per peak of the best gamma for theta != 0.
func rate(theta, gamma float64) float64 { return math.Log(theta/gamma) - gamma - 1 }

// Where the search looks below zero, as 1 + theta*max, and above zero, as theta.
// Towards -1/max the likelihood goes to infinity, with gamma below -1: what lies
// closer than the first node does so in any sample. The steps are about what the
// narrowest hills of 10 to 200 peaks need.
var (
	below = [12]float64{1e-8, 1e-6, 4e-5, 2.5e-4, 1e-3, 3e-3, 8e-3, 0.02, 0.05, 0.12, 0.28, 0.6}
	above = [4]float64{0.1, 0.4, 1.5, 6}
)

// far is the first node of those that are visited one by one until nothing more
// can come, each farStep times the one before; nothing is looked for above farthest.
const (
	far      = 20
	farStep  = 4
	farthest = 1e30
)

// search returns what is better than best: the top of the hills whose gamma is
// allowed, or the ends of the range.
func (s *sample) search(best estimate, limit gammaRange) estimate {
	var g grid
	if limit.min < 0 {
		for i := 0; i < len(below); i += 4 {
			var theta [4]float64
			for j := range theta {
				theta[j] = (below[i+j] - 1) / s.max
			}
			s.addNodes(&g, &theta)
		}
	}
	g.add(0, -1)
	theta := above
	s.addNodes(&g, &theta)
	s.addFar(&g, best.rate)
	beyond := limit.max < 0
	for i := range g.n {
		if !g.hill(i) {
			continue
		}
		switch top := s.climb(&g, i); {
		case top.gamma > limit.max:
			beyond = true
		case top.gamma >= limit.min && top.rate > best.rate:
			best = top
		}
	}
	if limit.min != 0 {
		best = s.end(best, limit.min)
	}
	if beyond {
		best = s.end(best, limit.max)
	}
	return best
}

// addNodes adds four nodes to the grid. One with a gamma below -1 is no candidate.
func (s *sample) addNodes(g *grid, theta *[4]float64) {
	for i, gamma := range s.gammas(theta) {
		r := math.Inf(-1)
		if gamma >= -1 {
			r = rate(theta[i], gamma)
		}
		g.add(theta[i], r)
	}
}

// addFar adds nodes upwards until none above can beat the best of the grid.
//
// There is no maximum above 2*(1-min)/min^2 (Grimshaw 1993). And gamma, seen as a
// function of ln(theta), is convex with a slope of 1-m, m being the mean of
// 1/(1+theta*x). So ln(theta/gamma) - gamma - 1 stays, from a node on, below
// a convex function of ln(theta), which is largest at one of its two ends.
func (s *sample) addFar(g *grid, best float64) {
	end := min(2*(1-s.min)/(s.min*s.min), farthest)
	for theta := float64(far); ; theta *= farStep {
		p := s.at(theta)
		r := rate(theta, p.gamma)
		g.add(theta, r)
		best = max(best, g.best, r)
		if theta >= end {
			return
		}
		span := math.Log(end / theta)
		if math.Log(theta)-p.gamma+p.m*span-math.Log(p.gamma+(1-p.m)*span)-1 < best {
			return
		}
	}
}

// grid holds the likelihood at growing values of theta.
type grid struct {
	n     int
	best  float64
	theta [72]float64
	rate  [72]float64
}

func (g *grid) add(theta, rate float64) {
	if g.n == 0 || rate > g.best {
		g.best = rate
	}
	g.theta[g.n], g.rate[g.n] = theta, rate
	g.n++
}

// hill reports whether no neighbour of node i is higher.
func (g *grid) hill(i int) bool {
	return !math.IsInf(g.rate[i], -1) &&
		(i == 0 || g.rate[i] >= g.rate[i-1]) && (i == g.n-1 || g.rate[i] > g.rate[i+1])
}

// climb finds the top near node i.
func (s *sample) climb(g *grid, i int) estimate {
	lo, hi := (below[0]-1)/s.max, g.theta[g.n-1]*farStep
	if i > 0 {
		lo = g.theta[i-1]
	}
	if i < g.n-1 {
		hi = g.theta[i+1]
	}
	return s.top(lo, hi, s.start(lo, hi, g.theta[i]))
}

// start returns the theta of the moment estimate if it lies within the bracket,
// else the node; never 0, where nothing can be computed.
func (s *sample) start(lo, hi, node float64) float64 {
	variance := s.square - 1
	if moment := (variance - 1) / (variance + 1); moment > lo && moment < hi && moment != 0 {
		return moment
	}
	if node != 0 {
		return node
	}
	if variance > 1 {
		return hi / 2
	}
	return lo / 2
}

// flat is the theta below which a distribution is exponential as far as a float64
// can tell.
const flat = 1e-6

// top finds the zero of the slope of the likelihood between lo and hi by Newton's
// method, kept within the bracket. Divided by theta^2 the slope has a simple zero
// wherever it is, also near 0.
func (s *sample) top(lo, hi, theta float64) estimate {
	for range 60 {
		p := s.at(theta)
		if p.h > 0 || p.gamma < -1 {
			lo = theta
		} else {
			hi = theta
		}
		step := -p.h / (p.dh - 2*p.h/theta)
		next := theta + step
		if !(next > lo && next < hi) {
			next = lo + (hi-lo)/2
			step = next - theta
		}
		if math.Abs(next) < flat {
			return estimate{0, 1, -1}
		}
		if room := min(math.Abs(theta), theta+1/s.max); math.Abs(step) < 1e-7*room {
			return p.moved(step)
		}
		theta = next
	}
	return s.at(theta).moved(0)
}

// end returns the better of best and the best distribution of shape gamma, an end of
// the range.
func (s *sample) end(best estimate, gamma float64) estimate {
	if gamma == 0 {
		return best
	}
	if e := s.withShape(gamma); e.rate > best.rate {
		return e
	}
	return best
}

// withShape returns the best distribution of a given gamma != 0. At gamma = -1 it
// is the uniform one up to the largest peak. Otherwise its theta is where
// m = 1/(1+gamma); m is convex and falls, so Newton's method started where m is
// larger never passes the zero. By Jensen's inequality it is so at theta = gamma.
func (s *sample) withShape(gamma float64) estimate {
	if gamma == -1 {
		return estimate{-1, s.max, -math.Log(s.max)}
	}
	theta := max(gamma, (below[0]-1)/s.max)
	for range 200 {
		p := s.at(theta)
		step := (p.m - 1/(1+gamma)) / p.slopeM
		theta += step
		if step < 1e-12*min(math.Abs(theta), theta+1/s.max) {
			break
		}
	}
	p := s.at(theta)
	return estimate{gamma, gamma / theta, math.Log(theta/gamma) - (1+1/gamma)*p.gamma}
}
