package packet

import "encoding/binary"

// wpanFrame is what a frame of IEEE 802.15.4 tells 6LoWPAN: its addresses, of
// which compressed ones of IPv6 are made.
type wpanFrame struct {
	src, dst uint64 // interface identifiers, valid iff known
	hasSrc   bool
	hasDst   bool
	end      int // bytes behind the payload, of the checksum
	whole    int // length of the IPv6 packet that a first fragment states; 0: not told
}

// wpan decodes a data frame of IEEE 802.15.4 that is not encrypted; other frames
// have no network layer.
func (p *Parsed) wpan(link LinkType, b []byte) {
	f := wpanFrame{}
	switch link {
	case LinkWPANFCS:
		f.end = 2
	case LinkWPANPHY:
		const preamble = 4 + 1 + 1 // with the start of the frame and its length
		if len(b) < preamble {
			p.short(ShortLink)
			return
		}
		b, f.end = b[preamble:], 2
	case LinkWPANTAP:
		const least, checksum = 4, 0 // the first value, if there is one, tells of the checksum
		size := 0
		if len(b) >= least {
			size = int(binary.LittleEndian.Uint16(b[2:]))
		}
		if size < least || size > len(b) {
			p.short(ShortLink)
			return
		}
		f.end = wpanChecksum(b[least:size])
		b = b[size:]
	}
	if missing := p.wire() - len(p.Data); missing < f.end && len(b) >= f.end-missing {
		b = b[:len(b)-(f.end-missing)]
	}
	p.wpanHeader(b, &f)
}

// wpanChecksum finds the length of the checksum among the values of a TAP header.
func wpanChecksum(b []byte) int {
	const kind = 0 // FCS_TYPE: none, 16 bit, 32 bit
	for len(b) >= 5 {
		size := int(binary.LittleEndian.Uint16(b[2:]))
		if binary.LittleEndian.Uint16(b) == kind {
			return int(b[4]&3) * 2
		}
		b = b[min(len(b), 4+(size+3)&^3):]
	}
	return 0
}

// wpanHeader reads the addresses of a frame, versions 2003 and 2006.
func (p *Parsed) wpanHeader(b []byte, f *wpanFrame) {
	const (
		kindMask, data     = 7, 1
		secured, samePAN   = 1 << 3, 1 << 6
		newest             = 2 << 12
		dstMode, srcMode   = 10, 14
		control, pan       = 3, 2
		shortMode, extMode = 2, 3
	)
	if len(b) < control {
		p.short(ShortLink)
		return
	}
	p.LinkOff = p.at(b)
	field := binary.LittleEndian.Uint16(b)
	if field&kindMask != data || field&secured != 0 || field&newest != 0 {
		p.fault(UnknownNetwork)
		return
	}
	to, from := int(field>>dstMode&3), int(field>>srcMode&3)
	size := control
	if to != 0 {
		size += pan + wpanAddress(to)
	}
	dstEnd := size
	if from != 0 {
		size += wpanAddress(from)
		if field&samePAN == 0 {
			size += pan
		}
	}
	if len(b) < size {
		p.short(ShortLink)
		return
	}
	f.dst, f.hasDst = interfaceID(b[:dstEnd], to)
	f.src, f.hasSrc = interfaceID(b[:size], from)
	p.lowpan(b[size:], f)
}

// wpanAddress is the size of an address by its mode.
func wpanAddress(mode int) int { return [4]int{0, 0, 2, 8}[mode] }

// interfaceID makes the identifier (RFC 4944 section 6, RFC 6282 section 3.2.2)
// of the address that b ends with, which goes last byte first.
func interfaceID(b []byte, mode int) (id uint64, ok bool) {
	switch mode {
	case 2:
		return shortID | uint64(binary.LittleEndian.Uint16(b[len(b)-2:])), true
	case 3:
		return binary.LittleEndian.Uint64(b[len(b)-8:]) ^ universal, true
	}
	return 0, false
}

const (
	shortID   = 0x000000fffe000000 // before a short address
	universal = 1 << 57            // the bit of an EUI-64 that an identifier has the other way round
)
