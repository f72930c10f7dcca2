package sensor

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"vft/capture/export"
	"vft/capture/flow"
	"vft/ipproto"
)

var be = binary.BigEndian

// wire sends flows as an exporter does, one in a datagram, and decodes them.
type wire struct {
	version  flow.Version
	decoder  *export.Decoder
	sequence uint32
}

func newWire(v flow.Version) *wire {
	return &wire{version: v, decoder: export.NewDecoder(export.Config{})}
}

// boot is when the exporter started, milliseconds since 1970.
const bootBefore = 1_000_000

// send returns what the decoder makes of r, which must be of IPv4.
func (w *wire) send(t testing.TB, r flow.Record) flow.Record {
	t.Helper()
	var b []byte
	switch w.version {
	case flow.NetFlow5:
		b = w.netflow5(&r)
	case flow.NetFlow9:
		b = w.netflow9(&r)
	case flow.IPFIX:
		b = w.ipfix(&r)
	case flow.SFlow5:
		b = w.sflow(&r)
	}
	w.sequence++
	got := w.decoder.Datagram(netip.MustParseAddrPort("192.0.2.1:2055"), b, r.Last, nil)
	if len(got) != 1 || got[0].Last != r.Last || got[0].Key != r.Key || got[0].Fwd.Packets != r.Fwd.Packets || got[0].NetworkBytes(&got[0].Fwd) != r.Fwd.Bytes || got[0].Fwd.Flags != r.Fwd.Flags {
		t.Fatalf("%s: %+v became %+v", w.version, r, got)
	}
	return got[0]
}

// times returns when a datagram with r is sent, in whole seconds, the
// milliseconds since the start then, and those at which r ended.
func times(r *flow.Record) (seconds, uptime, last uint32) {
	boot := epoch/1e6 - bootBefore
	at := (r.Last + second - 1) / second
	return uint32(at), uint32(at*1000 - boot), uint32(r.Last/1e6 - boot)
}

func addresses(r *flow.Record) []byte {
	return slices.Concat(r.Src.Netip().AsSlice(), r.Dst.Netip().AsSlice())
}

func (w *wire) netflow5(r *flow.Record) []byte {
	seconds, uptime, last := times(r)
	b := []byte{0, 5, 0, 1}
	for _, v := range []uint32{uptime, seconds, 0, w.sequence, 0} {
		b = be.AppendUint32(b, v)
	}
	b = append(b, addresses(r)...)
	for _, v := range []uint32{0, 0, uint32(r.Fwd.Packets), uint32(r.Fwd.Bytes), last, last, uint32(r.SrcPort)<<16 | uint32(r.DstPort)} {
		b = be.AppendUint32(b, v)
	}
	return append(b, 0, byte(r.Fwd.Flags), r.Proto, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// fields are a template and the record that goes with it, but for the times.
func fields(r *flow.Record) (template []uint16, data []byte) {
	template = []uint16{8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 6, 1, 2, 4, 1, 4}
	data = addresses(r)
	data = be.AppendUint16(data, r.SrcPort)
	data = be.AppendUint16(data, r.DstPort)
	data = append(data, r.Proto, byte(r.Fwd.Flags))
	data = be.AppendUint32(data, uint32(r.Fwd.Packets))
	return template, be.AppendUint32(data, uint32(r.Fwd.Bytes))
}

// sets returns a set with a template and one with its record.
func sets(templateSet uint16, template []uint16, data []byte) (b []byte) {
	b = be.AppendUint16(b, templateSet)
	b = be.AppendUint16(b, uint16(8+2*len(template)))
	for _, v := range append([]uint16{256, uint16(len(template) / 2)}, template...) {
		b = be.AppendUint16(b, v)
	}
	b = be.AppendUint16(b, 256)
	b = be.AppendUint16(b, uint16(4+len(data)))
	return append(b, data...)
}

func (w *wire) netflow9(r *flow.Record) []byte {
	seconds, uptime, last := times(r)
	template, data := fields(r)
	template = append(template, 22, 4, 21, 4)
	data = be.AppendUint32(be.AppendUint32(data, last), last)
	b := []byte{0, 9, 0, 2}
	for _, v := range []uint32{uptime, seconds, w.sequence, 0} {
		b = be.AppendUint32(b, v)
	}
	return append(b, sets(0, template, data)...)
}

func (w *wire) ipfix(r *flow.Record) []byte {
	seconds, _, _ := times(r)
	template, data := fields(r)
	template = append(template, 152, 8, 153, 8)
	data = be.AppendUint64(be.AppendUint64(data, uint64(r.Last/1e6)), uint64(r.Last/1e6))
	body := sets(2, template, data)
	b := be.AppendUint16([]byte{0, 10}, uint16(16+len(body)))
	for _, v := range []uint32{seconds, w.sequence, 0} {
		b = be.AppendUint32(b, v)
	}
	return append(b, body...)
}

// sflow samples the only packet of r, of an Ethernet without checksums.
func (w *wire) sflow(r *flow.Record) []byte {
	frame := append(make([]byte, 12), 8, 0, 0x45, 0)
	frame = be.AppendUint16(frame, uint16(r.Fwd.Bytes))
	frame = append(frame, 0, 0, 0, 0, 64, r.Proto, 0, 0)
	frame = append(frame, addresses(r)...)
	frame = be.AppendUint16(be.AppendUint16(frame, r.SrcPort), r.DstPort)
	if r.Proto == ipproto.TCP {
		frame = append(frame, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, byte(r.Fwd.Flags), 4, 0, 0, 0, 0, 0)
	} else {
		frame = append(be.AppendUint16(frame, uint16(r.Fwd.Bytes-20)), 0, 0)
	}
	for len(frame)%4 != 0 {
		frame = append(frame, 0)
	}
	numbers := func(values ...uint32) (b []byte) {
		for _, v := range values {
			b = be.AppendUint32(b, v)
		}
		return b
	}
	raw := append(numbers(1, uint32(r.Fwd.Bytes)+14, 0, uint32(len(frame))), frame...)
	sample := append(numbers(w.sequence, 2, 1, 1000, 0, 3, 4, 1, 1, uint32(len(raw))), raw...)
	return append(numbers(5, 1, 0xc0000201, 0, w.sequence, 60000, 1, 1, uint32(len(sample))), sample...)
}
