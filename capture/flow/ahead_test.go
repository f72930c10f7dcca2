package flow

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/capture/packet"
)

// Packets that were looked up ahead make what they make one by one: the same
// touches and the same records, in the same order.
func TestHashedEqualsPacket(t *testing.T) {
	hosts := []string{"192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "2001:db8::2"}
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Max: rapid.IntRange(1, 40).Draw(t, "max"), Idle: 20, Active: 60, Seed: rapid.Uint64().Draw(t, "seed")}
		one, ones := collect(cfg)
		many, manys := collect(cfg)
		now := int64(0)
		for range rapid.IntRange(1, 8).Draw(t, "groups") {
			group := make([]packet.Parsed, rapid.IntRange(0, 40).Draw(t, "packets"))
			for i := range group {
				p := parsed(rapid.SampledFrom(hosts).Draw(t, "a"), uint16(rapid.IntRange(0, 20).Draw(t, "sport")),
					rapid.SampledFrom(hosts).Draw(t, "b"), uint16(rapid.IntRange(0, 2).Draw(t, "dport")))
				switch rapid.IntRange(0, 9).Draw(t, "kind") {
				case 0:
					p.Network = packet.ARP
				case 1:
					p.Fragment, p.MoreFrags = true, true
				case 2:
					p.Fragment, p.FragOffset, p.HasPorts, p.SrcPort, p.DstPort = true, 8, false, 0, 0
				}
				group[i] = *p
			}
			hashes := make([]uint64, len(group))
			many.Ahead(group, hashes)
			for i := range group {
				now += rapid.Int64Range(0, 3).Draw(t, "wait")
				if a, b := one.Packet(&group[i], now), many.Hashed(&group[i], hashes[i], now); a != b || one.Hash() != many.Hash() {
					t.Fatalf("packet %d: touch %v and %v, hash %x and %x", i, a, b, one.Hash(), many.Hash())
				}
			}
		}
		one.Flush()
		many.Flush()
		if !slices.Equal(*ones, *manys) || one.Counters() != many.Counters() {
			t.Fatalf("\n got %+v\nwant %+v", *manys, *ones)
		}
	})
}

// The memory of a table that is larger than the cache is touched ahead too.
func TestAheadInLargeTable(t *testing.T) {
	table := NewTable(Config{})
	group := make([]packet.Parsed, 64)
	hashes := make([]uint64, len(group))
	for round := range 4 * inCache / len(group) {
		for i := range group {
			group[i] = *parsed("192.0.2.1", uint16(round), "192.0.2.2", uint16(i))
		}
		table.Ahead(group, hashes)
		for i := range group {
			table.Hashed(&group[i], hashes[i], 0)
		}
	}
	if table.Len() != 4*inCache {
		t.Fatalf("%d flows", table.Len())
	}
	if n := testing.AllocsPerRun(100, func() { table.Ahead(group, hashes) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The index must find what a map holds, also around its end and where hashes
// are equal.
func TestIndexEqualsMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		x.reset(rapid.IntRange(1, 30).Draw(t, "most"))
		few := rapid.Uint32Range(1, 1<<20).Draw(t, "hashes") // few of them collide more
		held := map[uint32]uint32{}                          // slot to hash
		for step := range rapid.IntRange(0, 200).Draw(t, "steps") {
			slot := rapid.Uint32Range(0, 40).Draw(t, "slot")
			hash, have := held[slot]
			switch {
			case have:
				x.remove(hash, slot)
				delete(held, slot)
			case len(held) < x.most*2/3:
				hash = rapid.Uint32().Draw(t, "hash") / few * few
				held[slot] = hash
				x.insert(hash, slot, x.home(hash))
			}
			for slot, hash := range held {
				if err := x.holds(hash, slot); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
			}
			if x.used != len(held) {
				t.Fatalf("%d entries, want %d", x.used, len(held))
			}
		}
	})
}

func (x *index) holds(hash, slot uint32) error {
	for i := x.home(hash); x.entries[i] != 0; i = x.next(i) {
		if x.entries[i] == entry(hash)<<32|entry(slot+1) {
			return nil
		}
	}
	return fmt.Errorf("slot %d of hash %x is not found", slot, hash)
}

// BenchmarkAhead is a table of a million flows that get packets in no order.
func BenchmarkAhead(b *testing.B) {
	const flows = 1 << 20
	table := NewTable(Config{Idle: time.Hour})
	group := make([]packet.Parsed, 64)
	hashes := make([]uint64, len(group))
	for i := range group {
		group[i] = *parsed("192.0.2.1", 1, "192.0.2.2", 2)
	}
	next := uint32(0)
	fill := func(step uint32) {
		for i := range group {
			next += step
			group[i].Src = packet.Addr4(next % flows * 4096)
		}
	}
	for range flows / len(group) {
		fill(1)
		for i := range group {
			table.Packet(&group[i], 0)
		}
	}
	for _, c := range []struct {
		name string
		look func()
	}{
		{"Ahead", func() {
			table.Ahead(group, hashes)
			for i := range group {
				table.Hashed(&group[i], hashes[i], 0)
			}
		}},
		{"OneByOne", func() {
			for i := range group {
				table.Packet(&group[i], 0)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				fill(2654435761)
				c.look()
				n += len(group)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/packet")
		})
	}
}
