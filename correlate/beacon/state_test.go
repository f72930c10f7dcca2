package beacon

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// A pair that goes through JSON in the midst of its calls is the pair that did not.
func TestStateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var whole Pair
		var saved *Pair
		n := rapid.IntRange(0, 3*Kept).Draw(t, "connections")
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		at := int64(1_700_000_000)
		for i := range n + 1 {
			if i == cut {
				text, err := json.Marshal(whole.Save())
				if err != nil {
					t.Fatal(err)
				}
				var s State
				if err := json.Unmarshal(text, &s); err != nil {
					t.Fatal(err)
				}
				restored, err := Restore(s)
				if err != nil {
					t.Fatal(err)
				}
				saved = &restored
			}
			if i == n {
				break
			}
			at += rapid.Int64Range(-20, 900).Draw(t, "wait") // some come late
			bytes := rapid.Uint64Range(0, 1<<33).Draw(t, "bytes")
			whole.Add(at, bytes)
			if saved != nil {
				saved.Add(at, bytes)
			}
		}
		if *saved != whole {
			t.Fatal("the restored pair is another one")
		}
		a, okA := whole.Score(86400)
		b, okB := saved.Score(86400)
		if a != b || okA != okB {
			t.Fatalf("%+v, restored %+v", a, b)
		}
	})
}

func TestDamagedState(t *testing.T) {
	var p Pair
	for i := range int64(10) {
		p.Add(1000+60*i, 100)
	}
	for _, c := range []struct {
		why    string
		damage func(s *State)
	}{
		{"a time is missing", func(s *State) { s.Starts = s.Starts[1:] }},
		{"a size too many", func(s *State) { s.Bytes = append(s.Bytes, 1) }},
		{"more connections than hours", func(s *State) { s.Hours[0]-- }},
		{"a time before the first", func(s *State) { s.Starts[3] = -1 }},
		{"a time after the latest", func(s *State) { s.Starts[3] = 1 << 20 }},
		{"a negative span", func(s *State) { s.Last = -5 }},
		{"a span without connections", func(s *State) { *s = State{Last: 5} }},
	} {
		s := p.Save()
		c.damage(&s)
		if _, err := Restore(s); err == nil {
			t.Errorf("%s: it is taken", c.why)
		}
	}
	if q, err := Restore(State{}); err != nil || q != (Pair{}) {
		t.Errorf("nothing was seen: %v", err)
	}
}
