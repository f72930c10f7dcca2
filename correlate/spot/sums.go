package spot

import "math"

// point holds what the likelihood needs to know of the sample at one theta.
type point struct {
	theta  float64
	gamma  float64 // mean of ln(1+theta*x), the best shape for theta
	m      float64 // mean of 1/(1+theta*x)
	slopeM float64 // -dm/dtheta
	d      float64 // dgamma/dtheta: mean of x/(1+theta*x)
	h      float64 // m*(1+gamma) - 1, theta*gamma times the slope of the likelihood per peak
	dh     float64 // dh/dtheta
}

// moved returns the estimate a small step away from the point.
func (p point) moved(step float64) estimate {
	theta, gamma := p.theta+step, p.gamma+p.d*step
	return estimate{gamma, gamma / theta, rate(theta, gamma)}
}

// A product of factors 1+theta*x is turned into a logarithm after this many, so
// that only one in chunk factors costs one. No factor is below 2^-40 or above
// 2^117 (1 + farthest*len(x), up to a hundred thousand peaks): eight of them stay
// a normal float64.
const (
	chunk    = 8
	mantissa = 1<<52 - 1
	one      = 1023 << 52 // the bits of 1.0
)

// at computes the point of a theta.
func (s *sample) at(theta float64) point {
	var (
		product   = 1.0
		exponent  uint64
		rounds    uint64
		d, square float64
		x         = s.x
	)
	for len(x) > 0 {
		some := x[:min(chunk, len(x))]
		x = x[len(some):]
		for _, v := range some {
			a := 1 + theta*v
			product *= a
			r := v / a
			d += r
			square += r * r
		}
		bits := math.Float64bits(product)
		exponent += bits >> 52
		product = math.Float64frombits(bits&mantissa | one)
		rounds++
	}
	n := float64(len(s.x))
	d, square = d/n, square/n
	p := point{theta: theta, gamma: logOf(product, exponent, rounds) / n, d: d}
	p.m = 1 - theta*d
	p.slopeM = d - theta*square
	// h = m*(1+gamma) - 1 with the ones taken out.
	p.h = p.gamma - theta*d*(1+p.gamma)
	p.dh = p.m*d - p.slopeM*(1+p.gamma)
	return p
}

// gammas returns the best shapes for four values of theta in one pass.
func (s *sample) gammas(theta *[4]float64) [4]float64 {
	var (
		t0, t1, t2, t3 = theta[0], theta[1], theta[2], theta[3]
		p0, p1, p2, p3 = 1.0, 1.0, 1.0, 1.0
		e0, e1, e2, e3 uint64
		rounds         uint64
		x              = s.x
	)
	for len(x) > 0 {
		some := x[:min(chunk, len(x))]
		x = x[len(some):]
		for _, v := range some {
			p0 *= 1 + t0*v
			p1 *= 1 + t1*v
			p2 *= 1 + t2*v
			p3 *= 1 + t3*v
		}
		b0, b1, b2, b3 := math.Float64bits(p0), math.Float64bits(p1), math.Float64bits(p2), math.Float64bits(p3)
		e0, e1, e2, e3 = e0+b0>>52, e1+b1>>52, e2+b2>>52, e3+b3>>52
		p0 = math.Float64frombits(b0&mantissa | one)
		p1 = math.Float64frombits(b1&mantissa | one)
		p2 = math.Float64frombits(b2&mantissa | one)
		p3 = math.Float64frombits(b3&mantissa | one)
		rounds++
	}
	n := float64(len(s.x))
	return [4]float64{
		logOf(p0, e0, rounds) / n, logOf(p1, e1, rounds) / n,
		logOf(p2, e2, rounds) / n, logOf(p3, e3, rounds) / n,
	}
}

// logOf returns the logarithm of product * 2^exponent; the exponent is a sum of so
// many biased ones.
func logOf(product float64, exponent, rounds uint64) float64 {
	return math.Log(product) + float64(int64(exponent)-1023*int64(rounds))*math.Ln2
}
