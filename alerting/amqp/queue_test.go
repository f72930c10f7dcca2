package amqp

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestQueueAgainstList compares a queue with a plain list of the messages that
// are held, some of which are with a session.
func TestQueueAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxCount, maxBytes := rapid.IntRange(1, 30).Draw(t, "maxCount"), 4096
		q := newQueue(maxCount, maxBytes)
		var list, taken []message // what waits, and what the session has, oldest first
		var sent, full, tooLarge, delivered uint64
		size := func() (n int) {
			for _, m := range slices.Concat(list, taken) {
				n += m.size()
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				m := message{number: sent, body: make([]byte, rapid.SampledFrom([]int{0, 10, 900, 4096}).Draw(t, "size"))}
				switch {
				case m.size() > maxBytes:
					tooLarge++
				case len(list)+len(taken) == maxCount || size()+m.size() > maxBytes:
					full++
				default:
					list = append(list, m)
				}
				sent++
				q.put(m)
			},
			"take": func(t *rapid.T) {
				n := rapid.IntRange(0, 10).Draw(t, "n")
				got := q.take(n)
				want := list[:min(n, len(list))]
				if !slices.EqualFunc(got, want, func(a, b message) bool { return a.number == b.number && len(a.body) == len(b.body) }) {
					t.Fatalf("took %d messages, not the %d oldest", len(got), len(want))
				}
				list = slices.Clone(list[len(want):])
				taken = append(taken, got...)
			},
			"back": func(t *rapid.T) {
				n := rapid.IntRange(0, len(taken)).Draw(t, "n")
				i := rapid.IntRange(0, len(taken)-n).Draw(t, "i")
				some := slices.Clone(taken[i : i+n])
				taken = slices.Delete(taken, i, i+n)
				q.back(some...)
				list = append(list, some...)
				slices.SortFunc(list, func(a, b message) int { return cmp.Compare(a.number, b.number) })
			},
			"done": func(t *rapid.T) {
				if len(taken) == 0 {
					t.Skip("none is taken")
				}
				i := rapid.IntRange(0, len(taken)-1).Draw(t, "i")
				q.done(&taken[i])
				taken = slices.Delete(taken, i, i+1)
				delivered++
			},
			"": func(t *rapid.T) {
				got := q.totals()
				if got.sent != sent || got.delivered != delivered || got.queued != uint64(len(list)+len(taken)) ||
					got.dropped[reasonFull] != full || got.dropped[reasonLarge] != tooLarge {
					t.Fatalf("%+v, want %d sent, %d delivered, %d full, %d too large", got, sent, delivered, full, tooLarge)
				}
				if got.sent != got.delivered+got.queued+got.lost() || q.bytes != size() {
					t.Fatalf("%+v does not add up, or %d bytes are not %d", got, q.bytes, size())
				}
			},
		})
	})
}

func TestQueueClosed(t *testing.T) {
	q := newQueue(10, 1<<20)
	q.put(message{})
	q.put(message{})
	if left := q.close(); left != 2 {
		t.Errorf("%d were left, not 2", left)
	}
	q.put(message{})
	if got := q.totals(); got.queued != 0 || got.dropped[reasonStopped] != 3 || got.sent != 3 {
		t.Errorf("after the end: %+v", got)
	}
	if err := q.wait(t.Context(), 0); err != nil {
		t.Error(err)
	}
}
