package beacon

import (
	"encoding/json"
	"testing"
)

// FuzzRestore gives whatever a state file may hold: it is refused, or scores and goes
// on.
func FuzzRestore(f *testing.F) {
	var p Pair
	for i := range int64(6) {
		text, err := json.Marshal(p.Save())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		p.Add(1_700_000_000+300*i, 512)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s State
		if json.Unmarshal(text, &s) != nil {
			return
		}
		p, err := Restore(s)
		if err != nil {
			return
		}
		if score, ok := p.Score(86400); ok && !(score.Total >= 0 && score.Total <= 1) {
			t.Errorf("a score of %v", score.Total)
		}
		p.Add(p.Origin+p.Span()+60, 512)
		if _, err := Restore(p.Save()); err != nil {
			t.Errorf("what was saved is refused: %v", err)
		}
	})
}
