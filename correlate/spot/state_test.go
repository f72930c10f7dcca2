package spot

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func equalStates(a, b State) bool { return reflect.DeepEqual(a, b) }

// throughJSON writes a state and reads it back.
func throughJSON(t interface{ Fatal(...any) }, s State) State {
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back State
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestRestoredGoesOnAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Q: 1e-2, Level: 0.8, NInit: 80, MaxExcess: 20, Up: true}
		cfg.Depth = rapid.SampledFrom([]int{0, 7}).Draw(t, "depth")
		cfg.Down = rapid.Bool().Draw(t, "down")
		cfg.ClampGamma, cfg.GammaMax = rapid.Bool().Draw(t, "clamp"), 0.8
		values := normals(rapid.Uint64().Draw(t, "seed"), 600)
		saveAt := rapid.IntRange(0, 500).Draw(t, "save at")
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range values[:saveAt] {
			_, _ = s.Step(x)
		}
		saved := s.Save()
		restored, err := Restore(throughJSON(t, saved))
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range values[saveAt:] {
			a, _ := s.Step(x)
			b, _ := restored.Step(x)
			za, _ := s.Threshold(Up)
			zb, _ := restored.Threshold(Up)
			if a != b || za != zb || s.Drift() != restored.Drift() {
				t.Fatalf("step %d after the restore: %v with z %v, %v with z %v", i, a, za, b, zb)
			}
		}
		if !equalStates(throughJSON(t, s.Save()), throughJSON(t, restored.Save())) {
			t.Fatal("the states differ at the end")
		}
	})
}

func TestSaveIsACopy(t *testing.T) {
	s := fitted(t, DefaultConfig(), normals(1, 1000))
	saved := s.Save()
	want := throughJSON(t, saved)
	for _, x := range normals(2, 3000) {
		_, _ = s.Step(x)
	}
	if !equalStates(throughJSON(t, saved), want) {
		t.Error("a saved state changes with the Spot")
	}
}

func TestRestoreRefuses(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*State)
		want   string
	}{
		{"parameters out of range", func(s *State) { s.Config.Q = 0 }, "q 0"},
		{"negative count", func(s *State) { s.N = -1 }, "n is -1"},
		{"window of another depth", func(s *State) { s.Window.Values = s.Window.Values[:10] }, "10 values in a window of 50"},
		{"place outside of the window", func(s *State) { s.Window.Head = 50 }, "place 50"},
		{"a value that is not a number", func(s *State) { s.Window.Values[3] = math.NaN() }, "finite"},
		{"an infinite sum", func(s *State) { s.Window.Sum = math.Inf(1) }, "finite"},
		{"more peaks than the ring has", func(s *State) { s.Up.Peaks = make([]float64, 201) }, "201 peaks"},
		{"more peaks than excesses", func(s *State) { s.Up.Excesses = 3 }, "3 excesses"},
		{"more excesses than values", func(s *State) { s.Up.Excesses = 5000 }, "5000 excesses"},
		{"place outside of the ring", func(s *State) { s.Up.Head = 100 }, "place 100"},
		{"negative place", func(s *State) { s.Up.Head = -1 }, "place -1"},
		{"a peak within the level", func(s *State) { s.Up.Peaks[0] = -1 }, "a peak is -1"},
		{"an infinite level", func(s *State) { s.Up.Level = math.Inf(1) }, "finite"},
		{"too many first values", func(s *State) { s.Fitted, s.First = false, make([]float64, 1000) }, "1000 first values"},
	} {
		state := fitted(t, DefaultConfig(), normals(1, 1000)).Save()
		c.change(&state)
		if _, err := Restore(state); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.why, err, c.want)
		}
	}
}

func TestStateHoldsEveryField(t *testing.T) {
	s := fitted(t, DefaultConfig(), normals(1, 1000))
	for _, x := range append(normals(2, 1000), 1000) {
		_, _ = s.Step(x)
	}
	want := s.Save()
	restored, err := Restore(want)
	if err != nil {
		t.Fatal(err)
	}
	if !equalStates(restored.Save(), want) || restored.Status(Up) != s.Status(Up) {
		t.Errorf("%+v restored as %+v", s.Status(Up), restored.Status(Up))
	}
	if want.Up.Anomalies == 0 || len(want.Window.Values) != 50 {
		t.Errorf("%d anomalies and a window of %d were saved", want.Up.Anomalies, len(want.Window.Values))
	}
}

// FuzzRestore: no state makes Restore or what follows panic, or gives a threshold that is
// not a number.
func FuzzRestore(f *testing.F) {
	cfg := Config{Q: 1e-2, Level: 0.8, NInit: 60, Depth: 5, MaxExcess: 12, Up: true, Down: true}
	s, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	for i, x := range normals(1, 200) {
		if slices.Contains([]int{0, 30, 199}, i) {
			data, err := json.Marshal(s.Save())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
		_, _ = s.Step(x)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var state State
		if json.Unmarshal(data, &state) != nil || state.Config.NInit > 10_000 || state.Config.MaxExcess > 10_000 || state.Config.Depth > 10_000 {
			return
		}
		s, err := Restore(state)
		if err != nil {
			return
		}
		for _, x := range []float64{0, 1, -1, 1e300, -1e300, math.Inf(1), math.NaN(), 5e-324} {
			_, _ = s.Step(x)
			for _, side := range []Side{Up, Down} {
				if z, ok := s.Threshold(side); ok && z != z {
					t.Fatalf("threshold %v after %v", z, x)
				}
			}
		}
	})
}
