package siem

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestQueueAgainstList compares a queue with a plain list of the records that
// wait, under random puts, reads, releases and discards.
func TestQueueAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxCount := rapid.IntRange(1, 50).Draw(t, "maxCount")
		q := newQueue(maxCount, 4096, 1000)
		var list [][]byte
		var taken, sent, dropped, deliveredSoFar uint64
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				record := bytes.Repeat([]byte{'x'}, rapid.IntRange(0, 1100).Draw(t, "size"))
				before := q.totals()
				q.put(record)
				sent++
				after := q.totals()
				if after.queued == before.queued {
					dropped++
					if len(list) < maxCount && len(record) < 1000 && q.memory+1000 <= 4096 {
						t.Fatalf("dropped with %d of %d records, %d bytes", len(list), maxCount, q.memory)
					}
					return
				}
				taken++
				list = append(list, append(record, '\n'))
			},
			"read": func(t *rapid.T) {
				skip := rapid.IntRange(0, len(list)).Draw(t, "skip")
				b := q.from(q.head() + uint64(skip))
				if len(b.ends) == 0 && skip < len(list) {
					t.Fatalf("nothing at %d of %d", skip, len(list))
				}
				if want := bytes.Join(list[skip:skip+len(b.ends)], nil); !bytes.Equal(b.data, want) {
					t.Fatalf("read %q, want %q", b.data, want)
				}
				if b.first != q.head()+uint64(skip) || b.next() != b.first+uint64(len(b.ends)) {
					t.Fatalf("read the records %d to %d from %d on", b.first, b.next(), q.head()+uint64(skip))
				}
				checkBatch(t, b, list[skip:])
			},
			"release": func(t *rapid.T) {
				n := rapid.IntRange(0, len(list)).Draw(t, "n")
				q.release(q.head() + uint64(n))
				deliveredSoFar += uint64(n)
				list = list[n:]
			},
			"discard": func(t *rapid.T) {
				if len(list) == 0 {
					t.Skip("empty")
				}
				q.discard(reasonLarge)
				dropped++
				list = list[1:]
			},
			"": func(t *rapid.T) {
				got := q.totals()
				if got.sent != sent || got.lost() != dropped || got.delivered != deliveredSoFar || got.queued != uint64(len(list)) {
					t.Fatalf("%+v, want %d sent, %d dropped, %d delivered, %d queued", got, sent, dropped, deliveredSoFar, len(list))
				}
				if q.memory > 4096 || len(list) > maxCount {
					t.Fatalf("%d bytes, %d records", q.memory, len(list))
				}
			},
		})
	})
}

// checkBatch compares the ways of cutting a batch with the list it came from.
func checkBatch(t *rapid.T, b batch, list [][]byte) {
	if len(b.ends) == 0 {
		return
	}
	n := rapid.IntRange(0, len(b.ends)).Draw(t, "n")
	rest := b.after(n)
	if want := bytes.Join(list[n:len(b.ends)], nil); !bytes.Equal(rest.data, want) || rest.next() != b.next() {
		t.Fatalf("without %d: %q, want %q", n, rest.data, want)
	}
	limit := rapid.IntRange(1, len(b.data)).Draw(t, "limit")
	fit, size := 0, 0
	for fit < len(b.ends) && size+len(list[fit]) <= limit {
		size += len(list[fit])
		fit++
	}
	if got := b.whole(limit); got != fit {
		t.Fatalf("%d records end within %d bytes, want %d", got, limit, fit)
	}
	if got := b.within(limit); len(got.ends) != max(fit, 1) || !bytes.Equal(got.data, bytes.Join(list[:max(fit, 1)], nil)) {
		t.Fatalf("within %d: %q", limit, got.data)
	}
}

func TestQueueMemory(t *testing.T) {
	const limit = 1 << 20
	q := newQueue(1<<30, limit, limit)
	record := bytes.Repeat([]byte{'x'}, 40_000) // leaves much of a chunk unused
	for range 1000 {
		q.put(record)
	}
	held := 0
	for _, c := range q.chunks {
		held += cap(c.data)
	}
	if held > limit || held != q.memory {
		t.Errorf("holds %d bytes and says %d, limit %d", held, q.memory, limit)
	}
	q.release(q.totals().queued)
	if q.memory != 0 || len(q.chunks) != 0 {
		t.Errorf("after the release %d bytes in %d chunks", q.memory, len(q.chunks))
	}
}

