package counters

import (
	"maps"
	"sync"
	"testing"
)

func TestTallyIsTheLastCopy(t *testing.T) {
	var tally Tally
	read := func() map[string]uint64 {
		all := map[string]uint64{}
		tally.Counts(func(name string, n uint64) { all[name] = n })
		return all
	}
	if got := read(); len(got) != 0 {
		t.Errorf("nothing was copied yet, but there is %v", got)
	}
	for _, want := range []map[string]uint64{{"a": 1, "b": 2}, {"a": 2}} {
		tally.Take(func(yield func(string, uint64)) {
			for name, n := range want {
				yield(name, n)
			}
		})
		if got := read(); !maps.Equal(got, want) {
			t.Errorf("%v, not %v", got, want)
		}
	}
}

func TestSum(t *testing.T) {
	one := func(yield func(string, uint64)) { yield("b", 1); yield("a", 2) }
	other := func(yield func(string, uint64)) { yield("a", 3); yield("c", 4) }
	var names string
	var values []uint64
	Sum(one, other)(func(name string, n uint64) { names += name; values = append(values, n) })
	if names != "bac" || values[0] != 1 || values[1] != 5 || values[2] != 4 {
		t.Errorf("%s %v", names, values)
	}
}

func TestAnyGoroutineMayAsk(t *testing.T) {
	var tally Tally
	var all Registry
	var wg sync.WaitGroup
	all.Add("part", tally.Counts)
	for range 4 {
		wg.Go(func() {
			for n := range uint64(1000) {
				tally.Take(func(yield func(string, uint64)) { yield("n", n) })
				for _, p := range all.Parts() {
					p.Counts(func(string, uint64) {})
				}
			}
		})
	}
	wg.Wait()
	if parts := all.Parts(); len(parts) != 1 || parts[0].Name != "part" {
		t.Errorf("%v", parts)
	}
}
