package detect

import (
	"fmt"
	"slices"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

const (
	syn     = packet.SYN
	ack     = packet.ACK
	fin     = packet.FIN
	rst     = packet.RST
	whole   = syn | ack | packet.PSH | fin
	minute5 = 300 * second
)

// probe is a SYN that nothing answered, as scanners send it.
func probe(src, dst string, port uint16, at int64) flow.Record {
	return half(src, 40000, dst, port, protoTCP, syn, 1, 44, at)
}

func hostName(i int) string { return fmt.Sprintf("10.0.%d.%d", i/200, i%200+1) }

// series calls each n times, so many nanoseconds apart.
func series(n int, apart int64, each func(i int, at int64) []flow.Record) (all []flow.Record) {
	for i := range n {
		all = append(all, each(i, flowEpoch+int64(i)*apart)...)
	}
	return all
}

func rate(all []flow.Record, n uint32) []flow.Record {
	for i := range all {
		all[i].Export.Sampling = n
		all[i].Fwd.Packets *= uint64(n)
		all[i].Fwd.Bytes *= uint64(n)
	}
	return all
}

func TestExportedScans(t *testing.T) {
	const from, to = "203.0.113.66", "10.0.0.9"
	horizontal := func(n int, apart int64) []flow.Record {
		return series(n, apart, func(i int, at int64) []flow.Record { return []flow.Record{probe(from, hostName(i), 23, at)} })
	}
	vertical := func(n int, how packet.Flags, apart int64) []flow.Record {
		return series(n, apart, func(i int, at int64) []flow.Record {
			return []flow.Record{half(from, 40000, to, uint16(1+i), protoTCP, how, 1, 44, at)}
		})
	}
	refused := func(n int, answerFirst bool) []flow.Record {
		return series(n, second, func(i int, at int64) []flow.Record {
			p := probe(from, hostName(i), 23, at)
			all := []flow.Record{p, back(p, rst|ack, 1, 40)}
			if answerFirst {
				slices.Reverse(all)
			}
			return all
		})
	}
	visits := func(n int, apart int64) []flow.Record {
		return series(n, apart, func(i int, at int64) []flow.Record {
			p := half(from, uint16(40000+i), hostName(i), 23, protoTCP, whole, 8, 900, at)
			return []flow.Record{p, back(p, whole, 7, 2000)}
		})
	}
	udpProbes := func(n int, apart int64) []flow.Record {
		return series(n, apart, func(i int, at int64) []flow.Record {
			return []flow.Record{half(from, 40000, to, uint16(2000+i), protoUDP, 0, 1, 60, at)}
		})
	}
	other := func(all []flow.Record, exporter string) []flow.Record {
		all = slices.Clone(all)
		for i := range all {
			all[i].Export.Exporter = address(exporter)
		}
		return all
	}
	for _, c := range []struct {
		why   string
		flows []flow.Record
		want  []string
	}{
		{"24 hosts that do not answer on a port are one too few", horizontal(24, second), nil},
		{"25 are a scan", horizontal(25, second), []string{"horizontal_scan by " + from}},
		{"25 hosts in just five minutes", horizontal(25, minute5/25), []string{"horizontal_scan by " + from}},
		{"25 hosts in ten minutes are no scan at this speed", horizontal(25, 2*minute5/25), nil},
		{"24 hosts, each told by two exporters, are no more than 24", append(horizontal(24, second), other(horizontal(24, second), "192.0.2.2")...), nil},
		{"24 hosts that are tried twice are no more than 24", append(horizontal(24, second), horizontal(24, second)...), nil},
		{"three hosts that refuse", refused(3, false), nil},
		{"four that refuse are enough for the random walk", refused(4, false), []string{"horizontal_scan by " + from}},
		{"whatever direction is told first", refused(4, true), []string{"horizontal_scan by " + from}},
		{"four that refuse after one that accepts", append(append(refused(1, false), visits(9, second)[4:]...), refused(4, false)[1:]...), nil},
		{"hosts that are reached", visits(100, second), nil},
		{"14 ports of a host are one too few", vertical(14, syn, second), nil},
		{"15 are a scan", vertical(15, syn, second), []string{"vertical_scan by " + from}},
		{"broken off half open", vertical(15, syn|rst, second), []string{"vertical_scan by " + from}},
		{"FIN alone", vertical(15, fin, second), []string{"vertical_scan by " + from}},
		{"FIN, PSH and URG", vertical(15, fin|packet.PSH|packet.URG, second), []string{"vertical_scan by " + from}},
		{"ACK alone", vertical(15, ack, second), []string{"vertical_scan by " + from}},
		{"no flags at all: the exporter does not tell them", vertical(100, 0, second), nil},
		{"no flags, and others have some", append(visits(1, second), vertical(15, 0, second)...), []string{"vertical_scan by " + from}},
		{"ports that are used", series(40, second, func(i int, at int64) []flow.Record {
			p := half(from, 40000, to, uint16(1+i), protoTCP, whole, 8, 900, at)
			return []flow.Record{p, back(p, whole, 7, 2000)}
		}), nil},
		{"14 ports of UDP that do not answer", udpProbes(14, second), nil},
		{"15 ports of UDP", udpProbes(15, second), []string{"vertical_scan by " + from}},
		{"traceroute", series(60, second/10, func(i int, at int64) []flow.Record {
			return []flow.Record{half(from, 40000, to, uint16(33434+i), protoUDP, 0, 1, 60, at)}
		}), nil},
		{"answers of DNS whose questions another exporter saw", series(60, second/10, func(i int, at int64) []flow.Record {
			return []flow.Record{half(to, 53, from, uint16(40000+i), protoUDP, 0, 1, 60, at)}
		}), nil},
		{"one SYN of twenty was sampled: 15 ports", rate(vertical(15, syn, second), 20), []string{"vertical_scan by " + from}},
		{"sampled: hosts of which SYN and ACK are seen by turns", rate(series(60, second, func(i int, at int64) []flow.Record {
			p, live := probe(from, hostName(i), 443, at), half(from, 40001, hostName(i+100), 443, protoTCP, ack, 1, 1500, at)
			return []flow.Record{live, p, live}
		}), 20), nil},
		{"answers to what another host sent with a false source", series(40, second, func(i int, at int64) []flow.Record {
			return []flow.Record{half(hostName(i), 80, from, 40000, protoTCP, rst|ack, 1, 40, at)}
		}), nil},
	} {
		x := newExported(t, Config{Off: []string{"slow_scan"}})
		for i := range c.flows {
			x.Advance(c.flows[i].Last)
			x.Flow(&c.flows[i])
		}
		x.Advance(flowEpoch + 400*second)
		if got := x.fired(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
}

// What was found says who saw it, how it was done and what it hit.
func TestExportedScanSaysWhoSawIt(t *testing.T) {
	x := newExported(t, Config{Observer: "collector"})
	for i := range 15 {
		r := half("2001:db8::66", 40000, "fd00::9", uint16(1+i), protoTCP, syn, 1, 80, flowEpoch)
		x.Flow(&r)
	}
	x.fired()
	if len(x.records) < 2 || x.records[0].Threat.Observer != "192.0.2.1" || x.records[0].Threat.Details["scan"] != "connect" || x.records[0].Threat.Details["distinct_ports"] != 15 {
		t.Errorf("%+v", x.records)
	}
}
