package capture

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/capture/stat"
)

// frameTo is a SYN over raw IPv4 from one host to a port.
func frameTo(port uint16) []byte {
	b := []byte{0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0}
	big.PutUint16(b[22:], port)
	return b
}

// intervals runs packets at the given seconds through a shard and returns its
// intervals as text: start, packets, flows, unique flows.
func intervals(cfg ShardConfig, times ...float64) (*Shard, []string) {
	var got []string
	cfg.Interval = func(iv *stat.Interval) {
		got = append(got, fmt.Sprintf("%v+%v:%d", float64(iv.Start)/1e9, float64(iv.End-iv.Start)/1e9, iv.Packets))
	}
	s := NewShard(cfg)
	for _, at := range times {
		frame := frameTo(80)
		s.Packet(&Packet{Time: int64(at * 1e9), Link: packet.LinkRaw, Wire: len(frame), Data: frame})
	}
	s.Close()
	return s, got
}

func TestIntervals(t *testing.T) {
	for _, c := range []struct {
		why   string
		cfg   ShardConfig
		times []float64
		want  string
	}{
		{"aligned to the clock, the last one flushed", ShardConfig{}, []float64{10.9, 11.1, 11.2}, "10+1:1 11+1:2"},
		{"a border belongs to the later one", ShardConfig{}, []float64{10, 11}, "10+1:1 11+1:1"},
		{"empty ones are emitted", ShardConfig{}, []float64{10.5, 13.5}, "10+1:1 11+1:0 12+1:0 13+1:1"},
		{"another period", ShardConfig{Period: 5 * time.Second}, []float64{11, 14.9, 15}, "10+5:2 15+5:1"},
		{"another origin", ShardConfig{Origin: 3e8}, []float64{10.2, 10.3}, "9.3+1:1 10.3+1:1"},
		{"a late packet counts in the open one", ShardConfig{}, []float64{10.5, 11.5, 10.7, 12}, "10+1:1 11+1:2 12+1:1"},
		{"before 1970", ShardConfig{}, []float64{-1.5, 0.5}, "-2+1:1 -1+1:0 0+1:1"},
		{"nothing", ShardConfig{}, nil, ""},
		{"a jump of years emits no empty ones", ShardConfig{}, []float64{10, 1e9}, "10+1:1 1e+09+1:1"},
	} {
		if _, got := intervals(c.cfg, c.times...); strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.why, got, c.want)
		}
	}
}

func TestOddTimesAreCounted(t *testing.T) {
	s, _ := intervals(ShardConfig{}, 10, 12, 11, 1e9)
	if c := s.Counters(); c.Late != 1 || c.Empty != 1 || c.Skipped != 1e9-13 {
		t.Errorf("%+v", c)
	}
	// A file cannot buy much work with few packets: jumps of a day each.
	var times []float64
	for i := range 100 {
		times = append(times, float64(i)*86400)
	}
	s, got := intervals(ShardConfig{}, times...)
	if len(got) > maxEmptyAll+100 || s.Counters().Skipped == 0 {
		t.Errorf("%d intervals, %+v", len(got), s.Counters())
	}
}

func TestAdvanceClosesQuietIntervals(t *testing.T) {
	n := 0
	s := NewShard(ShardConfig{Interval: func(*stat.Interval) { n++ }})
	s.Advance(5e9) // nothing was seen yet
	frame := frameTo(80)
	s.Packet(&Packet{Time: 10e9, Link: packet.LinkRaw, Wire: 40, Data: frame})
	for _, c := range []struct {
		now  int64
		want int
	}{{10_900_000_000, 0}, {11e9, 1}, {13_500_000_000, 3}, {12e9, 3}} {
		if s.Advance(c.now); n != c.want {
			t.Errorf("at %d: %d intervals, want %d", c.now, n, c.want)
		}
	}
}

func TestShardTotals(t *testing.T) {
	var ended []flow.Record
	var seen []uint16
	s := NewShard(ShardConfig{
		Flow:   flow.Config{Emit: func(r *flow.Record) { ended = append(ended, *r) }},
		Packet: func(p *packet.Parsed, _ flow.Touch, now int64) { seen = append(seen, p.DstPort) },
	})
	for i := range 10 {
		frame := frameTo(uint16(80 + i%3))
		s.Packet(&Packet{Time: int64(i) * 3e8, Link: packet.LinkRaw, Wire: 60, Data: frame})
	}
	s.Close()
	got := map[string]uint64{}
	for _, c := range s.Totals().Summary() {
		got[c.Name] = c.Value
	}
	if got["tcp_syn_only"] != 10 || got["unique_5tuple_bidirectional"] != 3 || got["unique_src_ip"] != 1 || got["bytes_wire"] != 600 {
		t.Errorf("%v", got)
	}
	if len(ended) != 3 || len(seen) != 10 || s.Totals().FlowsStarted != 3 {
		t.Errorf("%d flows, %d packets handed on", len(ended), len(seen))
	}
}

// The same packets give the same intervals and flows, from a file or a pipe.
func TestReplayIsRepeatable(t *testing.T) {
	data, err := os.ReadFile("../testdata/mixed.pcap")
	if err != nil {
		t.Fatal(err)
	}
	once := func(path string) (out []string) {
		all := stat.All()
		s := NewShard(ShardConfig{
			Flow:     flow.Config{Idle: 5 * time.Second, Emit: func(r *flow.Record) { out = append(out, fmt.Sprint(*r)) }},
			Interval: func(iv *stat.Interval) { out = append(out, fmt.Sprint(stat.AppendSamples(nil, iv, all))) },
		})
		file := File{Paths: []string{path}, Stdin: bytes.NewReader(data)}
		if _, err := file.Run(t.Context(), s.Packet); err != nil {
			t.Fatal(err)
		}
		s.Close()
		return append(out, fmt.Sprint(s.Totals().Summary()))
	}
	file := once("../testdata/mixed.pcap")
	if len(file) < 200 || !slices.Equal(file, once("../testdata/mixed.pcap")) || !slices.Equal(file, once("-")) {
		t.Errorf("%d lines; a second run or a pipe gives others", len(file))
	}
}

// A seed changes no count: it only scatters the hashes.
func TestSeedChangesNothing(t *testing.T) {
	summary := func(seed uint64) string {
		s := NewShard(ShardConfig{Flow: flow.Config{Seed: seed}})
		file := File{Paths: []string{"../testdata/mixed.pcap"}}
		if _, err := file.Run(t.Context(), s.Packet); err != nil {
			t.Fatal(err)
		}
		s.Close()
		return fmt.Sprint(s.Totals().Summary())
	}
	if a, b := summary(0), summary(0xdeadbeef12345678); a != b {
		t.Errorf("\n%s\n%s", a, b)
	}
}

func TestShardDoesNotAllocate(t *testing.T) {
	s := NewShard(ShardConfig{Flow: flow.Config{Max: 1000}})
	now := int64(0)
	pkt := &Packet{Link: packet.LinkRaw, Wire: 60, Data: frameTo(1)}
	step := func() {
		for i := range 5000 {
			big.PutUint16(pkt.Data[22:], uint16(i))
			now += 1e6
			pkt.Time = now
			s.Packet(pkt)
		}
	}
	step()
	step()
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations for 5000 packets in five intervals", n)
	}
}
