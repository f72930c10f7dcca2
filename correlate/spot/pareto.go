package spot

import "math"

// pareto is a generalized Pareto distribution of peaks, and how well it fits them.
// The zero value is no fit.
type pareto struct {
	gamma  float64 // shape
	sigma  float64 // scale, > 0
	logLik float64 // log-likelihood of the peaks it was fitted to
}

// gammaRange limits the shape, both ends included.
type gammaRange struct{ min, max float64 }

func (p pareto) ok() bool { return p.sigma > 0 }

// quantile returns what a peak exceeds with the given probability. Expm1 keeps it
// exact when gamma is close to 0.
func (p pareto) quantile(probability float64) float64 {
	l := -math.Log(probability)
	if p.gamma == 0 {
		return p.sigma * l
	}
	return p.sigma / p.gamma * math.Expm1(p.gamma*l)
}

// survival returns the probability that a peak exceeds y >= 0.
func (p pareto) survival(y float64) float64 {
	s := y / p.sigma
	if p.gamma == 0 {
		return math.Exp(-s)
	}
	if p.gamma*s <= -1 {
		return 0
	}
	return math.Exp(-math.Log1p(p.gamma*s) / p.gamma)
}
