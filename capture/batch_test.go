package capture

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/capture/stat"
)

// batched hands packets to a shard by batches, as a replay does.
func batched(shard *Shard) (each func(*Packet), rest func()) {
	b := NewBatch(32, 1<<18, false)
	rest = func() {
		shard.Ahead(b, 0)
		for i := range b.Len() {
			shard.Batched(b, i)
		}
		b.Reset()
	}
	return func(pkt *Packet) {
		if !b.Fits(pkt) {
			rest()
		}
		b.Add(pkt)
	}, rest
}

// A shard makes the same of packets one by one and in batches.
func TestBatchesChangeNothing(t *testing.T) {
	for _, path := range []string{"../testdata/mixed.pcap", "../testdata/scan.pcap"} {
		once := func(through func(*Shard) (func(*Packet), func())) (out []string) {
			all := stat.All()
			s := NewShard(ShardConfig{
				Flow:     flow.Config{Idle: 5 * time.Second, Max: 50, Emit: func(r *flow.Record) { out = append(out, fmt.Sprint(*r)) }},
				Interval: func(iv *stat.Interval) { out = append(out, fmt.Sprint(stat.AppendSamples(nil, iv, all))) },
			})
			each, rest := through(s)
			file := File{Paths: []string{path}}
			if _, err := file.Run(t.Context(), each); err != nil {
				t.Fatal(err)
			}
			rest()
			s.Close()
			return append(out, fmt.Sprint(s.Totals().Summary(), s.Flows().Counters(), s.Counters()))
		}
		one := once(func(s *Shard) (func(*Packet), func()) { return s.Packet, func() {} })
		if many := once(batched); len(one) < 10 || !slices.Equal(one, many) {
			t.Errorf("%s: %d lines one by one, %d in batches, or other ones", path, len(one), len(many))
		}
	}
}

// A Batch keeps what it was given, whatever becomes of the source.
func TestBatchKeepsPackets(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	b := NewBatch(8, 1000, false)
	for _, c := range []struct {
		why   string
		sizes []int
		fits  int
	}{
		{"as many as there are places", []int{40, 40, 40, 40, 40, 40, 40, 40, 40}, 8},
		{"as many bytes as there are", []int{400, 400, 200, 40}, 3},
		{"an empty one takes any packet, and then no other", []int{maxPacket, 40}, 1},
		{"after that there is more room", []int{maxPacket - 40, 40, 40}, 2},
	} {
		var want [][]byte
		for i, size := range c.sizes {
			frame := append(frameTo(uint16(i)), make([]byte, size-40)...)
			for k := range frame[40:] {
				frame[40+k] = byte(random.Uint32())
			}
			pkt := &Packet{Time: int64(i), Link: packet.LinkRaw, Wire: size + 1, Data: frame}
			if b.Fits(pkt) != (i < c.fits) {
				t.Fatalf("%s: packet %d fits: %v", c.why, i, b.Fits(pkt))
			}
			if i < c.fits {
				want = append(want, bytes.Clone(frame))
				b.Add(pkt)
				clear(frame)
			}
		}
		for i := range want {
			p := &b.Parsed[i]
			if !bytes.Equal(p.Data, want[i]) || b.Times[i] != int64(i) || p.Wire != len(want[i])+1 || p.DstPort != uint16(i) {
				t.Errorf("%s: packet %d is another: %d bytes at %d to port %d", c.why, i, len(p.Data), b.Times[i], p.DstPort)
			}
		}
		if b.Len() != c.fits {
			t.Errorf("%s: %d packets", c.why, b.Len())
		}
		b.Reset()
	}
}

func TestBatchDoesNotAllocate(t *testing.T) {
	s := NewShard(ShardConfig{Flow: flow.Config{Max: 1000}})
	each, rest := batched(s)
	now := int64(0)
	pkt := &Packet{Link: packet.LinkRaw, Wire: 60, Data: frameTo(1)}
	step := func() {
		for i := range 5000 {
			big.PutUint16(pkt.Data[22:], uint16(i))
			now += 1e6
			pkt.Time = now
			each(pkt)
		}
		rest()
	}
	step()
	step()
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations for 5000 packets in five intervals", n)
	}
}
