package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"vft/event"
)

func TestMemoryAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Records: rapid.IntRange(1, 40).Draw(t, "records"), Largest: 1000}
		againstAList(t, NewMemory(limits), limits)
	})
}

func TestMemoryShortOfBytesAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Records: rapid.IntRange(1, 400).Draw(t, "records"), Largest: 1000, Bytes: rapid.IntRange(1000, 8000).Draw(t, "bytes")}
		m := NewMemory(limits)
		againstAList(t, m, limits)
		held, lent := 0, 0
		for class := range m.queues {
			for _, c := range m.queues[class].chunks {
				held += cap(c.data)
				if c.out > 0 {
					lent += cap(c.data)
				}
			}
		}
		if held != m.memory || lent != m.lent || held > limits.Bytes {
			t.Fatalf("%d bytes are held, %d of them lent; counted are %d and %d of %d", held, lent, m.memory, m.lent, limits.Bytes)
		}
	})
}

// entry is a record that is not settled, as the list has it.
type entry struct {
	record []byte
	out    bool
}

// list is what a Log must be: a plain list for each class.
type list struct {
	limits  Limits
	entries [classes][]*entry
	counts  [classes]Counts
	taken   []loan
}

// loan is a batch that was taken and not settled.
type loan struct {
	batch   Batch
	entries []*entry
}

// againstAList compares a log with a list under random use. Where the limit of
// bytes may be reached the list is told what was dropped, and says whether that
// was allowed.
func againstAList(t *rapid.T, log Log, limits Limits) {
	l := &list{limits: limits}
	t.Repeat(map[string]func(*rapid.T){
		"append": func(t *rapid.T) { l.append(t, log) },
		"take":   func(t *rapid.T) { l.take(t, log) },
		"ack": func(t *rapid.T) {
			b := l.part(t)
			log.Ack(b)
			l.settle(t, b, func(c *Counts) { c.Delivered++ })
		},
		"drop": func(t *rapid.T) {
			b := l.part(t)
			log.Drop(b, TooLarge)
			l.settle(t, b, func(c *Counts) { c.Dropped[TooLarge]++ })
		},
		"nack": func(t *rapid.T) {
			b := l.part(t)
			log.Nack(b)
			for _, e := range l.forget(b) {
				e.out = false
			}
		},
		"rewind": func(*rapid.T) {
			log.Rewind()
			for _, lent := range l.taken {
				for _, e := range lent.entries {
					e.out = false
				}
			}
			l.taken = nil
		},
		"": func(t *rapid.T) { l.compare(t, log) },
	})
	left := 0
	for _, entries := range l.entries {
		left += len(entries)
	}
	if n := log.Close(); n != uint64(left) {
		t.Fatalf("%d were left, want %d", n, left)
	}
	log.Append(Alerts, nil)
	end := log.Totals().All()
	if end.Waiting != 0 || end.Dropped[Stopped] != uint64(left)+1 || end.Sent != end.Delivered+end.Lost() {
		t.Fatalf("after the end %+v", end)
	}
}

func (l *list) waiting() (n int) {
	for _, entries := range l.entries {
		n += len(entries)
	}
	return n
}

func (l *list) out() (n int) {
	for _, entries := range l.entries {
		for _, e := range entries {
			if e.out {
				n++
			}
		}
	}
	return n
}

// displaceable reports whether the newest record of a class is not handed out.
func (l *list) displaceable(class Class) bool {
	entries := l.entries[class]
	return len(entries) > 0 && !entries[len(entries)-1].out
}

