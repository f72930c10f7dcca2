package anomalyzer

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// goldenFile reads the reference runs. Without them a test is skipped, in CI it fails.
func goldenFile(t testing.TB) goldenRuns {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	data, err := os.ReadFile(filepath.Join(root, "golden", "anomalyzer", "golden_govector_b958ac0.json"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the reference runs are absent: %v; set VFT_CORPUS to the directory that holds golden/", err)
		}
		t.Skipf("the reference runs are absent: %v; set VFT_CORPUS to the directory that holds golden/", err)
	}
	var runs goldenRuns
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	if len(runs.Cases) < 42 {
		t.Fatalf("%d cases, want at least 42", len(runs.Cases))
	}
	return runs
}

type goldenRuns struct {
	Cases      []goldenCase `json:"cases"`
	Primitives struct {
		Rank []struct {
			In   []float64 `json:"in"`
			Rank []int     `json:"rank"`
		} `json:"rank"`
		Update struct {
			Start  []float64 `json:"start"`
			Update []float64 `json:"update"`
			After  []float64 `json:"data_after"`
		} `json:"update_keeps_last_reference_plus_active"`
	} `json:"primitives"`
}

type goldenCase struct {
	Name string        `json:"name"`
	Note string        `json:"note"`
	Data []figure      `json:"data"`
	Conf goldenConfig  `json:"conf"`
	Ref  []figure      `json:"reference_window"`
	Act  []figure      `json:"active_window"`
	Eval goldenOutcome `json:"eval"`
	// Methods has no entry of a method that was not configured.
	Methods map[string]goldenOutcome `json:"methods"`
	Weights map[string]float64       `json:"weights_one_run"`
	Error   string                   `json:"error"`
}

type goldenConfig struct {
	ActiveSize  int      `json:"active_size"`
	Delay       bool     `json:"delay"`
	LowerBound  figure   `json:"lower_bound"`
	UpperBound  figure   `json:"upper_bound"`
	Methods     []string `json:"methods"`
	NSeasons    int      `json:"n_seasons"`
	PermCount   int      `json:"perm_count"`
	Sensitivity float64  `json:"sensitivity"`
}

type goldenOutcome struct {
	Kind      string  `json:"kind"`
	Prob      figure  `json:"prob"`
	Raw       figure  `json:"raw"`
	Mean      figure  `json:"mean"`
	All       *figure `json:"all_permutations"`
	At500     float64 `json:"tolerance_at_500"`
	Tolerance float64 `json:"tolerance"`
}

// figure is a number or one of the words "NA", "NaN", "+Inf", "-Inf".
type figure float64

