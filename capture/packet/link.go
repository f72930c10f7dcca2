package packet

import "encoding/binary"

var be = binary.BigEndian

// EtherType values (IEEE 802 Numbers, IANA).
const (
	etherIPv4     = 0x0800
	etherARP      = 0x0806
	etherTEB      = 0x6558 // transparent Ethernet bridging
	etherRARP     = 0x8035
	etherVLAN     = 0x8100
	etherIPv6     = 0x86dd
	etherTRILL    = 0x22f3
	etherPBB      = 0x88e7 // IEEE 802.1ah: a service id, then Ethernet
	etherFabric   = 0x8903 // Cisco FabricPath: two bytes, then Ethernet
	etherTTag     = 0x8988 // Cisco time stamp
	etherCMD      = 0x8909 // Cisco metadata
	etherVNTag    = 0x8926
	etherHSR      = 0x892f // IEC 62439-3
	etherRTag     = 0xf1c1 // IEEE 802.1CB
	etherNSH      = 0x894f
	etherMACsec   = 0x88e5
	etherPPP      = 0x880b
	etherMPLS     = 0x8847
	etherMPLSmc   = 0x8848
	etherPPPoE    = 0x8864
	etherQinQ     = 0x88a8
	etherOldQinQ1 = 0x9100
	etherOldQinQ2 = 0x9200
	maxLength     = 1500 // a smaller type field is an IEEE 802.3 length
)

func (p *Parsed) ethernet(b []byte) {
	if len(b) < 14 {
		p.short(ShortLink)
		return
	}
	p.LinkOff = p.at(b)
	p.HasMAC = true
	copy(p.DstMAC[:], b)
	copy(p.SrcMAC[:], b[6:])
	p.etherType(be.Uint16(b[12:]), b[14:])
}

// etherType decodes what follows a type field. Every turn of the loop consumes
// a tag.
func (p *Parsed) etherType(t uint16, b []byte) {
	for {
		size := 0 // of the tag; its last two bytes are the next type
		switch t {
		case etherVLAN, etherQinQ, etherOldQinQ1, etherOldQinQ2:
			size = 4
		case etherVNTag, etherHSR, etherRTag:
			size = 6
		case etherCMD, etherTTag:
			size = 8
		case etherMACsec:
			size = macsecSize(b)
		}
		if size == 0 {
			p.EtherType = t
			p.protocol(t, b)
			return
		}
		if len(b) < size {
			p.short(ShortLink)
			return
		}
		if size == 4 {
			p.vlan(be.Uint16(b))
		}
		t, b = be.Uint16(b[size-2:]), b[size:]
	}
}

// macsecSize returns the size of an IEEE 802.1AE tag whose content is plain,
// the type behind it included; 0 when it is encrypted.
func macsecSize(b []byte) int {
	const encrypted, changed, explicit = 0x08, 0x04, 0x20
	switch {
	case len(b) > 0 && b[0]&(encrypted|changed) != 0:
		return 0
	case len(b) > 0 && b[0]&explicit != 0:
		return 16
	}
	return 8
}

func (p *Parsed) vlan(tci uint16) {
	if int(p.VLANs) < len(p.VLAN) {
		p.VLAN[p.VLANs] = tci & 0x0fff
	}
	if p.VLANs < 255 {
		p.VLANs++
	}
}

// protocol decodes a network layer, or a shim before it, by its EtherType.
func (p *Parsed) protocol(t uint16, b []byte) {
	switch t {
	case etherIPv4:
		p.ipv4(b)
	case etherIPv6:
		p.ipv6(b)
	case etherARP, etherRARP:
		p.arp(b)
	case etherMPLS, etherMPLSmc:
		p.mpls(b)
	case etherPPPoE:
		p.pppoe(b)
	case etherPPP:
		p.ppp(b)
	case etherTEB:
		p.ethernet(b)
	case etherFabric:
		p.after(b, 2, (*Parsed).ethernet)
	case etherPBB:
		p.after(b, 4, (*Parsed).ethernet)
	case etherTRILL:
		p.trill(b)
	case etherNSH:
		p.serviceHeader(b)
	default:
		if t <= maxLength {
			p.llc(b)
			return
		}
		p.fault(UnknownNetwork)
	}
}

