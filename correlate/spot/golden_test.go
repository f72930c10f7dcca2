package spot

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
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
