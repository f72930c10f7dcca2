package window

import (
	"testing"

	"pgregory.net/rapid"
)

// distinct is how many members that match have an event in the fullest window
// that contains t.
func distinct(times []Tick, members []uint8, t Tick, window int32, match func(uint8) bool) (most int) {
	for _, end := range times {
		if after := end.Since(t); after < 0 || after > window {
			continue
		}
		seen := map[uint8]bool{}
		for i, u := range times {
			if age := end.Since(u); age >= 0 && age <= window && match(members[i]) {
				seen[members[i]] = true
			}
		}
		most = max(most, len(seen))
	}
	return most
}

func any8(uint8) bool { return true }

func members(t *rapid.T, n int, high uint8) []uint8 {
	return rapid.SliceOfN(rapid.Uint8Range(0, high), n, n).Draw(t, "members")
}

func TestDistinctIsExactToEight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(100, 40000).Draw(t, "window")
		times := stream(t, window, 0)
		who := members(t, len(times), rapid.SampledFrom([]uint8{3, 7, 20}).Draw(t, "high"))
		even := func(m uint8) bool { return m%2 == 0 }
		var d Distinct[uint8]
		for n, at := range times {
			d.Add(who[n], at)
			got, first := d.Count(at, window, nil)
			want := distinct(times[:n+1], who[:n+1], at, window, any8)
			if got > want || got < min(want, 8) {
				t.Fatalf("%d members in the window, counted %d", want, got)
			}
			if at.Since(first) < 0 || at.Since(first) > window {
				t.Fatalf("the first was seen at %d", first)
			}
			got, _ = d.Count(at, window, even)
			if evens := distinct(times[:n+1], who[:n+1], at, window, even); got > evens || want <= 8 && got != evens {
				t.Fatalf("%d even members in the window, counted %d", evens, got)
			}
		}
	})
}

// Late events never make members up; they are all found when each member is
// seen once in a window.
func TestLateDistinct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.Int32Range(6000, 40000).Draw(t, "window")
		late := rapid.SampledFrom([]int32{3000, 1 << 20}).Draw(t, "late")
		times := stream(t, window, late)
		who := members(t, len(times), 20)
		once := rapid.Bool().Draw(t, "once")
		var d Distinct[uint8]
		for n, at := range times {
			if once {
				if who[n] = uint8(n); n == 8 {
					break
				}
			}
			d.Add(who[n], at)
			got, _ := d.Count(at, window, nil)
			want := distinct(times[:n+1], who[:n+1], at, window, any8)
			if got > want || once && got != want {
				t.Fatalf("%d members in the window, counted %d", want, got)
			}
		}
	})
}

func TestDistinctReportsWhatIsNew(t *testing.T) {
	var d Distinct[uint8]
	for i := range uint8(8) {
		if !d.Add(i, Tick(10+i)) || d.Add(i, Tick(10+i)) {
			t.Errorf("member %d", i)
		}
	}
	if !d.Add(9, 1) {
		t.Error("a member that is older than all of 8 was known")
	}
	visited := 0
	d.Each(func(m uint8, seen Tick) {
		if visited++; m == 9 || seen != Tick(10+m) {
			t.Errorf("%d was seen at %d", m, seen)
		}
	})
	if visited != 8 {
		t.Errorf("%d members are kept", visited)
	}
}

func TestDistinctDoesNotAllocate(t *testing.T) {
	var d Distinct[Key]
	at := Tick(0)
	if n := testing.AllocsPerRun(1000, func() {
		at += 7
		d.Add(Key{0: byte(at)}, at)
		d.Count(at, 100, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
