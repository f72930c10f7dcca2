package packet

import "vft/ipproto"

const (
	minIPv4Header  = 20
	ipv6Header     = 40
	minARP         = 8
	arpEthernetIP4 = 28
)

// ipv4 reads what is there of the header: a broken or cut one is still an IPv4
// packet, with as many fields as it has.
func (p *Parsed) ipv4(b []byte) {
	p.Network, p.NetOff = IPv4, p.at(b)
	if len(b) < minIPv4Header {
		p.partIPv4(b)
		return
	}
	size, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if b[0]>>4 != 4 || size < minIPv4Header {
		p.fault(BadNetwork)
		return
	}
	if total == 0 { // segmentation offload writes 0: the frame tells the length
		total = p.wire() - p.NetOff
	}
	p.NetLen = total
	if total < size {
		p.fault(BadNetwork)
		return
	}
	p.TOS, p.TTL, p.Proto, p.ProtoOK, p.NextHeader = b[1], b[8], b[9], true, b[9]
	p.ID = uint32(be.Uint16(b[4:]))
	frag := be.Uint16(b[6:])
	p.DontFrag, p.MoreFrags, p.FragOffset = frag&0x4000 != 0, frag&0x2000 != 0, frag&0x1fff<<3
	p.Fragment = p.MoreFrags || p.FragOffset > 0
	p.Src, p.Dst, p.HasAddrs = Addr4(be.Uint32(b[12:])), Addr4(be.Uint32(b[16:])), true
	if size > len(b) {
		p.short(BadNetwork)
		return
	}
	p.transport(b[size:min(total, len(b))], total-size)
}

// partIPv4 reads the length and the source of a header that was cut.
func (p *Parsed) partIPv4(b []byte) {
	p.short(BadNetwork)
	if len(b) < 4 || b[0]>>4 != 4 || b[0]&15 < 5 {
		return
	}
	total := int(be.Uint16(b[2:]))
	if p.NetLen = total; total == 0 {
		p.NetLen = p.wire() - p.NetOff
	}
	if len(b) >= 16 && (total == 0 || total >= int(b[0]&15)*4) {
		p.Src = Addr4(be.Uint32(b[12:]))
	}
}

// ipv6 reads what is there of the header, as ipv4 does; but with another
// version it is no IPv6.
func (p *Parsed) ipv6(b []byte) {
	if len(b) > 0 && b[0]>>4 != 6 {
		p.fault(BadNetwork)
		return
	}
	p.Network, p.NetOff = IPv6, p.at(b)
	if len(b) < ipv6Header {
		p.short(BadNetwork)
		if len(b) >= 6 {
			p.NetLen = ipv6Header + int(be.Uint16(b[4:]))
		}
		if len(b) >= 24 {
			p.Src = addr6(b[8:])
		}
		return
	}
	length := int(be.Uint16(b[4:]))
	if length == 0 {
		length = p.unstated6(b[6])
	}
	p.NetLen = ipv6Header + length
	p.TOS, p.TTL, p.NextHeader = b[0]<<4|b[1]>>4, b[7], b[6]
	p.Src, p.Dst, p.HasAddrs = addr6(b[8:]), addr6(b[24:]), true
	p.extensions(b[6], b[ipv6Header:min(len(b), ipv6Header+length)], length)
}

// unstated6 is the payload length of an IPv6 header that states 0: that of a
// jumbogram (RFC 2675) or of segmentation offload, which the frame tells, unless
// what is there is no more than what fills a short frame up.
func (p *Parsed) unstated6(next uint8) int {
	const padding = 60 - 14 - ipv6Header // of the smallest Ethernet frame
	rest := p.wire() - p.NetOff - ipv6Header
	if next == ipproto.NoNext || rest <= padding {
		return 0
	}
	return rest
}

// extensions walks the extension headers of IPv6 (RFC 8200 section 4); each is
// at least eight bytes. length is what the header states is left.
func (p *Parsed) extensions(next uint8, b []byte, length int) {
	for {
		p.Proto, p.ProtoOK = next, true
		size := 0
		switch next {
		case ipproto.HopByHop, ipproto.Routing, ipproto.DstOpts, ipproto.Mobility, ipproto.HIP, ipproto.Shim6:
			if len(b) < 8 {
				p.short(BadNetwork)
				return
			}
			size = 8 + int(b[1])*8
		case ipproto.Fragment:
			if len(b) < 8 {
				p.short(BadNetwork)
				return
			}
			size = 8
			p.fragment6(b)
		case ipproto.AH:
			if len(b) < 8 {
				p.short(BadNetwork)
				return
			}
			size = 8 + int(b[1])*4
		default:
			p.transport(b, length)
			return
		}
		if size > len(b) {
			p.short(BadNetwork)
			return
		}
		next, b, length = b[0], b[size:], length-size
		if p.FragOffset > 0 { // what follows is the middle of something
			p.Proto = next
			p.transport(b, length)
			return
		}
	}
}

func (p *Parsed) fragment6(b []byte) {
	field := be.Uint16(b[2:])
	p.FragOffset, p.MoreFrags = field&^7, field&1 == 1
	p.Fragment = p.MoreFrags || p.FragOffset > 0
	p.ID = be.Uint32(b[4:])
}

// arp decodes ARP and RARP; addresses only for Ethernet and IPv4.
func (p *Parsed) arp(b []byte) {
	p.Network, p.NetOff = ARP, p.at(b)
	if len(b) < minARP {
		p.short(BadNetwork)
		return
	}
	p.ARPOp = be.Uint16(b[6:])
	if be.Uint16(b[2:]) != etherIPv4 || b[4] != 6 || b[5] != 4 {
		return
	}
	if len(b) < arpEthernetIP4 {
		p.short(BadNetwork)
		return
	}
	p.HasARP, p.HasAddrs = true, true
	copy(p.ARPSender[:], b[8:])
	copy(p.ARPTarget[:], b[18:])
	p.Src, p.Dst = Addr4(be.Uint32(b[14:])), Addr4(be.Uint32(b[24:]))
}
