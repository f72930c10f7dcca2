package export

import (
	"net/netip"
	"slices"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

var agent = netip.MustParseAddr("198.51.100.9")

func countOf(d *Decoder, name string) (value uint64) {
	d.Counts(func(is string, n uint64) {
		if is == name {
			value = n
		}
	})
	return value
}

func TestSflowRecord(t *testing.T) {
	const syn = byte(packet.SYN)
	four := func(proto uint8, ports bool) flow.Key {
		k := flow.Key{Src: packet.Addr4(0x0a000001), Dst: packet.Addr4(0x0a000002), Proto: proto, Ports: ports}
		if ports {
			k.SrcPort, k.DstPort = 1025, 25
		}
		return k
	}
	six := four(6, true)
	six.Src, six.Dst = packet.AddrFrom(netip.MustParseAddr("2001:db8::1")), packet.AddrFrom(netip.MustParseAddr("2001:db8::2"))
	fragment := udp4(60)
	fragment[7] = 100
	cases := []struct {
		why     string
		sample  []byte
		key     flow.Key
		fwd     flow.Side
		link    uint8
		network uint64 // what NetFlow would say
		rate    uint32
	}{
		{"a SYN of 44 bytes, padded to the shortest frame, with its checksum",
			sflowSampleOf(100, sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, syn)))),
			four(6, true), flow.Side{Packets: 100, Bytes: 6400, Payload: 400, Flags: packet.SYN, TTL: 63}, 20, 4400, 100},
		{"every packet sampled",
			sflowSampleOf(1, sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, syn)))),
			four(6, true), flow.Side{Packets: 1, Bytes: 64, Payload: 4, Flags: packet.SYN, TTL: 63}, 20, 44, 1},
		{"a rate of 0 is no rate",
			sflowSampleOf(0, sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, syn)))),
			four(6, true), flow.Side{Packets: 1, Bytes: 64, Payload: 4, Flags: packet.SYN, TTL: 63}, 20, 44, 0},
		{"UDP of 64 bytes",
			sflowSampleOf(10, sflowHeaderRecord(1, 82, 4, ethernet(0x0800, 0, udp4(64)))),
			four(17, true), flow.Side{Packets: 10, Bytes: 820, Payload: 360, TTL: 63}, 18, 640, 10},
		{"UDP of 65 bytes",
			sflowSampleOf(10, sflowHeaderRecord(1, 83, 4, ethernet(0x0800, 0, udp4(65)))),
			four(17, true), flow.Side{Packets: 10, Bytes: 830, Payload: 370, TTL: 63}, 18, 650, 10},
		{"two VLAN tags, expanded sample",
			sflowExpandedOf(2, sflowHeaderRecord(1, 1526, 4, ethernet(0x0800, 2, tcp4(1500, syn)))),
			four(6, true), flow.Side{Packets: 2, Bytes: 3052, Payload: 2920, Flags: packet.SYN, TTL: 63}, 26, 3000, 2},
		{"a tag that the agent took off counts as stripped",
			sflowSampleOf(2, sflowHeaderRecord(1, 1522, 8, ethernet(0x0800, 0, tcp4(1500, syn)))),
			four(6, true), flow.Side{Packets: 2, Bytes: 3044, Payload: 2920, Flags: packet.SYN, TTL: 63}, 22, 3000, 2},
		{"IPv6",
			sflowSampleOf(3, sflowHeaderRecord(1, 98, 4, ethernet(0x86dd, 0, tcp6(40, syn)))),
			six, flow.Side{Packets: 3, Bytes: 294, Payload: 60, Flags: packet.SYN, TTL: 63}, 18, 240, 3},
		{"an IPv6 packet that segment offload joined states no length",
			sflowSampleOf(1, sflowHeaderRecord(1, 100018, 4, ethernet(0x86dd, 0, tcp6(0, syn)))),
			six, flow.Side{Packets: 1, Bytes: 100018, Payload: 99940, Flags: packet.SYN, TTL: 63}, 18, 100000, 1},
		{"header protocol IPv4, as Linux sends it for interfaces without a link layer",
			sflowSampleOf(1, sflowHeaderRecord(11, 62, 18, tcp4(44, syn))),
			four(6, true), flow.Side{Packets: 1, Bytes: 62, Payload: 4, Flags: packet.SYN, TTL: 63}, 18, 44, 1},
		{"header protocol IPv6",
			sflowSampleOf(1, sflowHeaderRecord(12, 80, 0, tcp6(40, syn))),
			six, flow.Side{Packets: 1, Bytes: 80, Payload: 20, Flags: packet.SYN, TTL: 63}, 0, 80, 1},
		{"header protocol MPLS, two labels",
			sflowSampleOf(1, sflowHeaderRecord(13, 70, 18, append([]byte{0, 1, 0, 64, 0, 2, 1, 64}, tcp4(44, syn)...))),
			four(6, true), flow.Side{Packets: 1, Bytes: 70, Payload: 4, Flags: packet.SYN, TTL: 63}, 26, 44, 1},
		{"a later fragment has no ports",
			sflowSampleOf(1, sflowHeaderRecord(1, 78, 4, ethernet(0x0800, 0, fragment))),
			four(17, false), flow.Side{Packets: 1, Bytes: 78, Payload: 40, TTL: 63}, 18, 60, 1},
		{"more stripped than the frame had",
			sflowSampleOf(1, sflowHeaderRecord(1, 62, 100, ethernet(0x0800, 0, tcp4(44, syn)))),
			four(6, true), flow.Side{Packets: 1, Bytes: 62, Payload: 4, Flags: packet.SYN, TTL: 63}, 18, 44, 1},
		{"fields of an IPv4 packet in place of its header",
			sflowSampleOf(50, sflowIPv4Record(60, 6, "10.0.0.1", "10.0.0.2", 1025, 25, uint32(syn))),
			four(6, true), flow.Side{Packets: 50, Bytes: 3000, Flags: packet.SYN}, 0, 3000, 50},
		{"fields of an ICMP packet: the ports mean nothing",
			sflowSampleOf(50, sflowIPv4Record(60, 1, "10.0.0.1", "10.0.0.2", 8, 0, 255)),
			four(1, false), flow.Side{Packets: 50, Bytes: 3000}, 0, 3000, 50},
		{"fields of an IPv6 packet",
			sflowExpandedOf(50, sflowIPv6Record(60, 6, "2001:db8::1", "2001:db8::2", 1025, 25, uint32(syn))),
			six, flow.Side{Packets: 50, Bytes: 3000, Flags: packet.SYN}, 0, 3000, 50},
		{"header and fields: the header tells more, the fields the length",
			sflowSampleOf(2, sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, syn))), sflowIPv4Record(44, 6, "10.0.0.1", "10.0.0.2", 1025, 25, 0)),
			four(6, true), flow.Side{Packets: 2, Bytes: 88, Payload: 8, Flags: packet.SYN, TTL: 63}, 0, 88, 2},
		{"a header of no IP packet and fields of one",
			sflowSampleOf(1, sflowHeaderRecord(1, 64, 4, ethernet(0x88cc, 0, nil)), sflowIPv4Record(44, 6, "10.0.0.1", "10.0.0.2", 1025, 25, 0)),
			four(6, true), flow.Side{Packets: 1, Bytes: 44}, 0, 44, 1},
		{"records of other formats, with an odd length, are skipped by it",
			sflowSampleOf(1, sflowItem(1001, make([]byte, 13)), sflowItem(5<<12|1, make([]byte, 7)), sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, syn))), sflowItem(1002)),
			four(6, true), flow.Side{Packets: 1, Bytes: 64, Payload: 4, Flags: packet.SYN, TTL: 63}, 20, 44, 1},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		got := d.Datagram(router, sflowDatagram(agent, 7, 1, c.sample), sentAt.UnixNano(), nil)
		if len(got) != 1 {
			t.Errorf("%s: %d records", c.why, len(got))
			continue
		}
		want := flow.Record{
			Key: c.key, Fwd: c.fwd, LinkHeader: c.link, End: flow.Finished,
			First: sentAt.UnixNano(), Last: sentAt.UnixNano(),
			Export: flow.Export{Exporter: packet.AddrFrom(router.Addr()), Domain: 7, Sampling: c.rate, Version: flow.SFlow5},
		}
		if got[0] != want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.why, got[0], want)
		}
		if n := got[0].NetworkBytes(&got[0].Fwd); n != c.network {
			t.Errorf("%s: %d bytes of the network layer, want %d", c.why, n, c.network)
		}
	}
}

