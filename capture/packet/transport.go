package packet

import "vft/ipproto"

const (
	minTCP  = 20
	tcpRead = 16 // up to the window
	udpSize = 8
)

// transport decodes what follows the IP header. b is the captured part, length
// what the IP header states.
func (p *Parsed) transport(b []byte, length int) {
	p.setPayload(b, length)
	if p.FragOffset > 0 {
		return
	}
	if p.Inner && p.tunnel(b) {
		return
	}
	if length == 0 && p.Network == IPv4 { // as a scan of protocols sends them: a number and nothing more
		p.Transport = OtherTransport
		return
	}
	switch p.Proto {
	case ipproto.TCP:
		p.tcp(b, length)
	case ipproto.UDP:
		p.udp(b, length)
	case ipproto.SCTP:
		p.sctp(b, length)
	case ipproto.ICMP:
		p.icmp(b, length, ICMP, p.Network == IPv4)
	case ipproto.ICMPv6:
		p.icmp(b, length, ICMPv6, true)
	default:
		p.Transport = OtherTransport
		p.TransOff = p.payloadOff
	}
}

// setPayload makes b, of which the headers state length bytes, the payload.
func (p *Parsed) setPayload(b []byte, length int) {
	p.payloadOff = p.at(b)
	p.payloadEnd = p.payloadOff + len(b)
	p.PayloadLen = max(length, 0)
}

// ports reads the two port numbers that TCP, UDP and SCTP begin with.
func (p *Parsed) ports(t Transport, b []byte) bool {
	p.Transport, p.TransOff = t, p.payloadOff
	if len(b) < 4 {
		p.short(BadTransport)
		return false
	}
	p.HasPorts = true
	p.SrcPort, p.DstPort = be.Uint16(b), be.Uint16(b[2:])
	return true
}

func (p *Parsed) tcp(b []byte, length int) {
	if !p.ports(TCP, b) {
		return
	}
	if len(b) < tcpRead { // RFC 1858: a first fragment may hold eight bytes alone, to hide the flags
		p.shortTransport()
		return
	}
	p.Seq, p.Ack = be.Uint32(b[4:]), be.Uint32(b[8:])
	size := int(b[12]>>4) * 4
	if size < minTCP {
		p.fault(BadTransport)
		p.setPayload(b[len(b):], 0)
		return
	}
	p.HasFlags = true
	p.Flags, p.Window = Flags(b[13]), be.Uint16(b[14:])
	if size > length {
		p.fault(BadTransport)
		p.setPayload(b[len(b):], 0)
		return
	}
	p.setPayload(b[min(size, len(b)):], length-size)
}

func (p *Parsed) udp(b []byte, length int) {
	if !p.ports(UDP, b) {
		return
	}
	if len(b) < udpSize {
		p.shortTransport()
		return
	}
	stated := int(be.Uint16(b[4:]))
	if stated == 0 { // RFC 2675: a jumbogram
		stated = length
	}
	if stated < udpSize || stated > length && !p.MoreFrags {
		p.fault(BadTransport)
	}
	stated = max(udpSize, min(stated, length))
	p.setPayload(b[udpSize:max(udpSize, min(stated, len(b)))], stated-udpSize)
}

func (p *Parsed) sctp(b []byte, length int) {
	if !p.ports(SCTP, b) {
		return
	}
	const common = 12
	if len(b) < common {
		p.shortTransport()
		return
	}
	p.setPayload(b[common:], length-common)
}

func (p *Parsed) icmp(b []byte, length int, t Transport, right bool) {
	if !right {
		p.Transport = OtherTransport
		return
	}
	p.Transport, p.TransOff = t, p.payloadOff
	if len(b) < 2 {
		p.short(BadTransport)
		return
	}
	p.HasICMP, p.ICMPType, p.ICMPCode = true, b[0], b[1]
	const header = 8
	p.setPayload(b[min(header, len(b)):], length-header)
}

// shortTransport ends a header whose ports alone were read.
func (p *Parsed) shortTransport() {
	if !p.MoreFrags {
		p.short(BadTransport)
	}
	p.payloadOff = p.payloadEnd
	p.PayloadLen = 0
}
