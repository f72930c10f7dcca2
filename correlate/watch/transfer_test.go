package watch

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// line carries flows to a Transfer, an interval at a time.
type line struct {
	t        testing.TB
	transfer *Transfer
	at       int64
	life
	flows map[uint16]*flow.Record
}

func newLine(t testing.TB, change func(*TransferConfig)) *line {
	t.Helper()
	cfg := DefaultTransferConfig()
	cfg.Interval = time.Second
	if change != nil {
		change(&cfg)
	}
	l := &line{t: t, at: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano(), flows: map[uint16]*flow.Record{}}
	var err error
	if l.transfer, err = NewTransfer(cfg, l.find); err != nil {
		t.Fatal(err)
	}
	return l
}

func key(port uint16) flow.Key {
	return flow.Key{Src: packet.Addr4(0x0a000001), Dst: packet.Addr4(0x0a000002), SrcPort: port, DstPort: 443, Proto: 6, Ports: true}
}

// carry lets the flow from a port carry bytes forth and back.
func (l *line) carry(port uint16, forth, back uint64) {
	r := l.flows[port]
	if r == nil {
		r = &flow.Record{Key: key(port), First: l.at}
		l.flows[port] = r
	}
	r.Fwd.Payload += forth
	r.Rev.Payload += back
	r.Last = l.at
	l.transfer.Flow(r)
}

func (l *line) tick() {
	l.at += second
	l.transfer.Advance(l.at)
	l.advance(l.at)
}

func (l *line) steady(port uint16, n int, forth, back uint64) {
	for range n {
		l.carry(port, forth, back)
		l.tick()
	}
}

func (l *line) firing() (n int) {
	for _, e := range l.out {
		if e.Anomaly.State == event.Firing {
			n++
		}
	}
	return n
}

func counts(t *Transfer) map[string]uint64 {
	all := map[string]uint64{}
	t.Counts(func(name string, n uint64) { all[name] = n })
	return all
}

func TestTransferEpisode(t *testing.T) {
	l := newLine(t, nil)
	l.steady(1000, 10, 2<<20, 3<<20)
	if len(l.out) != 0 {
		t.Fatalf("a steady flow gave %+v", *l.out[0].Anomaly)
	}
	l.carry(1000, 200<<20, 3<<20)
	l.tick()
	if len(l.out) != 1 {
		t.Fatalf("a jump gave %d records", len(l.out))
	}
	e, a := l.out[0], l.out[0].Anomaly
	if a.State != event.Firing || a.Detector != "anomalyzer" || a.Bytes != 200<<20 || a.Probability <= 0.6 || a.Side != "up" || a.Window != time.Second ||
		e.Src.String() != "10.0.0.1:1000" || e.Dst.String() != "10.0.0.2:443" || e.Transport != "tcp" || a.Statistic != "" {
		t.Errorf("%+v %+v", e, a)
	}
	if len(a.Series) != 11 || a.Series[10] != 200<<20 || a.Series[0] != 2<<20 || a.Methods["magnitude"] != 1 || a.Methods["fence"] != 1 {
		t.Errorf("series %v, methods %v", a.Series, a.Methods)
	}
	l.carry(1000, 90<<20, 3<<20)
	l.tick()
	for range 40 {
		l.carry(1000, 2<<20, 3<<20)
		l.tick()
	}
	last := l.out[len(l.out)-1].Anomaly
	if l.firing() != 1 || len(l.out) != 2 || last.State != event.Resolved || last.Reason != "quiet" || last.Episode != a.Episode || last.Bytes != 200<<20 {
		t.Errorf("%d records, the last is %+v", len(l.out), last)
	}
}

func TestTransferDirectionsAreApart(t *testing.T) {
	l := newLine(t, nil)
	l.steady(1000, 10, 2<<20, 2<<20)
	l.carry(1000, 2<<20, 200<<20)
	l.tick()
	if len(l.out) != 1 || l.out[0].Src.String() != "10.0.0.2:443" || l.out[0].Dst.String() != "10.0.0.1:1000" {
		t.Errorf("a jump on the way back gave %+v", l.out)
	}
}