func TestSflowWithoutRecord(t *testing.T) {
	arp := make([]byte, 28)
	good := sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, 2)))
	cases := []struct {
		why, counter string
		sample       []byte
	}{
		{"interface counters", "sflow_counter_samples", sflowItem(counterSample, numbers(1, 2, 0))},
		{"interface counters, expanded", "sflow_counter_samples", sflowItem(expandedCounterSample, numbers(1, 0, 2, 0))},
		{"packets that were discarded (sflow_drops.txt) are no flow", "sflow_other_samples", sflowItem(5, numbers(1, 0, 2, 0, 0, 0, 0, 0))},
		{"a sample of a vendor", "sflow_other_samples", sflowItem(9<<12|1, numbers(1))},
		{"ARP", "sflow_not_ip", sflowSampleOf(1, sflowHeaderRecord(1, 64, 4, ethernet(0x0806, 0, arp)))},
		{"no record that tells of an IP packet", "sflow_not_ip", sflowSampleOf(1, sflowItem(1001, numbers(1, 2, 3, 4)))},
		{"no record at all", "sflow_not_ip", sflowSampleOf(1)},
		{"a header protocol that nobody samples", "sflow_not_ip", sflowSampleOf(1, sflowHeaderRecord(2, 64, 4, tcp4(44, 2)))},
		{"MPLS without its last label", "sflow_not_ip", sflowSampleOf(1, sflowHeaderRecord(13, 64, 4, make([]byte, 8)))},
		{"an IP header that was cut", "sflow_not_ip", sflowSampleOf(1, sflowHeaderRecord(11, 64, 4, tcp4(44, 2)[:16]))},
		{"a sample without its fixed part", "sflow_bad_samples", sflowItem(flowSample, numbers(1, 2, 3))},
		{"a header longer than its record", "sflow_bad_samples", sflowSampleOf(1, sflowItem(rawHeader, numbers(1, 64, 4, 100), make([]byte, 20)))},
		{"a record of a header without its fixed part", "sflow_bad_samples", sflowSampleOf(1, sflowItem(rawHeader, numbers(1, 64, 4)))},
		{"a frame of 4 GB", "sflow_bad_samples", sflowSampleOf(1, sflowHeaderRecord(1, 1<<32-1, 4, ethernet(0x0800, 0, tcp4(44, 2))))},
		{"an IP packet of 4 GB", "sflow_bad_samples", sflowSampleOf(1, sflowIPv4Record(1<<32-1, 6, "10.0.0.1", "10.0.0.2", 1, 2, 0))},
		{"fields that are cut", "sflow_bad_samples", sflowSampleOf(1, sflowItem(sampledIPv4, numbers(60, 6, 1, 2)))},
		{"fewer records than stated", "sflow_bad_samples", sflowItem(flowSample, numbers(1, 2, 3, 4, 5, 6, 7, 1000), good)},
		{"a sample longer than the datagram", "cut_short", sflowSampleOf(1, good)[:40]},
	}
	for _, c := range cases {
		d := NewDecoder(Config{})
		if got := d.Datagram(router, sflowDatagram(agent, 0, 1, c.sample), 1, nil); len(got) != 0 || countOf(d, c.counter) != 1 {
			t.Errorf("%s: %d records, %s is %d", c.why, len(got), c.counter, countOf(d, c.counter))
		}
		if c.counter == "cut_short" {
			continue
		}
		if got := d.Datagram(router, sflowDatagram(agent, 0, 2, c.sample, sflowSampleOf(1, good)), 1, nil); len(got) != 1 {
			t.Errorf("%s: the next sample gave %d records", c.why, len(got))
		}
	}
}

