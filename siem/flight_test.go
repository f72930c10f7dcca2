package siem

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"vft/spool"
)

func TestSendDoesNotAllocate(t *testing.T) {
	d := New(Config{Target: Target{Scheme: "tcp", Address: "127.0.0.1:1"}})
	record := append(bytes.Repeat([]byte{'x'}, 999), '\n')
	n := testing.AllocsPerRun(100, func() {
		for range 200 { // more than two chunks
			d.Send(record)
			d.log.Ack(d.log.Take(1, all))
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
		log := spool.NewMemory(spool.Limits{})
		for _, size := range sizes {
			log.Append(spool.Events, bytes.Repeat([]byte{'x'}, size))
		}
		var f flight
		var ends []int64 // where the bytes that carry each record end
		carried := int64(100)
		for part := log.Take(all, 1); part.Len() > 0; part = log.Take(all, rapid.IntRange(1, 200).Draw(t, "write")) {
			overhead := int64(0)
			if !exact {
				overhead = 22
			}
			for i := range part.Len() {
				end := carried + int64(len(part.Before(i+1).Data))
				if !exact {
					end = carried + int64(len(part.Data)) + overhead
				}
				ends = append(ends, end)
			}
			f.add(mark{Batch: part, start: carried, end: carried + int64(len(part.Data)) + overhead})
			carried = f.marks[len(f.marks)-1].end
		}
		acks := rapid.SliceOf(rapid.Int64Range(0, carried)).Draw(t, "acknowledged")
		slices.Sort(acks)
		arrived := uint64(0)
		for _, ack := range append(acks, carried) {
			want := uint64(0)
			for want < uint64(len(ends)) && ends[want] <= ack {
				want++
			}
			f.land(ack, exact, func(b spool.Batch) {
				if b.First != arrived {
					t.Fatalf("record %d arrived, want %d", b.First, arrived)
				}
				arrived += uint64(b.Len())
			})
			if arrived != want {
				t.Fatalf("%d bytes acknowledged: %d records arrived, want %d", ack, arrived, want)
			}
		}
		if !f.empty() {
			t.Fatal("all is acknowledged, but the flight is not empty")
		}
	})
}

func TestFlightOfFailedWrites(t *testing.T) {
	log := spool.NewMemory(spool.Limits{})
	for range 3 {
		log.Append(spool.Events, make([]byte, 10))
	}
	var f flight
	f.add(mark{Batch: log.Take(all, all), start: 0, end: 25})
	arrived := 0
	f.land(25, true, func(b spool.Batch) { arrived += b.Len() })
	if arrived != 2 || f.empty() {
		t.Errorf("a write that failed after 25 of 30 bytes delivered %d records", arrived)
	}
}

func BenchmarkSend(b *testing.B) {
	d := New(Config{Target: Target{Scheme: "tcp", Address: "127.0.0.1:1"}})
	record := append(bytes.Repeat([]byte{'x'}, 999), '\n')
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Send(record)
		if i%64 == 63 {
			for b := d.log.Take(64, all); b.Len() > 0; b = d.log.Take(64, all) {
				d.log.Ack(b)
			}
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