// llc decodes IEEE 802.2, with SNAP (RFC 1042) when it says so.
func (p *Parsed) llc(b []byte) {
	if len(b) < 3 {
		p.short(ShortLink)
		return
	}
	const (
		sapSNAP, sapIP, sapISO = 0xaa, 0x06, 0xfe
		information            = 3    // unnumbered; nothing else carries a packet
		pollFinal              = 0x10 // of the control field
		response               = 1    // of the source's access point
	)
	if b[1]&^response != b[0] || b[2]&^pollFinal != information {
		p.fault(UnknownNetwork)
		return
	}
	switch b[0] {
	case sapSNAP:
		p.snap(b[3:])
	case sapIP: // RFC 948
		p.etherType(etherIPv4, b[3:])
	case sapISO:
		p.nlpid(b[3:])
	default:
		p.fault(UnknownNetwork)
	}
}

func (p *Parsed) snap(b []byte) {
	if len(b) < 5 {
		p.short(ShortLink)
		return
	}
	oui, pid := uint32(b[0])<<16|uint32(be.Uint16(b[1:])), be.Uint16(b[3:])
	switch {
	case oui == 0 || oui == 0x0000f8: // encapsulated Ethernet, IEEE 802.1H
		p.etherType(pid, b[5:])
	case oui == 0x0080c2 && (pid == 7 || pid == 1): // RFC 2684 bridged Ethernet without and with FCS, after two bytes of padding
		p.after(b[5:], 2, (*Parsed).ethernet)
	case oui == 0x00000c && p.interSwitch(): // VLAN, port index and two bytes more, then the frame
		p.vlan(pid >> 1)
		p.after(b[5:], 4, (*Parsed).ethernet)
	default:
		p.fault(UnknownNetwork)
	}
}

// interSwitch reports whether a frame goes to an address that Cisco's ISL uses
// for frames in frames.
func (p *Parsed) interSwitch() bool {
	d := &p.DstMAC
	return p.HasMAC && (d[0] == 0x01 || d[0] == 0x03) && d[1] == 0 && d[2] == 0x0c && d[3] == 0 && d[4] == 0
}

// trill decodes a TRILL header (RFC 6325 section 3): options, then Ethernet.
func (p *Parsed) trill(b []byte) {
	if len(b) < 6 {
		p.short(ShortLink)
		return
	}
	options := int(be.Uint16(b)>>6&0x1f) * 4
	p.after(b, 6+options, (*Parsed).ethernet)
}

// nlpid decodes by an ISO/IEC TR 9577 protocol identifier, as frame relay uses it (RFC 2427).
func (p *Parsed) nlpid(b []byte) {
	if len(b) < 1 {
		p.short(ShortLink)
		return
	}
	switch b[0] {
	case 0xcc:
		p.etherType(etherIPv4, b[1:])
	case 0x8e:
		p.etherType(etherIPv6, b[1:])
	case 0x80:
		p.snap(b[1:])
	case 0xcf:
		p.ppp(b[1:])
	default:
		p.fault(UnknownNetwork)
	}
}

// mpls removes labels (RFC 3032) and guesses what follows by its first nibble,
// as RFC 4928 section 3 lets it.
func (p *Parsed) mpls(b []byte) {
	for {
		if len(b) < 4 {
			p.short(ShortLink)
			return
		}
		bottom := b[2]&1 == 1
		b = b[4:]
		if bottom {
			break
		}
	}
	if len(b) == 0 {
		p.short(ShortLink)
		return
	}
	switch b[0] >> 4 {
	case 4:
		p.etherType(etherIPv4, b)
	case 6:
		p.etherType(etherIPv6, b)
	case 0: // control word of an Ethernet pseudowire (RFC 4448)
		p.after(b, 4, (*Parsed).ethernet)
	default:
		p.fault(UnknownNetwork)
	}
}

