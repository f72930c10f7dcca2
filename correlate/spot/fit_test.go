package spot

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawPeaks draws peaks of all the shapes that a tail can have.
func drawPeaks(t *rapid.T) []float64 {
	n := rapid.IntRange(MinPeaks, 200).Draw(t, "n")
	shape := rapid.SampledFrom([]string{"pareto", "uniform", "integers", "two heaps", "lognormal", "near zero"}).Draw(t, "shape")
	gamma := rapid.Float64Range(-0.95, 2).Draw(t, "gamma")
	unit := math.Pow(10, float64(rapid.IntRange(-12, 12).Draw(t, "unit")))
	seed := random(rapid.Uint64().Draw(t, "seed"))
	peaks := make([]float64, n)
	for i := range peaks {
		u, v := seed.open(), seed.open()
		switch shape {
		case "pareto":
			peaks[i] = pareto{gamma, 1, 0}.quantile(u)
		case "uniform":
			peaks[i] = u
		case "integers":
			peaks[i] = 1 + math.Floor(4*u*v)
		case "two heaps":
			peaks[i] = u
			if v < 0.2 {
				peaks[i] *= 1000
			}
		case "lognormal":
			peaks[i] = math.Exp(2 * math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v))
		case "near zero":
			peaks[i] = math.Pow(u, 8)
		}
		peaks[i] *= unit
	}
	return peaks
}

// random is SplitMix64.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// open returns a number above 0 and below 1.
func (r *random) open() float64 { return (float64(r.next()>>11) + 0.5) / (1 << 53) }

func fitAll(peaks []float64, limit gammaRange) pareto {
	return fitPareto(peaks, limit, make([]float64, len(peaks)))
}

var anyGamma = gammaRange{-1, math.Inf(1)}

// profile returns the log-likelihood of the best gamma for a theta of the peaks divided by
// their mean, -Inf for a gamma below -1.
func profile(x []float64, theta float64) float64 {
	if theta == 0 {
		return -float64(len(x))
	}
	gamma := 0.0
	for _, v := range x {
		gamma += math.Log1p(theta * v)
	}
	gamma /= float64(len(x))
	if gamma < -1 {
		return math.Inf(-1)
	}
	return float64(len(x)) * (math.Log(theta/gamma) - gamma - 1)
}

// naiveFit looks for the largest likelihood at so many values of theta that no hill is
// missed, and between the neighbours of the best one by golden sections.
func naiveFit(peaks []float64) float64 {
	mean := 0.0
	for _, y := range peaks {
		mean += y / float64(len(peaks))
	}
	x := make([]float64, len(peaks))
	for i, y := range peaks {
		x[i] = y / mean
	}
	theta := []float64{0}
	for e := -9.0; e < 0; e += 0.08 {
		theta = append(theta, (math.Pow(10, e)-1)/slices.Max(x))
	}
	for e := -4.0; e < 12; e += 0.1 {
		theta = append(theta, math.Pow(10, e))
	}
	slices.Sort(theta)
	best, at := math.Inf(-1), 0
	for i, v := range theta {
		if l := profile(x, v); l > best {
			best, at = l, i
		}
	}
	lo, hi := theta[max(0, at-1)], theta[min(len(theta)-1, at+1)]
	for range 80 {
		const section = 0.6180339887498949
		a, b := hi-section*(hi-lo), lo+section*(hi-lo)
		la, lb := profile(x, a), profile(x, b)
		best = max(best, la, lb)
		if la > lb {
			hi = b
		} else {
			lo = a
		}
	}
	return best - float64(len(peaks))*math.Log(mean)
}

func TestFitIsTheMostLikely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		peaks := drawPeaks(t)
		got := fitAll(peaks, anyGamma)
		if slices.Max(peaks) == slices.Min(peaks) {
			if got.ok() {
				t.Fatalf("%+v for equal peaks", got)
			}
			return
		}
		if !got.ok() || got.gamma < -1 {
			t.Fatalf("%+v", got)
		}
		want := naiveFit(peaks)
		if got.logLik < want-1e-9*math.Abs(want)-1e-9*float64(len(peaks)) {
			t.Fatalf("log-likelihood %v of %+v, there is one of %v", got.logLik, got, want)
		}
		if own := logLikelihood(peaks, got.gamma, got.sigma); got.gamma > -1 && !near(own, got.logLik, 1e-9) && math.Abs(own-got.logLik) > 1e-6 {
			t.Fatalf("log-likelihood %v, by definition %v", got.logLik, own)
		}
	})
}

