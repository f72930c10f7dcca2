package flow

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"vft/capture/packet"
)

const second = int64(time.Second)

// parsed is a TCP packet from a to b; the addresses are texts.
func parsed(a string, sport uint16, b string, dport uint16) *packet.Parsed {
	src, dst := packet.AddrFrom(netip.MustParseAddr(a)), packet.AddrFrom(netip.MustParseAddr(b))
	p := &packet.Parsed{Network: packet.IPv4, HasAddrs: true, Src: src, Dst: dst, Transport: packet.TCP, HasPorts: true,
		SrcPort: sport, DstPort: dport, Proto: 6, TTL: 64, Wire: 100, PayloadLen: 46}
	if !src.Is4() {
		p.Network = packet.IPv6
	}
	return p
}

func collect(cfg Config) (*Table, *[]Record) {
	var got []Record
	cfg.Emit = func(r *Record) { got = append(got, *r) }
	return NewTable(cfg), &got
}

func TestSlotIsOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(slot{}); n != 64 {
		t.Errorf("a slot has %d bytes", n)
	}
}

func TestBothDirectionsAreOneFlow(t *testing.T) {
	for _, c := range []struct{ a, b, why string }{
		{"192.0.2.1", "192.0.2.2", "IPv4"},
		{"2001:db8::1", "2001:db8::2", "IPv6"},
		{"192.0.2.1", "192.0.2.1", "a host with itself"},
	} {
		table, got := collect(Config{})
		there, back := parsed(c.a, 1000, c.b, 80), parsed(c.b, 80, c.a, 1000)
		there.Flags, back.Flags, back.TTL = packet.SYN, packet.SYN|packet.ACK, 55
		touches := []Touch{table.Packet(there, 5), table.Packet(back, 7), table.Packet(there, 9)}
		if !slices.Equal(touches, []Touch{NewFlow | NewSide | FirstOfFlow | FirstOfSide, NewSide | FirstOfSide | Reverse, 0}) {
			t.Errorf("%s: touches %v", c.why, touches)
		}
		table.Mark()
		if touch := table.Packet(back, 9); touch != FirstOfFlow|FirstOfSide|Reverse {
			t.Errorf("%s: first of an interval gave %v", c.why, touch)
		}
		table.Flush()
		want := Record{Key: Key{there.Src, there.Dst, 1000, 80, 6, true}, First: 5, Last: 9, End: Finished,
			Fwd: Side{2, 200, 92, packet.SYN, 64}, Rev: Side{2, 200, 92, packet.SYN | packet.ACK, 55}}
		if len(*got) != 1 || (*got)[0] != want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.why, *got, want)
		}
	}
}

func TestTimeouts(t *testing.T) {
	ends := func(records []Record) (out []string) {
		for _, r := range records {
			out = append(out, fmt.Sprintf("%v %d", r.End, r.Packets()))
		}
		return out
	}
	p := parsed("192.0.2.1", 1, "192.0.2.2", 2)
	for _, c := range []struct {
		why   string
		cfg   Config
		times []int64
		want  []string
	}{
		{"at the idle timeout it lives", Config{Idle: 10 * time.Second}, []int64{0, 10 * second}, []string{"finished 2"}},
		{"behind it, it has ended", Config{Idle: 10 * time.Second}, []int64{0, 10*second + 1}, []string{"idle 1", "finished 1"}},
		{"the active timeout cuts", Config{Idle: 10 * time.Second, Active: 15 * time.Second}, []int64{0, 8 * second, 16 * second}, []string{"active 2", "finished 1"}},
		{"no timeouts", Config{Idle: -1, Active: -1}, []int64{0, 100000 * second}, []string{"finished 2"}},
		{"more than 78 hours do not fit", Config{Idle: -1, Active: -1}, []int64{0, 300000 * second}, []string{"overflow 1", "finished 1"}},
		{"a packet from before the first", Config{}, []int64{20 * second, 10 * second, 21 * second}, []string{"finished 3"}},
	} {
		table, got := collect(c.cfg)
		for _, at := range c.times {
			table.Packet(p, at)
		}
		table.Flush()
		if !slices.Equal(ends(*got), c.want) {
			t.Errorf("%s: %v, want %v", c.why, ends(*got), c.want)
		}
		if first, last := (*got)[0].First, (*got)[len(*got)-1].Last; first != slices.Min(c.times) || last != slices.Max(c.times) {
			t.Errorf("%s: from %d to %d", c.why, first, last)
		}
	}
}

func TestAdvanceEndsQuietFlows(t *testing.T) {
	table, got := collect(Config{Idle: 60 * time.Second})
	table.Packet(parsed("192.0.2.1", 1, "192.0.2.2", 2), second)
	table.Packet(parsed("192.0.2.1", 1, "192.0.2.3", 2), 50*second)
	table.Advance(61 * second)
	if len(*got) != 0 {
		t.Fatalf("ended at the timeout: %+v", *got)
	}
	table.Advance(76 * second)
	if len(*got) != 1 || (*got)[0].End != Idle || (*got)[0].First != second || table.Len() != 1 {
		t.Errorf("ended %+v, %d left", *got, table.Len())
	}
}

