package spot

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// normals returns n values of a standard normal distribution.
func normals(seed uint64, n int) []float64 {
	r := random(seed)
	values := make([]float64, n)
	for i := range values {
		values[i] = math.Sqrt(-2*math.Log(r.open())) * math.Cos(2*math.Pi*r.open())
	}
	return values
}

func flagOf(t testing.TB, s *Spot, x float64) Result {
	t.Helper()
	r, err := s.Step(x)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		why    string
		change func(*Config)
		want   string // part of the error; "" means valid
	}{
		{"the defaults", func(*Config) {}, ""},
		{"depth 0 is SPOT; gospot refuses it", func(c *Config) { c.Depth = 0 }, ""},
		{"level 0: all but the least value are excesses", func(c *Config) { c.Level = 0 }, ""},
		{"level 1 leaves no tail", func(c *Config) { c.Level = 1 }, "level 1"},
		{"negative level", func(c *Config) { c.Level = -0.1 }, "level -0.1"},
		{"NaN level", func(c *Config) { c.Level = nan }, "level NaN"},
		{"q 0 is never exceeded", func(c *Config) { c.Q = 0 }, "q 0"},
		{"q within the level", func(c *Config) { c.Q = 0.05 }, "q 0.05 with level 0.98"},
		{"q at the level", func(c *Config) { c.Level, c.Q = 0.5, 0.5 }, "q 0.5"},
		{"NaN q", func(c *Config) { c.Q = nan }, "q NaN"},
		{"ring below a fit; libspot writes out of bounds at 0", func(c *Config) { c.MaxExcess = 9 }, "max_excess 9"},
		{"smallest ring", func(c *Config) { c.MaxExcess = 10 }, ""},
		{"negative depth", func(c *Config) { c.Depth = -1 }, "depth -1"},
		{"no value left to calibrate on", func(c *Config) { c.NInit = 50 }, "n_init 50"},
		{"no side", func(c *Config) { c.Up = false }, "nothing"},
		{"both sides", func(c *Config) { c.Down = true }, ""},
		{"gamma in a range", func(c *Config) { c.ClampGamma, c.GammaMax = true, 0.8 }, ""},
		{"gamma in an empty range", func(c *Config) { c.ClampGamma, c.GammaMin, c.GammaMax = true, 1, 0.5 }, "gamma"},
		{"gamma without a maximum of the likelihood", func(c *Config) { c.ClampGamma, c.GammaMin = true, -2 }, "gamma"},
		{"an infinite end of the range", func(c *Config) { c.ClampGamma, c.GammaMax = true, math.Inf(1) }, "gamma"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		_, err := New(cfg)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.why, err, c.want)
		}
	}
}

func TestNaNChangesNothing(t *testing.T) {
	for _, depth := range []int{0, 50} {
		cfg := DefaultConfig()
		cfg.Depth = depth
		s := fitted(t, cfg, normals(1, 1000))
		before := s.Save()
		if _, err := s.Step(math.NaN()); !errors.Is(err, ErrNaN) {
			t.Errorf("depth %d: error %v", depth, err)
		}
		if after := s.Save(); !equalStates(before, after) {
			t.Errorf("depth %d: the state changed", depth)
		}
	}
}

func TestInfinity(t *testing.T) {
	up, down := math.Inf(1), math.Inf(-1)
	for _, c := range []struct {
		why      string
		up, down bool
		x        float64
		want     Result
	}{
		{"above, watched", true, false, up, Result{Anomaly, Up}},
		{"below, watched", false, true, down, Result{Anomaly, Down}},
		{"below, only the upper tail watched", true, false, down, Result{}},
		{"above, only the lower tail watched", false, true, up, Result{}},
		{"above, both watched", true, true, up, Result{Anomaly, Up}},
		{"below, both watched", true, true, down, Result{Anomaly, Down}},
	} {
		for _, depth := range []int{0, 50} {
			cfg := DefaultConfig()
			cfg.Depth, cfg.Up, cfg.Down = depth, c.up, c.down
			s := fitted(t, cfg, normals(1, 1000))
			n, drift := s.n, s.Drift()
			if got := flagOf(t, s, c.x); got != c.want {
				t.Errorf("%s, depth %d: %v, want %v", c.why, depth, got, c.want)
			}
			if s.n != n || s.Drift() != drift {
				t.Errorf("%s, depth %d: it was learned", c.why, depth)
			}
		}
	}
}

// libspot's and gospot's threshold stands still between two excesses.
func TestThresholdIsOfNow(t *testing.T) {
	s := fitted(t, plain(1000), normals(1, 1000))
	before, _ := s.Threshold(Up)
	for range 500 {
		flagOf(t, s, 0)
	}
	after, _ := s.Threshold(Up)
	st := s.Status(Up)
	want := st.Level + pareto{gamma: st.Gamma, sigma: st.Sigma}.quantile(1e-4*1500/float64(st.Excesses))
	if after >= before || !near(after, want, 1e-12) {
		t.Errorf("z = %v after 500 normal values, %v before, want %v", after, before, want)
	}
	if got := flagOf(t, s, (before+after)/2); got.Flag != Anomaly {
		t.Errorf("%v between them, want an anomaly", got)
	}
}

