package detect

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
)

// rounds repeats a small capture; each round has other IPv4 addresses and goes
// on where the last one ended.
type rounds struct {
	packets []capture.Packet
	at      int
	round   uint32
	span    int64
}

func newRounds(tb testing.TB, path string) *rounds {
	r := &rounds{}
	file := capture.File{Paths: []string{path}}
	if _, err := file.Run(context.Background(), func(p *capture.Packet) {
		c := *p
		c.Data = slices.Clone(p.Data)
		r.packets = append(r.packets, c)
	}); err != nil {
		tb.Fatal(err)
	}
	r.span = r.packets[len(r.packets)-1].Time - r.packets[0].Time + 1e6
	return r
}

func (r *rounds) next() *capture.Packet {
	if r.at == len(r.packets) {
		r.at = 0
		r.round++
	}
	p := &r.packets[r.at]
	r.at++
	p.Time += r.span
	if binary.BigEndian.Uint16(p.Data[12:]) == 0x0800 {
		binary.BigEndian.PutUint16(p.Data[14+13:], uint16(r.round))
		binary.BigEndian.PutUint16(p.Data[14+17:], uint16(r.round))
	}
	return p
}

// BenchmarkPacket is what the detections add to each packet of ordinary traffic:
// the whole, less the same loop without them.
func BenchmarkPacket(b *testing.B) {
	const packets = 1_000_000
	loop := func(each func(*packet.Parsed, flow.Touch, int64)) float64 {
		in := newRounds(b, "../../testdata/mixed.pcap")
		table := flow.NewTable(flow.Config{Seed: 1})
		var p packet.Parsed
		begin := b.Elapsed()
		for range packets {
			pkt := in.next()
			p.Decode(pkt.Link, pkt.Data, pkt.Wire)
			each(&p, table.Packet(&p, pkt.Time), pkt.Time)
		}
		return float64(b.Elapsed()-begin) / packets
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
	for b.Loop() {
		n++
		p.Src, p.SrcPort, p.Seq = packet.Addr4(n*2654435761), uint16(n), n
		d.Packet(p, flow.NewFlow|flow.NewSide|flow.FirstOfFlow|flow.FirstOfSide, now+int64(n)*10_000)
	}
	b.ReportMetric(150, "limit-ns/op")
}