func TestSflowHeader(t *testing.T) {
	sample := sflowSampleOf(1, sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, 2))))
	for _, a := range []netip.Addr{agent, netip.MustParseAddr("2001:db8::5"), {}} {
		b := sflowDatagram(a, 3, 1, sample, sample)
		d := NewDecoder(Config{})
		if got := d.Datagram(router, b, 1, nil); len(got) != 2 || got[1].Export.Domain != 3 {
			t.Errorf("agent %v: %+v", a, got)
		}
		head := len(b) - 2*len(sample)
		for n := range head {
			d := NewDecoder(Config{})
			d.Datagram(router, b[:n], 1, nil)
			if n >= 4 && countOf(d, "short_header") != 1 {
				t.Errorf("agent %v: a header of %d bytes is not short", a, n)
			}
		}
	}
	b := sflowDatagram(agent, 3, 1, sample)
	b[7] = 3
	if d := NewDecoder(Config{}); len(d.Datagram(router, b, 1, nil)) != 0 || countOf(d, "short_header") != 1 {
		t.Error("an address of no known type was read")
	}
}

func TestSflowOverride(t *testing.T) {
	d := NewDecoder(Config{Sampling: func(packet.Addr) uint32 { return 1000 }})
	got := d.Datagram(router, sflowDatagram(agent, 0, 1, sflowSampleOf(7, sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 0, tcp4(44, 2))))), 1, nil)
	if len(got) != 1 || got[0].Export.Sampling != 1000 || got[0].Packets() != 1000 || got[0].Bytes() != 64000 {
		t.Errorf("%+v", got)
	}
}