// The sums of what Transfer counts are the bytes of the flows, whatever becomes of them.
func TestTransferCountsEveryByte(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLine(t, nil)
		want := uint64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			port := rapid.Uint16Range(1, 5).Draw(rt, "port")
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				l.tick()
			case 1: // it ends, the next one of the key may begin on the other side
				if r := l.flows[port]; r != nil {
					r.End = flow.Active
					l.transfer.Flow(r)
					delete(l.flows, port)
					l.at += 1000
					if rapid.Bool().Draw(rt, "turned") {
						n := rapid.Uint64Range(0, 1000).Draw(rt, "n")
						l.flows[port] = &flow.Record{Key: key(port).Reverse(), First: l.at, Fwd: flow.Side{Payload: n}}
						l.transfer.Flow(l.flows[port])
						want += n
					}
				}
			default:
				a, b := rapid.Uint64Range(0, 1000).Draw(rt, "forth"), rapid.Uint64Range(0, 1000).Draw(rt, "back")
				l.carry(port, a, b)
				want += a + b
			}
		}
		if got := counts(l.transfer)["payload_bytes"]; got != want {
			rt.Fatalf("%d bytes counted, %d carried", got, want)
		}
	})
}

func TestTransferTableIsBounded(t *testing.T) {
	l := newLine(t, func(c *TransferConfig) { c.Flows = 100 })
	l.steady(60000, 6, 5<<20, 0)
	for port := range uint16(1000) {
		l.carry(port, 10, 0)
		if l.transfer.Len() > 100 {
			t.Fatalf("%d flows", l.transfer.Len())
		}
	}
	if got := counts(l.transfer)["flows_evicted"]; got != 901 {
		t.Errorf("%d evicted, want 901", got)
	}
	// One that was driven out comes back: what it carried until now is no burst.
	l.tick()
	gone := uint16(0)
	for _, kept := l.transfer.flows.index[key(gone)]; kept; _, kept = l.transfer.flows.index[key(gone)] {
		gone++
	}
	l.carry(gone, 10, 0)
	if got := counts(l.transfer); got["flows_rejoined"] != 1 || got["payload_bytes"] != 6*(5<<20)+1000*10 {
		t.Errorf("after a return: %v", got)
	}
}

func TestTransferForgetsIdleFlows(t *testing.T) {
	l := newLine(t, func(c *TransferConfig) { c.Idle = 10 })
	l.steady(1, 6, 5<<20, 0)
	l.carry(1, 300<<20, 0)
	l.tick()
	for range 9 {
		l.tick()
	}
	if l.transfer.Len() != 1 || l.firing() != 1 {
		t.Fatalf("%d flows, %d episodes", l.transfer.Len(), l.firing())
	}
	l.tick()
	if l.transfer.Len() != 0 || len(l.transfer.excursions) != 0 || len(l.out) != 1 {
		t.Errorf("%d flows, %d excursions, %d records after 10 idle intervals", l.transfer.Len(), len(l.transfer.excursions), len(l.out))
	}
	// The flow table ends it later, with all that it carried: that is no burst.
	bytes := counts(l.transfer)["payload_bytes"]
	l.flows[1].End = flow.Idle
	l.transfer.Flow(l.flows[1])
	if got := counts(l.transfer)["payload_bytes"]; got != bytes {
		t.Errorf("%d bytes counted twice", got-bytes)
	}
	for range 10 {
		l.tick()
	}
	before := counts(l.transfer)["intervals"]
	l.transfer.Advance(l.at + 1e6*second)
	if got := counts(l.transfer)["intervals"] - before; got > 2 {
		t.Errorf("%d intervals closed in a silence without flows", got)
	}
}