func (l *list) append(t *rapid.T, log Log) {
	class := rapid.SampledFrom([]Class{Alerts, Findings, Events, Events}).Draw(t, "class")
	record := bytes.Repeat([]byte{'a' + byte(l.counts[class].Sent%26)}, rapid.SampledFrom([]int{0, 1, 10, 200, 1000, 1001}).Draw(t, "size"))
	before := log.Totals()
	log.Append(class, record)
	after := log.Totals()
	clear(record) // the log has a copy
	record = bytes.Repeat([]byte{'a' + byte(l.counts[class].Sent%26)}, len(record))
	displaced := 0
	for lower := classes - 1; lower > class; lower-- {
		n := int(after.Of[lower].Dropped[Displaced] - before.Of[lower].Dropped[Displaced])
		for range n {
			if !l.displaceable(lower) {
				t.Fatalf("one of the %s was displaced that is handed out", lower)
			}
			l.entries[lower] = l.entries[lower][:len(l.entries[lower])-1]
		}
		l.counts[lower].Dropped[Displaced] += uint64(n)
		displaced += n
		for lowest := classes - 1; n > 0 && lowest > lower; lowest-- {
			if l.displaceable(lowest) {
				t.Fatalf("one of the %s was displaced before one of the %s", lower, lowest)
			}
		}
	}
	l.counts[class].Sent++
	short := l.limits.Bytes > 0
	full := before.All().Waiting >= uint64(l.limits.Records)
	switch {
	case len(record) > l.limits.Largest:
		l.counts[class].Dropped[TooLarge]++
	case after.Of[class].Waiting > before.Of[class].Waiting:
		l.entries[class] = append(l.entries[class], &entry{record: record})
		if displaced > 0 && !full && !short || displaced > 1 && !short {
			t.Fatalf("%d were displaced without need", displaced)
		}
		return
	default:
		l.counts[class].Dropped[QueueFull]++
		for lower := classes - 1; lower > class && !short; lower-- {
			if l.displaceable(lower) {
				t.Fatalf("one of the %s found no room though there are %s", class, lower)
			}
		}
		if !full && !short {
			t.Fatal("dropped although there was room")
		}
	}
	if displaced > 0 {
		t.Fatal("records were displaced for one that was dropped")
	}
}

func (l *list) take(t *rapid.T, log Log) {
	records, size := rapid.IntRange(1, 20).Draw(t, "records"), rapid.IntRange(1, 500).Draw(t, "bytes")
	b := log.Take(records, size)
	for class := range classes {
		i := slices.IndexFunc(l.entries[class], func(e *entry) bool { return !e.out })
		if i < 0 {
			continue
		}
		if b.Len() == 0 {
			if l.out() == 0 || l.limits.Bytes == 0 && l.out() < l.limits.Records-l.limits.Records/8 {
				t.Fatalf("nothing was taken of the %s", class)
			}
			return
		}
		got := l.entries[class][i : i+b.Len()]
		if b.Class != class || b.Len() > records || len(b.Data) > size && b.Len() > 1 {
			t.Fatalf("%d of the %s with %d bytes, not %d and %d of the %s", b.Len(), b.Class, len(b.Data), records, size, class)
		}
		for i, e := range got {
			if e.out || !bytes.Equal(b.Record(i), e.record) {
				t.Fatalf("record %d of the %s is %q, want %q", i, class, b.Record(i), e.record)
			}
			e.out = true
		}
		l.taken = append(l.taken, loan{b, slices.Clone(got)})
		return
	}
	if b.Len() > 0 {
		t.Fatalf("%d records came out of an empty log", b.Len())
	}
}

// part chooses a part of a batch that was taken.
func (l *list) part(t *rapid.T) Batch {
	if len(l.taken) == 0 {
		t.Skip("nothing is taken")
	}
	b := l.taken[rapid.IntRange(0, len(l.taken)-1).Draw(t, "batch")].batch
	b = b.After(rapid.IntRange(0, b.Len()-1).Draw(t, "from"))
	return b.Before(rapid.IntRange(0, b.Len()).Draw(t, "to"))
}