// Each agent and sub-agent of a sender counts its own datagrams.
func TestSflowSequencesAreOfAnAgent(t *testing.T) {
	other := netip.MustParseAddr("198.51.100.10")
	d := NewDecoder(Config{})
	for _, sent := range []struct {
		agent    netip.Addr
		sub, seq uint32
	}{{agent, 0, 10}, {other, 0, 5000}, {agent, 1, 90}, {agent, 0, 11}, {other, 0, 5003}, {agent, 1, 91}, {agent, 0, 12}} {
		d.Datagram(router, sflowDatagram(sent.agent, sent.sub, sent.seq), 1, nil)
	}
	type result struct {
		agent      packet.Addr
		domain     uint32
		sent, lost uint64
	}
	var got []result
	for e := range d.Exporters() {
		got = append(got, result{e.Agent, e.Domain, e.Sent, e.Lost})
		if e.Address != packet.AddrFrom(router.Addr()) || e.Version != flow.SFlow5 || e.Restarts != 0 {
			t.Errorf("%+v", e)
		}
	}
	want := []result{{packet.AddrFrom(agent), 0, 3, 0}, {packet.AddrFrom(agent), 1, 2, 0}, {packet.AddrFrom(other), 0, 2, 2}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// mixed is a datagram with all that is read of sFlow.
func mixed() []byte {
	header := sflowHeaderRecord(1, 64, 4, ethernet(0x0800, 1, tcp4(44, 2)))
	return sflowDatagram(agent, 1, 5,
		sflowSampleOf(10, header, sflowItem(1001, make([]byte, 5))),
		sflowItem(counterSample, numbers(1, 2, 0)),
		sflowExpandedOf(10, sflowHeaderRecord(13, 90, 4, append([]byte{0, 1, 1, 64}, tcp6(40, 16)...)), sflowIPv6Record(80, 6, "2001:db8::1", "2001:db8::2", 1, 2, 3)),
		sflowSampleOf(10, sflowIPv4Record(44, 17, "10.0.0.1", "10.0.0.2", 1, 2, 0)))
}

// checkSflow decodes b, whose records must be possible.
func checkSflow(t *testing.T, d *Decoder, b []byte, into []flow.Record) []flow.Record {
	const least = 8 // bytes of a sample
	into = d.Datagram(router, b, 1, into[:0])
	if len(into) > len(b)/least {
		t.Fatalf("%d bytes gave %d records", len(b), len(into))
	}
	for i := range into {
		if r := &into[i]; r.Packets() == 0 || r.Bytes() > longestFrame<<32 || r.NetworkBytes(&r.Fwd) > 2*longestFrame<<32 {
			t.Fatalf("%+v", r)
		}
	}
	return into
}

// checkMixed decodes good, which is mixed and must not suffer from what came
// before.
func checkMixed(t *testing.T, d *Decoder, good []byte, into []flow.Record) []flow.Record {
	if into = d.Datagram(router, good, 1, into[:0]); len(into) != 3 {
		t.Fatalf("a good datagram gave %d records, not 3", len(into))
	}
	return into
}

func TestSflowCutAndChanged(t *testing.T) {
	good := mixed()
	d := NewDecoder(Config{})
	into := make([]flow.Record, 0, 64)
	for n := range good {
		into = checkMixed(t, d, good, checkSflow(t, d, good[:n:n], into))
	}
	changed := slices.Clone(good)
	for i := range good {
		for v := range 256 {
			changed[i] = byte(v)
			if protocol(changed) == flow.SFlow5 {
				into = checkSflow(t, d, changed, into)
			}
		}
		changed[i] = good[i]
		into = checkMixed(t, d, good, into)
	}
}

func TestSflowAllocatesNothing(t *testing.T) {
	d := NewDecoder(Config{})
	b := mixed()
	into := d.Datagram(router, b, 1, make([]flow.Record, 0, 64))
	if n := testing.AllocsPerRun(100, func() { into = d.Datagram(router, b, 1, into[:0]) }); n != 0 || len(into) != 3 {
		t.Errorf("%v allocations for %d records", n, len(into))
	}
}

func FuzzSflow(f *testing.F) {
	f.Add(mixed()[4:])
	f.Fuzz(func(t *testing.T, b []byte) { // behind the version
		d := NewDecoder(Config{})
		checkMixed(t, d, mixed(), checkSflow(t, d, append([]byte{0, 0, 0, 5}, b...), nil))
	})
}

func BenchmarkSflow(b *testing.B) {
	header := ethernet(0x0800, 0, tcp4(1500, 16))
	header = append(header, make([]byte, 128-len(header))...)
	var samples [][]byte
	for range 7 {
		samples = append(samples, sflowSampleOf(1000, sflowHeaderRecord(1, 1518, 4, header), sflowItem(1001, make([]byte, 16))))
	}
	datagram := sflowDatagram(agent, 0, 1, samples...)
	d := NewDecoder(Config{})
	into := make([]flow.Record, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		into = d.Datagram(router, datagram, 1, into[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(into)), "ns/sample")
	b.ReportMetric(200, "limit-ns/sample")
}
