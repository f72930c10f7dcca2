package packetlog

import (
	"testing"

	"vft/capture/packet"
)

// BenchmarkPacket is the whole cost of a packet of a few busy flows, writes and
// rotation included.
func BenchmarkPacket(b *testing.B) {
	for _, c := range []struct {
		name  string
		size  int
		limit float64
	}{{"64B", 64, 200}, {"1514B", 1514, 2500}, {"65549B", 65549, 150_000}} {
		b.Run(c.name, func(b *testing.B) {
			l := open(b, Config{})
			data := frame(c.size, 1)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l.Packet(key(n%8), packet.LinkEthernet, start+int64(n)*1000, c.size, data)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/packet")
			b.ReportMetric(c.limit, "limit-ns/packet")
			l.Close()
		})
	}
}

// BenchmarkFlow is the cost of a flow of one packet: that ends before it is
// written, and that gets a file. Files are removed behind the measurement:
// ext4 makes files slowly for seconds after many were removed.
func BenchmarkFlow(b *testing.B) {
	for _, c := range []struct {
		name    string
		written bool
		limit   float64
	}{{"InMemory", false, 3000}, {"WithFile", true, 100_000}} {
		b.Run(c.name, func(b *testing.B) {
			l := open(b, Config{MaxFlows: 1 << 24, Quota: 1 << 40})
			data := frame(1514, 1)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l.Packet(key(n), packet.LinkEthernet, start+int64(n)*1000, len(data), data)
				if c.written {
					l.Advance(l.next)
				} else {
					l.End(key(n))
				}
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/flow")
			b.ReportMetric(c.limit, "limit-ns/flow")
			l.Close()
		})
	}
}
