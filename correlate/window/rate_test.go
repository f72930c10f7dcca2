package window

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// usual is the average as it is defined: of all whole windows since the first
// event, each weighs 0.98 of the one after it; proven is the same with an endless
// quiet before.
func usual(times []Tick, window int32) (average, proven float64, windows uint32) {
	counts := make([]float64, times[len(times)-1].Since(times[0])/window+1)
	for _, t := range times {
		counts[t.Since(times[0])/window]++
	}
	past := counts[:len(counts)-1]
	weights := 0.0
	for i, n := range past {
		weight := 0.02 * math.Pow(0.98, float64(len(past)-1-i))
		proven += weight * n
		weights += weight
	}
	if weights > 0 {
		average = proven / weights
	}
	return average, proven, uint32(len(past))
}

func TestRateIsTheAverageOfPastWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(100, 40000).Draw(t, "window")
		times := stream(t, window, 0)
		var r Rate
		for n, at := range times {
			r.Add(at, window)
			got, windows := r.Usual()
			want, proven, past := usual(times[:n+1], window)
			if windows != past || math.Abs(got-want) > 1e-9*(1+want) || math.Abs(r.Proven()-proven) > 1e-9*(1+want) {
				t.Fatalf("after %d windows the average is %v (%v); counted %v (%v) over %d", past, want, proven, got, r.Proven(), windows)
			}
		}
	})
}

func TestRateSurvivesAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Rate
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			r.Add(Tick(rapid.Uint32().Draw(t, "at")), rapid.Int32Range(100, 1<<30).Draw(t, "window"))
			if got, _ := r.Usual(); math.IsNaN(got) || got < 0 || got > 51 || r.Proven() < 0 || r.Proven() > got*(1+1e-9) {
				t.Fatalf("the average is %v", got)
			}
		}
	})
}

// tail is P(X >= k) summed with 400 bits from k upwards.
func tail(k int, lambda float64) float64 {
	l := new(big.Float).SetPrec(400).SetFloat64(lambda)
	term := exp(new(big.Float).Neg(l))
	for i := 1; i <= k; i++ {
		term.Quo(term.Mul(term, l), big.NewFloat(float64(i)))
	}
	sum := new(big.Float).SetPrec(400)
	for i := k; i < k+int(10*lambda)+400; i++ {
		sum.Add(sum, term)
		term.Quo(term.Mul(term, l), big.NewFloat(float64(i+1)))
	}
	f, _ := sum.Float64()
	return f
}

// exp is e to the power x, by halving x until its series converges quickly.
func exp(x *big.Float) *big.Float {
	const halvings = 12
	small := new(big.Float).SetMantExp(x, -halvings)
	sum, term := big.NewFloat(1).SetPrec(400), big.NewFloat(1).SetPrec(400)
	for i := 1; i < 150; i++ {
		term.Quo(term.Mul(term, small), big.NewFloat(float64(i)))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}

func TestPoissonTail(t *testing.T) {
	for _, lambda := range []float64{1e-6, 1.0 / 60, 0.1, 0.5, 1, 2.5, 10, 99.9, 300} {
		for _, k := range []int{0, 1, 2, 3, 5, 8, 10, 11, 50, 99, 100, 101, 250, 299, 300, 301, 400} {
			want, got := tail(k, lambda), PoissonTail(k, lambda)
			// Either the tail or its complement keeps its digits.
			if math.Abs(got-want) > 1e-11*want+1e-300 {
				t.Errorf("P(X >= %d) with mean %v is %v, got %v", k, lambda, want, got)
			}
		}
	}
	for _, c := range []struct {
		k      int
		lambda float64
		want   float64
		why    string
	}{
		{-1, 1, 1, "a count is never negative"},
		{0, 0, 1, "nothing is certain to be at least nothing"},
		{1, 0, 0, "no events, none ever"},
		{1, -1, 0, "a mean below 0 is none"},
		{2, 1, 1 - 2/math.E, "by hand"},
	} {
		if got := PoissonTail(c.k, c.lambda); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s: P(X >= %d) with mean %v is %v, got %v", c.why, c.k, c.lambda, c.want, got)
		}
	}
}

func TestPoissonTailFallsWithTheCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, lambda := rapid.IntRange(0, 1e6).Draw(t, "k"), rapid.Float64Range(1e-9, 1e6).Draw(t, "lambda")
		p, q := PoissonTail(k, lambda), PoissonTail(k+1, lambda)
		if !(p >= 0 && p <= 1) || q > p*(1+1e-6)+1e-12 {
			t.Fatalf("P(X >= %d) is %v, of one more %v", k, p, q)
		}
	})
}

func TestRatio(t *testing.T) {
	r := Ratio{Scanner: 0.5, Other: 0.02, Flag: 99}
	for n, want := range []float64{1, 25, 625, 15625} {
		if got := r.Value(n); math.Abs(got-want) > 1e-9*want || r.Flags(n) != (want >= 99) {
			t.Errorf("after %d contacts the ratio is %v, flagged: %v", n, got, r.Flags(n))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := Ratio{rapid.Float64Range(0.3, 1).Draw(t, "scanner"), rapid.Float64Range(0.001, 0.29).Draw(t, "other"), rapid.Float64Range(1, 1e11).Draw(t, "flag")}
		ratio := 1.0
		for n := range 10 {
			if got := r.Value(n); math.Abs(got-ratio) > 1e-9*ratio || r.Flags(n) != (r.Value(n) >= r.Flag) {
				t.Fatalf("after %d contacts the ratio is %v, not %v", n, got, ratio)
			}
			ratio *= r.Scanner / r.Other
		}
	})
}

func TestTicks(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		later time.Duration
		want  int32
		why   string
	}{
		{0, 0, "the same"},
		{10 * time.Millisecond, 1, "one tick"},
		{19 * time.Millisecond, 1, "begun ticks do not count"},
		{-300 * time.Second, -30000, "earlier"},
		{200 * 24 * time.Hour, 1728000000, "the largest differences still compare"},
		{-200 * 24 * time.Hour, -1728000000, "and the smallest"},
	} {
		if got := At(at.Add(c.later)).Since(At(at)); got != c.want {
			t.Errorf("%s: %v later is %d ticks", c.why, c.later, got)
		}
	}
	if Ticks(300*time.Second) != 30000 || Ticks(1<<62) != 1<<31-1 {
		t.Error("a duration became the wrong number of ticks")
	}
	// No time is too strange to be put somewhere.
	At(time.Time{})
	At(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
}
