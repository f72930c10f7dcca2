package packets

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
)

// someFlow is a TCP flow of so many bytes; number tells it from others.
func someFlow(number uint16, bytes uint64) flow.Record {
	return flow.Record{
		Key: flow.Key{Src: packet.Addr{Lo: 0xffff_0a000001}, Dst: packet.Addr{Lo: 0xffff_0a000002}, SrcPort: number, DstPort: 443, Proto: 6, Ports: true},
		Fwd: flow.Side{Packets: 2, Bytes: bytes}, First: 0, Last: int64(1500 * time.Millisecond),
	}
}

// TestTopFlowsAreThoseOfASort holds the table against sorting everything, in
// whatever order the flows come.
func TestTopFlowsAreThoseOfASort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Uint64Range(0, 30), 0, 3*topMost).Draw(t, "sizes")
		var all []flow.Record
		for i, bytes := range sizes {
			all = append(all, someFlow(uint16(i), bytes))
		}
		want := slices.Clone(all)
		slices.SortFunc(want, func(a, b flow.Record) int {
			if a.Bytes() != b.Bytes() {
				return int(b.Bytes()) - int(a.Bytes())
			}
			return int(a.SrcPort) - int(b.SrcPort)
		})
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1))
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var top topFlows
		for i := range all {
			top.add(&all[i])
		}
		if !slices.Equal([]flow.Record(top), want[:min(topMost, len(want))]) {
			t.Fatalf("got %v, want the first of %v", top, want)
		}
	})
}

func TestTopFlowsHoldNoMoreThanTheTable(t *testing.T) {
	var top topFlows
	for i := range 1000 {
		r := someFlow(uint16(i), uint64(i))
		top.add(&r)
	}
	r := someFlow(1, 5000)
	if n := testing.AllocsPerRun(100, func() { top.add(&r); r.Fwd.Bytes++ }); n != 0 || len(top) != topMost || cap(top) > 2*topMost {
		t.Errorf("%v allocations per flow, %d flows in room for %d", n, len(top), cap(top))
	}
}

func TestTopFlowsAsATable(t *testing.T) {
	tcp, icmp, other := someFlow(4000, 123456), someFlow(0, 99), someFlow(0, 98)
	icmp.Proto, icmp.Ports, icmp.Src = 1, false, packet.Addr{Hi: 0x20010db8_00000000, Lo: 1}
	other.Proto, other.Ports = 253, false
	var top topFlows
	for _, r := range []flow.Record{other, tcp, icmp} {
		top.add(&r)
	}
	var out strings.Builder
	top.write(&out)
	want := "          bytes      packets    seconds  flow\n" +
		"         123456            2        1.5  tcp 10.0.0.1:4000 > 10.0.0.2:443\n" +
		"             99            2        1.5  icmp 2001:db8::1 > 10.0.0.2\n" +
		"             98            2        1.5  ip/253 10.0.0.1 > 10.0.0.2\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	topFlows(nil).write(&out)
	if out.String() != "" {
		t.Errorf("no flows are no table, not %q", out.String())
	}
}

func TestTopTicker(t *testing.T) {
	const start = int64(1_700_000_000_000_000_000)
	one := func(each func(*flow.Record)) { r := someFlow(1, 5); each(&r) }
	bytes := uint64(0)
	grows := func(each func(*flow.Record)) { bytes++; r := someFlow(1, bytes); each(&r) }
	for _, c := range []struct {
		why    string
		debug  bool
		open   func(func(*flow.Record))
		at     []time.Duration // of the ticks
		tables int
	}{
		{"the first tick only starts the clock", true, one, []time.Duration{0}, 0},
		{"before ten seconds there is nothing", true, one, []time.Duration{0, time.Second, 9999 * time.Millisecond}, 0},
		{"every ten seconds one", true, grows, []time.Duration{0, 10 * time.Second, 15 * time.Second, 20 * time.Second, 31 * time.Second}, 3},
		{"a long jump is one, not many", true, grows, []time.Duration{0, time.Hour, time.Hour + time.Second}, 1},
		{"nothing has moved", true, one, []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second}, 1},
		{"times that go back are none", true, grows, []time.Duration{0, 10 * time.Second, 3 * time.Second, 12 * time.Second}, 1},
		{"nobody asked for debug", false, one, []time.Duration{0, 10 * time.Second, 20 * time.Second}, 0},
		{"no flow is open", true, func(func(*flow.Record)) {}, []time.Duration{0, 10 * time.Second}, 0},
	} {
		var log strings.Builder
		looked := 0
		ticker := topTicker{log: zerolog.New(&log), on: func() bool { return c.debug }}
		for _, at := range c.at {
			ticker.tick(start+int64(at), func(each func(*flow.Record)) { looked++; c.open(each) })
		}
		if got := strings.Count(log.String(), "10.0.0.1:1 >"); got != c.tables {
			t.Errorf("%s: %d tables: %s", c.why, got, log.String())
		}
		if !c.debug && looked > 0 {
			t.Errorf("%s: but all flows were looked at", c.why)
		}
	}
}

func TestTopTickerThatNobodyTurnedOn(t *testing.T) {
	var ticker topTicker
	ticker.tick(1, func(func(*flow.Record)) { t.Error("the flows were looked at") })
}