func TestTransferWorkIsBounded(t *testing.T) {
	l := newLine(t, func(c *TransferConfig) { c.Evaluations, c.Episodes = 20, 5 })
	jump := func(bytes uint64) {
		for port := range uint16(100) {
			l.carry(port, bytes+uint64(port)<<20, 0)
		}
		l.tick()
	}
	for range 6 {
		jump(2 << 20)
	}
	old := counts(l.transfer)
	jump(500 << 20)
	now := counts(l.transfer)
	if now["evaluations"]-old["evaluations"] != 20 || now["evaluations_skipped"]-old["evaluations_skipped"] != 80 || now["episodes_suppressed"] != 15 || l.firing() != 5 {
		t.Errorf("%v, then %v", old, now)
	}
	if l.out[0].Src.Port() != 99 {
		t.Errorf("the first is port %d, not the largest", l.out[0].Src.Port())
	}
}

// Whatever order flows are shown in, the records are the same.
func TestTransferOrderDoesNotMatter(t *testing.T) {
	run := func(seed uint64) []event.Event {
		l := newLine(t, nil)
		for i := range 20 {
			for _, port := range rand.New(rand.NewPCG(seed, uint64(i))).Perm(20) {
				bytes := uint64(2<<20 + port*i)
				if i == 10+port%3 {
					bytes = 300 << 20
				}
				l.carry(uint16(port), bytes, 0)
			}
			l.tick()
		}
		l.transfer.Flush()
		l.close()
		return l.out
	}
	if a, b := run(1), run(2); len(a) < 40 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d records, or they differ", len(a), len(b))
	}
}

