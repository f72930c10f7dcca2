package detect

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// wire plays frames into Detections as a capture does.
type wire struct {
	*Detections
	table   *flow.Table
	p       packet.Parsed
	now     int64
	records []event.Event
}

const start = int64(1_700_000_000) * second

func newWire(cfg Config) *wire {
	w := &wire{now: start, table: flow.NewTable(flow.Config{Seed: 1})}
	cfg.Emit = func(e event.Event) { w.records = append(w.records, e) }
	w.Detections = New(cfg)
	return w
}

func (w *wire) send(frame []byte, wait int64) {
	w.now += wait
	w.p.Decode(packet.LinkEthernet, frame, len(frame))
	w.Packet(&w.p, w.table.Packet(&w.p, w.now), w.now)
}

// fired closes the capture and returns what fired of one type.
func (w *wire) fired(t *testing.T, kind string) (out []event.Event) {
	t.Helper()
	w.Close()
	wellFormed(t, kind, w.records)
	for _, e := range w.records {
		if e.Threat.State == event.Firing && e.Threat.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

func ethernet(dst, src byte, kind uint16, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src}
	if dst == 255 {
		copy(b, []byte{255, 255, 255, 255, 255, 255})
	}
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func ip4(src, dst string, proto byte, payload []byte) []byte {
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	a, b := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(h[12:], a[:])
	copy(h[16:], b[:])
	return ethernet(2, 1, 0x800, append(h, payload...))
}

func udp(src string, sport uint16, dst string, dport uint16, payload []byte) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	return ip4(src, dst, 17, append(h, payload...))
}

func tcp(src string, sport uint16, dst string, dport uint16, flags packet.Flags, seq, ack uint32, payload string) []byte {
	h := make([]byte, 32)
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13] = 8<<4, byte(flags)
	binary.BigEndian.PutUint16(h[14:], 64240)
	for i := 20; i < 32; i++ {
		h[i] = 1
	}
	return ip4(src, dst, 6, append(h, payload...))
}

func arp(op uint16, srcMAC byte, src string, dstMAC byte, dst string, to byte) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, byte(op)}
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	b = slices.Concat(b, []byte{2, 0, 0, 0, 0, srcMAC}, s[:], []byte{2, 0, 0, 0, 0, dstMAC}, d[:])
	return ethernet(to, srcMAC, 0x806, b)
}

const (
	request = 1
	reply   = 2
	all     = 255 // the last byte of the MAC that stands for everybody
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
