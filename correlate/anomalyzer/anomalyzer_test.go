package anomalyzer

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var everyMethod = []string{"magnitude", "diff", "highrank", "lowrank", "fence", "ks", "cdf"}

func detector(t testing.TB, cfg Config) *Detector {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func all(perm int) Config {
	return Config{Methods: everyMethod, ActiveSize: 1, UpperBound: 100, LowerBound: NA, PermCount: perm}
}

func TestErrors(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		why  string
		cfg  Config
		want string // "" means valid
	}{
		{"the smallest configuration", Config{ActiveSize: 1}, ""},
		{"the first error is the method, though the size is wrong too", Config{Methods: []string{"magnitude", "x"}}, "Unsupported detection method 'x'"},
		{"names are lower case", Config{Methods: []string{"Fence"}, ActiveSize: 1}, "Unsupported detection method 'Fence'"},
		{"no active window", Config{NSeasons: -1}, "Active window size must be at least of size 1"},
		{"reference of 3", Config{ActiveSize: 1, NSeasons: 3}, "The combination of active window (1) and nseasons (3) yields a reference window that is too small for analysis.  Please increase one or both."},
		{"reference of 4 in two seasons", Config{ActiveSize: 2, NSeasons: 2}, ""},
		{"fence without bounds", Config{Methods: []string{"fence"}, ActiveSize: 1}, "Fence test included with identical bounds on the fences"},
		{"fence upside down", Config{Methods: []string{"fence"}, ActiveSize: 1, UpperBound: -1, LowerBound: 1.5}, "UpperBound (-1) was lower than the LowerBound (1.5)"},
		{"bounds do not matter without fence", Config{ActiveSize: 1, UpperBound: -1}, ""},
		{"a bound that orders with nothing", Config{Methods: []string{"fence"}, ActiveSize: 1, UpperBound: math.NaN()}, "cannot use NaN as a bound of the fence"},
		{"an upper bound alone", Config{Methods: []string{"fence"}, ActiveSize: 1, UpperBound: 1, LowerBound: NA}, ""},
		{"a sensitivity that silences everything", Config{ActiveSize: 1, Sensitivity: 2}, "cannot use sensitivity 2: it must be between 0 and 1"},
		{"the original takes it", Config{ActiveSize: 1, Sensitivity: 2, Compatible: true}, ""},
		{"NaN is no sensitivity", Config{ActiveSize: 1, Sensitivity: math.NaN()}, "cannot use sensitivity NaN: it must be between 0 and 1"},
		{"infinity neither", Config{ActiveSize: 1, Threshold: inf}, "cannot use threshold +Inf: it must be between 0 and 1"},
		{"negative permutations", Config{ActiveSize: 1, PermCount: -5}, "cannot make -5 permutations: at least 1 is needed"},
		{"too little memory for a reference", Config{ActiveSize: 4, Cap: 7}, "cannot keep 7 values per series: an active window of 4 needs at least 8"},
		{"a delay that no series outgrows", Config{ActiveSize: 10, Cap: 30, Delay: true}, "cannot keep 30 values per series: nothing is judged before there are 50, an active window of 10 and 4 times as many before it"},
	} {
		_, err := New(c.cfg)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: error %q, want %q", c.why, got, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	got := detector(t, Config{ActiveSize: 10}).Config()
	want := Config{Methods: []string{"magnitude", "ks"}, ActiveSize: 10, NSeasons: 4, Sensitivity: 0.1, PermCount: 500, Threshold: 0.6, Cap: 50}
	if !slices.Equal(got.Methods, want.Methods) {
		t.Errorf("methods %v, want %v", got.Methods, want.Methods)
	}
	got.Methods, want.Methods = nil, nil
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("defaults %s, want %s", a, b)
	}
	if got := detector(t, Config{ActiveSize: 1}).Config().Cap; got != 30 {
		t.Errorf("cap %d for a small window, want 30", got)
	}
}

