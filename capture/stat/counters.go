package stat

import "vft/capture/packet"

// counters is the table of counters. Those that netspot has count IPv4 alone,
// as it does; the names that end in _ALL count both families, as do all others.
func counters() []Statistic {
	return []Statistic{
		counter("PKTS", "packets", func(iv *Interval) uint64 { return iv.Packets }),
		counter("IP", "IPv4 packets", func(iv *Interval) uint64 { return iv.V4.Packets }),
		ofBytes("IP_BYTES", "bytes of IPv4 packets, headers included", func(iv *Interval) uint64 { return iv.V4.Bytes }),
		tcp4("SYN", packet.SYN, "with SYN, SYN+ACK too"),
		tcp4("ACK", packet.ACK, "with ACK"),
		tcp4("FIN", packet.FIN, "with FIN"),
		tcp4("RST", packet.RST, "with RST"),
		tcp4("URG", packet.URG, "with URG"),
		transport4("UDP", packet.UDP),
		transport4("ICMP", packet.ICMP),
		counter("ARP", "ARP packets", func(iv *Interval) uint64 { return iv.Counts.ARP }),
		counter("NB_UNIQ_SRC_ADDR", "distinct IPv4 source addresses", func(iv *Interval) uint64 { return iv.Src4.Count() }),
		counter("NB_UNIQ_DST_ADDR", "distinct IPv4 destination addresses", func(iv *Interval) uint64 { return iv.Dst4.Count() }),
		counter("NB_UNIQ_SRC_PORT", "distinct TCP source ports over IPv4", func(iv *Interval) uint64 { return iv.TCPSrc4.Count() }),
		counter("NB_UNIQ_DST_PORT", "distinct TCP destination ports over IPv4", func(iv *Interval) uint64 { return iv.TCPDst4.Count() }),

		ofBytes("BYTES", "bytes on the wire", func(iv *Interval) uint64 { return iv.Bytes }),
		counter("IPV6", "IPv6 packets", func(iv *Interval) uint64 { return iv.V6.Packets }),
		ofBytes("IPV6_BYTES", "bytes of IPv6 packets, headers included", func(iv *Interval) uint64 { return iv.V6.Bytes }),
		counter("IP_ALL", "IP packets", func(iv *Interval) uint64 { return ipPackets(&iv.Counts) }),
		ofBytes("IP_ALL_BYTES", "bytes of IP packets, headers included", func(iv *Interval) uint64 { return ipBytes(&iv.Counts) }),
		counter("TCP", "TCP packets", transportBoth(packet.TCP)),
		ofBytes("TCP_BYTES", "bytes of TCP packets, IP headers included", bytesBoth(packet.TCP)),
		counter("UDP_ALL", "UDP packets", transportBoth(packet.UDP)),
		ofBytes("UDP_BYTES", "bytes of UDP packets, IP headers included", bytesBoth(packet.UDP)),
		counter("ICMPV6", "ICMPv6 packets", transportBoth(packet.ICMPv6)),
		counter("ICMP_ALL", "ICMP and ICMPv6 packets", func(iv *Interval) uint64 { return icmpPackets(&iv.Counts) }),
		ofBytes("ICMP_BYTES", "bytes of ICMP and ICMPv6 packets, IP headers included", func(iv *Interval) uint64 {
			return bytesBoth(packet.ICMP)(iv) + bytesBoth(packet.ICMPv6)(iv)
		}),
		counter("SCTP", "SCTP packets", transportBoth(packet.SCTP)),
		tcpAll("SYN_ALL", packet.SYN, packet.SYN, "with SYN, SYN+ACK too"),
		tcpAll("SYN_ONLY", packet.SYN|packet.ACK, packet.SYN, "with SYN and without ACK"),
		tcpAll("SYNACK", packet.SYN|packet.ACK, packet.SYN|packet.ACK, "with SYN and ACK"),
		tcpAll("ACK_ALL", packet.ACK, packet.ACK, "with ACK"),
		tcpAll("FIN_ALL", packet.FIN, packet.FIN, "with FIN"),
		tcpAll("RST_ALL", packet.RST, packet.RST, "with RST"),
		tcpAll("URG_ALL", packet.URG, packet.URG, "with URG"),
		tcpAll("PSH", packet.PSH, packet.PSH, "with PSH"),
		counter("FRAGMENTS", "later fragments", func(iv *Interval) uint64 { return iv.V4.Fragments + iv.V6.Fragments }),
		counter("MALFORMED", "packets whose headers contradict their protocol", func(iv *Interval) uint64 { return iv.Malformed }),
		counter("NB_UNIQ_SRC_ADDR_ALL", "distinct source addresses", func(iv *Interval) uint64 { return iv.Src4.Count() + iv.Src6.Count() }),
		counter("NB_UNIQ_DST_ADDR_ALL", "distinct destination addresses", func(iv *Interval) uint64 { return iv.Dst4.Count() + iv.Dst6.Count() }),
		counter("NB_UNIQ_PAIRS", "distinct pairs of source and destination address", func(iv *Interval) uint64 { return iv.Pairs.Count() }),
		counter("NB_UNIQ_SRC_PORT_ALL", "distinct TCP source ports", func(iv *Interval) uint64 { return iv.TCPSrc4.CountWith(&iv.TCPSrc6) }),
		counter("NB_UNIQ_DST_PORT_ALL", "distinct TCP destination ports", func(iv *Interval) uint64 { return iv.TCPDst4.CountWith(&iv.TCPDst6) }),
		counter("NB_UNIQ_UDP_SRC_PORT", "distinct UDP source ports", func(iv *Interval) uint64 { return iv.UDPSrc.Count() }),
		counter("NB_UNIQ_UDP_DST_PORT", "distinct UDP destination ports", func(iv *Interval) uint64 { return iv.UDPDst.Count() }),
		counter("FLOWS_STARTED", "flows that began", func(iv *Interval) uint64 { return iv.FlowsStarted }),
		counter("NB_UNIQ_FLOWS", "distinct 5-tuples, both directions as one", (*Interval).UniqueFlows),
		counter("NB_UNIQ_TUPLES", "distinct 5-tuples, each direction for itself", (*Interval).UniqueSides),
	}
}