// forget takes the records of a part out of what is taken, and returns them.
func (l *list) forget(part Batch) (entries []*entry) {
	for i := range l.taken {
		all := l.taken[i]
		if part.Class != all.batch.Class || part.First < all.batch.First || part.First >= all.batch.First+uint64(all.batch.Len()) {
			continue
		}
		at := int(part.First - all.batch.First)
		entries = all.entries[at : at+part.Len()]
		l.taken = slices.Delete(l.taken, i, i+1)
		if at > 0 {
			l.taken = append(l.taken, loan{all.batch.Before(at), all.entries[:at]})
		}
		if rest := at + part.Len(); rest < all.batch.Len() {
			l.taken = append(l.taken, loan{all.batch.After(rest), all.entries[rest:]})
		}
		return entries
	}
	return nil
}

func (l *list) settle(_ *rapid.T, part Batch, count func(*Counts)) {
	for _, e := range l.forget(part) {
		i := slices.Index(l.entries[part.Class], e)
		l.entries[part.Class] = slices.Delete(l.entries[part.Class], i, i+1)
		count(&l.counts[part.Class])
	}
}

func (l *list) compare(t *rapid.T, log Log) {
	got := log.Totals()
	for class := range classes {
		want := l.counts[class]
		want.Waiting = uint64(len(l.entries[class]))
		for _, e := range l.entries[class] {
			if e.out {
				want.Out++
			}
		}
		if got.Of[class] != want {
			t.Fatalf("%s: %+v, want %+v", class, got.Of[class], want)
		}
		if want.Sent != want.Delivered+want.Waiting+want.Lost() {
			t.Fatalf("%s: %+v does not add up", class, want)
		}
	}
	if l.waiting() > l.limits.Records {
		t.Fatalf("%d records wait, at most %d may", l.waiting(), l.limits.Records)
	}
}

// A batch is cut as a list of its records would be.
func TestBatchAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMemory(Limits{})
		var records [][]byte
		for i, size := range rapid.SliceOfN(rapid.IntRange(0, 30), 1, 40).Draw(t, "sizes") {
			records = append(records, bytes.Repeat([]byte{byte(i)}, size))
			m.Append(Events, records[i])
		}
		b := m.Take(100, 1<<20)
		skip := rapid.IntRange(0, b.Len()-1).Draw(t, "skip")
		b, records = b.After(skip), records[skip:]
		n := rapid.IntRange(0, b.Len()).Draw(t, "n")
		if got := b.Before(n); !bytes.Equal(got.Data, bytes.Join(records[:n], nil)) || got.First != uint64(skip) {
			t.Fatalf("before %d: %q", n, got.Data)
		}
		limit := rapid.IntRange(0, 300).Draw(t, "limit")
		fit, size := 0, 0
		for fit < len(records) && size+len(records[fit]) <= limit {
			size += len(records[fit])
			fit++
		}
		if got := b.Whole(limit); got != fit {
			t.Fatalf("%d end within %d bytes, want %d", got, limit, fit)
		}
		if got := b.Within(limit).Len(); got != max(fit, 1) && len(b.Data) > limit {
			t.Fatalf("%d are within %d bytes, want %d", got, limit, fit)
		}
		if one := b.One(b.Len() - 1); !bytes.Equal(one.Data, records[len(records)-1]) || !bytes.Equal(one.Record(0), one.Data) {
			t.Fatalf("the last is %q", one.Data)
		}
	})
}

func TestClassOf(t *testing.T) {
	for dataset, want := range map[event.Dataset]Class{
		event.DatasetAlert: Alerts, event.DatasetThreat: Findings, event.DatasetAnomaly: Findings,
		event.DatasetTrap: Events, event.DatasetFlow: Events, event.DatasetClient: Events, "": Events,
	} {
		if got := ClassOf(dataset); got != want {
			t.Errorf("%q is of the %s, want %s", dataset, got, want)
		}
	}
}

