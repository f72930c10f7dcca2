package spot

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// goldenDir returns the directory of the reference runs. Without it a test is
// skipped, in CI it fails.
func goldenDir(t testing.TB) string {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(root, "golden", "spot")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the reference runs are absent: %v; set VFT_CORPUS to the directory that holds golden/", err)
		}
		t.Skipf("the reference runs are absent: %v; set VFT_CORPUS to the directory that holds golden/", err)
	}
	return dir
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The writer of the files knew Infinity and NaN, JSON does not.
	data = regexp.MustCompile(`-?\b(Infinity|NaN)\b`).ReplaceAll(data, []byte("null"))
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readLines returns the lines of a gzip file.
func readLines(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var lines []string
	for scan := bufio.NewScanner(z); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	return lines
}

func readSeries(t testing.TB, name string) []float64 {
	t.Helper()
	var values []float64
	for _, line := range readLines(t, filepath.Join(goldenDir(t), "series", name+".txt.gz")) {
		values = append(values, number(t, line))
	}
	return values
}

func number(t testing.TB, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// plain returns the parameters of SPOT on the upper tail.
func plain(nInit int) Config {
	cfg := DefaultConfig()
	cfg.Depth, cfg.NInit = 0, nInit
	return cfg
}

func fitted(t testing.TB, cfg Config, values []float64) *Spot {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fit(values); err != nil {
		t.Fatal(err)
	}
	return s
}

func near(a, b, relative float64) bool {
	return a == b || math.Abs(a-b) <= relative*math.Max(math.Abs(a), math.Abs(b))
}

type reference struct {
	T      float64 `json:"t"`
	Nt     int     `json:"Nt"`
	Gamma  float64 `json:"mle_gamma"`
	Sigma  float64 `json:"mle_sigma"`
	LogLik float64 `json:"mle_loglik"`
	Z      float64 `json:"z_from_mle"`
}

// The correctness target: independent maximum-likelihood fits.
func TestFitReachesTheReferenceLikelihood(t *testing.T) {
	var sets []struct {
		Series  string    `json:"series"`
		NInit   int       `json:"n_init"`
		Level   float64   `json:"level"`
		Q       float64   `json:"q"`
		Imposed reference `json:"t_p2_of_libspot"`
		Exact   reference `json:"t_exact_sorted_index_floor(level*n)"`
	}
	readJSON(t, filepath.Join(goldenDir(t), "mle_reference.json"), &sets)
	if len(sets) < 11 {
		t.Fatalf("%d reference fits, want at least 11", len(sets))
	}
	for _, set := range sets {
		values := readSeries(t, set.Series)[:set.NInit]
		cfg := plain(set.NInit)
		cfg.Q, cfg.Level = set.Q, set.Level
		t.Run(set.Series+"/exact", func(t *testing.T) {
			s := fitted(t, cfg, values)
			if s.up.level != set.Exact.T {
				t.Errorf("t = %v, want %v", s.up.level, set.Exact.T)
			}
			compareFit(t, s, set.Exact)
		})
		t.Run(set.Series+"/imposed", func(t *testing.T) {
			s := fitted(t, cfg, values)
			if err := s.FitLevels(values, set.Imposed.T, 0); err != nil {
				t.Fatal(err)
			}
			compareFit(t, s, set.Imposed)
		})
	}
}

func compareFit(t *testing.T, s *Spot, want reference) {
	t.Helper()
	z, ok := s.Threshold(Up)
	if !ok {
		t.Fatal("not calibrated")
	}
	got := s.up.fit
	t.Logf("gamma %v (%v) sigma %v (%v) loglik %v (%v) z %v (%v)", got.gamma, want.Gamma, got.sigma, want.Sigma, got.logLik, want.LogLik, z, want.Z)
	if s.up.excesses != want.Nt {
		t.Errorf("Nt = %d, want %d", s.up.excesses, want.Nt)
	}
	if got.logLik < want.LogLik-1e-9*math.Abs(want.LogLik) {
		t.Errorf("log-likelihood %v is below %v (gamma %v, want %v)", got.logLik, want.LogLik, got.gamma, want.Gamma)
	}
	if !near(z, want.Z, 1e-4) {
		t.Errorf("z = %v, want %v", z, want.Z)
	}
}

// run is a run of libspot C.
type run struct {
	Name   string `json:"name"`
	Series string `json:"series"`
	NFit   int    `json:"n_fit"`
	Params struct {
		Q         float64 `json:"q"`
		Low       int     `json:"low"`
		Level     float64 `json:"level"`
		MaxExcess int     `json:"max_excess"`
		Discard   int     `json:"discard_anomalies"`
	} `json:"params"`
	InitRC int `json:"spot_init_rc"`
	FitRC  int `json:"spot_fit_rc"`
	Fit    *struct {
		T     figure `json:"t"`
		Gamma figure `json:"gamma"`
		Sigma figure `json:"sigma"`
	} `json:"fit"`
}

// figure is a number or one of the words "nan", "inf", "-inf".
type figure float64

func (f *figure) UnmarshalJSON(data []byte) error {
	x, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	*f = figure(x)
	return err
}

// row is a line of a run's steps: the state after a step.
type row struct {
	i, flag, n, nt, stored int
	z, gamma, sigma        float64
}

func readRun(t *testing.T, path string) (run, map[int]row) {
	t.Helper()
	var r run
	readJSON(t, path, &r)
	rows := map[int]row{}
	steps := strings.TrimSuffix(path, ".json") + ".steps.csv.gz"
	if _, err := os.Stat(steps); err != nil {
		return r, rows
	}
	for _, line := range readLines(t, steps)[1:] {
		f := strings.Split(line, ",")
		x := make([]float64, len(f))
		for i := range f {
			x[i] = number(t, f[i])
		}
		rows[int(x[0])] = row{int(x[0]), int(x[2]), int(x[5]), int(x[6]), int(x[7]), x[3], x[8], x[9]}
	}
	return r, rows
}

// TestAgainstLibspot replays the runs of libspot C with its level t imposed. As long as
// its fit is the most likely one with gamma >= 0, and its ring has not wrapped, flags must
// be the same and z within 1e-5. Where gamma < 0 libspot takes the moment estimate, so its
// z is no target there: mle_reference.json is. But at no excess, as long as both have the
// same peaks, may its likelihood be above ours.
func TestAgainstLibspot(t *testing.T) {
	// What must have been compared before the two part for one of these reasons.
	thresholds := map[string]int{"mawi_avgPktsSize": 180, "mawi_nSrcPorts": 160, "mawi_packet_rate": 180, "syn_pareto1": 114}
	flags := map[string]int{"mawi_avgPktsSize": 1500, "mawi_nSrcPorts": 400, "mawi_packet_rate": 730, "syn_pareto1": 10000, "edge_sparse": 4000, "edf_low": 379}
	paths, err := filepath.Glob(filepath.Join(goldenDir(t), "c_*.json"))
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d runs, error %v, want at least 50", len(paths), err)
	}
	for _, path := range paths {
		r, rows := readRun(t, path)
		s := r.spot(t)
		if s == nil {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			same, compared := r.replay(t, s, rows)
			if same < flags[r.Name] || compared < thresholds[r.Name] {
				t.Errorf("%d flags and %d thresholds compared, want %d and %d", same, compared, flags[r.Name], thresholds[r.Name])
			}
		})
	}
}

