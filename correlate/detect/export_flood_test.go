package detect

import (
	"fmt"
	"slices"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

func TestExportedFloods(t *testing.T) {
	const from, to = "203.0.113.66", "10.0.0.9"
	// burst is n records of one packet each, within a second.
	burst := func(n int, proto uint8, flags packet.Flags, bytes uint64) []flow.Record {
		return series(n, second/int64(n+1), func(i int, at int64) []flow.Record {
			return []flow.Record{half(from, uint16(1024+i), to, 80, proto, flags, 1, bytes, at)}
		})
	}
	answered := func(all []flow.Record, flags packet.Flags) (out []flow.Record) {
		for _, r := range all {
			out = append(out, r, back(r, flags, 1, 40))
		}
		return out
	}
	// long is one record of so many packets and seconds.
	long := func(proto uint8, flags packet.Flags, packets, bytes uint64, seconds int64) []flow.Record {
		r := half(from, 1024, to, 80, proto, flags, packets, packets*bytes, flowEpoch)
		r.Last += seconds * second
		return []flow.Record{r}
	}
	spoofed := series(400, second/500, func(i int, at int64) []flow.Record {
		return []flow.Record{half(fmt.Sprintf("198.51.%d.%d", i/200, i%200+1), 1024, to, 80, protoTCP, syn, 1, 40, at)}
	})
	echo := func(turned bool) []flow.Record {
		ask := long(protocolICMP, 0, 1200, 84, 3)[0]
		reply := back(ask, 0, 1200, 1200*84)
		reply.First += second / 1000
		if turned {
			return []flow.Record{reply, ask}
		}
		return []flow.Record{ask, reply}
	}
	typed := func(turned bool) []flow.Record {
		first := half("10.0.0.8", 0, "10.0.0.7", 0, protocolICMP, 0, 1, 84, flowEpoch)
		first.Export.ICMP = 8 << 8 // this exporter tells types
		all := echo(turned)
		all[0].First, all[1].First = flowEpoch, flowEpoch
		for i := range all {
			if all[i].Src == address(from) {
				all[i].Export.ICMP = 8 << 8
			}
		}
		return append([]flow.Record{first}, all...)
	}
	twice := func(all []flow.Record) []flow.Record {
		out := slices.Clone(all)
		for _, r := range all {
			r.Export.Exporter = address("192.0.2.2")
			out = append(out, r)
		}
		return out
	}
	scan := series(400, second/500, func(i int, at int64) []flow.Record {
		return []flow.Record{half(from, 40000, to, uint16(1+i), protoTCP, syn, 1, 44, at)}
	})
	for _, c := range []struct {
		why   string
		flows []flow.Record
		want  []string
	}{
		{"149 SYN in a second", burst(149, protoTCP, syn, 40), nil},
		{"150 SYN in a second", burst(150, protoTCP, syn, 40), []string{"syn_flood by " + from}},
		{"150 SYN that were accepted and broken off", answered(burst(150, protoTCP, syn|rst, 40), syn|ack), []string{"syn_flood by " + from}},
		{"1,000 connections that were used", answered(burst(1000, protoTCP, whole, 400), whole), nil},
		{"SYN from one port: one record", long(protoTCP, syn, 3000, 40, 10), []string{"syn_flood by " + from}},
		{"as many in a minute", long(protoTCP, syn, 3000, 40, 60), nil},
		{"SYN of false sources", spoofed, []string{"syn_flood by many"}},
		{"SYN to 400 ports: a scan", scan, []string{"vertical_scan by " + from}},
		{"100 SYN that two exporters saw are no more", twice(burst(100, protoTCP, syn, 40)), nil},
		{"299 flows of UDP", burst(299, protoUDP, 0, 100), nil},
		{"300 flows of UDP", burst(300, protoUDP, 0, 100), []string{"udp_flood by " + from}},
		{"1,000 flows of UDP that are answered", answered(burst(1000, protoUDP, 0, 100), 0), nil},
		{"one flow of UDP with 25,000 packets a second", long(protoUDP, 0, 250_000, 100, 10), []string{"udp_flood by " + from}},
		{"one flow of UDP with 15,000", long(protoUDP, 0, 150_000, 100, 10), nil},
		{"echo requests that are answered", echo(false), []string{"icmp_flood by " + from}},
		{"the replies are told first", echo(true), []string{"icmp_flood by " + from}},
		{"both begin at once, and the types are told", typed(false), []string{"icmp_flood by " + from}},
		{"and the replies come first", typed(true), []string{"icmp_flood by " + from}},
		{"240 echo requests a second", long(protocolICMP, 0, 2400, 84, 10), nil},
		{"300 ACK of no connection", burst(300, protoTCP, ack, 40), []string{"tcp_flood by " + from}},
		{"300 ACK that are refused", answered(burst(300, protoTCP, ack, 40), rst), []string{"tcp_flood by " + from}},
		{"300 last ACK of connections whose other side is told too", answered(burst(300, protoTCP, ack, 40), ack|fin), nil},
		{"300 RST", burst(300, protoTCP, rst, 40), []string{"tcp_flood by " + from}},
		{"300 FIN", burst(300, protoTCP, fin, 40), []string{"tcp_flood by " + from}},
		{"300 SYN/ACK that nobody asked for", burst(300, protoTCP, syn|ack, 40), []string{"tcp_flood by " + from}},
		{"one SYN of 1,000 was sampled: nine say nothing", rate(burst(9, protoTCP, syn, 40), 1000), nil},
		{"ten are 10,000", rate(burst(10, protoTCP, syn, 40), 1000), []string{"syn_flood by " + from}},
		{"sampled: as many ACK as SYN", rate(append(burst(50, protoTCP, syn, 40), burst(50, protoTCP, ack|packet.PSH, 900)...), 1000), nil},
		{"to everybody", series(400, second/500, func(i int, at int64) []flow.Record {
			return []flow.Record{half("10.0.0.5", uint16(1024+i), "10.0.0.255", 137, protoUDP, 0, 1, 78, at)}
		}), nil},
	} {
		x := newExported(t, Config{Off: []string{"slow_scan"}})
		for i := range c.flows {
			x.Flow(&c.flows[i])
		}
		for s := range int64(30) {
			x.Advance(flowEpoch + s*second)
		}
		if got := x.fired(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
}

// A destination that usually gets much needs ten times that.
func TestExportedFloodOfABusyHost(t *testing.T) {
	for _, c := range []struct {
		why  string
		last int
		want int
	}{
		{"1,300 in a second where 140 are usual", 1300, 0},
		{"1,500", 1500, 1},
	} {
		x := newExported(t, Config{Off: []string{"slow_scan", "scan"}})
		at := flowEpoch
		send := func(n int) {
			for i := range n {
				r := half(fmt.Sprintf("198.51.%d.%d", i/200, i%200+1), uint16(at/second), "10.0.0.9", 80, protoTCP, syn, 1, 40, at)
				x.Flow(&r)
			}
			at += second
			x.Advance(at)
		}
		for range 200 {
			send(140)
		}
		send(c.last)
		for range 5 {
			send(140)
		}
		if got := x.fired(); len(got) != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}
