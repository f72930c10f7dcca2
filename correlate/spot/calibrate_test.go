package spot

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNaNAmongTheFirst(t *testing.T) {
	s := fitted(t, plain(1000), normals(1, 1000))
	before := s.Save()
	bad := normals(2, 1000)
	bad[100] = math.NaN()
	if err := s.Fit(bad); !errors.Is(err, ErrNaN) || !strings.Contains(err.Error(), "value 100 of 1000") {
		t.Errorf("error %v", err)
	}
	if !equalStates(before, s.Save()) {
		t.Error("the state changed")
	}
	learning, err := New(plain(1000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := learning.Step(math.NaN()); !errors.Is(err, ErrNaN) {
		t.Errorf("while learning: error %v", err)
	}
	if have, _ := learning.Learned(); have != 0 {
		t.Errorf("%d values learned", have)
	}
}

func TestInfinityAmongTheFirst(t *testing.T) {
	values := normals(1, 1000)
	with := slices.Concat(values[:300], []float64{math.Inf(1)}, values[300:], []float64{math.Inf(-1)})
	a, b := fitted(t, plain(1000), values), fitted(t, plain(1000), with)
	if !equalStates(a.Save(), b.Save()) {
		t.Error("infinite values were learned")
	}
}

func TestNotCalibrated(t *testing.T) {
	constant := slices.Repeat([]float64{5}, 1000)
	for _, c := range []struct {
		why    string
		values []float64
	}{
		{"a constant has no peaks", constant},
		{"too few values for ten peaks", normals(1, 400)},
		{"all peaks are equal", append(slices.Clone(constant[:985]), slices.Repeat([]float64{6}, 15)...)},
	} {
		for _, x := range []float64{1e9, math.Inf(1), math.Inf(-1)} {
			s := fitted(t, plain(1000), c.values)
			if s.Calibrated(Up) || !s.Fitted() {
				t.Errorf("%s: calibrated %v, fitted %v", c.why, s.Calibrated(Up), s.Fitted())
			}
			_, z := s.Threshold(Up)
			_, p := s.Probability(Up, 7)
			if z || p {
				t.Errorf("%s: a threshold %v, a probability %v", c.why, z, p)
			}
			if got := flagOf(t, s, x); got.Flag == Anomaly {
				t.Errorf("%s: %v is an anomaly", c.why, x)
			}
		}
	}
}

func TestCalibratesLate(t *testing.T) {
	s := fitted(t, plain(1000), slices.Repeat([]float64{5}, 1000))
	for i := range MinPeaks {
		if s.Calibrated(Up) {
			t.Fatalf("calibrated on %d peaks", i)
		}
		if got := flagOf(t, s, 6+float64(i)/10); got != (Result{Excess, Up}) {
			t.Fatalf("%v, want an excess", got)
		}
	}
	if !s.Calibrated(Up) {
		t.Fatal("not calibrated on ten peaks")
	}
	if got := flagOf(t, s, 1000); got != (Result{Anomaly, Up}) {
		t.Errorf("%v, want an anomaly", got)
	}
}

func TestLevelIsTheExactQuantile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.SampledFrom([]float64{0, 1, 2, -1})), 1, 300).Draw(t, "values")
		level := rapid.Float64Range(0, 0.999).Draw(t, "level")
		want := sorted(values)[int(level*float64(len(values)))]
		if got := quantileOf(slices.Clone(values), level); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
	ramp := make([]float64, 1000)
	for i := range ramp {
		ramp[i] = float64(i)
	}
	if s := fitted(t, plain(1000), ramp); s.Status(Up).Level != 980 || s.Status(Up).Excesses != 19 {
		t.Errorf("a ramp gives t = %v, Nt = %d, want 980 and 19", s.Status(Up).Level, s.Status(Up).Excesses)
	}
}

func TestLearningByStepsIsFit(t *testing.T) {
	for _, depth := range []int{0, 50} {
		values := normals(9, 3000)
		cfg := DefaultConfig()
		cfg.Depth = depth
		a := fitted(t, cfg, values[:1000])
		b, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range values[:1000] {
			if have, need := b.Learned(); have != i || need != 1000 || b.Fitted() {
				t.Fatalf("%d of %d learned before value %d", have, need, i)
			}
			if got := flagOf(t, b, x); got != (Result{}) {
				t.Fatalf("value %d of the first is %v", i, got)
			}
		}
		flagOf(t, a, 0)
		flagOf(t, b, 0)
		if have, need := b.Learned(); have != 1001 || need != 1000 {
			t.Errorf("depth %d: %d of %d learned after 1001 values", depth, have, need)
		}
		if !b.Fitted() || !equalStates(a.Save(), b.Save()) {
			t.Errorf("depth %d: the states differ", depth)
		}
	}
}

func TestReset(t *testing.T) {
	cfg := DefaultConfig()
	cfg.NInit = 500
	s := fitted(t, cfg, normals(1, 1000))
	s.Reset()
	if have, need := s.Learned(); have != 0 || need != 500 || s.Fitted() || s.Calibrated(Up) || s.Drift() != 0 {
		t.Errorf("%d of %d learned after a reset", have, need)
	}
	fresh := fitted(t, cfg, normals(2, 500))
	for _, x := range normals(2, 500) {
		flagOf(t, s, x)
	}
	if !equalStates(s.Save(), fresh.Save()) {
		t.Error("a reset Spot learns otherwise than a new one")
	}
}

func TestFitNeedsMoreThanTheWindow(t *testing.T) {
	s, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fit(normals(1, 50)); err == nil || !strings.Contains(err.Error(), "50") {
		t.Errorf("error %v", err)
	}
	if err := s.FitLevels(normals(1, 100), math.NaN(), 0); err == nil {
		t.Error("NaN as a level")
	}
	if s.Fitted() {
		t.Error("fitted after errors")
	}
}