// Where this package departs from the original, and that Compatible takes it back.
func TestDepartures(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		why      string
		method   Method
		data     []float64
		own      float64 // NaN: does not apply
		original float64
	}{
		{"below zero the mean of the reference is negative", Magnitude, []float64{-5, -6, -5, -4, -5, -50}, 1, 0},
		{"NaN in the reference", Magnitude, []float64{1, 2, nan, 3, 2, 5}, nan, nan},
		{"NaN before both windows", Magnitude, []float64{nan, 1, 1, 1, 1, 1}, 0, 0},
		{"NaN before both windows is shuffled into them", HighRank, []float64{nan, 1, 1, 1, 1, 2}, nan, 0.83},
		{"the newest value is infinite", Fence, []float64{1, 2, 3, 3, 2, inf}, nan, 1},
		{"the newest value is infinite", KS, []float64{1, 2, 3, 3, 2, inf}, nan, 0.53},
		{"the newest value is infinite", CDF, []float64{1, 2, 3, 3, 2, inf}, nan, 1},
		{"the newest value is infinite", Diff, []float64{1, 2, 3, 3, 2, inf}, nan, 0},
	} {
		own := detector(t, all(2000)).EvalByTest(c.data).Tests[c.method]
		if own.Applies == math.IsNaN(c.own) || own.Applies && own.Probability != c.own {
			t.Errorf("%s: %v gives %v (applies %v), want %v", c.why, c.method, own.Probability, own.Applies, c.own)
		}
		cfg := all(2000)
		cfg.Compatible = true
		got := detector(t, cfg).EvalByTest(c.data).Tests[c.method].Probability
		if math.IsNaN(got) != math.IsNaN(c.original) || math.Abs(got-c.original) > 0.05 {
			t.Errorf("%s: compatible %v gives %v, want %v", c.why, c.method, got, c.original)
		}
	}
}

func TestGates(t *testing.T) {
	short := []float64{1, 2, 3, 90}
	cfg := all(50)
	cfg.Delay = true
	if r := detector(t, cfg).Eval(short); r.Gate != GateDelay || r.Probability != 0 || r.Tests[Fence].Ran {
		t.Errorf("windows not full: %+v, want nothing run", r)
	}
	if r := detector(t, all(50)).Eval(short); r.Gate != GateOpen || r.Probability == 0 {
		t.Errorf("without delay: gate %v, probability %v, want a verdict", r.Gate, r.Probability)
	}
	calm := []float64{100, 100, 100, 100, 105}
	r := detector(t, all(50)).Eval(calm)
	if r.Gate != GateSensitivity || r.Probability != 0 || !r.Tests[Magnitude].Ran || r.Tests[KS].Ran {
		t.Errorf("magnitude below sensitivity: %+v, want magnitude alone", r)
	}
	if r := detector(t, all(50)).EvalByTest(calm); r.Gate != GateOpen || !r.Tests[KS].Ran || r.Probability == 0 {
		t.Errorf("by test: %+v, want all tests", r)
	}
}

