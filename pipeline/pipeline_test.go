package pipeline

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// run feeds n batches through stages with the given dependencies and returns
// what each stage saw, and a complaint when a rule was broken.
func run(workers, depth, n int, after [][]int) (saw [][]int, broken string) {
	saw = make([][]int, len(after))
	batches := make([]*int, depth)
	for i := range batches {
		batches[i] = new(int)
	}
	var complaint atomic.Pointer[string]
	complain := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		complaint.CompareAndSwap(nil, &text)
	}
	done := make([]atomic.Int64, len(after)) // batches that each stage is done with
	busy := make([]atomic.Bool, len(after))
	var stages []Stage[int]
	for s := range after {
		stages = append(stages, Stage[int]{After: after[s], Run: func(b *int) {
			if busy[s].Swap(true) {
				complain("stage %d runs twice at the same time", s)
			}
			for _, before := range after[s] {
				if done[before].Load() <= int64(len(saw[s])) {
					complain("stage %d did not wait for stage %d", s, before)
				}
			}
			saw[s] = append(saw[s], *b)
			done[s].Add(1)
			busy[s].Store(false)
		}})
	}
	l := New(workers, batches, stages...)
	fed := 0
	l.Run(func() {
		for ; fed < n; fed++ {
			b := l.Next()
			if again := l.Next(); again != b {
				complain("Next does not stay with a batch that was not put")
			}
			if waiting := fed - int(done[len(done)-1].Load()); waiting >= depth {
				complain("%d of %d batches are on their way and another is given out", waiting, depth)
			}
			*b = fed
			l.Put()
		}
	})
	if text := complaint.Load(); text != nil {
		return saw, *text
	}
	return saw, ""
}

// Every stage sees every batch, in order, one at a time and after those that it
// waits for, whatever the number of workers.
func TestEveryStageSeesAllInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "batches")
		stages := rapid.IntRange(1, 5).Draw(t, "stages")
		after := make([][]int, stages)
		for s := 1; s < stages-1; s++ {
			after[s] = rapid.SliceOfDistinct(rapid.IntRange(0, s-1), rapid.ID[int]).Draw(t, "after")
		}
		for s := range stages - 1 {
			after[stages-1] = append(after[stages-1], s)
		}
		saw, broken := run(rapid.IntRange(0, 4).Draw(t, "workers"), rapid.IntRange(1, 4).Draw(t, "depth"), n, after)
		if broken != "" {
			t.Fatal(broken)
		}
		for s := range saw {
			if len(saw[s]) != n || !slices.IsSorted(saw[s]) {
				t.Fatalf("stage %d saw %v", s, saw[s])
			}
		}
	})
}

// Two stages that meet: neither returns before the other has begun.
func TestStagesWorkAtTheSameTime(t *testing.T) {
	meet := make(chan int)
	var got []int
	l := New(2, []*int{new(int), new(int)},
		Stage[int]{Run: func(b *int) { meet <- *b }},
		Stage[int]{Run: func(*int) { got = append(got, <-meet) }},
		Stage[int]{Run: func(*int) {}, After: []int{0, 1}})
	l.Run(func() {
		for i := range 20 {
			*l.Next() = i
			l.Put()
		}
	})
	if len(got) != 20 || !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
}

// A batch that was not put is dropped, and one worker needs no helper.
func TestWhatWasNotPutIsDropped(t *testing.T) {
	seen := 0
	l := New(1, []*int{new(int)}, Stage[int]{Run: func(*int) { seen++ }})
	l.Run(func() {
		l.Next()
		l.Put()
		l.Next()
	})
	if seen != 1 {
		t.Errorf("%d batches", seen)
	}
}

func TestLineDoesNotAllocate(t *testing.T) {
	l := New(2, []*int{new(int), new(int)}, Stage[int]{Run: func(*int) {}}, Stage[int]{Run: func(*int) {}, After: []int{0}})
	l.Run(func() {
		if n := testing.AllocsPerRun(1000, func() { l.Next(); l.Put() }); n != 0 {
			t.Errorf("%v allocations for a batch", n)
		}
	})
}

// BenchmarkBatch is what handing a batch through four stages costs: it is paid
// once for a thousand packets.
func BenchmarkBatch(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			batches := make([]*int, 8)
			for i := range batches {
				batches[i] = new(int)
			}
			nothing := func(*int) {}
			l := New(workers, batches, Stage[int]{Run: nothing}, Stage[int]{Run: nothing}, Stage[int]{Run: nothing}, Stage[int]{Run: nothing, After: []int{0, 1, 2}})
			l.Run(func() {
				for b.Loop() {
					l.Next()
					l.Put()
				}
			})
		})
	}
}