func TestTransferConfigRefused(t *testing.T) {
	for why, change := range map[string]func(*TransferConfig){
		"no interval":             func(c *TransferConfig) { c.Interval = 0 },
		"no flows":                func(c *TransferConfig) { c.Flows = 0 },
		"no evaluation":           func(c *TransferConfig) { c.Evaluations = 0 },
		"a method that is none":   func(c *TransferConfig) { c.Anomalyzer.Methods = []string{"guess"} },
		"an upper bound below":    func(c *TransferConfig) { c.Anomalyzer.LowerBound = 1 << 40 },
		"a sensitivity above one": func(c *TransferConfig) { c.Anomalyzer.Sensitivity = 2 },
	} {
		cfg := DefaultTransferConfig()
		change(&cfg)
		if _, err := NewTransfer(cfg, func(*event.Finding) {}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// An interval in which nothing is evaluated allocates nothing.
func TestTransferDoesNotAllocate(t *testing.T) {
	l := newLine(t, nil)
	for port := range uint16(50) {
		l.carry(port, 2<<20, 100)
	}
	l.tick()
	for range 40 {
		for port := range uint16(50) {
			l.carry(port, 2<<20, 100)
		}
		l.tick()
	}
	if n := testing.AllocsPerRun(20, func() {
		for port := range uint16(50) {
			l.carry(port, 2<<20, 100)
		}
		l.tick()
	}); n != 0 {
		t.Errorf("%v allocations per interval", n)
	}
}

func BenchmarkTransferInterval(b *testing.B) {
	for name, bytes := range map[string]uint64{"idle": 0, "gated": 2 << 20} {
		b.Run(name, func(b *testing.B) {
			const flows = 50_000
			l := newLine(b, func(c *TransferConfig) { c.Idle = 1 << 30 })
			for port := range uint16(flows) {
				l.carry(port, 2<<20, 0)
			}
			l.tick()
			for b.Loop() {
				for i := range l.transfer.flows.slots {
					if p := &l.transfer.flows.slots[i]; bytes > 0 {
						p.pending[0], p.active = bytes, true
						l.transfer.flows.active = append(l.transfer.flows.active, uint32(i))
					}
				}
				l.tick()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/flow")
			b.ReportMetric(map[string]float64{"idle": 50, "gated": 150}[name], "limit-ns/flow")
		})
	}
}

func BenchmarkTransferFlow(b *testing.B) {
	l := newLine(b, nil)
	for i := 0; b.Loop(); i++ {
		l.carry(uint16(i), 1000, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/record")
	b.ReportMetric(500, "limit-ns/record")
}

// BenchmarkTransferMemory is the memory of a full table whose series are full.
func BenchmarkTransferMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := newLine(b, func(c *TransferConfig) { c.Anomalyzer.Methods = []string{"magnitude"} })
		r := flow.Record{Key: key(0)}
		for i := range 100_000 {
			r.Key.Src = packet.Addr4(uint32(i))
			r.Fwd.Payload = 1
			l.transfer.Flow(&r)
		}
		for range 31 {
			l.transfer.close()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e5, "B/flow")
		b.ReportMetric(800, "limit-B/flow")
		runtime.KeepAlive(l)
	}
}

// Intervals in which a flow carried nothing are passed over until it carries
// something again; then they stand in its series like any other.
func TestTransferRestsAreZeros(t *testing.T) {
	l := newLine(t, func(c *TransferConfig) { c.Anomalyzer.Cap = 12 })
	l.steady(1, 4, 2<<20, 100)
	l.steady(2, 1, 3<<20, 0) // keeps the time going while the first rests
	for range 3 {
		l.tick()
	}
	l.steady(1, 1, 90<<20, 200)
	want := []float64{2 << 20, 2 << 20, 2 << 20, 2 << 20, 0, 0, 0, 0, 90 << 20}
	if len(l.out) != 1 || !reflect.DeepEqual(l.out[0].Anomaly.Series, want) {
		t.Fatalf("%+v", l.out)
	}
	for range 30 { // longer than the series
		l.tick()
	}
	l.steady(1, 2, 95<<20, 200)
	last := l.out[len(l.out)-1].Anomaly.Series
	if len(last) != 12 || last[0] != 0 || last[9] != 0 || last[11] != 95<<20 {
		t.Errorf("%v", last)
	}
	if c := counts(l.transfer); c["values"] != 2*(4+4+1+30+2)+1*(1+3+1+30+2) {
		t.Errorf("%v", c)
	}
}

// By default only what lasts, grows and concerns somebody is told.
func TestTransferSustained(t *testing.T) {
	for _, c := range []struct {
		why  string
		then []uint64 // mebibytes in each second, after ten of 2
		told int
	}{
		{"one large interval", []uint64{200, 2, 2, 2, 2, 2, 2, 2}, 0},
		{"three of five", []uint64{60, 2, 90, 2, 150, 2, 2, 2, 2}, 1},
		{"three of seven", []uint64{60, 2, 2, 90, 2, 2, 150, 2, 2, 2}, 0},
		{"less than before is never told", []uint64{50, 40, 30, 20, 10, 8, 6, 4, 2}, 0},
		{"too little in sum", []uint64{6, 12, 18, 18, 18}, 0},
	} {
		l := newLine(t, func(cfg *TransferConfig) { *cfg = cfg.Sustained(); cfg.Anomalyzer.Seed = 1 })
		for i := range 10 {
			l.carry(1000, 2<<20+uint64(i%3)<<10, 0)
			l.tick()
		}
		for _, n := range c.then {
			l.carry(1000, n<<20, 0)
			l.tick()
		}
		l.transfer.Flush()
		l.close()
		if l.firing() != c.told || len(l.out) != 2*c.told {
			t.Errorf("%s: %d told, %d records", c.why, l.firing(), len(l.out))
		}
	}
	l := newLine(t, func(cfg *TransferConfig) {
		cfg.Concerns = func(k *flow.Key, _ int64) bool { return k.SrcPort == 443 }
	})
	l.steady(1000, 10, 2<<20, 2<<20)
	l.carry(1000, 300<<20, 200<<20)
	l.tick()
	if l.firing() != 1 || l.out[0].Src.Port() != 443 || counts(l.transfer)["evaluations_unconcerned"] == 0 {
		t.Errorf("of two directions %d are told", l.firing())
	}
}