func counter(name, description string, of func(*Interval) uint64) Statistic {
	return Statistic{Name: name, Description: description, Monitored: true, Scale: Rate, Grain: 1,
		Parts: func(iv *Interval) (float64, float64) { return float64(of(iv)), 1 }}
}

// ofBytes is a counter of bytes.
func ofBytes(name, description string, of func(*Interval) uint64) Statistic {
	s := counter(name, description, of)
	s.Grain = 1000
	return s
}

func tcp4(name string, flag packet.Flags, description string) Statistic {
	return counter(name, "TCP packets over IPv4 "+description, func(iv *Interval) uint64 { return iv.V4.TCP(flag, flag) })
}

func tcpAll(name string, mask, value packet.Flags, description string) Statistic {
	return counter(name, "TCP packets "+description, func(iv *Interval) uint64 {
		return iv.both(func(f *Family) uint64 { return f.TCP(mask, value) })
	})
}

func transport4(name string, t packet.Transport) Statistic {
	return counter(name, name+" packets over IPv4", func(iv *Interval) uint64 { return iv.V4.Transport[t].Packets })
}

func transportBoth(t packet.Transport) func(*Interval) uint64 {
	return func(iv *Interval) uint64 { return iv.V4.Transport[t].Packets + iv.V6.Transport[t].Packets }
}

func bytesBoth(t packet.Transport) func(*Interval) uint64 {
	return func(iv *Interval) uint64 { return iv.V4.Transport[t].Bytes + iv.V6.Transport[t].Bytes }
}

func ipPackets(c *Counts) uint64 { return c.V4.Packets + c.V6.Packets }
func ipBytes(c *Counts) uint64   { return c.V4.Bytes + c.V6.Bytes }

func icmpPackets(c *Counts) uint64 {
	return c.V4.Transport[packet.ICMP].Packets + c.V6.Transport[packet.ICMPv6].Packets
}
