package packet

import "vft/ipproto"

const (
	portVXLAN  = 4789
	portGeneve = 6081
	portGTPU   = 2152
)

// tunnel decodes the packet inside b, when b is one of the known tunnels, and
// reports whether it did. What is inside replaces what was decoded so far: the
// bytes get fewer with every turn, so the nesting ends.
func (p *Parsed) tunnel(b []byte) bool {
	outer := *p
	switch p.Proto {
	case ipproto.IPIP, ipproto.IPv6:
		p.restart().rawIP(b)
	case ipproto.GRE:
		p.gre(b)
	case ipproto.AH:
		p.ah(b)
	case ipproto.UDP:
		p.udpTunnel(b)
	}
	if p.Network != NonIP && p.NetOff > outer.NetOff {
		return true
	}
	*p = outer
	return false
}

// restart forgets the outer network layer.
func (p *Parsed) restart() *Parsed {
	*p = Parsed{Inner: p.Inner, Link: p.Link, Data: p.Data, Wire: p.Wire,
		HasMAC: p.HasMAC, SrcMAC: p.SrcMAC, DstMAC: p.DstMAC, VLANs: p.VLANs, VLAN: p.VLAN, LinkOff: p.LinkOff}
	return p
}

// gre decodes GRE (RFC 2784, RFC 2890), the PPTP variant (RFC 2637) and ERSPAN.
func (p *Parsed) gre(b []byte) {
	const (
		hasChecksum, hasKey, hasSequence, hasAck = 0x80, 0x20, 0x10, 0x80
		erspan2, erspan3                         = 0x88be, 0x22eb
	)
	if len(b) < 4 {
		return
	}
	version, t, size := b[1]&7, be.Uint16(b[2:]), 4
	for _, bit := range [...]byte{hasChecksum, hasKey, hasSequence} {
		if b[0]&bit != 0 {
			size += 4
		}
	}
	if version == 1 && b[1]&hasAck != 0 {
		size += 4
	}
	switch {
	case t == erspan2 && b[0]&hasSequence != 0:
		t, size = etherTEB, size+8
	case t == erspan2: // type I has no header of its own
		t = etherTEB
	case t == erspan3:
		t, size = etherTEB, size+12
	}
	if len(b) < size {
		return
	}
	p.restart().etherType(t, b[size:])
}

// ah decodes the authentication header of IPv4 (RFC 4302).
func (p *Parsed) ah(b []byte) {
	if len(b) < 8 {
		return
	}
	size := 8 + int(b[1])*4
	if size > len(b) || b[0] != ipproto.IPIP && b[0] != ipproto.IPv6 {
		return
	}
	p.restart().rawIP(b[size:])
}

// udpTunnel decodes VXLAN (RFC 7348), Geneve (RFC 8926) and GTP-U (3GPP TS 29.281).
func (p *Parsed) udpTunnel(b []byte) {
	if len(b) < udpSize+8 {
		return
	}
	port := be.Uint16(b[2:])
	b = b[udpSize:]
	switch {
	case port == portVXLAN && b[0]&0x08 != 0:
		p.restart().ethernet(b[8:])
	case port == portGeneve && b[0]>>6 == 0:
		if size := 8 + int(b[0]&0x3f)*4; size <= len(b) {
			p.restart().etherType(be.Uint16(b[2:]), b[size:])
		}
	case port == portGTPU && b[0]>>4 == 3 && b[1] == 0xff: // version 1, a user packet
		p.gtpu(b)
	}
}

func (p *Parsed) gtpu(b []byte) {
	const extension, optional = 0x04, 0x07
	size := 8
	if b[0]&optional != 0 {
		size = 12
		for next := b[0]&extension != 0; next; {
			if size >= len(b) || len(b) < 12 || b[size-1] == 0 {
				break
			}
			if b[size] == 0 { // an extension is at least four bytes
				return
			}
			size += int(b[size]) * 4
			if size > len(b) {
				return
			}
		}
	}
	if size < len(b) {
		p.restart().rawIP(b[size:])
	}
}
