package watch

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// collector carries exported flows to an Exported.
type collector struct {
	*Exported
	at int64
	life
}

const period = 300 * second // an interval

func newCollector(t testing.TB) *collector {
	t.Helper()
	c := &collector{at: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()}
	leaks, err := NewExfiltration(DefaultExfiltrationConfig(), c.find)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultExportedConfig()
	cfg.Carried = leaks.Carried
	to, err := NewTransfer(cfg, c.find)
	if err != nil {
		t.Fatal(err)
	}
	c.Exported = NewExported(to)
	c.Advance(c.at)
	return c
}

// tell is a record of one direction that ends now.
func (c *collector) tell(src, dst uint32, bytes uint64, long int64) {
	c.Flow(&flow.Record{Key: flow.Key{Src: packet.Addr4(src), Dst: packet.Addr4(dst), SrcPort: uint16(c.at / second), DstPort: 443, Proto: 6, Ports: true},
		Fwd: flow.Side{Packets: 1 + bytes/1400, Bytes: bytes}, First: c.at - long, Last: c.at, End: flow.Finished})
}

func (c *collector) wait(d int64) {
	c.at += d
	c.Advance(c.at)
}

func (c *collector) firing() (n int, first *event.Event) {
	for i := range c.out {
		e := &c.out[i]
		if e.Anomaly != nil && e.Anomaly.State == event.Firing || e.Threat != nil && e.Threat.State == event.Firing {
			if n++; n == 1 {
				first = e
			}
		}
	}
	return n, first
}

func TestExportedTransfer(t *testing.T) {
	const one, other = inside, inside + 1
	for _, c := range []struct {
		why  string
		run  func(c *collector)
		want int
	}{
		{"300 MiB in each interval, in flows of a minute", func(c *collector) {
			for range 200 {
				c.tell(one, other, 60<<20, 60*second)
				c.wait(60 * second)
			}
		}, 0},
		{"the same, told every 30 minutes by the active timeout", func(c *collector) {
			for range 12 {
				c.wait(1800 * second)
				c.tell(one, other, 1800<<20, 1800*second-1)
			}
		}, 0},
		{"and then 12 GiB in five minutes", func(c *collector) {
			for range 60 {
				c.tell(one, other, 60<<20, 60*second)
				c.wait(60 * second)
			}
			for range 5 {
				c.tell(one, other, 2400<<20, 60*second)
				c.wait(60 * second)
			}
			c.wait(period)
		}, 1},
		{"59 MiB from time to time", func(c *collector) {
			for i := range 50 {
				if i%10 == 9 {
					c.tell(one, other, 59<<20, second)
				}
				c.wait(period)
			}
		}, 0},
	} {
		x := newCollector(t)
		c.run(x)
		x.Flush()
		n, first := x.firing()
		if n != c.want {
			t.Errorf("%s: %d alerts", c.why, n)
		}
		if n > 0 && (first.Src.Addr().String() != "10.0.0.1" || first.Dst.Addr().String() != "10.0.0.2") {
			t.Errorf("%s: %v to %v", c.why, first.Src, first.Dst)
		}
	}
}

func TestExportedExfiltration(t *testing.T) {
	for _, c := range []struct {
		why         string
		forth, back uint64 // a minute
		hours       int
		want        int
	}{
		{"1 MiB a minute is 1 GiB in 17.1 hours", 1 << 20, 1000, 20, 1},
		{"16 hours of it are not", 1 << 20, 1000, 16, 0},
		{"a download, whose bytes are told before the requests", 1 << 20, 50 << 20, 20, 0},
	} {
		x := newCollector(t)
		for range c.hours * 60 {
			x.tell(outside, inside, c.back, 60*second)
			x.tell(inside, outside, c.forth, 60*second)
			x.wait(60 * second)
		}
		n, first := x.firing()
		if n != c.want || n > 0 && (first.Threat == nil || first.Threat.Type != "exfiltration" || first.Threat.Offender != "10.0.0.1") {
			t.Errorf("%s: %d alerts, %+v", c.why, n, first)
		}
	}
}

