package capture

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vft/capture/packet"
)

// filledRing is a ring as the kernel leaves it, with blocks of small frames.
func filledRing(blocks int) (r *ring, perBlock int) {
	const (
		size  = 2 << 20
		first = 48
		mac   = 86
		snap  = 64
		step  = (mac + snap + 15) &^ 15
	)
	r = &ring{memory: make([]byte, blocks*size), block: size, fd: -1, counts: &ringCounts{}}
	frame := udp4(1, 2, 3, 4, snap)
	perBlock = (size - first) / step
	for b := range blocks {
		block := r.memory[b*size:][:size]
		h := header(block)
		h.Num_pkts, h.Offset_to_first_pkt, h.Block_status = uint32(perBlock), first, unix.TP_STATUS_USER
		for i := range perBlock {
			at := first + i*step
			f := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[at]))
			*f = unix.Tpacket3Hdr{Next_offset: step, Sec: 1_700_000_000, Snaplen: snap, Len: snap, Mac: mac, Net: mac + 14}
			(*sockaddr)(unsafe.Pointer(&block[at+unix.SizeofTpacket3Hdr])).hardware = unix.ARPHRD_ETHER
			copy(block[at+mac:], frame)
		}
	}
	return r, perBlock
}

func handFilled(ring *ring, each func(*Packet)) (*reader, *port) {
	live := NewLive(LiveConfig{})
	r := &reader{live: live, config: &live.config, to: LiveHandler{Packet: each}}
	p := &port{judged: packet.LinkEthernet}
	p.ring.Store(ring)
	return r, p
}

func TestLiveWalksWithoutAllocation(t *testing.T) {
	ring, perBlock := filledRing(2)
	block := ring.memory[:ring.block]
	f := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[48]))
	f.Status, f.Hv1.Vlan_tci = unix.TP_STATUS_VLAN_VALID, 5
	n, bytes := 0, 0
	r, p := handFilled(ring, func(p *Packet) { n, bytes = n+1, bytes+len(p.Data) })
	if allocated := testing.AllocsPerRun(10, func() { r.walk(p, block) }); allocated != 0 {
		t.Errorf("a block of %d packets allocated %v times", perBlock, allocated)
	}
	if n != 11*perBlock || bytes != 11*(perBlock*64+4) {
		t.Errorf("%d packets of %d bytes, not %d", n, bytes, 11*perBlock)
	}
}

func TestLiveCooksUnknownLinks(t *testing.T) {
	ring, _ := filledRing(1)
	block := ring.memory[:ring.block]
	f := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[48]))
	*(*sockaddr)(unsafe.Pointer(&block[48+unix.SizeofTpacket3Hdr])) = sockaddr{
		family: unix.AF_PACKET, protocol: binary.NativeEndian.Uint16([]byte{8, 0}), index: 7,
		hardware: 778, kind: unix.PACKET_OUTGOING, addressSize: 4, address: [8]uint8{10, 0, 0, 1},
	}
	network := append([]byte(nil), block[48+86+14:48+86+64]...)
	for _, c := range []struct {
		why  string
		snap uint32
		data int
	}{
		{"a whole frame", 64, 20 + 50},
		{"a frame cut inside its link header keeps none of the network layer", 10, 20},
	} {
		f.Snaplen = c.snap
		var p Packet
		unpack(block, 48, f, &p, 65536)
		want := append([]byte{8, 0, 0, 0, 0, 0, 0, 7, 3, 10, 4, 4, 10, 0, 0, 1, 0, 0, 0, 0}, network...)[:c.data]
		if p.Link != packet.LinkSLL2 || string(p.Data) != string(want) || p.Wire != 64-14+20 {
			t.Errorf("%s: %v, %d bytes, % x, not % x", c.why, p.Link, p.Wire, p.Data, want)
		}
	}
}

