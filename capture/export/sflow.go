package export

import (
	"encoding/binary"
	"net/netip"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

// sflow decodes an sFlow 5 datagram (sflow.org/sflow_version_5.txt): a header
// and samples, each with its length. Of flow samples, plain and expanded, each
// becomes one record of one packet; a sample of any other kind is counted.
//
// The exporter is the sender, not the agent that the datagram names: the sender
// is whom the list of allowed exporters lets in, while anyone can write an agent
// into a datagram. The agent and sub-agent only tell sequences apart, since a
// proxy sends for several agents.
//
// A record has the time of arrival: sFlow states nothing but the uptime of the
// agent, and sends a sample within a second.
func (d *Decoder) sflow(from netip.AddrPort, b []byte, now int64, into []flow.Record) []flow.Record {
	h, b, ok := readSflowHeader(b)
	if !ok {
		d.counts[shortHeader]++
		return into
	}
	e := d.known(exporterKey{packet.AddrFrom(from.Addr()), h.agent, h.subAgent, flow.SFlow5}, now)
	e.seq.of(from.Port()).saw(h.sequence, 1)
	before := len(into)
	for range h.samples {
		kind, sample, rest, ok := item(b)
		if !ok {
			d.counts[cutShort]++
			break
		}
		into = d.sflowSample(kind, sample, e, now, into)
		b = rest
	}
	e.records += uint64(len(into) - before)
	return into
}

// sflowHeader is what stands before the samples, without the uptime.
type sflowHeader struct {
	agent                       packet.Addr // zero when the agent does not know its own
	subAgent, sequence, samples uint32
}

func readSflowHeader(b []byte) (h sflowHeader, rest []byte, ok bool) {
	const version, rear = 8, 16 // bytes of version and type of address; behind the address
	if len(b) < version {
		return h, nil, false
	}
	size := addressSize(binary.BigEndian.Uint32(b[4:]))
	if size < 0 || len(b) < version+size+rear {
		return h, nil, false
	}
	switch address := b[version:]; size {
	case 4:
		h.agent = packet.Addr4(binary.BigEndian.Uint32(address))
	case 16:
		h.agent = addr6(address)
	}
	b = b[version+size:]
	h.subAgent, h.sequence, h.samples = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[12:])
	return h, b[rear:], true
}

// addressSize returns the bytes of an address by its type, -1 for no type.
func addressSize(kind uint32) int {
	switch kind {
	case 0: // unknown: no address
		return 0
	case 1:
		return 4
	case 2:
		return 16
	}
	return -1
}

