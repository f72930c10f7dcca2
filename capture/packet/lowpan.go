package packet

import "vft/ipproto"

// lowpan decodes what 6LoWPAN puts before an IPv6 packet: mesh and broadcast
// headers, the head of a first fragment (RFC 4944), then the packet, whole or
// with a compressed header (RFC 6282). A later fragment has no header to read,
// and neither has the compression that RFC 6282 replaced.
func (p *Parsed) lowpan(b []byte, f *wpanFrame) {
	for len(b) > 0 {
		size := 0
		switch dispatch := b[0]; {
		case dispatch == 0x41: // not compressed
			p.ipv6(b[1:])
			return
		case dispatch>>5 == 3:
			p.compressed(b, f)
			return
		case dispatch>>6 == 2:
			size = f.mesh(b)
		case dispatch == 0x50: // broadcast
			size = 2
		case dispatch>>3 == 0x18: // first fragment: length of the packet, tag
			size = 4
			if len(b) >= size {
				f.whole = int(be.Uint16(b) & 0x7ff)
			}
		default:
			p.fault(UnknownNetwork)
			return
		}
		if len(b) < size {
			break
		}
		b = b[size:]
	}
	p.short(ShortLink)
}

// mesh reads the addresses of the two ends, where others carry the frame between
// them, and returns the size of the header.
func (f *wpanFrame) mesh(b []byte) int {
	const shortFrom, shortTo, deep = 0x20, 0x10, 0x0f
	size, from, to := 1, 8, 8
	if b[0]&deep == deep { // the count of hops takes a byte more
		size++
	}
	if b[0]&shortFrom != 0 {
		from = 2
	}
	if b[0]&shortTo != 0 {
		to = 2
	}
	if len(b) >= size+from+to {
		f.src, f.hasSrc = meshID(b[size : size+from])
		f.dst, f.hasDst = meshID(b[size+from : size+from+to])
	}
	return size + from + to
}

// meshID makes the identifier of an address in network order.
func meshID(b []byte) (uint64, bool) {
	if len(b) == 2 {
		return shortID | uint64(be.Uint16(b)), true
	}
	return be.Uint64(b) ^ universal, true
}

// compressed decodes LOWPAN_IPHC (RFC 6282 section 3). The prefixes of contexts
// are known to the nodes alone: an address of one has the prefix 0 here.
func (p *Parsed) compressed(b []byte, f *wpanFrame) {
	p.Network, p.NetOff = IPv6, p.at(b)
	if len(b) < 2 {
		p.short(BadNetwork)
		return
	}
	const (
		nextInHeader = 0x04 // the next header is compressed too
		contexts     = 0x80
		fromContext  = 0x40
		multicast    = 0x08
		toContext    = 0x04
	)
	first, second := b[0], b[1]
	r := inline{b: b[2:]}
	if second&contexts != 0 {
		r.take(1)
	}
	p.TOS = r.trafficClass(first >> 3 & 3)
	if first&nextInHeader == 0 {
		p.NextHeader = r.byte()
	}
	if limit := first & 3; limit != 0 {
		p.TTL = [4]uint8{0, 1, 64, 255}[limit]
	} else {
		p.TTL = r.byte()
	}
	src, srcOK := r.unicast(second>>4&3, second&fromContext != 0, f.src, f.hasSrc)
	var dst Addr
	var dstOK bool
	if second&multicast != 0 {
		dst, dstOK = r.group(second&3, second&toContext != 0)
	} else {
		dst, dstOK = r.unicast(second&3, second&toContext != 0, f.dst, f.hasDst)
	}
	if r.short {
		p.short(BadNetwork)
		return
	}
	if !srcOK || !dstOK {
		p.fault(BadNetwork)
		return
	}
	p.Src, p.Dst, p.HasAddrs = src, dst, true
	if first&nextInHeader != 0 {
		p.compressedNext(r.b, f, 0)
		return
	}
	p.carried(p.NextHeader, r.b, f, 0)
}

// carried decodes what follows headers of 6LoWPAN, which stand for extended bytes
// of extension headers.
func (p *Parsed) carried(next uint8, b []byte, f *wpanFrame, extended int) {
	length := p.rest(b, f)
	if f.whole > 0 {
		length = f.whole - ipv6Header - extended
	}
	p.NetLen = ipv6Header + extended + length
	p.extensions(next, b[:min(len(b), max(0, length))], max(0, length))
}

// rest is how many bytes of the frame b begins, on the wire.
func (p *Parsed) rest(b []byte, f *wpanFrame) int {
	return max(len(b), p.wire()-p.at(b)-f.end)
}

// compressedNext decodes LOWPAN_NHC (RFC 6282 section 4): extension headers, UDP,
// or another IPv6 header.
func (p *Parsed) compressedNext(b []byte, f *wpanFrame, extended int) {
	const follows, packet = 1, 7
	for len(b) > 0 {
		id := b[0]
		switch {
		case id>>3 == 0x1e:
			p.compressedUDP(b, f, extended)
			return
		case id>>4 != 0xe:
			p.fault(UnknownNetwork)
			return
		case id>>1&7 == packet:
			p.Proto, p.ProtoOK = ipproto.IPv6, true
			p.Transport, p.TransOff = OtherTransport, p.at(b)
			p.setPayload(b[1:], p.rest(b, f)-1)
			return
		}
		size, next := 2, uint8(0) // the id and the length of what the header holds
		if id&follows == 0 {
			size = 3
		}
		if len(b) < size || len(b) < size+int(b[size-1]) {
			break
		}
		if id&follows == 0 {
			next = b[1]
		}
		held := int(b[size-1])
		b, extended = b[size+held:], extended+(held+2+7)&^7
		if id&follows == 0 {
			p.carried(next, b, f, extended)
			return
		}
	}
	p.short(BadNetwork)
}

// compressedUDP decodes the ports (RFC 6282 section 4.3.3); the length is that of
// the packet, and the checksum may be left out.
func (p *Parsed) compressedUDP(b []byte, f *wpanFrame, extended int) {
	const noChecksum, portsMask, usual, few = 0x04, 3, 0xf000, 0xf0b0
	p.Proto, p.ProtoOK, p.Transport, p.TransOff = ipproto.UDP, true, UDP, p.at(b)
	id, r := b[0], inline{b: b[1:]}
	switch id & portsMask {
	case 0:
		p.SrcPort, p.DstPort = r.uint16(), r.uint16()
	case 1:
		p.SrcPort, p.DstPort = r.uint16(), usual|uint16(r.byte())
	case 2:
		p.SrcPort, p.DstPort = usual|uint16(r.byte()), r.uint16()
	case 3:
		both := uint16(r.byte())
		p.SrcPort, p.DstPort = few|both>>4, few|both&15
	}
	p.HasPorts = !r.short
	if id&noChecksum == 0 {
		r.take(2)
	}
	if r.short {
		p.short(BadTransport)
		return
	}
	length := p.rest(r.b, f)
	if f.whole > 0 {
		length = max(0, f.whole-ipv6Header-extended-udpSize)
	}
	p.NetLen = ipv6Header + extended + udpSize + length
	p.setPayload(r.b[:min(len(r.b), length)], length)
}
