package export

import (
	"net/netip"
	"slices"
)

// sflowDatagram returns an sFlow 5 datagram; an agent that is not valid does
// not know its address.
func sflowDatagram(agent netip.Addr, subAgent, seq uint32, samples ...[]byte) []byte {
	b := be.AppendUint32(nil, 5)
	switch {
	case agent.Is4():
		b = be.AppendUint32(b, 1)
	case agent.Is6():
		b = be.AppendUint32(b, 2)
	default:
		b = be.AppendUint32(b, 0)
	}
	b = append(b, agent.AsSlice()...)
	for _, v := range []uint32{subAgent, seq, 60_000, uint32(len(samples))} {
		b = be.AppendUint32(b, v)
	}
	return append(b, slices.Concat(samples...)...)
}

// sflowItem returns a sample or a record of a sample: its format, its length
// and what it holds, filled up to four bytes.
func sflowItem(format uint32, content ...[]byte) []byte {
	all := slices.Concat(content...)
	b := be.AppendUint32(nil, format)
	b = be.AppendUint32(b, uint32(len(all)))
	b = append(b, all...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// numbers returns values of four bytes.
func numbers(values ...uint32) (b []byte) {
	for _, v := range values {
		b = be.AppendUint32(b, v)
	}
	return b
}

func sflowSampleOf(rate uint32, records ...[]byte) []byte {
	return sflowItem(flowSample, numbers(1, 2, rate, 1000, 0, 3, 4, uint32(len(records))), slices.Concat(records...))
}

func sflowExpandedOf(rate uint32, records ...[]byte) []byte {
	return sflowItem(expandedFlowSample, numbers(1, 0, 2, rate, 1000, 0, 0, 3, 0, 4, uint32(len(records))), slices.Concat(records...))
}

// sflowHeaderRecord is a raw header: its protocol, the length of the frame, what
// was stripped of it and its beginning.
func sflowHeaderRecord(protocol, frame, stripped uint32, header []byte) []byte {
	return sflowItem(rawHeader, numbers(protocol, frame, stripped, uint32(len(header))), header)
}

func sflowIPv4Record(length, proto uint32, src, dst string, sport, dport, flags uint32) []byte {
	return sflowItem(sampledIPv4, numbers(length, proto), addrBytes(src), addrBytes(dst), numbers(sport, dport, flags, 0))
}

func sflowIPv6Record(length, proto uint32, src, dst string, sport, dport, flags uint32) []byte {
	return sflowItem(sampledIPv6, numbers(length, proto), addrBytes(src), addrBytes(dst), numbers(sport, dport, flags, 0))
}

func addrBytes(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// tcp4 returns an IPv4 packet's headers of a total length: 10.0.0.1:1025 to
// 10.0.0.2:25 with TTL 63.
func tcp4(total uint16, flags byte) []byte {
	return slices.Concat(ip4(total, 6), []byte{4, 1, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 2, 0, 0, 0, 0, 0})
}

// udp4 is tcp4 for UDP.
func udp4(total uint16) []byte {
	return slices.Concat(ip4(total, 17), []byte{4, 1, 0, 25}, be.AppendUint16(nil, total-20), []byte{0, 0})
}

func ip4(total uint16, proto byte) []byte {
	b := be.AppendUint16([]byte{0x45, 0}, total)
	return append(b, 0, 0, 0, 0, 63, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
}

// tcp6 is tcp4 for IPv6: 2001:db8::1 to 2001:db8::2, with a payload length.
func tcp6(payload uint16, flags byte) []byte {
	b := be.AppendUint16([]byte{0x60, 0, 0, 0}, payload)
	b = append(b, 6, 63)
	return slices.Concat(b, addrBytes("2001:db8::1"), addrBytes("2001:db8::2"), tcp4(0, flags)[20:])
}

// ethernet puts an Ethernet header before a packet, with VLAN tags.
func ethernet(kind uint16, tags int, packet []byte) []byte {
	b := make([]byte, 12)
	for range tags {
		b = append(b, 0x81, 0, 0, 7)
	}
	return append(be.AppendUint16(b, kind), packet...)
}