func addr6(b []byte) packet.Addr {
	return packet.Addr{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
}

// item takes off b a format, enterprise number and format in one, and what has
// that format. XDR fills opaque data up to four bytes (RFC 4506 section 4.10);
// the last one of a datagram may lack that. Each item is at least eight bytes.
func item(b []byte) (format uint32, content, rest []byte, ok bool) {
	const head = 8
	if len(b) < head {
		return 0, nil, nil, false
	}
	length := uint64(binary.BigEndian.Uint32(b[4:]))
	format, b = binary.BigEndian.Uint32(b), b[head:]
	if length > uint64(len(b)) {
		return 0, nil, nil, false
	}
	return format, b[:length], b[min((length+3)&^3, uint64(len(b))):], true
}

// The formats of samples and of their records that are read. The upper twenty
// bits are an enterprise number, 0 for the standard.
const (
	flowSample            = 1
	counterSample         = 2
	expandedFlowSample    = 3
	expandedCounterSample = 4

	rawHeader   = 1
	sampledIPv4 = 3
	sampledIPv6 = 4
)

func (d *Decoder) sflowSample(kind uint32, b []byte, e *exporter, now int64, into []flow.Record) []flow.Record {
	size, rate := 0, 0 // bytes before the records, the number of records last; where the sampling rate is
	switch kind {
	case flowSample:
		size, rate = 32, 8
	case expandedFlowSample:
		size, rate = 44, 12
	case counterSample, expandedCounterSample:
		d.counts[sflowCounterSamples]++
		return into
	default:
		d.counts[sflowOtherSamples]++
		return into
	}
	if len(b) < size {
		d.counts[sflowBadSamples]++
		return into
	}
	origin := flow.Export{Exporter: e.addr, Domain: e.domain, Version: e.version}
	origin.Sampling = e.rate(binary.BigEndian.Uint32(b[rate:]))
	into = append(into, flow.Record{First: now, Last: now, End: flow.Finished, Export: origin})
	failed, ok := d.sflowPacket(binary.BigEndian.Uint32(b[size-4:]), b[size:], &into[len(into)-1])
	if !ok {
		d.counts[failed]++
		return into[:len(into)-1]
	}
	d.bounded(&into[len(into)-1])
	return into
}

// sflowPacket fills r with the sampled packet, which n records in b describe, or
// says what to count when they do not.
//
// The header tells more than the fields of an IP packet; an agent that sends
// both states the length of the IP packet itself, which is taken then.
func (d *Decoder) sflowPacket(n uint32, b []byte, r *flow.Record) (failed counter, ok bool) {
	var header, ip []byte
	var version uint32
	for range n {
		format, content, rest, ok := item(b)
		if !ok {
			return sflowBadSamples, false
		}
		switch format {
		case rawHeader:
			header = content
		case sampledIPv4, sampledIPv6:
			version, ip = format, content
		}
		b = rest
	}
	told, sound := false, true
	if header != nil {
		told, sound = d.fromHeader(header, r)
	}
	if sound && ip != nil {
		told, sound = true, fromFields(version, ip, r)
	}
	switch {
	case !sound:
		return sflowBadSamples, false
	case !told:
		return sflowNotIP, false
	}
	return 0, true
}

// longestFrame bounds what a sample may claim: segment offload joins up to
// 512 KiB, and a few changed bits would else make terabytes.
const longestFrame = 1 << 20

// fromHeader fills r from the first bytes of a frame. It reports whether they
// told of an IP packet, and whether they can be.
func (d *Decoder) fromHeader(b []byte, r *flow.Record) (told, sound bool) {
	const size = 16
	if len(b) < size {
		return false, false
	}
	protocol, frame := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	stripped, length := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	b = b[size:]
	if uint64(length) > uint64(len(b)) || frame > longestFrame {
		return false, false
	}
	b = b[:length]
	wire := int(frame - min(stripped, frame)) // of what b is the beginning
	link, shim, ok := linkOf(protocol, b)
	if !ok {
		return false, true
	}
	p := &d.sampled
	p.Decode(link, b[shim:], max(wire-shim, 0))
	if r.Key, ok = flow.KeyOf(p); !ok {
		return false, true
	}
	rate := r.Export.Sampling
	r.Fwd = flow.Side{
		Packets: times(1, rate), Bytes: times(uint64(frame), rate), Payload: times(uint64(p.PayloadLen), rate),
		Flags: p.Flags, TTL: p.TTL,
	}
	if p.HasICMP {
		r.Export.ICMP = uint16(p.ICMPType)<<8 | uint16(p.ICMPCode)
	}
	r.LinkHeader = linkHeader(int(frame), p)
	return true, true
}

// linkHeader returns how many bytes of a frame are not of its IP packet. The
// checksum and the padding of Ethernet count, as the agent counts them in the
// frame; so the IP header tells, not where it stands.
func linkHeader(frame int, p *packet.Parsed) uint8 {
	const header6 = 40
	network := p.NetLen
	if p.Network == packet.IPv6 && network == header6 { // a jumbogram, or nothing behind the header
		network = max(p.Wire-p.NetOff, header6)
	}
	return uint8(min(max(frame-network, 0), 255))
}

// linkOf returns the link type of a header protocol, and the bytes before what
// has that type. Protocols that nobody samples any more have none.
func linkOf(protocol uint32, b []byte) (link packet.LinkType, shim int, ok bool) {
	switch protocol {
	case 1:
		return packet.LinkEthernet, 0, true
	case 4:
		return packet.LinkFDDI, 0, true
	case 5:
		return packet.LinkFrelay, 0, true
	case 7:
		return packet.LinkPPP, 0, true
	case 9:
		return packet.LinkATM1483, 0, true
	case 10, 11, 12: // IP in AAL5, IPv4, IPv6
		return packet.LinkRaw, 0, true
	case 13:
		shim, ok = labels(b)
		return packet.LinkRaw, shim, ok
	case 14: // packet over SONET
		return packet.LinkPPPHDLC, 0, true
	case 15:
		return packet.LinkWiFi, 0, true
	}
	return 0, 0, false
}

// labels returns the bytes of the MPLS labels that b begins with (RFC 3032).
func labels(b []byte) (size int, ok bool) {
	for ; len(b) >= size+4; size += 4 {
		if b[size+2]&1 == 1 {
			return size + 4, true
		}
	}
	return 0, false
}

// fromFields fills r from the fields of an IP packet. What a header has told
// already stays, but for the length.
func fromFields(format uint32, b []byte, r *flow.Record) bool {
	address := 4
	if format == sampledIPv6 {
		address = 16
	}
	const before, behind = 8, 16 // length and protocol; ports, flags, type of service
	if len(b) < before+2*address+behind {
		return false
	}
	length := binary.BigEndian.Uint32(b)
	if length > longestFrame {
		return false
	}
	if r.Fwd.Packets == 0 {
		r.Proto = uint8(binary.BigEndian.Uint32(b[4:]))
		if format == sampledIPv4 {
			r.Src, r.Dst = packet.Addr4(binary.BigEndian.Uint32(b[8:])), packet.Addr4(binary.BigEndian.Uint32(b[12:]))
		} else {
			r.Src, r.Dst = addr6(b[8:]), addr6(b[24:])
		}
		rear := b[before+2*address:]
		if r.Ports = hasPorts(r.Proto); r.Ports {
			r.SrcPort, r.DstPort = uint16(binary.BigEndian.Uint32(rear)), uint16(binary.BigEndian.Uint32(rear[4:]))
		}
		if isICMP(r.Proto) {
			r.Export.ICMP = uint16(binary.BigEndian.Uint32(rear[4:]))
		}
		if r.Proto == ipproto.TCP {
			r.Fwd.Flags = packet.Flags(binary.BigEndian.Uint32(rear[8:]))
		}
		r.Fwd.Packets = times(1, r.Export.Sampling)
	}
	r.Fwd.Bytes, r.LinkHeader = times(uint64(length), r.Export.Sampling), 0
	return true
}