// Every byte reaches the Transfer once, however long its record lasted.
func TestExportedLosesNoByte(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := newCollector(t)
		sum := uint64(0)
		for range rapid.IntRange(1, 50).Draw(rt, "records") {
			n := rapid.Uint64Range(1, 1<<30).Draw(rt, "bytes")
			sum += n
			x.tell(inside, outside-uint32(rapid.IntRange(0, 3).Draw(rt, "host")), n, rapid.Int64Range(0, 7200).Draw(rt, "long")*second)
			x.wait(rapid.Int64Range(0, 1000).Draw(rt, "wait") * second)
		}
		x.wait(4 * 3600 * second)
		got := map[string]uint64{}
		x.Counts(func(name string, n uint64) { got[name] = n })
		if got["payload_bytes"] != sum || got["exported_bytes"] != sum || got["exported_pairs"] != 0 {
			rt.Fatalf("%d bytes told of %d: %v", got["payload_bytes"], sum, got)
		}
	})
}

// Strangers cannot grow the table; of more pairs than it holds, the large ones stay.
func TestExportedIsBounded(t *testing.T) {
	x := newCollector(t)
	x.tell(inside, outside, 1<<30, second)
	for i := range uint32(maxExportedPairs + 1000) {
		x.tell(inside+1+i, outside, 100, 0)
	}
	x.tell(inside, outside+1, 1<<30, second)
	if len(x.pairs) != maxExportedPairs || x.count.leftOut != 1002*100 || x.count.evicted != 1 {
		t.Errorf("%d pairs, %d bytes left out, %d evicted", len(x.pairs), x.count.leftOut, x.count.evicted)
	}
	for _, dst := range []uint32{outside, outside + 1} {
		if _, known := x.index.find(&pairKey{packet.Addr4(inside), packet.Addr4(dst)}); !known {
			t.Errorf("the pair with %x left for small ones", dst)
		}
	}
}

func TestExportedDoesNotAllocate(t *testing.T) {
	x := newCollector(t)
	x.tell(inside, outside, 1000, 0)
	if n := testing.AllocsPerRun(1000, func() { x.tell(inside, outside, 1000, 0) }); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

func BenchmarkExported(b *testing.B) {
	x := newCollector(b)
	b.ReportAllocs()
	n := uint32(0)
	for b.Loop() {
		n++
		x.tell(inside+n%1000, outside, 1000, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	b.ReportMetric(100, "limit-ns/record")
}

// Who opened a flow is guessed by the ports: what a server gives its visitors is not
// what a host gives away.
func TestExportedServerGivesNothingAway(t *testing.T) {
	for _, c := range []struct {
		why            string
		sport, dport   uint16
		src, dst       uint32
		severity, want int
	}{
		{"a host uploads", 50_000, 443, inside, outside, severitySlow, 1},
		{"a server is asked", 443, 50_000, inside, outside, severityMuch, 1},
		{"nothing tells", 500, 500, inside, outside, severitySlow, 1},
		{"a host inside with the higher address", 50_000, 443, inside, inside - 0x05000000, severitySlow, 1},
	} {
		x := newCollector(t)
		for range 20 * 60 {
			x.Flow(&flow.Record{Key: flow.Key{Src: packet.Addr4(c.src), Dst: packet.Addr4(c.dst), SrcPort: c.sport, DstPort: c.dport, Proto: 6, Ports: true},
				Fwd: flow.Side{Packets: 1000, Bytes: 1 << 20}, First: x.at - 50*second, Last: x.at, End: flow.Finished})
			x.wait(60 * second)
		}
		n, first := x.firing()
		if n != c.want || first.Threat.Severity != c.severity {
			t.Errorf("%s: %d alerts, the first is %+v", c.why, n, first)
		}
	}
}
