package detect

import (
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
)

// A cache gives back what was put into it, until it leaves.
func TestCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCache[uint64](64)
		known := map[uint64]uint64{}
		now := start
		fresh, left := 0, 0
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += rapid.Int64Range(0, second).Draw(t, "wait")
			key := uint64(rapid.IntRange(1, 200).Draw(t, "key"))<<8 | 1
			v, isFresh := c.get(key, now)
			if isFresh {
				if *v != 0 {
					t.Fatalf("a fresh value is %d", *v)
				}
				if known[key] != 0 {
					left++
				}
				fresh++
				known[key] = 0
			} else if *v != known[key] {
				t.Fatalf("%d, want %d", *v, known[key])
			}
			known[key]++
			*v = known[key]
		}
		if int(c.evicted) < left || int(c.evicted) > fresh {
			t.Fatalf("%d evicted, %d came back, %d were fresh", c.evicted, left, fresh)
		}
	})
}

func TestCacheKeepsTheStrong(t *testing.T) {
	c := newCache[int](4)
	c.get(1, start)
	c.strengthen(1)
	for i := range uint64(100) {
		c.get(3+2*i, start+int64(i)*second/10)
	}
	if c.find(1, start+11*second) == nil || c.evicted != 97 {
		t.Errorf("the strong entry left; %d evicted", c.evicted)
	}
}

// Ordinary traffic allocates nothing.
func TestPacketDoesNotAllocate(t *testing.T) {
	in := newRounds(t, "../../testdata/mixed.pcap")
	d := New(Config{})
	table := flow.NewTable(flow.Config{Seed: 1, Max: 1 << 12})
	var p packet.Parsed
	round := func() {
		for range 10000 {
			pkt := in.next()
			p.Decode(pkt.Link, pkt.Data, pkt.Wire)
			d.Packet(&p, table.Packet(&p, pkt.Time), pkt.Time)
		}
		table.Mark()
	}
	for range 5 {
		round()
	}
	if n := testing.AllocsPerRun(5, round); n > 0 {
		t.Errorf("%v allocations in 10000 packets", n)
	}
}

// FuzzPacket holds that no packets stop the detections.
func FuzzPacket(f *testing.F) {
	f.Add(udp("10.0.0.9", 20000, "10.0.0.1", portDNS, query("a.b.example.com", typeTXT, 0, false)), uint8(3))
	f.Add(offerFrame("10.0.0.1", "10.0.0.50", 1), uint8(2))
	f.Add(arp(reply, 1, "10.0.0.1", 2, "10.0.0.2", 2), uint8(9))
	f.Add(tcp("10.0.0.1", 1, "10.0.0.2", 22, packet.ACK|packet.PSH, 1, 1, "hello"), uint8(7))
	w := newWire(Config{}) // one for all inputs: it holds some 30 MB, and what they leave behind is input too
	f.Fuzz(func(t *testing.T, frame []byte, flip uint8) {
		w.records = w.records[:0]
		for i := range 20 {
			w.send(frame, second/10)
			if len(frame) > 0 {
				frame[(int(flip)*7+i*13)%len(frame)] ^= flip
			}
		}
	})
}

// What strangers send makes it no larger: the memory is that of the tables,
// here filled by new sources, targets and ports without end.
func TestMemory(t *testing.T) {
	const most = 72 << 20
	before := heap()
	w := newWire(Config{})
	p := &packet.Parsed{Network: packet.IPv4, HasAddrs: true, Transport: packet.TCP, HasPorts: true, HasFlags: true, Flags: packet.SYN, Proto: protocolTCP, Data: make([]byte, 60), TransOff: 34}
	for n := range uint32(2_000_000) {
		p.Src, p.Dst, p.DstPort, p.Seq = packet.Addr4(n*2654435761>>(n%3*8)), packet.Addr4(n*2246822519>>(n%5*4)), uint16(n), n
		w.Packet(p, flow.NewFlow|flow.NewSide, start+int64(n)*100_000)
	}
	w.records = nil
	if used := heap() - before; used > most {
		t.Errorf("%d MiB, more than %d", used>>20, most>>20)
	} else {
		t.Logf("%d MiB, limit %d", used>>20, most>>20)
	}
	evicted := uint64(0)
	w.Counts(func(_ string, v uint64) { evicted += v })
	if evicted == 0 {
		t.Error("nothing was evicted: the test fills no table")
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What each packet looks up lies in one line of the processor's cache.
func TestSizes(t *testing.T) {
	if size := unsafe.Sizeof(target{}); size != 192 {
		t.Errorf("a target takes %d bytes, not three lines", size)
	}
	for name, size := range map[string]uintptr{"set": unsafe.Sizeof(set{}), "conn": unsafe.Sizeof(conn{}), "contact": unsafe.Sizeof(contact{})} {
		if size != 64 {
			t.Errorf("a %s takes %d bytes, not 64", name, size)
		}
	}
}