// No distribution with a gamma in the range is more likely than the one that the clamp
// gives.
func TestClampedFitIsTheMostLikely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		peaks := drawPeaks(t)
		a := rapid.SampledFrom([]float64{-1, -0.5, -0.2, 0, 0.3}).Draw(t, "min")
		b := a + rapid.SampledFrom([]float64{0, 0.1, 0.8, 3}).Draw(t, "width")
		got := fitAll(peaks, gammaRange{a, b})
		if !got.ok() {
			return
		}
		if got.gamma < a || got.gamma > b {
			t.Fatalf("gamma %v outside of [%v, %v]", got.gamma, a, b)
		}
		for range 20 {
			gamma := rapid.Float64Range(a, b).Draw(t, "gamma")
			sigma := got.sigma * rapid.Float64Range(0.5, 2).Draw(t, "factor")
			if gamma < 0 {
				sigma = max(sigma, -gamma*slices.Max(peaks)*(1+1e-12))
			}
			if gamma == -1 {
				continue // -n ln(sigma), at most that of the largest peak
			}
			if l := logLikelihood(peaks, gamma, sigma); l > got.logLik+1e-9*math.Abs(l)+1e-9 {
				t.Fatalf("%+v has %v, gamma %v sigma %v has %v", got, got.logLik, gamma, sigma, l)
			}
		}
	})
}

func TestClampIsOnlyFeltOutside(t *testing.T) {
	peaks := paretoPeaks(0.3, 150)
	free := fitAll(peaks, anyGamma)
	if got := fitAll(peaks, gammaRange{0, 0.8}); !near(got.gamma, free.gamma, 1e-12) || !near(got.sigma, free.sigma, 1e-12) {
		t.Errorf("%+v with a clamp around %+v", got, free)
	}
	if got := fitAll(paretoPeaks(-0.4, 150), gammaRange{0, 0.8}); got.gamma != 0 {
		t.Errorf("%+v for a short tail, want gamma 0", got)
	}
	if got := fitAll(paretoPeaks(2, 150), gammaRange{0, 0.8}); got.gamma != 0.8 {
		t.Errorf("%+v for a heavy tail, want gamma 0.8", got)
	}
}

// paretoPeaks returns quantiles of a generalized Pareto distribution, sigma 1.
func paretoPeaks(gamma float64, n int) []float64 {
	peaks := make([]float64, n)
	for i := range peaks {
		u := (float64(i) + 0.5) / float64(n)
		peaks[i] = (math.Pow(u, -gamma) - 1) / gamma
	}
	return peaks
}

func TestFitFindsTheShape(t *testing.T) {
	for _, gamma := range []float64{-0.9, -0.6, -0.3, -0.05, 0.05, 0.3, 0.9, 2, 5} {
		got := fitAll(paretoPeaks(gamma, 5000), anyGamma)
		if math.Abs(got.gamma-gamma) > 0.02*(1+math.Abs(gamma)) || math.Abs(got.sigma-1) > 0.05 {
			t.Errorf("gamma %v sigma %v, want %v and 1", got.gamma, got.sigma, gamma)
		}
	}
}

// libspot C scaled by 1e-12 gives sigma = 0, the paper's Python scaled by 1e12 gives
// gamma = 0.
func TestFitHasNoUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		peaks := drawPeaks(t)
		scale := math.Pow(10, rapid.Float64Range(-12, 12).Draw(t, "exponent"))
		a := fitAll(peaks, anyGamma)
		scaled := make([]float64, len(peaks))
		for i, y := range peaks {
			scaled[i] = y * scale
		}
		b := fitAll(scaled, anyGamma)
		if a.ok() != b.ok() || !a.ok() {
			return // scaling may round two peaks apart
		}
		for _, p := range []float64{0.5, 0.01, 1e-4} {
			if !near(a.quantile(p)*scale, b.quantile(p), 1e-4) {
				t.Fatalf("quantile %v of %+v is %v, scaled %v of %+v", p, a, a.quantile(p)*scale, b.quantile(p), b)
			}
		}
	})
}

