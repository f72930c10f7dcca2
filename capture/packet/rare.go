package packet

import "encoding/binary"

// rareLink decodes the link types that few captures have.
func (p *Parsed) rareLink(link LinkType, b []byte) {
	switch link {
	case LinkCHDLC:
		p.ciscoHDLC(b)
	case LinkFrelay:
		p.frameRelay(b)
	case LinkATM1483:
		p.llc(b)
	case LinkATMCLIP:
		p.classicalIP(b)
	case LinkNFLog:
		p.nflog(b)
	case LinkPPI:
		p.ppi(b)
	case LinkPKTAP, linkPKTAPUser:
		p.pktap(b)
	case LinkIPNet:
		p.after(b, 24, (*Parsed).rawIP)
	case LinkIPoIB:
		p.ipoib(b)
	case LinkFDDI:
		p.after(b, 13, (*Parsed).llc)
	case LinkARCnet:
		p.arcnet(b)
	case LinkWPAN, LinkWPANFCS, LinkWPANPHY, LinkWPANTAP:
		p.wpan(link, b)
	default:
		if !p.juniper(link, b) {
			p.fault(UnknownLink)
		}
	}
}

func (p *Parsed) ciscoHDLC(b []byte) {
	const slarp = 0x8035 // serial line ARP, not RARP
	if len(b) < 4 {
		p.short(ShortLink)
		return
	}
	if t := be.Uint16(b[2:]); t != slarp {
		p.etherType(t, b[4:])
		return
	}
	p.fault(UnknownNetwork)
}

// frameRelay decodes a Q.922 address of two to four bytes, then RFC 2427, or
// the Cisco variant: an EtherType.
func (p *Parsed) frameRelay(b []byte) {
	n := 0
	for n < 4 && n < len(b) {
		n++
		if b[n-1]&1 == 1 { // extension bit: last byte of the address
			break
		}
	}
	if n < 2 || len(b) < n+2 {
		p.short(ShortLink)
		return
	}
	b = b[n:]
	if b[0] != 3 {
		p.etherType(be.Uint16(b), b[2:])
		return
	}
	b = b[1:]
	if b[0] == 0 { // padding to an even boundary
		b = b[1:]
	}
	p.nlpid(b)
}

func (p *Parsed) classicalIP(b []byte) {
	if len(b) >= 3 && b[0] == 0xaa && b[1] == 0xaa && b[2] == 3 {
		p.llc(b)
		return
	}
	p.ipv4(b)
}

// nflog finds the packet among the type-length-values of an NFLOG message.
func (p *Parsed) nflog(b []byte) {
	const payload = 9
	if len(b) < 4 {
		p.short(ShortLink)
		return
	}
	for b = b[4:]; len(b) >= 4; {
		size, kind := int(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint16(b[2:])
		if size < 4 { // would never end
			break
		}
		if kind == payload {
			p.rawIP(b[4:])
			return
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	p.short(ShortLink)
}

// ppi skips the per-packet information of CACE and decodes the frame by its DLT.
func (p *Parsed) ppi(b []byte) {
	if len(b) < 8 {
		p.short(ShortLink)
		return
	}
	size, link := int(binary.LittleEndian.Uint16(b[2:])), LinkType(binary.LittleEndian.Uint32(b[4:]))
	p.nested(b, size, 8, link)
}

// pktap skips Apple's header and decodes the frame by its DLT.
func (p *Parsed) pktap(b []byte) {
	if len(b) < 12 {
		p.short(ShortLink)
		return
	}
	size, link := binary.LittleEndian.Uint32(b), LinkType(binary.LittleEndian.Uint32(b[8:]))
	p.nested(b, int(min(size, 1<<16)), 12, link)
}

// nested decodes a frame of type link that starts at b[size:], size being at
// least least.
func (p *Parsed) nested(b []byte, size, least int, link LinkType) {
	if size < least || size > len(b) {
		p.short(ShortLink)
		return
	}
	if link == LinkPPI || link == LinkPKTAP || link == linkPKTAPUser { // no nesting without end
		p.fault(UnknownLink)
		return
	}
	p.decodeLink(link, b[size:])
}

func (p *Parsed) ipoib(b []byte) {
	if len(b) < 44 { // the global routing header of 40 bytes, then the type
		p.short(ShortLink)
		return
	}
	p.etherType(be.Uint16(b[40:]), b[44:])
}

// arcnet decodes the form of Linux: two addresses, an offset, a protocol, and
// in RFC 1201 but not in RFC 1051 three bytes more.
func (p *Parsed) arcnet(b []byte) {
	if len(b) < 8 {
		p.short(ShortLink)
		return
	}
	switch b[4] {
	case 0xd4:
		p.etherType(etherIPv4, b[8:])
	case 0xf0:
		p.etherType(etherIPv4, b[5:])
	case 0xd5:
		p.etherType(etherARP, b[8:])
	case 0xf1:
		p.etherType(etherARP, b[5:])
	case 0xc4:
		p.etherType(etherIPv6, b[8:])
	default:
		p.fault(UnknownNetwork)
	}
}