func TestThreshold(t *testing.T) {
	d := detector(t, Config{ActiveSize: 1, Threshold: 0.7})
	for _, c := range []struct {
		why  string
		p    float64
		want bool
	}{{"below", 0.69, false}, {"at it is not above", 0.7, false}, {"above", 0.71, true}} {
		if got := d.Anomalous(Result{Probability: c.p}); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

func TestMapsOfAnAlert(t *testing.T) {
	r := detector(t, all(200)).Eval([]float64{10, 11, 10, 12, 11, 10, 90})
	p, w := r.Probabilities(), r.Weights()
	if len(p) != len(everyMethod) || len(w) != len(everyMethod) {
		t.Fatalf("%v and %v, want an entry per test", p, w)
	}
	if w["magnitude"] != 5 || w["highrank"] != 0.5 || w["lowrank"] != 0 {
		t.Errorf("weights %v, want magnitude 5, highrank 0.5, lowrank 0", w)
	}
	if r := detector(t, all(200)).Eval(nil); len(r.Probabilities()) != 0 || r.Probability != 0 {
		t.Errorf("an empty series gives %v, want nothing", r.Probabilities())
	}
}

func TestPushKeepsTheNewest(t *testing.T) {
	d := detector(t, Config{Methods: []string{"magnitude"}, ActiveSize: 1, Cap: 10})
	var v Vector
	for i := range 100 {
		d.Push(&v, float64(i))
		if want := min(i+1, 10); len(v) != want || cap(v) > 10 || v[len(v)-1] != float64(i) || v[0] != float64(max(0, i-9)) {
			t.Fatalf("after %d: %v, capacity %d", i, v, cap(v))
		}
	}
}

func TestUpdateKeepsTheWindows(t *testing.T) {
	d := detector(t, Config{ActiveSize: 1})
	v := Vector{1, 2}
	if d.Update(&v, 3); !slices.Equal(v, Vector{1, 2, 3}) {
		t.Errorf("%v, want all three", v)
	}
	if d.Update(&v, 4, 5, 6); !slices.Equal(v, Vector{2, 3, 4, 5, 6}) {
		t.Errorf("%v, want the last five", v)
	}
}

// The probability of a series depends on the seed and its values, not on what was
// evaluated before.
func TestSeed(t *testing.T) {
	series := []float64{0, 10, 20, 0, 0, 30, 10, 0, 50, 20, 40}
	fresh := detector(t, all(100)).EvalByTest(series)
	d := detector(t, all(100))
	d.EvalByTest([]float64{1, 2, 3, 4, 5, 6, 7, 8})
	if got := d.EvalByTest(series); got != fresh {
		t.Errorf("%+v after another series, %+v alone", got, fresh)
	}
	cfg, differ := all(100), false
	for cfg.Seed = 1; cfg.Seed < 5; cfg.Seed++ {
		differ = differ || detector(t, cfg).EvalByTest(series) != fresh
	}
	if !differ {
		t.Error("the seed changes nothing")
	}
}

func TestWindowOnly(t *testing.T) {
	// The old values are all larger: only with them does the newest rank in the middle.
	series := []float64{9, 9, 9, 9, 9, 9, 1, 2, 1, 2, 5}
	cfg := all(400)
	whole := detector(t, cfg).EvalByTest(series)
	cfg.WindowOnly = true
	window := detector(t, cfg).EvalByTest(series)
	if whole.Tests[HighRank].Probability != 4.0/11 || window.Tests[HighRank].Probability != 0.8 {
		t.Errorf("highrank %v and %v, want 4/11 and 0.8", whole.Tests[HighRank].Probability, window.Tests[HighRank].Probability)
	}
	if want := detector(t, all(400)).EvalByTest(series[6:]); window != want {
		t.Errorf("window only gives %+v, the window alone %+v", window, want)
	}
}

func TestRanksAreExactWhereCheap(t *testing.T) {
	long := make([]float64, 600)
	for i := range long {
		long[i] = float64(i * 7919 % 601)
	}
	for _, c := range []struct {
		why    string
		active int
		n      int
		want   bool
	}{
		{"one active value of thirty: the default", 1, 30, true},
		{"two thirds of a small series", 10, 30, true},
		{"one of many", 1, 300, true},
		{"sums too many to count", 50, 300, false},
	} {
		cfg := Config{Methods: []string{"highrank", "lowrank"}, ActiveSize: c.active, Cap: 1000}
		r := detector(t, cfg).Eval(long[:c.n])
		if r.Tests[HighRank].Exact != c.want || r.Tests[LowRank].Exact != c.want {
			t.Errorf("%s: exact %v, want %v", c.why, r.Tests[HighRank].Exact, c.want)
		}
	}
}

func TestExactRanksAgreeWithShuffles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) float64 {
			return float64(rapid.IntRange(0, 9).Draw(t, "value"))
		}), 2, 7).Draw(t, "series")
		active := rapid.IntRange(1, len(v)-1).Draw(t, "active")
		d, err := New(Config{Methods: []string{"highrank"}, ActiveSize: active, NSeasons: 4})
		if err != nil {
			t.Fatal(err)
		}
		high, low, ok := d.exactRanks(d.rankAll(v), active)
		if !ok {
			t.Fatal("not computed")
		}
		if want := shareOfAll(d, HighRank, v); math.Abs(high.value-want) > 1e-12 {
			t.Fatalf("highrank %v, over all orders %v", high.value, want)
		}
		if want := shareOfAll(d, LowRank, v); math.Abs(low.value-want) > 1e-12 {
			t.Fatalf("lowrank %v, over all orders %v", low.value, want)
		}
	})
}