// spot returns a Spot calibrated as the run was, nil where libspot refused to, took NaN
// for a value, kept fewer than MinPeaks peaks, or learned its anomalies.
func (r run) spot(t *testing.T) *Spot {
	t.Helper()
	if r.InitRC != 0 || r.Fit == nil || r.Params.Discard == 0 || r.Params.MaxExcess < MinPeaks {
		return nil
	}
	level := float64(r.Fit.T)
	values := readSeries(t, r.Series)[:r.NFit]
	if math.IsNaN(level) || slices.ContainsFunc(values, math.IsNaN) {
		return nil
	}
	s, err := New(r.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.FitLevels(values, level, level); err != nil {
		t.Fatal(err)
	}
	return s
}

func (r run) config() Config {
	cfg := plain(r.NFit)
	cfg.Q, cfg.Level, cfg.MaxExcess = r.Params.Q, r.Params.Level, r.Params.MaxExcess
	cfg.Up, cfg.Down = r.Params.Low == 0, r.Params.Low == 1
	return cfg
}

// replay steps through the run until the peaks may differ and returns how many flags and
// thresholds were compared.
func (r run) replay(t *testing.T, s *Spot, rows map[int]row) (flags, thresholds int) {
	side := Up
	if s.cfg.Down {
		side = Down
	}
	likely := s.Status(side).LogLikelihood
	agrees := r.Fit.Gamma >= 0 && near(logLikelihood(s.tail(side).peaks, float64(r.Fit.Gamma), float64(r.Fit.Sigma)), likely, 1e-11)
	if len(s.tail(side).peaks) < s.tail(side).excesses {
		return 0, 0
	}
	for i, x := range readSeries(t, r.Series)[r.NFit:] {
		want, listed := rows[i]
		got, err := s.Step(x)
		if math.IsNaN(x) {
			if !errors.Is(err, ErrNaN) {
				t.Fatalf("step %d: error %v for NaN", i, err)
			}
			continue
		}
		if !listed {
			want.flag = 0
		}
		if int(got.Flag) != want.flag {
			if agrees || got.Flag == Normal && s.Calibrated(side) {
				t.Errorf("step %d: %v, libspot says %d", i, got.Flag, want.flag)
			}
			return flags, thresholds
		}
		flags++
		if got.Flag != Excess || !s.Calibrated(side) {
			continue
		}
		if want.stored < want.nt {
			return flags, thresholds
		}
		agrees = r.compareExcess(t, s.Status(side), s.tail(side).peaks, want)
		if agrees {
			thresholds++
		}
	}
	return flags, thresholds
}

// compareExcess compares the fits after an excess and reports whether libspot's is the
// most likely one, with gamma >= 0.
func (r run) compareExcess(t *testing.T, got TailStatus, peaks []float64, want row) bool {
	t.Helper()
	theirs := logLikelihood(peaks, want.gamma, want.sigma)
	if theirs > got.LogLikelihood+1e-9*math.Abs(theirs) {
		t.Errorf("step %d: log-likelihood %v, libspot has %v with gamma %v", want.i, got.LogLikelihood, theirs, want.gamma)
	}
	if want.gamma < 0 || !near(theirs, got.LogLikelihood, 1e-11) {
		return false
	}
	if !near(got.Threshold, want.z, 1e-5) {
		t.Errorf("step %d: z = %v, libspot has %v", want.i, got.Threshold, want.z)
	}
	return true
}

// logLikelihood computes what a distribution's likelihood is by its definition.
func logLikelihood(peaks []float64, gamma, sigma float64) float64 {
	sum := float64(len(peaks)) * math.Log(sigma)
	for _, y := range peaks {
		switch s := gamma * y / sigma; {
		case math.Abs(gamma) < 1e-12:
			sum += y / sigma
		case s <= -1 && gamma != -1:
			return math.Inf(-1)
		default:
			sum += (1 + 1/gamma) * math.Log1p(s)
		}
	}
	return -sum
}

// The mawi figures of one day learned and the next judged.
func TestMawiCalibration(t *testing.T) {
	s := fitted(t, plain(1000), readSeries(t, "mawi_rSYN_17last1000_18")[:1000])
	if err := s.FitLevels(readSeries(t, "mawi_rSYN_17last1000_18")[:1000], 0.07509271320549082, 0); err != nil {
		t.Fatal(err)
	}
	got := s.Status(Up)
	if got.Excesses != 24 || math.Abs(got.Level-0.0750927) > 5e-8 || math.Abs(got.Gamma+0.1027) > 5e-5 ||
		math.Abs(got.Sigma-0.011971) > 5e-7 || math.Abs(got.Threshold-0.125263) > 5e-7 {
		t.Errorf("%+v, want t .0750927, Nt 24, gamma -.1027, sigma .011971, z .125263", got)
	}
}

// The paper's own Python: DSPOT and two-sided SPOT learn and alarm at the same steps. Its
// optimizer is coarse, so its thresholds are only near. Runs in which it takes gamma = 0
// by the wrong sign of its likelihood are no target and not listed.
func TestAgainstThePaper(t *testing.T) {
	for _, c := range []struct {
		why, name string
		within    float64 // of each upper threshold
	}{
		{"DSPOT: the window takes excesses, no anomalies", "dspot_gauss_drift", 0.02},
		{"two sides, one count of values", "bispot_gauss", 0.002},
		{"SPOT with gamma < 0", "spot_gauss", 0.001},
		{"spikes are not learned", "spot_gauss_spikes", 0.001},
		{"ties and a short tail", "spot_rain", 0.02},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p paperRun
			readJSON(t, filepath.Join(goldenDir(t), "py_"+c.name+".json"), &p)
			lines := readLines(t, filepath.Join(goldenDir(t), "py_"+c.name+".thresholds.csv.gz"))[1:]
			comparePaper(t, p, lines, strings.HasPrefix(c.name, "bi"), c.within)
		})
	}
}

