package detect

import (
	"encoding/json"
	"fmt"
	"testing"
)

// FuzzRestore gives whatever a state file may hold: it is refused or works.
func FuzzRestore(f *testing.F) {
	for _, n := range []int{0, 3, 30} {
		w := newWire(Config{})
		for i := range n {
			knock(w, "203.0.113.9", "10.0.0.5", uint16(1000+i), 3600*second)
			session(w, "10.0.0.5", uint16(20000+i), fmt.Sprintf("198.51.100.%d", i+1), 443, []string{"a", "b"}, second)
		}
		feed(w.Detections, calls("203.0.113.7", every(300, 0, n)))
		text, err := json.Marshal(w.Save())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var state State
		if json.Unmarshal(text, &state) != nil {
			return
		}
		w := newWire(Config{})
		refused := w.Restore(state) != nil
		for i := range 3 {
			knock(w, "203.0.113.9", "10.0.0.5", uint16(2000+i), 3600*second)
		}
		feed(w.Detections, calls("203.0.113.7", every(300, 0, 3)))
		if again := w.Save(); !refused && again.valid() != nil {
			t.Errorf("what was saved is refused: %v", again.valid())
		}
		w.Close()
	})
}