// One noisy party fills the log with what is of the lowest class; the alert and
// the finding of a quiet attacker come out all the same, and first.
func TestFloodOfEventsCostsNoAlert(t *testing.T) {
	for _, c := range []struct {
		why    string
		limits Limits
	}{
		{"full of records", Limits{Records: 1000}},
		{"full of bytes", Limits{Bytes: 1 << 20}},
	} {
		m := NewMemory(c.limits)
		flood := bytes.Repeat([]byte{'x'}, 500)
		for range 5000 {
			m.Append(Events, flood)
		}
		m.Take(1000, 100_000) // much of it is on its way
		m.Append(Findings, []byte("sweep"))
		m.Append(Alerts, []byte("incident"))
		for range 5000 {
			m.Append(Events, flood)
		}
		first, second := m.Take(1, 1000), m.Take(1, 1000)
		if string(first.Data) != "incident" || string(second.Data) != "sweep" {
			t.Errorf("%s: %.10q and %.10q came first", c.why, first.Data, second.Data)
		}
		got := m.Totals()
		if got.Of[Events].Dropped[Displaced] == 0 || got.Of[Events].Dropped[QueueFull] == 0 || got.Of[Alerts].Lost()+got.Of[Findings].Lost() > 0 {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	m := NewMemory(Limits{})
	var log Log = m
	record := bytes.Repeat([]byte{'x'}, 1000)
	n := testing.AllocsPerRun(100, func() {
		for range 200 { // more than two chunks
			log.Append(Events, record)
			log.Ack(log.Take(1, 1<<20))
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in 200 records", n)
	}
}

func TestMemoryIsGivenBack(t *testing.T) {
	m := NewMemory(Limits{Bytes: 1 << 20})
	record := bytes.Repeat([]byte{'x'}, 40_000) // leaves much of a chunk unused
	for range 1000 {
		m.Append(Events, record)
	}
	if m.memory > 1<<20 || m.memory < 1<<19 {
		t.Errorf("a full log takes %d bytes of %d", m.memory, 1<<20)
	}
	for b := m.Take(100, 1<<20); b.Len() > 0; b = m.Take(100, 1<<20) {
		m.Ack(b)
	}
	if m.memory != 0 || m.lent != 0 {
		t.Errorf("an empty log takes %d bytes, %d are lent", m.memory, m.lent)
	}
}

func TestWaitHoldsTheSenderUp(t *testing.T) {
	m := NewMemory(Limits{})
	for range 10 {
		m.Append(Events, []byte("{}"))
	}
	if err := m.Wait(context.Background(), 10); err != nil {
		t.Errorf("ten wait, ten may: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Wait(ended, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("ten wait, nine may, and yet the sender went on: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Wait(context.Background(), 3) }()
	for range 7 {
		m.Ack(m.Take(1, 100))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	go func() { done <- m.Wait(context.Background(), 0) }()
	m.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A sender that waits for half of the records must not lose any for their size.
func TestWaitLeavesHalfOfTheBytes(t *testing.T) {
	m := NewMemory(Limits{Records: 1000, Bytes: 1 << 20})
	large := make([]byte, 100_000)
	for range 6 {
		m.Append(Events, large)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Wait(ended, 500); err == nil {
		t.Error("the log is more than half full, and yet the sender went on")
	}
}

func ExampleTotals_Yield() {
	m := NewMemory(Limits{Records: 1})
	m.Append(Events, []byte("a trap was hit"))
	m.Append(Alerts, []byte("a scan"))
	m.Totals().Yield(func(name string, n uint64) {
		if n > 0 {
			fmt.Println(name, n)
		}
	})
	// Output:
	// sent 2
	// queued 1
	// dropped_displaced 1
	// alerts_sent 1
	// alerts_queued 1
	// events_sent 1
	// events_dropped_displaced 1
}

func BenchmarkAppend(b *testing.B) {
	m := NewMemory(Limits{})
	record := bytes.Repeat([]byte{'x'}, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Append(Events, record)
		if i%64 == 63 {
			for n := 64; n > 0; {
				t := m.Take(n, 1<<20)
				m.Ack(t)
				n -= t.Len()
			}
		}
	}
}