// serviceHeader decodes a network service header (RFC 8300).
func (p *Parsed) serviceHeader(b []byte) {
	if len(b) < 8 {
		p.short(ShortLink)
		return
	}
	size := int(b[1]&0x3f) * 4
	if size < 8 || size > len(b) {
		p.short(ShortLink)
		return
	}
	switch b[3] {
	case 1:
		p.etherType(etherIPv4, b[size:])
	case 2:
		p.etherType(etherIPv6, b[size:])
	case 3:
		p.ethernet(b[size:])
	case 5:
		p.etherType(etherMPLS, b[size:])
	default:
		p.fault(UnknownNetwork)
	}
}

// pppoe decodes a PPPoE session header (RFC 2516).
func (p *Parsed) pppoe(b []byte) {
	if len(b) < 6 {
		p.short(ShortLink)
		return
	}
	if b[1] != 0 { // discovery, no PPP inside
		p.fault(UnknownNetwork)
		return
	}
	p.ppp(b[6:])
}

// ppp decodes PPP (RFC 1661), in HDLC framing (RFC 1662) or not; the protocol
// number may be compressed to one odd byte.
func (p *Parsed) ppp(b []byte) {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
		b = b[2:]
	} else if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0 { // Cisco HDLC in a PPP capture
		p.etherType(be.Uint16(b[2:]), b[4:])
		return
	}
	if len(b) < 2 {
		p.short(ShortLink)
		return
	}
	proto, n := be.Uint16(b), 2
	if b[0]&1 == 1 {
		proto, n = uint16(b[0]), 1
	}
	switch proto {
	case 0x0021:
		p.etherType(etherIPv4, b[n:])
	case 0x0057:
		p.etherType(etherIPv6, b[n:])
	case 0x0281:
		p.etherType(etherMPLS, b[n:])
	default:
		p.fault(UnknownNetwork)
	}
}

// sll decodes the Linux cooked header, version 1.
func (p *Parsed) sll(b []byte) {
	if len(b) < 16 {
		p.short(ShortLink)
		return
	}
	p.cooked(be.Uint16(b[2:]), be.Uint16(b[4:]), b[6:14], be.Uint16(b[14:]), b[16:])
}

// sll2 decodes the Linux cooked header, version 2.
func (p *Parsed) sll2(b []byte) {
	if len(b) < 20 {
		p.short(ShortLink)
		return
	}
	p.cooked(be.Uint16(b[8:]), uint16(b[11]), b[12:20], be.Uint16(b), b[20:])
}

// cooked goes on after a Linux cooked header: hardware is an ARPHRD_ value,
// which tells what protocol means.
func (p *Parsed) cooked(hardware, addrLen uint16, addr []byte, protocol uint16, b []byte) {
	const (
		arphrdFrad     = 770
		arphrdRadiotap = 803
		arphrdNetlink  = 824
		protoLLC       = 0x0004
		protoNovell    = 0x0001
	)
	if addrLen == 6 {
		p.HasMAC = true
		copy(p.SrcMAC[:], addr)
	}
	switch {
	case hardware == arphrdRadiotap:
		p.radiotap(b)
	case hardware == arphrdNetlink, protocol == protoNovell:
		p.fault(UnknownNetwork)
	case hardware == arphrdFrad:
		p.frameRelay(b)
	case protocol == protoLLC:
		p.llc(b)
	case protocol <= maxLength:
		p.fault(UnknownNetwork)
	default:
		p.etherType(protocol, b)
	}
}

// loopback decodes the address family of BSD loopback captures. The writer's
// byte order is not known; families are small, so the order that gives a small
// number is right.
func (p *Parsed) loopback(b []byte) {
	if len(b) < 4 {
		p.short(ShortLink)
		return
	}
	family := be.Uint32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case 2:
		p.etherType(etherIPv4, b[4:])
	case 10, 24, 28, 30: // Linux; NetBSD and OpenBSD; FreeBSD; Darwin
		p.etherType(etherIPv6, b[4:])
	default:
		if family > maxLength {
			p.etherType(uint16(min(family, 0xffff)), b[4:])
			return
		}
		p.fault(UnknownNetwork)
	}
}

func (p *Parsed) rawIP(b []byte) {
	switch {
	case len(b) == 0:
		p.short(ShortLink)
	case b[0]>>4 == 4:
		p.ipv4(b)
	case b[0]>>4 == 6:
		p.ipv6(b)
	default:
		p.fault(UnknownNetwork)
	}
}
