package watch

import (
	"encoding/json"
	"testing"
)

// FuzzRestore gives whatever a state file may hold: it is refused or works.
func FuzzRestore(f *testing.F) {
	set := settings(func(s *Settings) {
		s.NInit, s.Depth, s.Level, s.MaxExcess, s.Recalibrate, s.Weekly = 40, 4, 0.5, 12, 5, false
	})
	for _, n := range []int{0, 3, 30, 60} {
		p := newTape(f, set)
		p.normal(n, random(1))
		p.values(5, 5, 5, 5, 5)
		text, err := json.Marshal(p.stats.Save())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var state StatsState
		if json.Unmarshal(text, &state) != nil {
			return
		}
		p := newTape(t, set)
		_ = p.stats.Restore(state) // refused or not, it goes on
		p.normal(60, random(2))
		p.values(9, 9, 9, 9)
		p.stats.All()
		p.stats.Flush()
		p.stats.Save()
	})
}

// FuzzRestoreWeekly does so with the state of WeeklyTransfer.
func FuzzRestoreWeekly(f *testing.F) {
	for _, hours := range []int{0, 1, 30} {
		l := newWeeklyLine(f, nil)
		for range hours {
			l.carry(mebi)
		}
		text, err := json.Marshal(l.Save())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var state WeeklyTransferState
		if json.Unmarshal(text, &state) != nil {
			return
		}
		l := newWeeklyLine(t, nil)
		_ = l.Restore(state) // refused or not, it goes on
		for range 5 {
			l.carry(10_000 * mebi)
		}
		if err := l.Restore(l.Save()); err != nil {
			t.Errorf("what was saved is refused: %v", err)
		}
	})
}