func (f *figure) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"NA"`:
		*f = NA
	case `"NaN"`:
		*f = figure(math.NaN())
	case `"+Inf"`:
		*f = figure(math.Inf(1))
	case `"-Inf"`:
		*f = figure(math.Inf(-1))
	default:
		return json.Unmarshal(data, (*float64)(f))
	}
	return nil
}

func floats(figures []figure) []float64 {
	values := make([]float64, len(figures))
	for i, f := range figures {
		values[i] = float64(f)
	}
	return values
}

// The statistics under all n! orders of a short series, against the original's under the
// same: this proves the tests themselves, without the noise of random shuffles.
func TestGoldenAllPermutations(t *testing.T) {
	compared := 0
	for _, c := range goldenFile(t).Cases {
		for name, want := range c.Methods {
			if want.All == nil || *want.All == NA || sortDependent[c.Name] {
				continue
			}
			d, err := New(c.config())
			if err != nil {
				t.Fatal(err)
			}
			m, _ := methodByName(name)
			if got := shareOfAll(d, m, floats(c.Data)); math.Abs(got-float64(*want.All)) > 1e-12 {
				t.Errorf("%s: %s gives %v over all orders, want %v", c.Name, name, got, *want.All)
			}
			compared++
		}
	}
	if compared < 40 {
		t.Errorf("%d comparisons, want at least 40", compared)
	}
}

// shareOfAll returns the share of all orders of v whose statistic is beyond that of v.
func shareOfAll(d *Detector, m Method, v []float64) float64 {
	statistic := func(v []float64) int {
		ref, act, _ := windows(v, d.reference, d.cfg.ActiveSize, 0)
		switch m {
		case Diff:
			changes := make([]float64, len(v)-1)
			relativeChanges(changes, v)
			return rankSum(changes, min(len(act), len(changes)))
		case KS:
			return d.distance(v[len(v)-len(ref)-len(act):], len(ref))
		case LowRank:
			return -rankSum(v, len(act))
		}
		return rankSum(v, len(act))
	}
	own, less, all := statistic(v), 0, 0
	permute(append([]float64(nil), v...), len(v), func(v []float64) {
		all++
		if statistic(v) < own {
			less++
		}
	})
	return float64(less) / float64(all)
}

// permute calls visit with all orders of v (Heap 1963).
func permute(v []float64, n int, visit func([]float64)) {
	if n <= 1 {
		visit(v)
		return
	}
	for i := range n {
		permute(v, n-1, visit)
		if i == n-1 {
			return
		}
		if n%2 == 0 {
			v[i], v[n-1] = v[n-1], v[i]
		} else {
			v[0], v[n-1] = v[n-1], v[0]
		}
	}
}

func TestGoldenPrimitives(t *testing.T) {
	primitives := goldenFile(t).Primitives
	for _, c := range primitives.Rank {
		d, err := New(Config{ActiveSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.rankAll(c.In); !slices.Equal(got, c.Rank) {
			t.Errorf("ranks of %v are %v, want %v", c.In, got, c.Rank)
		}
		for i, x := range c.In {
			if got := rankOf(x, c.In); got != c.Rank[i] {
				t.Errorf("rank of %v in %v is %d, want %d", x, c.In, got, c.Rank[i])
			}
		}
	}
	d, err := New(Config{ActiveSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	v := Vector(primitives.Update.Start)
	if d.Update(&v, primitives.Update.Update...); !slices.Equal(v, primitives.Update.After) {
		t.Errorf("update leaves %v, want %v", v, primitives.Update.After)
	}
}

// config returns the configuration of a case, in the original's manner.
func (c goldenCase) config() Config {
	return Config{
		Methods: c.Conf.Methods, ActiveSize: c.Conf.ActiveSize, NSeasons: c.Conf.NSeasons,
		Sensitivity: c.Conf.Sensitivity, UpperBound: float64(c.Conf.UpperBound), LowerBound: float64(c.Conf.LowerBound),
		PermCount: c.Conf.PermCount, Delay: c.Conf.Delay, Compatible: true,
	}
}

// sortDependent are the cases whose rank tests depend on where a sort puts what has no
// order.
var sortDependent = map[string]bool{"nan_in_reference": true, "inf_active": true}

func TestGoldenCases(t *testing.T) {
	for _, c := range goldenFile(t).Cases {
		t.Run(c.Name, func(t *testing.T) {
			d, err := New(c.config())
			if c.Error != "" {
				if err == nil || err.Error() != c.Error {
					t.Fatalf("%s: error %v, want %s", c.Note, err, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			compareCase(t, c, d)
		})
	}
}

func compareCase(t *testing.T, c goldenCase, d *Detector) {
	t.Helper()
	data := floats(c.Data)
	byTest := d.EvalByTest(data)
	for name, want := range c.Methods {
		m, _ := methodByName(name)
		got := byTest.Tests[m]
		if !got.Ran {
			t.Errorf("%s did not run", name)
		}
		if sortDependent[c.Name] && (m == Diff || m == HighRank || m == LowRank) {
			continue
		}
		compareTest(t, name, got, want)
	}
	if got := d.Eval(data).Probability; math.Abs(got-float64(c.Eval.Mean)) > c.Eval.Tolerance {
		t.Errorf("combined probability %v, want %v within %v", got, c.Eval.Mean, c.Eval.Tolerance)
	}
	compareWeights(t, byTest, c.Weights)
}

func compareTest(t *testing.T, name string, got Test, want goldenOutcome) {
	t.Helper()
	if want.Kind == "exact" {
		if got.Applies == (want.Prob == NA) {
			t.Errorf("%s applies: %v, want %v", name, got.Applies, want.Prob)
		}
		if got.Applies && (!close(got.Probability, float64(want.Prob)) || !close(got.Raw, float64(want.Raw))) {
			t.Errorf("%s gives %v (raw %v), want %v (%v)", name, got.Probability, got.Raw, want.Prob, want.Raw)
		}
		return
	}
	if got.Applies == (want.Mean == NA) {
		t.Errorf("%s applies: %v, want %v", name, got.Applies, want.Mean)
	}
	if !got.Applies {
		return
	}
	if got.Exact && want.All != nil && math.Abs(got.Probability-float64(*want.All)) > 1e-12 {
		t.Errorf("%s computed exactly gives %v, all permutations give %v", name, got.Probability, *want.All)
	}
	if math.Abs(got.Probability-float64(want.Mean)) > want.At500 {
		t.Errorf("%s gives %v, want %v within %v", name, got.Probability, want.Mean, want.At500)
	}
}

// compareWeights compares with the weights of one run of the original, which has one
// entry for both rank tests.
func compareWeights(t *testing.T, got Result, want map[string]float64) {
	t.Helper()
	have := map[string]float64{}
	for i, test := range got.Tests {
		name := Method(i).String()
		if m := Method(i); m == HighRank || m == LowRank {
			name = "rank"
		}
		if test.Weight > 0 {
			have[name] = test.Weight
		}
	}
	if len(have) != len(want) {
		t.Errorf("weights %v, want %v", have, want)
	}
	for name, w := range want {
		if have[name] != w {
			t.Errorf("weight of %s is %v, want %v", name, have[name], w)
		}
	}
}

func close(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9
}
