//go:build unix

package detect

import (
	"syscall"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

// used is the CPU time of this process: other programs of the machine do not
// count.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPacket is what the detections add to each packet of ordinary traffic:
// the whole, less the same loop without them.
func BenchmarkPacket(b *testing.B) {
	const packets = 3_000_000
	loop := func(each func(*packet.Parsed, flow.Touch, int64)) float64 {
		in := newRounds(b, "../../testdata/mixed.pcap")
		table := flow.NewTable(flow.Config{Seed: 1})
		var p packet.Parsed
		begin := used()
		for range packets {
			pkt := in.next()
			p.Decode(pkt.Link, pkt.Data, pkt.Wire)
			each(&p, table.Packet(&p, pkt.Time), pkt.Time)
		}
		return float64(used()-begin) / packets
	}
	without, with := 1e9, 1e9 // the best of all rounds: others use the machine too
	for b.Loop() {
		without = min(without, loop(func(*packet.Parsed, flow.Touch, int64) {}))
		with = min(with, loop(New(Config{}).Packet))
		b.ReportMetric(with-without, "ns/packet")
		b.ReportMetric(80, "limit-ns/packet")
		b.ReportMetric(without, "decode+flow-ns/packet")
	}
}

// BenchmarkSYN is the worst case: each packet a SYN of another source.
func BenchmarkSYN(b *testing.B) {
	d := New(Config{})
	p := &packet.Parsed{Network: packet.IPv4, HasAddrs: true, Transport: packet.TCP, HasPorts: true, HasFlags: true, Flags: packet.SYN,
		Dst: packet.Addr4(0xc0000201), DstPort: 80, Proto: protocolTCP, Wire: 60, Data: make([]byte, 60), TransOff: 34}
	now := int64(1_700_000_000) * second
	n := uint32(0)
	b.ReportAllocs()
	begin := used()
	for b.Loop() {
		n++
		p.Src, p.SrcPort, p.Seq = packet.Addr4(n*2654435761), uint16(n), n
		d.Packet(p, flow.NewFlow|flow.NewSide|flow.FirstOfFlow|flow.FirstOfSide, now+int64(n)*10_000)
	}
	b.ReportMetric(float64(used()-begin)/float64(n), "cpu-ns/op")
	b.ReportMetric(150, "limit-ns/op")
}
