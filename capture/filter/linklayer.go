package filter

// Numbers of what a link layer carries: EtherTypes, and below 1501 LLC service
// access points.
const (
	etherIP     = 0x0800
	etherARP    = 0x0806
	etherRARP   = 0x8035
	etherIP6    = 0x86dd
	etherMPLS   = 0x8847
	etherPPPoED = 0x8863
	etherPPPoES = 0x8864
	llcSTP      = 0x42
	maxLength   = 1500 // an Ethernet type field up to here is a length

	pppIP   = 0x21
	pppIP6  = 0x57
	pppSTP  = 0x31
	pppMPLS = 0x281

	sllLLC = 4 // what a cooked header says of a frame with an LLC header

	familyIP = 2 // AF_INET, everywhere
)

// layout is where the type field and the payload of a link layer begin.
type layout struct{ ethertype, payload uint32 }

var layouts = map[LinkType]layout{
	LinkNull: {0, 4}, LinkLoop: {0, 4}, LinkEthernet: {12, 14}, LinkSLL: {14, 16}, LinkSLL2: {0, 20},
	LinkPPP: {2, 4}, LinkPPPHDLC: {2, 4}, LinkCHDLC: {2, 4},
	LinkRaw: {}, LinkRaw12: {}, LinkRaw14: {}, LinkIPv4: {}, LinkIPv6: {},
}

// special are EtherTypes and service access points that pcap-filter looks for in
// more than one encapsulation.
var special = map[uint32]string{0xfe: "iso", 0x06: "LLC ip", 0xf0: "netbeui", 0xe0: "ipx", 0x809b: "atalk",
	0x80f3: "aarp", 0x6003: "decnet", 0x0600: "ns"}

// etherType tests what the link layer carries.
func (g *generator) etherType(number uint32, column int) fragment {
	if g.labels > 0 {
		return g.belowLabels(number, column)
	}
	switch g.link {
	case LinkEthernet:
		if number <= maxLength {
			return g.typeField(jgt, maxLength).not().and(g.equal(atPayload, 0, octet, number))
		}
	case LinkSLL:
		if number <= maxLength {
			return g.typeField(jeq, sllLLC).and(g.equal(atPayload, 0, octet, number))
		}
	case LinkPPP, LinkPPPHDLC:
		return g.typeField(jeq, pppNumber(number))
	case LinkNull, LinkLoop:
		return g.family(number)
	case LinkRaw, LinkRaw12, LinkRaw14, LinkIPv4, LinkIPv6:
		return g.rawVersion(number)
	}
	return g.typeField(jeq, number)
}

func (g *generator) typeField(op uint16, k uint32) fragment {
	return g.test([]stmt{{classLd | abs | half, g.ethertype}}, op, k)
}

func pppNumber(number uint32) uint32 {
	switch number {
	case etherIP:
		return pppIP
	case etherIP6:
		return pppIP6
	case llcSTP:
		return pppSTP
	}
	return number
}

// family tests the address family of a loopback header. That of IPv6 is 30 where
// Darwin wrote the file, 24 on NetBSD and OpenBSD, 28 on FreeBSD.
func (g *generator) family(number uint32) fragment {
	is := func(family uint32) fragment {
		if g.link == LinkNull && !g.bigEndian {
			family <<= 24 // a load is big-endian, the field is not
		}
		return g.equal(atHeader, 0, word, family)
	}
	switch number {
	case etherIP:
		return is(familyIP)
	case etherIP6:
		return is(30).or(is(24).or(is(28)))
	}
	return g.never()
}

// rawVersion tests the version of an IP header that nothing precedes.
func (g *generator) rawVersion(number uint32) fragment {
	only := g.link == LinkIPv4 && number == etherIP || g.link == LinkIPv6 && number == etherIP6
	switch {
	case only:
		return g.always()
	case g.link == LinkIPv4 || g.link == LinkIPv6:
		return g.never()
	case number == etherIP:
		return g.equalMasked(atPayload, 0, octet, 0x40, 0xf0)
	case number == etherIP6:
		return g.equalMasked(atPayload, 0, octet, 0x60, 0xf0)
	}
	return g.never()
}