func TestNoFit(t *testing.T) {
	ten := paretoPeaks(0.2, 10)
	for _, c := range []struct {
		why   string
		peaks []float64
		want  bool
	}{
		{"ten peaks are enough", ten, true},
		{"nine are not", ten[:9], false},
		{"none", nil, false},
		{"all equal: no variance", []float64{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, false},
		{"one differs", []float64{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3}, true},
		{"a mean that is infinite", slices.Repeat([]float64{math.MaxFloat64, 1}, 8), false},
		{"a mean whose inverse is", slices.Repeat([]float64{5e-324, 1e-323}, 8), false},
	} {
		if got := fitAll(c.peaks, anyGamma); got.ok() != c.want {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
}

// The paper's Python has the wrong sign here and prefers gamma = 0.
func TestExponentialLikelihood(t *testing.T) {
	peaks := paretoPeaks(1, 40)
	mean := 0.0
	for _, y := range peaks {
		mean += y / 40
	}
	got := fitAll(peaks, gammaRange{0, 0})
	if want := -40 * (1 + math.Log(mean)); !near(got.logLik, want, 1e-12) || got.gamma != 0 || !near(got.sigma, mean, 1e-12) {
		t.Errorf("%+v, want sigma %v, log-likelihood %v", got, mean, want)
	}
	if free := fitAll(peaks, anyGamma); free.gamma < 0.5 || free.logLik <= got.logLik {
		t.Errorf("%+v for a Pareto tail", free)
	}
}

// The product of factors is a logarithm of the sum at every size, and survives factors
// from next to nothing to as large as the search goes.
func TestSumsOfLogarithms(t *testing.T) {
	for _, n := range []int{10, 15, 16, 17, 200, 1000} {
		peaks := paretoPeaks(0.7, n)
		s, ok := newSample(peaks, make([]float64, n))
		if !ok {
			t.Fatal("no sample")
		}
		theta := [4]float64{(1e-8 - 1) / s.max, -0.5 / s.max, 3, farthest}
		together := s.gammas(&theta)
		for i, v := range theta {
			want, slope := new(big.Float), 0.0
			for _, x := range s.x {
				want.Add(want, big.NewFloat(math.Log(1+v*x)))
				slope += x / (1 + v*x) / float64(n)
			}
			sum, _ := want.Float64()
			p := s.at(v)
			if !near(together[i], sum/float64(n), 1e-13) || !near(p.gamma, sum/float64(n), 1e-13) {
				t.Errorf("%d peaks, theta %v: %v and %v, want %v", n, v, together[i], p.gamma, sum/float64(n))
			}
			if !near(p.d, slope, 1e-9) || !near(p.m, 1-v*p.d, 1e-12) {
				t.Errorf("%d peaks, theta %v: slope %v, want %v", n, v, p.d, slope)
			}
		}
	}
}

// All sums are made anew from the ring, so they are those of the peaks in it also when the
// largest and the smallest have left it.
func TestRingKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(MinPeaks, 30).Draw(t, "size")
		values := rapid.SliceOfN(rapid.Float64Range(1e-6, 1e6), size, 4*size).Draw(t, "values")
		ring := newTail(Up, 0, size)
		for _, y := range values {
			ring.push(y, size)
		}
		ring.refit(anyGamma, make([]float64, size))
		newest := values[len(values)-size:]
		if a, b := sorted(ring.peaks), sorted(newest); !slices.Equal(a, b) {
			t.Fatalf("ring %v, newest %v", a, b)
		}
		want := fitAll(newest, anyGamma)
		if !near(ring.fit.logLik, want.logLik, 1e-9) || ring.excesses != len(values) {
			t.Fatalf("%+v after wrapping, %+v of the newest alone", ring.fit, want)
		}
		s, ok := newSample(ring.peaks, make([]float64, size))
		if sum := exactSum(newest); ok && (!near(s.mean*float64(size), sum, 1e-14) || !near(s.max*s.mean, slices.Max(newest), 1e-15) || !near(s.min*s.mean, slices.Min(newest), 1e-15)) {
			t.Fatalf("mean %v, least %v, most %v of %v", s.mean, s.min*s.mean, s.max*s.mean, newest)
		}
	})
}

func sorted(values []float64) []float64 {
	values = slices.Clone(values)
	slices.Sort(values)
	return values
}

func exactSum(values []float64) float64 {
	sum := new(big.Float).SetPrec(2000)
	for _, x := range values {
		sum.Add(sum, big.NewFloat(x))
	}
	f, _ := sum.Float64()
	return f
}

func TestQuantileAndSurvivalAreInverse(t *testing.T) {
	for _, gamma := range []float64{-1, -0.5, -1e-9, 0, 1e-9, 0.5, 2} {
		t.Run(fmt.Sprint(gamma), func(t *testing.T) {
			p := pareto{gamma: gamma, sigma: 3}
			for _, q := range []float64{0.9, 0.1, 1e-3, 1e-9} {
				if got := p.survival(p.quantile(q)); !near(got, q, 1e-6) {
					t.Errorf("survival of the quantile of %v is %v", q, got)
				}
			}
		})
	}
	if got := (pareto{gamma: -0.5, sigma: 1}).survival(2.0001); got != 0 {
		t.Errorf("beyond the end of the distribution: %v, want 0", got)
	}
}