func TestQueueRefuses(t *testing.T) {
	for _, c := range []struct {
		why    string
		size   int
		reason int
		want   uint64
	}{
		{"with its line end as large as may be", 99, reasonLarge, 0},
		{"one byte more", 100, reasonLarge, 1},
	} {
		q := newQueue(10, 1<<20, 100)
		q.put(make([]byte, c.size))
		if got := q.totals().dropped[c.reason]; got != c.want {
			t.Errorf("%s: %d dropped, want %d", c.why, got, c.want)
		}
	}
}

func TestFullQueueKeepsTheOldest(t *testing.T) {
	q := newQueue(2, 1<<20, 100)
	for n := range 5 {
		q.put(number(n))
	}
	if got, want := string(q.from(0).data), "{\"n\":0}\n{\"n\":1}\n"; got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestPutCopies(t *testing.T) {
	q := newQueue(10, 1<<20, 100)
	record := []byte("before")
	q.put(record)
	copy(record, "after!")
	if got := string(q.from(0).data); got != "before\n" {
		t.Errorf("got %q", got)
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	d := New(Config{Target: Target{Scheme: "tcp", Address: "127.0.0.1:1"}})
	record := bytes.Repeat([]byte{'x'}, 1000)
	n := testing.AllocsPerRun(100, func() {
		for range 200 { // more than two chunks
			d.Send(record)
			d.queue.release(d.queue.head() + 1)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in 200 records", n)
	}
}

// TestFlightAgainstList compares what a flight says has arrived with what a
// reader of the first so many bytes would have.
func TestFlightAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exact := rapid.Bool().Draw(t, "exact")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 40).Draw(t, "sizes")
		q := newQueue(1000, 1<<20, 1000)
		for _, size := range sizes {
			q.put(bytes.Repeat([]byte{'x'}, size))
		}
		var f flight
		var ends []int64 // where the bytes that carry each record end
		carried := int64(100)
		for b := q.from(0); len(b.ends) > 0; {
			part := b.within(rapid.IntRange(1, 200).Draw(t, "write"))
			overhead := int64(0)
			if !exact {
				overhead = 22
			}
			for i := range part.ends {
				end := carried + int64(part.ends[i]-part.base)
				if !exact {
					end = carried + int64(len(part.data)) + overhead
				}
				ends = append(ends, end)
			}
			f.add(mark{batch: part, start: carried, end: carried + int64(len(part.data)) + overhead})
			carried = f.marks[len(f.marks)-1].end
			b = b.after(len(part.ends))
		}
		acks := rapid.SliceOf(rapid.Int64Range(0, carried)).Draw(t, "acknowledged")
		slices.Sort(acks)
		for _, ack := range append(acks, carried) {
			want := uint64(0)
			for want < uint64(len(ends)) && ends[want] <= ack {
				want++
			}
			if got := f.land(ack, exact); got != want {
				t.Fatalf("%d bytes acknowledged: %d records arrived, want %d", ack, got, want)
			}
		}
		if !f.empty() {
			t.Fatal("all is acknowledged, but the flight is not empty")
		}
	})
}

func TestFlightOfFailedWrites(t *testing.T) {
	q := newQueue(10, 1<<20, 1000)
	for range 3 {
		q.put(bytes.Repeat([]byte{'x'}, 9)) // ten bytes each
	}
	var f flight
	f.add(mark{batch: q.from(0), start: 0, end: 25})
	if got := f.land(25, true); got != 2 || f.empty() {
		t.Errorf("a write that failed after 25 of 30 bytes delivered %d records", got)
	}
}

func BenchmarkSend(b *testing.B) {
	d := New(Config{Target: Target{Scheme: "tcp", Address: "127.0.0.1:1"}})
	record := bytes.Repeat([]byte{'x'}, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Send(record)
		if i%64 == 63 {
			d.queue.release(d.queue.head() + 64)
		}
	}
	if count(d, "dropped_queue_full") > 0 {
		b.Fatal("records were dropped")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/event")
	b.ReportMetric(1000, "limit-ns/event")
}

func ExampleTarget_String() {
	target, _ := Parse("tls://logs.example:6514?ca=/etc/ca.pem")
	fmt.Println(target)
	// Output: tls://logs.example:6514
}

func TestWaitHoldsTheSenderUp(t *testing.T) {
	q := newQueue(100, 1<<20, 1<<16)
	for range 10 {
		q.put([]byte("{}"))
	}
	if err := q.wait(context.Background(), 10); err != nil {
		t.Errorf("ten wait, ten may: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.wait(ended, 9); err == nil {
		t.Error("ten wait, nine may, and yet the sender went on")
	}
	done := make(chan error, 1)
	go func() { done <- q.wait(context.Background(), 3) }()
	for n := range uint64(7) {
		q.release(n + 1)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	go func() { done <- q.wait(context.Background(), 0) }()
	q.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
