package stat

// ratios is the table of statistics. Those that netspot has use the IPv4
// counters, as it does; the names that end in _ALL use both families.
func ratios() []Statistic {
	return []Statistic{
		share("R_SYN", "SYN packets per IP packet, IPv4", "SYN", "IP"),
		markBulk(share("R_ACK", "ACK packets per IP packet, IPv4", "ACK", "IP")),
		share("R_ICMP", "ICMP packets per IP packet, IPv4", "ICMP", "IP"),
		share("R_ARP", "ARP packets per packet", "ARP", "PKTS"),
		markBulk(share("R_IP", "IPv4 packets per packet", "IP", "PKTS")),
		ratio("R_DST_SRC", "distinct destinations per distinct source, IPv4", "NB_UNIQ_DST_ADDR", "NB_UNIQ_SRC_ADDR"),
		ratio("R_DST_SRC_PORT", "distinct TCP destination ports per distinct source port, IPv4", "NB_UNIQ_DST_PORT", "NB_UNIQ_SRC_PORT"),
		markBulk(withUnit("bytes per packet", ratio("AVG_PKT_SIZE", "bytes per IP packet, IPv4", "IP_BYTES", "IP"))),
		markBulk(perSecond("TRAFFIC", "packets per second of capture time", "PKTS", "packets/s")),
		{Name: "PERF", Description: "packets per second of processing time; never monitored", Ratio: true, Grain: 1, Parts: perf},

		twinOf("R_SYN", share("R_SYN_ALL", "SYN packets per IP packet", "SYN_ALL", "IP_ALL")),
		twinOf("R_ACK", markBulk(share("R_ACK_ALL", "ACK packets per IP packet", "ACK_ALL", "IP_ALL"))),
		share("R_RST", "RST packets per IP packet", "RST_ALL", "IP_ALL"),
		share("R_FIN", "FIN packets per IP packet", "FIN_ALL", "IP_ALL"),
		markBulk(share("R_UDP", "UDP packets per IP packet", "UDP_ALL", "IP_ALL")),
		twinOf("R_ICMP", share("R_ICMP_ALL", "ICMP and ICMPv6 packets per IP packet", "ICMP_ALL", "IP_ALL")),
		share("R_FRAGMENTS", "later fragments per IP packet", "FRAGMENTS", "IP_ALL"),
		twinOf("R_DST_SRC", ratio("R_DST_SRC_ALL", "distinct destinations per distinct source", "NB_UNIQ_DST_ADDR_ALL", "NB_UNIQ_SRC_ADDR_ALL")),
		share("R_FLOWS", "distinct flows per IP packet", "NB_UNIQ_FLOWS", "IP_ALL"),
		markBulk(withUnit("bytes per pair", ratio("BYTES_PER_PAIR", "bytes of IP packets per pair of source and destination", "IP_ALL_BYTES", "NB_UNIQ_PAIRS"))),
		markBulk(perSecond("BYTE_RATE", "bytes on the wire per second of capture time", "BYTES", "bytes/s")),
		perSecond("FLOW_RATE", "new flows per second of capture time", "FLOWS_STARTED", "flows/s"),
	}
}

// share divides a counter by one of which it is a part, ratio by any other. An empty
// numerator gives 0, an empty denominator no value.
func share(name, description, numerator, denominator string) Statistic {
	s := ratio(name, description, numerator, denominator)
	s.Scale, s.Unit = Share, "share"
	return s
}

func ratio(name, description, numerator, denominator string) Statistic {
	above, below := named(numerator), named(denominator)
	return Statistic{Name: name, Description: description, Monitored: true, Ratio: true, Scale: Ratio, Grain: above.Grain,
		Parts: func(iv *Interval) (float64, float64) {
			n, _ := above.Parts(iv)
			d, _ := below.Parts(iv)
			return n, d
		}}
}

func perSecond(name, description, of, unit string) Statistic {
	count := named(of)
	return Statistic{Name: name, Description: description, Monitored: true, Ratio: true, Scale: Rate, Grain: count.Grain, Unit: unit,
		Parts: func(iv *Interval) (float64, float64) {
			n, _ := count.Parts(iv)
			return n, max(0, iv.seconds())
		}}
}

// markBulk marks what any ordinary transfer moves.
func markBulk(s Statistic) Statistic {
	s.Bulk = true
	return s
}

func withUnit(unit string, s Statistic) Statistic {
	s.Unit = unit
	return s
}

func twinOf(of string, s Statistic) Statistic {
	s.Twin = of
	return s
}

func perf(iv *Interval) (float64, float64) {
	return float64(iv.Packets), max(0, iv.Busy.Seconds())
}

// named returns a counter of the table; a name that is not there is a mistake in
// the table above, which the tests find.
func named(name string) *Statistic {
	for _, c := range counters() {
		if c.Name == name {
			return &c
		}
	}
	panic("stat: no counter " + name)
}