func TestAnomalyIsNotLearned(t *testing.T) {
	for _, depth := range []int{0, 50} {
		cfg := DefaultConfig()
		cfg.Depth = depth
		s := fitted(t, cfg, normals(1, 1000))
		before := s.Save()
		for range 100 {
			if got := flagOf(t, s, 1000); got != (Result{Anomaly, Up}) {
				t.Fatalf("depth %d: %v", depth, got)
			}
		}
		after := s.Save()
		if after.Up.Anomalies != 100 {
			t.Errorf("depth %d: %d anomalies counted", depth, after.Up.Anomalies)
		}
		after.Up.Anomalies = 0
		if !equalStates(before, after) {
			t.Errorf("depth %d: the state changed", depth)
		}
	}
}

// gospot keeps an anomaly in its moving average: one spike of 1000 in N(10, 1) leaves it
// at -9.66 five hundred steps later.
func TestDriftForgetsASpike(t *testing.T) {
	values := normals(3, 2000)
	for i := range values {
		values[i] += 10
	}
	s := fitted(t, DefaultConfig(), values[:1000])
	if got := flagOf(t, s, 1000); got.Flag != Anomaly {
		t.Fatalf("the spike is %v", got)
	}
	for _, x := range values[1000:1500] {
		flagOf(t, s, x)
	}
	if s.Drift() < 9 || s.Drift() > 11 {
		t.Errorf("mean %v, want about 10", s.Drift())
	}
}

func TestWindowIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.IntRange(1, 20).Draw(t, "depth")
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1, 1), rapid.Float64Range(-1e15, 1e15)), depth, 8*depth).Draw(t, "values")
		w := newWindow(depth)
		for _, x := range values {
			w.push(x)
		}
		want := exactSum(values[len(values)-depth:]) / float64(depth)
		if math.Abs(w.mean-want) > 1e-15*math.Abs(want)+1e-14 {
			t.Fatalf("mean %v, want %v", w.mean, want)
		}
	})
}

func TestProbability(t *testing.T) {
	s := fitted(t, plain(1000), paretoPeaks(-0.5, 1000))
	z, _ := s.Threshold(Up)
	if p, ok := s.Probability(Up, z); !ok || !near(p, 1e-4, 1e-9) {
		t.Errorf("probability of z is %v, want q", p)
	}
	if p, ok := s.Probability(Up, 1e6); !ok || p != 0 {
		t.Errorf("beyond the end of the distribution: %v, want 0; libspot C gives NaN", p)
	}
	st := s.Status(Up)
	if p, ok := s.Probability(Up, st.Level-1); !ok || p != float64(st.Excesses)/1000 {
		t.Errorf("within the level: %v, want Nt/n", p)
	}
	if _, ok := s.Probability(Up, math.NaN()); ok {
		t.Error("NaN has a probability")
	}
	if _, ok := s.Probability(Down, 0); ok {
		t.Error("a side that is not watched has a probability")
	}
}

func TestQuantileHolds(t *testing.T) {
	s := fitted(t, plain(1000), normals(5, 1000))
	rapid.Check(t, func(t *rapid.T) {
		a := math.Pow(10, rapid.Float64Range(-12, 0).Draw(t, "log q"))
		b := math.Pow(10, rapid.Float64Range(-12, 0).Draw(t, "log q"))
		za, oka := s.Quantile(Up, min(a, b))
		zb, okb := s.Quantile(Up, max(a, b))
		if max(a, b) < 1 && (!oka || !okb) || oka && okb && za < zb {
			t.Fatalf("quantile of %v is %v, of %v is %v", min(a, b), za, max(a, b), zb)
		}
	})
	for _, q := range []float64{0, 1, -1, 2, math.NaN()} {
		if z, ok := s.Quantile(Up, q); ok {
			t.Errorf("quantile of %v is %v", q, z)
		}
	}
	if z, ok := s.Quantile(Up, 0.5); !ok || z != s.Status(Up).Level {
		t.Errorf("quantile of 0.5 is %v, want t: the tail knows nothing within", z)
	}
}

// A threshold is lower for a larger q, whatever has been learned.
func TestThresholdFallsWithQ(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := drawPeaks(t)
		cfg := plain(len(values))
		cfg.Level = rapid.Float64Range(0, 0.9).Draw(t, "level")
		cfg.Q = (1 - cfg.Level) / 100
		strict, loose := cfg, cfg
		strict.Q, loose.Q = cfg.Q/10, cfg.Q*10
		var z [2]float64
		for i, c := range []Config{strict, loose} {
			s, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Fit(values); err != nil {
				t.Fatal(err)
			}
			z[i], _ = s.Threshold(Up)
		}
		if z[0] < z[1] {
			t.Fatalf("z = %v for q %v, %v for %v", z[0], strict.Q, z[1], loose.Q)
		}
	})
}

