package export

import (
	"bytes"
	"testing"

	"vft/capture/flow"
)

// datagramsOf returns a datagram with the template of a version, nil when it has
// none, and one full of records, with their number.
func datagramsOf(v flow.Version) (template, data []byte, records int) {
	switch v {
	case flow.NetFlow9:
		return netflow9Of(1, 0, set(0, templateOf(256, usual...))), netflow9Of(1, 1, set(256, bytes.Repeat(usualRecord(), 30))), 30
	case flow.IPFIX:
		return ipfixOf(1, 0, set(2, templateOf(256, modern...))), ipfixOf(1, 0, set(256, bytes.Repeat(modernRecord(), 24))), 24
	}
	return nil, fixedDatagram(v, 30, 0), 30
}

var limits = map[flow.Version]float64{flow.NetFlow5: 100, flow.NetFlow9: 200, flow.IPFIX: 200}

func BenchmarkDecode(b *testing.B) {
	for _, v := range []flow.Version{flow.NetFlow5, flow.NetFlow9, flow.IPFIX} {
		b.Run(v.String(), func(b *testing.B) {
			d := NewDecoder(Config{})
			template, data, records := datagramsOf(v)
			into := d.Datagram(router, template, sentAt.UnixNano(), make([]flow.Record, 0, 64))
			for b.Loop() {
				into = d.Datagram(router, data, sentAt.UnixNano(), into[:0])
			}
			if len(into) != records {
				b.Fatalf("%d records, want %d", len(into), records)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
			b.ReportMetric(limits[v], "limit-ns/record")
		})
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	for _, v := range []flow.Version{flow.NetFlow1, flow.NetFlow5, flow.NetFlow7, flow.NetFlow9, flow.IPFIX} {
		d := NewDecoder(Config{})
		template, data, records := datagramsOf(v)
		into := d.Datagram(router, template, sentAt.UnixNano(), make([]flow.Record, 0, 64))
		got := testing.AllocsPerRun(100, func() {
			d.Datagram(router, template, sentAt.UnixNano(), into[:0]) // again the same, as exporters do
			into = d.Datagram(router, data, sentAt.UnixNano(), into[:0])
		})
		if got != 0 || len(into) != records {
			t.Errorf("%v: %v allocations, %d records; want 0, %d", v, got, len(into), records)
		}
	}
}

// Fields of variable length, both directions, samplers, pieces of packets and
// repeated templates cost no allocation either.
func TestDecodingAllAllocatesNothing(t *testing.T) {
	for version, whole := range samples() {
		if version == flow.IPFIX {
			whole = bytes.Clone(whole[:len(whole)-8]) // without the withdrawal
			be.PutUint16(whole[2:], uint16(len(whole)))
		}
		d := NewDecoder(Config{})
		into := d.Datagram(router, whole, sentAt.UnixNano(), make([]flow.Record, 0, 64))
		if got := testing.AllocsPerRun(100, func() { into = d.Datagram(router, whole, sentAt.UnixNano(), into[:0]) }); got != 0 || len(into) < 2 {
			t.Errorf("%v: %v allocations, %d records", version, got, len(into))
		}
	}
}
