package ecs

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"

	"vft/ipproto"
)

// communityID appends the Community ID, version 1 with seed 0, of a flow: the
// same string in both directions, and the same as Zeek and Suricata write
// (github.com/corelight/community-id-spec). The ports of an ICMP flow are its
// type and code; where the type is not known the string is that of an echo.
func (r record) communityID(protocol byte, source, destination netip.AddrPort) record {
	a, b := source, destination
	twoWay := true
	switch protocol {
	case ipproto.ICMP:
		a, b, twoWay = answers(a, b, icmpAnswer)
	case ipproto.ICMPv6:
		if a.Port() == 0 { // the type is not told; in ICMP 0 is an echo already
			a = netip.AddrPortFrom(a.Addr(), echoRequest6)
		}
		a, b, twoWay = answers(a, b, icmpv6Answer)
	}
	if twoWay && a.Compare(b) > 0 {
		a, b = b, a
	}
	// seed, addresses, protocol, padding, ports: big endian.
	var room [40]byte
	flow := room[:2]
	flow = appendAddress(flow, a.Addr())
	flow = appendAddress(flow, b.Addr())
	flow = append(flow, protocol, 0)
	if protocol == ipproto.TCP || protocol == ipproto.UDP || protocol == ipproto.SCTP ||
		protocol == ipproto.ICMP || protocol == ipproto.ICMPv6 {
		flow = binary.BigEndian.AppendUint16(flow, a.Port())
		flow = binary.BigEndian.AppendUint16(flow, b.Port())
	}
	sum := sha1.Sum(flow)
	r = append(r, `"1:`...)
	return record(base64.StdEncoding.AppendEncode(r, sum[:])).quote()
}

func appendAddress(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(b, four[:]...)
	}
	sixteen := a.As16()
	return append(b, sixteen[:]...)
}

// answers replaces the ports of an ICMP flow, its type and code, by the type
// of each direction, and reports whether the type has an answer at all. Without
// one the ports stay and the flow keeps its direction.
func answers(a, b netip.AddrPort, answer func(uint16) (uint16, bool)) (netip.AddrPort, netip.AddrPort, bool) {
	kind, ok := answer(a.Port())
	if !ok {
		return a, b, false
	}
	return a, netip.AddrPortFrom(b.Addr(), kind), true
}

// icmpAnswer pairs the types of RFC 792, RFC 950 and RFC 1256.
func icmpAnswer(kind uint16) (uint16, bool) {
	switch kind {
	case 0, 8: // echo
		return 8 - kind, true
	case 9, 10: // router advertisement and solicitation
		return 19 - kind, true
	case 13, 14: // timestamp
		return 27 - kind, true
	case 15, 16: // information
		return 31 - kind, true
	case 17, 18: // address mask
		return 35 - kind, true
	}
	return 0, false
}

const echoRequest6 = 128

// icmpv6Answer pairs the types of RFC 4443, RFC 4861, RFC 2710, RFC 4620 and
// RFC 4065.
func icmpv6Answer(kind uint16) (uint16, bool) {
	switch kind {
	case 128, 129: // echo
		return 257 - kind, true
	case 130, 131: // multicast listener query and report
		return 261 - kind, true
	case 133, 134: // router solicitation and advertisement
		return 267 - kind, true
	case 135, 136: // neighbour solicitation and advertisement
		return 271 - kind, true
	case 139, 140: // node information
		return 279 - kind, true
	case 144, 145: // home agent address discovery
		return 289 - kind, true
	}
	return 0, false
}