func TestEvictionTakesTheWeakest(t *testing.T) {
	table, got := collect(Config{Max: 100})
	strong := parsed("192.0.2.1", 1, "192.0.2.2", 2)
	table.Packet(strong, 0)
	table.Packet(strong, 0)
	for i := range 10000 {
		table.Packet(parsed("198.51.100.7", uint16(i), "192.0.2.2", 80), int64(i))
		if i%50 == 0 {
			table.Packet(strong, int64(i))
		}
	}
	if n := table.Len(); n > 100 || n < 98 || table.Counters().Ended[Evicted] != uint64(10001-n) || table.Counters().Started != 10001 {
		t.Errorf("%d flows, %+v", table.Len(), table.Counters())
	}
	for _, r := range *got {
		if r.Dst == strong.Dst && r.SrcPort == 1 && r.Packets() > 1 {
			t.Fatalf("a flow with %d packets was evicted before single packets", r.Packets())
		}
	}
}

func TestFragmentsAreJoined(t *testing.T) {
	first := parsed("192.0.2.1", 1000, "192.0.2.2", 53)
	first.Fragment, first.MoreFrags, first.ID, first.Proto = true, true, 9, 17
	later := *first
	later.FragOffset, later.HasPorts, later.SrcPort, later.DstPort = 1480, false, 0, 0
	for _, c := range []struct {
		why   string
		split bool
		late  int64
		want  int
	}{
		{"joined by the identification", false, second, 1},
		{"too late: alone", false, 31 * second, 2},
		{"not wanted", true, second, 2},
	} {
		table, got := collect(Config{SplitFragments: c.split})
		table.Packet(first, 0)
		if touch := table.Packet(&later, c.late); touch&(FirstOfFlow|FirstOfSide) != 0 {
			t.Errorf("%s: a later fragment is the first of something: %v", c.why, touch)
		}
		table.Flush()
		if len(*got) != c.want {
			t.Errorf("%s: %+v", c.why, *got)
		}
	}
}

func TestFragmentMemoryIsBounded(t *testing.T) {
	table, _ := collect(Config{})
	p := parsed("192.0.2.1", 1000, "192.0.2.2", 53)
	p.Fragment, p.MoreFrags = true, true
	for i := range 100000 {
		p.ID = uint32(i)
		table.Packet(p, 0)
	}
	if n := table.Counters().FragmentsForgot; n < 90000 || n > 100000 {
		t.Errorf("%d forgotten", n)
	}
}

// The table must give what a plain map gives, whatever comes.
func TestTableEqualsMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idle := time.Duration(rapid.Int64Range(1, 20).Draw(t, "idle"))
		table, got := collect(Config{Idle: idle, Active: 50, Seed: rapid.Uint64().Draw(t, "seed")})
		oracle := map[Key]*Record{}
		var want []Record
		hosts := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "::1"}
		now := int64(0)
		for range rapid.IntRange(0, 200).Draw(t, "packets") {
			p := parsed(rapid.SampledFrom(hosts).Draw(t, "a"), uint16(rapid.IntRange(0, 2).Draw(t, "sport")),
				rapid.SampledFrom(hosts).Draw(t, "b"), uint16(rapid.IntRange(0, 2).Draw(t, "dport")))
			p.Flags = packet.Flags(rapid.Byte().Draw(t, "flags"))
			now += rapid.Int64Range(0, 10).Draw(t, "wait")
			table.Packet(p, now)
			want = naive(oracle, want, p, now, int64(idle), 50)
		}
		table.Flush()
		for _, r := range oracle {
			r.End = Finished
			want = append(want, *r)
		}
		if !maps.Equal(bag(*got), bag(want)) {
			t.Fatalf("\n got %+v\nwant %+v", *got, want)
		}
	})
}

func bag(records []Record) map[Record]int {
	out := map[Record]int{}
	for _, r := range records {
		out[r]++
	}
	return out
}

func naive(oracle map[Key]*Record, ended []Record, p *packet.Parsed, now, idle, active int64) []Record {
	k, _ := KeyOf(p)
	r := oracle[k.Canonical()]
	if r != nil && (now-r.Last > idle || now-r.First > active) {
		r.End = Active
		if now-r.Last > idle {
			r.End = Idle
		}
		ended, r = append(ended, *r), nil
	}
	if r == nil {
		r = &Record{Key: k, First: now, Last: now}
		oracle[k.Canonical()] = r
	}
	side := &r.Fwd
	if r.Key != k {
		side = &r.Rev
	}
	if side.Packets == 0 {
		side.TTL = p.TTL
	}
	side.Packets++
	side.Bytes += uint64(p.Wire)
	side.Payload += uint64(p.PayloadLen)
	side.Flags |= p.Flags
	r.Last = now
	return ended
}

func TestPacketDoesNotAllocate(t *testing.T) {
	table := NewTable(Config{Max: 1000})
	p := parsed("192.0.2.1", 1, "192.0.2.2", 2)
	step := func() {
		for range 5000 {
			p.SrcPort++
			table.Packet(p, 0)
		}
		table.Mark()
	}
	step()
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations in 5000 packets", n)
	}
}

func BenchmarkPacketKnownFlow(b *testing.B) {
	table := NewTable(Config{})
	p := parsed("192.0.2.1", 1, "192.0.2.2", 2)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.SrcPort = uint16(i) & 1023
		table.Packet(p, int64(i))
	}
}

func BenchmarkPacketNewFlow(b *testing.B) {
	table := NewTable(Config{})
	p := parsed("192.0.2.1", 1, "192.0.2.2", 2)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Src = packet.Addr4(uint32(i) * 2654435761)
		table.Packet(p, int64(i))
	}
	b.ReportMetric(350, "limit-ns/op")
}
