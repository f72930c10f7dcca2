package stat

// ratios is the table of statistics. Those that netspot has use the IPv4
// counters, as it does; the names that end in _ALL use both families.
func ratios() []Statistic {
	return []Statistic{
		ratio("R_SYN", "SYN packets per IP packet, IPv4", "SYN", "IP"),
		ratio("R_ACK", "ACK packets per IP packet, IPv4", "ACK", "IP"),
		ratio("R_ICMP", "ICMP packets per IP packet, IPv4", "ICMP", "IP"),
		ratio("R_ARP", "ARP packets per packet", "ARP", "PKTS"),
		ratio("R_IP", "IPv4 packets per packet", "IP", "PKTS"),
		ratio("R_DST_SRC", "distinct destinations per distinct source, IPv4", "NB_UNIQ_DST_ADDR", "NB_UNIQ_SRC_ADDR"),
		ratio("R_DST_SRC_PORT", "distinct TCP destination ports per distinct source port, IPv4", "NB_UNIQ_DST_PORT", "NB_UNIQ_SRC_PORT"),
		ratio("AVG_PKT_SIZE", "bytes per IP packet, IPv4", "IP_BYTES", "IP"),
		perSecond("TRAFFIC", "packets per second of capture time", "PKTS"),
		{Name: "PERF", Description: "packets per second of processing time; never monitored", Ratio: true, Value: perf},

		ratio("R_SYN_ALL", "SYN packets per IP packet", "SYN_ALL", "IP_ALL"),
		ratio("R_ACK_ALL", "ACK packets per IP packet", "ACK_ALL", "IP_ALL"),
		ratio("R_RST", "RST packets per IP packet", "RST_ALL", "IP_ALL"),
		ratio("R_FIN", "FIN packets per IP packet", "FIN_ALL", "IP_ALL"),
		ratio("R_UDP", "UDP packets per IP packet", "UDP_ALL", "IP_ALL"),
		ratio("R_ICMP_ALL", "ICMP and ICMPv6 packets per IP packet", "ICMP_ALL", "IP_ALL"),
		ratio("R_FRAGMENTS", "later fragments per IP packet", "FRAGMENTS", "IP_ALL"),
		ratio("R_DST_SRC_ALL", "distinct destinations per distinct source", "NB_UNIQ_DST_ADDR_ALL", "NB_UNIQ_SRC_ADDR_ALL"),
		ratio("R_FLOWS", "distinct flows per IP packet", "NB_UNIQ_FLOWS", "IP_ALL"),
		ratio("BYTES_PER_PAIR", "bytes of IP packets per pair of source and destination", "IP_ALL_BYTES", "NB_UNIQ_PAIRS"),
		perSecond("BYTE_RATE", "bytes on the wire per second of capture time", "BYTES"),
		perSecond("FLOW_RATE", "new flows per second of capture time", "FLOWS_STARTED"),
	}
}

// ratio divides one counter by another. An empty numerator gives 0, an empty
// denominator no value.
func ratio(name, description, numerator, denominator string) Statistic {
	above, below := named(numerator), named(denominator)
	return Statistic{Name: name, Description: description, Monitored: true, Ratio: true,
		Value: func(iv *Interval) (float64, bool) {
			n, _ := above(iv)
			d, _ := below(iv)
			if d == 0 {
				return 0, false
			}
			return n / d, true
		}}
}

func perSecond(name, description, of string) Statistic {
	value := named(of)
	return Statistic{Name: name, Description: description, Monitored: true, Ratio: true,
		Value: func(iv *Interval) (float64, bool) {
			n, _ := value(iv)
			if iv.End <= iv.Start {
				return 0, false
			}
			return n / iv.seconds(), true
		}}
}

func perf(iv *Interval) (float64, bool) {
	if iv.Busy <= 0 {
		return 0, false
	}
	return float64(iv.Packets) / iv.Busy.Seconds(), true
}

// named returns the value of a counter of the table; a name that is not there
// is a mistake in the table above, which the tests find.
func named(name string) func(*Interval) (float64, bool) {
	for _, c := range counters() {
		if c.Name == name {
			return c.Value
		}
	}
	panic("stat: no counter " + name)
}