// The lower tail of a series is the upper tail of its negative, and two sides judge as two
// one-sided Spots do as long as neither sees an anomaly.
func TestSidesAreMirrored(t *testing.T) {
	for _, depth := range []int{0, 50} {
		values := normals(7, 6000)
		cfg := DefaultConfig()
		cfg.Depth = depth
		up := fitted(t, cfg, values[:1000])
		cfg.Up, cfg.Down = false, true
		negative := slices.Clone(values)
		for i := range negative {
			negative[i] = -negative[i]
		}
		down := fitted(t, cfg, negative[:1000])
		for i := range values[1000:] {
			a, b := flagOf(t, up, values[1000+i]), flagOf(t, down, negative[1000+i])
			if a.Flag != b.Flag || a.Side != -b.Side {
				t.Fatalf("depth %d, step %d: %v and %v", depth, i, a, b)
			}
		}
		za, _ := up.Threshold(Up)
		zb, ok := down.Threshold(Down)
		if za != -zb || !ok {
			t.Errorf("depth %d: thresholds %v and %v", depth, za, zb)
		}
	}
}

func TestJudgeIsStepWithoutLearning(t *testing.T) {
	for _, depth := range []int{0, 50} {
		cfg := DefaultConfig()
		cfg.Depth, cfg.Down = depth, true
		s := fitted(t, cfg, normals(1, 1000))
		flags := map[Flag]int{}
		for _, x := range append(normals(2, 3000), 1000, -1000, math.Inf(1), math.Inf(-1)) {
			before := s.Save()
			want, err := s.Judge(x)
			if err != nil || !equalStates(before, s.Save()) {
				t.Fatalf("judging %v: error %v, or the state changed", x, err)
			}
			if got := flagOf(t, s, x); got != want {
				t.Fatalf("%v is %v, judged %v", x, got, want)
			}
			flags[want.Flag]++
		}
		if flags[Excess] < 50 || flags[Anomaly] < 4 {
			t.Errorf("only %v were judged", flags)
		}
	}
	s, err := New(plain(1000))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Judge(1e9); r != (Result{}) || err != nil {
		t.Errorf("%v, %v before anything was learned", r, err)
	}
	if _, err := s.Judge(math.NaN()); !errors.Is(err, ErrNaN) {
		t.Errorf("error %v", err)
	}
}

func TestTwoSides(t *testing.T) {
	cfg := plain(1000)
	cfg.Down = true
	s := fitted(t, cfg, normals(1, 1000))
	for _, c := range []struct {
		why  string
		x    float64
		want Result
	}{
		{"far above", 50, Result{Anomaly, Up}},
		{"far below", -50, Result{Anomaly, Down}},
		{"in the middle", 0, Result{}},
		{"just beyond the upper level", s.Status(Up).Level + 0.01, Result{Excess, Up}},
		{"just beyond the lower level", s.Status(Down).Level - 0.01, Result{Excess, Down}},
		{"at a level is not beyond it", s.Status(Up).Level, Result{}},
	} {
		if got := flagOf(t, s, c.x); got != c.want {
			t.Errorf("%s: %v %v, want %v %v", c.why, got.Side, got.Flag, c.want.Side, c.want.Flag)
		}
	}
}

// libspot's quantile goes wrong on a ramp and on ties.
func TestStepDoesNotAllocate(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Down = true
	s := fitted(t, cfg, normals(1, 1000))
	values, i := normals(2, 20_000), 0
	n := testing.AllocsPerRun(10_000, func() {
		_, _ = s.Step(values[i])
		i++
	})
	if n != 0 {
		t.Errorf("%v allocations per step, want 0", n)
	}
	if s.up.excesses+s.down.excesses < 200 {
		t.Errorf("%d excesses: nothing was measured", s.up.excesses+s.down.excesses)
	}
}

// About q of the values are anomalies when they come from one distribution and gamma is
// held at or above 0. Without that, they are up to twenty times as many in the long run:
// what is above z is not learned, so the tail that is learned ends early, which lowers z.
func TestAlarmRate(t *testing.T) {
	cfg := plain(2000)
	cfg.ClampGamma, cfg.GammaMin, cfg.GammaMax = true, 0, 0.8
	exponential := random(11)
	s := fitted(t, cfg, drawExponential(&exponential, 2000))
	anomalies := 0
	for _, x := range drawExponential(&exponential, 200_000) {
		if flagOf(t, s, x).Flag == Anomaly {
			anomalies++
		}
	}
	if anomalies < 2 || anomalies > 80 {
		t.Errorf("%d anomalies in 200,000 values with q 1e-4, want about 20", anomalies)
	}
}

func drawExponential(r *random, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = -math.Log(r.open())
	}
	return values
}

func TestWords(t *testing.T) {
	got := Normal.String() + " " + Excess.String() + " " + Anomaly.String() + " " + Flag(9).String() + " " + Up.String() + " " + Down.String() + " " + None.String()
	if got != "normal excess anomaly Flag(9) up down none" {
		t.Error(got)
	}
}