func TestDrawnRanksComeCloseToExact(t *testing.T) {
	v := []float64{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3}
	d := detector(t, Config{Methods: []string{"highrank"}, ActiveSize: 3, PermCount: 200_000})
	high, low, _ := d.exactRanks(d.rankAll(v), 3)
	drawnHigh, drawnLow := d.drawRanks(v, d.rankAll(v), 3)
	// Ten standard deviations of a share of 200,000 are 0.011.
	if math.Abs(high.value-drawnHigh.value) > 0.011 || math.Abs(low.value-drawnLow.value) > 0.011 {
		t.Errorf("drawn %v and %v, exact %v and %v", drawnHigh.value, drawnLow.value, high.value, low.value)
	}
}

func TestEvalHolds(t *testing.T) {
	values := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(0, 5).Draw(t, "small")) }),
		rapid.Float64Range(-1e6, 1e6),
		rapid.SampledFrom([]float64{0, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, NA}),
	)
	rapid.Check(t, func(t *rapid.T) {
		cfg := all(20)
		cfg.Methods = rapid.SliceOfDistinct(rapid.SampledFrom(everyMethod), rapid.ID[string]).Draw(t, "methods")
		cfg.ActiveSize = rapid.IntRange(1, 3).Draw(t, "active")
		cfg.WindowOnly, cfg.Compatible = rapid.Bool().Draw(t, "window"), rapid.Bool().Draw(t, "compatible")
		d, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		v := rapid.SliceOfN(values, 0, 24).Draw(t, "series")
		before := slices.Clone(v)
		r := d.Eval(v)
		if !(r.Probability >= 0 && r.Probability <= 1) {
			t.Fatalf("probability %v", r.Probability)
		}
		for i := range v {
			if math.Float64bits(v[i]) != math.Float64bits(before[i]) {
				t.Fatal("the series was changed")
			}
		}
		checkMean(t, r)
	})
}

func checkMean(t *rapid.T, r Result) {
	sum, weights := 0.0, 0.0
	for i, test := range r.Tests {
		if test.Applies && !(test.Probability >= 0 && test.Probability <= 1) && !math.IsNaN(test.Probability) {
			t.Fatalf("%v gives %v", Method(i), test.Probability)
		}
		if test.Weight > 0 {
			sum, weights = sum+test.Weight*test.Probability, weights+test.Weight
		}
	}
	if mean := sum / weights; r.Gate == GateOpen && mean == mean && math.Abs(mean-r.Probability) > 1e-12 {
		t.Fatalf("probability %v, weighted mean %v", r.Probability, mean)
	}
}

func TestNoAllocation(t *testing.T) {
	d := detector(t, all(20))
	var v Vector
	x := 0.0
	push := func() {
		x = math.Mod(x*7+3, 101)
		d.Push(&v, x)
	}
	for range 100 {
		push()
	}
	if n := testing.AllocsPerRun(100, push); n != 0 {
		t.Errorf("%v allocations per value, want 0", n)
	}
}

func TestNames(t *testing.T) {
	var names []string
	for m := Method(0); m <= methodCount; m++ {
		names = append(names, m.String())
	}
	if got := strings.Join(names, " "); got != "magnitude diff highrank lowrank cdf fence ks unknown" {
		t.Error(got)
	}
	if got := GateOpen.String() + GateDelay.String() + GateSensitivity.String() + Gate(9).String(); got != "opendelaysensitivitysensitivity" {
		t.Error(got)
	}
}