// BenchmarkLiveWalk is the cost of the reader alone, over blocks that are not in
// the cache.
func BenchmarkLiveWalk(b *testing.B) {
	ring, perBlock := filledRing(16)
	sum := 0
	r, p := handFilled(ring, func(p *Packet) { sum += int(p.Data[12]) })
	for b.Loop() {
		block, _ := ring.ready()
		r.walk(p, block)
		ring.release(block)
		header(block).Block_status = unix.TP_STATUS_USER
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perBlock), "ns/packet")
	b.ReportMetric(39, "limit-ns/packet")
	b.ReportMetric(59, "gopacket-ns/packet")
}

// BenchmarkLiveVeth captures small packets that another process sends as fast as
// it can. The CPU time is that of the reader's process, user and system.
func BenchmarkLiveVeth(b *testing.B) {
	benchmarkVeth(b, func(seen *uint64) LiveHandler {
		return LiveHandler{Packet: func(p *Packet) { *seen += uint64(p.Data[12]&8) >> 3 }}
	})
}

// BenchmarkLiveVethShard is the same with all counters and the flow table.
func BenchmarkLiveVethShard(b *testing.B) {
	benchmarkVeth(b, func(seen *uint64) LiveHandler {
		shard := NewShard(ShardConfig{})
		return LiveHandler{Tick: shard.Advance, Packet: func(p *Packet) {
			shard.Packet(p)
			*seen++
		}}
	})
}

func benchmarkVeth(b *testing.B, handler func(seen *uint64) LiveHandler) {
	const packets = 3_000_000
	const mark = "VFT_TEST_GENERATOR"
	if os.Getenv(mark) != "" {
		fmt.Println("took", generate(b, "va", packets))
		return
	}
	if !inNamespace(b) {
		return
	}
	n := uint64(0)
	live := NewLive(LiveConfig{Interfaces: []string{"vb"}})
	if err := live.Open(); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error)
	before := cpu(b)
	go func() { done <- live.Run(ctx, handler(&n)) }()
	child := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^"+b.Name()+"$", "-test.benchtime=1x")
	child.Env = append(os.Environ(), mark+"=1")
	out, err := child.Output()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	used := cpu(b) - before
	_, text, _ := strings.Cut(string(out), "took ")
	took, err := time.ParseDuration(strings.Fields(text)[0])
	if err != nil {
		b.Fatal(err)
	}
	live.Counts(func(name string, n uint64) {
		if name == "capture_dropped" {
			b.ReportMetric(float64(n), "dropped")
			b.ReportMetric(0, "limit-dropped")
		}
	})
	b.ReportMetric(float64(packets-n), "missing")
	b.ReportMetric(packets/took.Seconds()/1e6, "Mpackets/s-made")
	b.ReportMetric(float64(used.Nanoseconds())/packets, "cpu-ns/packet")
	b.ReportMetric(150, "limit-cpu-ns/packet")
	b.ReportMetric(0, "ns/op")
}

func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// generate sends frames of 64 bytes through a TPACKET_V2 transmit ring and
// returns how long that took.
func generate(b *testing.B, name string, packets int) time.Duration {
	const frames, size, head = 4096, 256, 32
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for option, value := range map[int]int{unix.PACKET_VERSION: unix.TPACKET_V2, unix.PACKET_QDISC_BYPASS: 1} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, value); err != nil {
			b.Fatal(err)
		}
	}
	request := unix.TpacketReq{Block_size: frames * size / 16, Block_nr: 16, Frame_size: size, Frame_nr: frames}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_TX_RING, &request); err != nil {
		b.Fatal(err)
	}
	ring, err := unix.Mmap(fd, 0, frames*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Munmap(ring)
	i, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, i)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: int(i.Uint32())})
	}
	if err != nil {
		b.Fatal(err)
	}
	for n := range frames {
		copy(ring[n*size+head:], udp4(1, 2, uint16(n), 53, 64))
	}
	start := time.Now()
	for sent := 0; sent < packets; {
		batch := min(frames, packets-sent)
		for n := range batch {
			h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&ring[n*size]))
			h.Len, h.Status = 64, unix.TP_STATUS_SEND_REQUEST
		}
		sent += batch
		if _, _, err := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, 0, 0, 0); err != 0 {
			b.Fatal(err)
		}
		if batch < frames {
			break
		}
	}
	return time.Since(start)
}
