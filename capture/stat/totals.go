package stat

import "vft/capture/packet"

// Totals sum up a whole capture.
type Totals struct {
	Counts
	Src, Dst *Set // addresses of either family
	Tuples   *Set // 5-tuples, both directions as one; later fragments have no ports
}

// NewTotals returns empty totals, exact up to three quarters of places distinct
// things; 0 means TotalPlaces.
func NewTotals(places int) *Totals {
	if places == 0 {
		places = TotalPlaces
	}
	return &Totals{Src: NewSet(places), Dst: NewSet(places), Tuples: NewSet(places)}
}

// AddEnds counts the addresses of an IP packet.
func (t *Totals) AddEnds(p *packet.Parsed) {
	t.Src.Add(hashAddr(p.Src))
	t.Dst.Add(hashAddr(p.Dst))
}

// Count is one counter of a summary.
type Count struct {
	Name  string
	Value uint64
}

// Summary returns the counters of a vft.summary record, by their names there.
func (t *Totals) Summary() []Count {
	tcp := func(mask, value packet.Flags) uint64 {
		return t.both(func(f *Family) uint64 { return f.TCP(mask, value) })
	}
	transport := func(kind packet.Transport) uint64 {
		return t.both(func(f *Family) uint64 { return f.Transport[kind].Packets })
	}
	const six = packet.FIN | packet.SYN | packet.RST | packet.PSH | packet.ACK | packet.URG
	return []Count{
		{"bytes_wire", t.Bytes},
		{"ipv4", t.V4.Packets},
		{"ipv6", t.V6.Packets},
		{"arp", t.ARP},
		{"tcp", transport(packet.TCP)},
		{"udp", transport(packet.UDP)},
		{"icmp", transport(packet.ICMP)},
		{"icmpv6", transport(packet.ICMPv6)},
		{"sctp", transport(packet.SCTP)},
		{"ip_fragment_noninitial", t.V4.Fragments + t.V6.Fragments},
		{"tcp_syn_only", tcp(packet.SYN|packet.ACK, packet.SYN)},
		{"tcp_synack", tcp(packet.SYN|packet.ACK, packet.SYN|packet.ACK)},
		{"tcp_rst", tcp(packet.RST, packet.RST)},
		{"tcp_fin", tcp(packet.FIN, packet.FIN)},
		{"tcp_null", tcp(six, 0)},
		{"tcp_xmas", tcp(six, packet.FIN|packet.PSH|packet.URG)},
		{"unique_src_ip", t.Src.Count()},
		{"unique_dst_ip", t.Dst.Count()},
		{"unique_5tuple_bidirectional", t.Tuples.Count()},
		{"ip_bytes", ipBytes(&t.Counts)},
		{"bytes_captured", t.Captured},
		{"non_ip", t.NonIP},
		{"vlan_tagged", t.VLAN},
		{"malformed", t.Malformed},
	}
}

// Exact reports whether the distinct counts of the summary are exact.
func (t *Totals) Exact() bool { return t.Src.Exact() && t.Dst.Exact() && t.Tuples.Exact() }