// belowLabels tests what an MPLS stack carries: the label before is the last one
// and the header has the version of IP.
func (g *generator) belowLabels(number uint32, column int) fragment {
	version := uint32(0x40)
	switch number {
	case etherIP:
	case etherIP6:
		version = 0x60
	default:
		return g.fail(column, "after mpls only ip and ip6 can be told")
	}
	return g.bottomOfStack(1).and(g.equalMasked(atPayload, 0, octet, version, 0xf0))
}

// bottomOfStack tests the S bit of the label before the network layer (RFC 3032).
func (g *generator) bottomOfStack(s uint32) fragment {
	return g.equalMasked(atPayload, ^uint32(1), octet, s, 1)
}

// mpls tests for a label and moves the network layer behind it.
func (g *generator) mpls(n *primitive) fragment {
	var found fragment
	switch {
	case g.labels > 0:
		found = g.bottomOfStack(0)
	case g.link == LinkEthernet || g.link == LinkCHDLC:
		found = g.etherType(etherMPLS, n.column)
	case g.link == LinkPPP:
		found = g.typeField(jeq, pppMPLS)
	default:
		return g.fail(n.column, "this link type carries no mpls")
	}
	if n.number != nil {
		if n.number.value > 0xfffff {
			return g.fail(n.number.column, "a label is at most 1048575")
		}
		found = found.and(g.equalMasked(atPayload, 0, word, n.number.value<<12, 0xfffff000))
	}
	g.labels += 4
	return found
}

// vlan tests for a tag and moves the type field and the payload behind it. Tags
// of 802.1Q, 802.1ad and the old 0x9100 count.
func (g *generator) vlan(n *primitive) fragment {
	if g.labels > 0 {
		return g.fail(n.column, "there is no vlan after mpls")
	}
	if g.link != LinkEthernet {
		return g.fail(n.column, "only Ethernet carries vlan tags")
	}
	found := g.typeField(jeq, 0x8100).or(g.typeField(jeq, 0x88a8)).or(g.typeField(jeq, 0x9100))
	if n.number != nil {
		if n.number.value > 0xfff {
			return g.fail(n.number.column, "a vlan is at most 4095")
		}
		found = found.and(g.equalMasked(atPayload, 0, half, n.number.value, 0xfff))
	}
	g.ethertype += 4
	g.payload += 4
	return found
}

// pppoes tests for a PPPoE session (RFC 2516) and goes on behind its header,
// with PPP as the link layer.
func (g *generator) pppoes(n *primitive) fragment {
	found := g.etherType(etherPPPoES, n.column)
	if n.number != nil {
		if n.number.value > 0xffff {
			return g.fail(n.number.column, "a session is at most 65535")
		}
		found = found.and(g.equalMasked(atPayload, 0, word, n.number.value, 0xffff))
	}
	g.link = LinkPPP
	g.header = g.payload + g.labels + 6
	g.ethertype = g.header
	g.payload = g.header + 2
	g.labels = 0
	return found
}

func (g *generator) broadcast(n *primitive) fragment {
	switch {
	case n.proto == ip:
		return g.fail(n.column, "the mask of the network is not known; write the address")
	case n.proto != noProto && n.proto != link:
		return g.fail(n.column, "only the link layer has a broadcast address")
	case g.link != LinkEthernet:
		return g.fail(n.column, "this link type has no broadcast address")
	}
	return g.hardware([6]byte{255, 255, 255, 255, 255, 255}, destination)
}

func (g *generator) multicast(n *primitive) fragment {
	switch n.proto {
	case ip:
		return g.etherType(etherIP, n.column).and(g.test(g.load(atPayload, 16, octet), jge, 224))
	case ip6:
		return g.etherType(etherIP6, n.column).and(g.equal(atPayload, 24, octet, 255))
	case noProto, link:
		if g.link == LinkEthernet {
			return g.test(g.load(atHeader, 0, octet), jset, 1)
		}
		return g.fail(n.column, "this link type has no multicast addresses; write ip multicast or ip6 multicast")
	}
	return g.fail(n.column, "only the link layer, ip and ip6 have multicast addresses")
}
