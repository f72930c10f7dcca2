package detect

import (
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

// Ports that some detection reads.
const (
	portFTP        = 21
	portSSH        = 22
	portDNS        = 53
	portDHCPServer = 67
	portDHCPClient = 68
	portSMB        = 445
)

// udp hands a UDP packet to each part that it concerns.
func (d *Detections) udp(p *packet.Parsed, touch flow.Touch, now int64) {
	if !p.HasPorts {
		return
	}
	d.floods.udp(p, touch, now)
	switch {
	case touch&flow.NewFlow != 0:
		if !replies(p) && !traceroute(p) {
			d.scans.streams.begins(p)
			d.scans.begin(p, p.DstPort, udpProbe, now)
		}
	case touch&(flow.NewSide|flow.Reverse) == flow.NewSide|flow.Reverse:
		d.scans.ended(p.Dst, p.Src, p.SrcPort, udpProbe, useful, now)
	case touch&flow.Reverse == 0 && d.scans.streams.goesOn(p):
		d.scans.ended(p.Src, p.Dst, p.DstPort, udpProbe, useful, now)
	}
	if reflects(p.SrcPort) || reflects(p.DstPort) {
		d.amplify.packet(p, now)
	}
	switch {
	case p.SrcPort == portDNS || p.DstPort == portDNS:
		d.dns.packet(p, now)
		d.answers.packet(p, now)
	case p.SrcPort == portDHCPServer && (p.DstPort == portDHCPClient || p.DstPort == portDHCPServer):
		d.dhcp.packet(p, now)
	case p.DstPort == portDHCPServer:
		d.starve.packet(p, now)
	case p.SrcPort == portLLMNR || p.SrcPort == portNBNS || p.SrcPort == portMDNS:
		d.names.packet(p, now)
	}
}

// replies reports whether a datagram is an answer whose question was not seen.
func replies(p *packet.Parsed) bool {
	const response, header = 0x80, 12
	b := p.Payload()
	return p.SrcPort == portDNS && p.DstPort >= 1024 && len(b) >= header && b[2]&response != 0
}

// mayReply reports whether a datagram may be such an answer: from a service to a port
// that only clients use. Who scans may choose its source port, and an answer says
// something.
func mayReply(p *packet.Parsed) bool {
	const header = 12
	if p.SrcPort >= 1024 || p.DstPort < 1024 || p.PayloadLen == 0 {
		return false
	}
	return p.SrcPort != portDNS || len(p.Payload()) < header && p.PayloadLen >= header
}

// traceroute reports whether a datagram looks like one of the many that
// traceroute sends, each to another port.
func traceroute(p *packet.Parsed) bool {
	return p.DstPort >= 33434 && p.DstPort < 33534 && p.TTL <= 32
}

// ICMP and ICMPv6 types.
const (
	echoReply        = 0
	unreachable      = 3
	echoRequest      = 8
	redirect         = 5
	unreachable6     = 1
	echoRequest6     = 128
	echoReply6       = 129
	advertisement6   = 134 // of a router
	redirect6        = 137
	codeProtocol     = 2 // of unreachable
	ipv4Header       = 20
	ipv6Header       = 40
	protocolUDP      = ipproto.UDP
	protocolTCP      = ipproto.TCP
	protocolSCTP     = ipproto.SCTP
	transportQuoted  = 4 // bytes of the transport header that are needed: its ports
	nextHeaderOffset = 6
)

// icmp hands an ICMP packet to each part that it concerns.
func (d *Detections) icmp(p *packet.Parsed, touch flow.Touch, now int64) {
	if !p.HasICMP {
		return
	}
	v6 := p.Transport == packet.ICMPv6
	switch t := p.ICMPType; {
	case !v6 && t == echoRequest || v6 && t == echoRequest6:
		d.floods.icmp(p, true, now)
		d.tunnels.echo(p, true, now)
		if touch&flow.NewFlow != 0 {
			d.discovery.ping(p, d.scans, now)
		}
	case !v6 && t == echoReply || v6 && t == echoReply6:
		d.floods.icmp(p, false, now)
		d.tunnels.echo(p, false, now)
	case !v6 && t == unreachable || v6 && t == unreachable6:
		d.refused(p, now)
	case !v6 && t == redirect || v6 && t == redirect6:
		d.redirects.packet(p, now)
	case v6 && t == advertisement6:
		d.advertised.packet(p, d.began, now)
	}
}

// refused takes an error about a packet: its quotation says what was tried.
func (d *Detections) refused(p *packet.Parsed, now int64) {
	src, dst, proto, rest, ok := quoted(p.Payload(), p.Transport == packet.ICMPv6)
	if !ok {
		return
	}
	end := refused
	if noRoute(p) {
		end = unroutable
	}
	if p.ICMPCode == codeProtocol && p.Transport == packet.ICMP {
		d.scans.ended(src, dst, uint16(proto), ipProtocol, refused, now)
	}
	if len(rest) < transportQuoted {
		return
	}
	port := be16(rest[2:])
	switch proto {
	case protocolUDP:
		d.scans.ended(src, dst, port, udpProbe, end, now)
	case protocolTCP:
		d.scans.ended(src, dst, port, synProbe, end, now)
	case protocolSCTP:
		d.scans.ended(src, dst, port, sctpInit, end, now)
	}
}

// noRoute reports whether a router says that it knows no way to a network (RFC 1812
// section 5.2.7.1, RFC 4443 section 3.1).
func noRoute(p *packet.Parsed) bool {
	const network, unknown, service = 0, 6, 11
	return p.ICMPCode == network || p.Transport == packet.ICMP && (p.ICMPCode == unknown || p.ICMPCode == service)
}

// quoted reads the IP header that an ICMP error quotes.
func quoted(b []byte, v6 bool) (src, dst packet.Addr, proto uint8, rest []byte, ok bool) {
	if v6 {
		if len(b) < ipv6Header || b[0]>>4 != 6 {
			return
		}
		return addr6(b[8:]), addr6(b[24:]), b[nextHeaderOffset], b[ipv6Header:], true
	}
	if len(b) < ipv4Header || b[0]>>4 != 4 || int(b[0]&15)*4 < ipv4Header || int(b[0]&15)*4 > len(b) {
		return
	}
	return packet.Addr4(be32(b[12:])), packet.Addr4(be32(b[16:])), b[9], b[int(b[0]&15)*4:], true
}

func addr6(b []byte) packet.Addr {
	return packet.Addr{Hi: uint64(be32(b))<<32 | uint64(be32(b[4:])), Lo: uint64(be32(b[8:]))<<32 | uint64(be32(b[12:]))}
}
