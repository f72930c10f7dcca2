package sensor

import (
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

const liveKeys = 1 << 16

// stranger returns the address of the i-th of many sources.
func stranger(i int) packet.Addr { return packet.Addr4(0x0b000000 + uint32(i)) }

// stream makes flows of 65,536 sources, one millisecond apart, in one record
// that is used again, as a decoder does: a half are probes, a quarter go to a mail
// port, the rest concern no sensor.
type stream struct {
	flow.Record
	kinds [4]flow.Record
	state uint64
	n     int64
}

func newStream() *stream {
	s := &stream{state: 1}
	for i := range s.kinds {
		s.kinds[i] = tcp("10.0.0.1", "10.1.0.1", 80, 2, 60, 0)
	}
	s.kinds[1].DstPort, s.kinds[1].Fwd = 25, flow.Side{Packets: 20, Bytes: 9000, Flags: 27}
	s.kinds[2].DstPort, s.kinds[2].Fwd = 443, flow.Side{Packets: 20, Bytes: 9000, Flags: 27}
	return s
}

func (s *stream) next() *flow.Record {
	s.state = s.state*6364136223846793005 + 1442695040888963407
	s.Record = s.kinds[s.n&3]
	s.Src, s.Dst = stranger(int(s.state>>32)&(liveKeys-1)), packet.Addr4(0x0a010000+uint32(s.state>>16)&0xffff)
	s.n++
	s.First, s.Last = epoch+s.n*second/1000, epoch+s.n*second/1000
	return &s.Record
}

// BenchmarkFlow measures the step of the three built-in sensors with 65,536 live
// keys each.
func BenchmarkFlow(b *testing.B) {
	l := listen(b, parse(b, ""), func(c *Config) { c.Emit = nil })
	l.fill(liveKeys)
	flows := newStream()
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpuTime()
	for range b.N {
		l.Flow(flows.next())
	}
	b.ReportMetric(float64((cpuTime()-begin).Nanoseconds())/float64(b.N), "ns/flow")
	b.ReportMetric(300, "limit-ns/flow")
	b.ReportMetric(float64(l.Bytes())/(2*liveKeys), "bytes/key")
	b.ReportMetric(200, "limit-bytes/key")
}

// fill gives so many sources a window in each of the sensors that have windows.
func (l *listener) fill(sources int) {
	for i := range sources {
		probe, mail := tcp("10.0.0.1", "10.1.0.1", 80, 2, 60, 0), tcp("10.0.0.1", "10.1.0.1", 25, 27, 900, 0)
		probe.Src, mail.Src = stranger(i), stranger(i)
		l.give(probe, mail)
	}
}

// BenchmarkConditions measures sensors that keep all that there is, decided by
// bounds, by arithmetic, and by the machine of expr.
func BenchmarkConditions(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"bounds", "count > 5 and distinct(dst) > 30 and sum(bytes) > 1000000000"},
		{"truth", "sum(bytes) / count > 1000000 or distinct(dst) * 2 > 100000"},
		{"program", "sum(bytes) / count > 1000000 or distinct(dst) % 1000 == 999"},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := listen(b, parse(b, "builtin: off\nsensors: {wide: {window: {period: 60s}, report_if: "+c.text+"}}"), func(c *Config) { c.Emit = nil })
			flows := newStream()
			for range 4 * liveKeys {
				l.Flow(flows.next())
			}
			b.ReportAllocs()
			b.ResetTimer()
			begin := cpuTime()
			for range b.N {
				l.Flow(flows.next())
			}
			b.ReportMetric(float64((cpuTime()-begin).Nanoseconds())/float64(b.N), "ns/flow")
			b.ReportMetric(float64(l.Bytes())/liveKeys, "bytes/key")
		})
	}
}

// BenchmarkStrangers measures flows of ever new sources, each of which drives
// another one out.
func BenchmarkStrangers(b *testing.B) {
	l := listen(b, parse(b, ""), func(c *Config) { c.Emit = nil })
	l.fill(liveKeys)
	r := tcp("10.0.0.1", "10.1.0.1", 80, 2, 60, 0)
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpuTime()
	for i := range b.N {
		r.Src = stranger(liveKeys + i)
		l.Flow(&r)
	}
	b.ReportMetric(float64((cpuTime()-begin).Nanoseconds())/float64(b.N), "ns/flow")
	b.ReportMetric(300, "limit-ns/flow")
}