type paperRun struct {
	Series string `json:"series"`
	NInit  int    `json:"n_init"`
	Params struct {
		Q     float64 `json:"q"`
		Depth int     `json:"depth"`
	} `json:"params"`
	Alarms []int `json:"alarms"`
	Final  struct {
		N int `json:"n"`
	} `json:"final"`
}

func comparePaper(t *testing.T, p paperRun, lines []string, twoSided bool, within float64) {
	t.Helper()
	x := readSeries(t, p.Series)
	cfg := plain(p.NInit)
	cfg.Q, cfg.Depth, cfg.Down = p.Params.Q, p.Params.Depth, twoSided
	cfg.MaxExcess = 100_000 // the paper keeps all peaks
	s := fitted(t, cfg, x[:p.NInit])
	want := map[int]float64{}
	for _, line := range lines {
		f := strings.Split(line, ",")
		want[int(number(t, f[0]))] = number(t, f[2])
	}
	var alarms []int
	for i, v := range x[p.NInit:] {
		drift := s.Drift()
		r, err := s.Step(v)
		if err != nil {
			t.Fatal(err)
		}
		if r.Flag == Anomaly {
			alarms = append(alarms, i)
		}
		// Its threshold has the mean before the value came.
		z, _ := s.Threshold(Up)
		if theirs, listed := want[i]; listed && !near(z-s.Drift()+drift, theirs, within) {
			t.Errorf("step %d: z = %v, the paper's %v", i, z-s.Drift()+drift, theirs)
		}
	}
	if !slices.Equal(alarms, p.Alarms) {
		t.Errorf("alarms %v, the paper's %v", alarms, p.Alarms)
	}
	if s.n != p.Final.N {
		t.Errorf("n = %d, the paper's %d", s.n, p.Final.N)
	}
}
