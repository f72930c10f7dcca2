package packet

import "encoding/binary"

// radiotap skips a radiotap header (https://www.radiotap.org). Only its flags
// matter here: they tell whether the frame body is padded.
func (p *Parsed) radiotap(b []byte) {
	if len(b) < 8 {
		p.short(ShortLink)
		return
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	if size < 8 || size > len(b) {
		p.short(ShortLink)
		return
	}
	p.wifi(b[size:], radiotapPadded(b[:size]))
}

// radiotapPadded reads the flags field, which follows the present words and the
// optional eight-byte time.
func radiotapPadded(h []byte) bool {
	const hasTime, hasFlags, more, datapad = 1, 2, 1 << 31, 0x20
	present := binary.LittleEndian.Uint32(h[4:])
	if present&hasFlags == 0 {
		return false
	}
	at := 8
	for word := present; word&more != 0; at += 4 {
		if at+4 > len(h) {
			return false
		}
		word = binary.LittleEndian.Uint32(h[at:])
	}
	if present&hasTime != 0 {
		at = (at+7)&^7 + 8
	}
	return at < len(h) && h[at]&datapad != 0
}

func (p *Parsed) prism(b []byte) {
	if len(b) < 8 {
		p.short(ShortLink)
		return
	}
	size := int(min(be.Uint32(b[4:]), binary.LittleEndian.Uint32(b[4:]))) // written in the order of the host
	if size < 8 || size > len(b) {
		p.short(ShortLink)
		return
	}
	p.wifi(b[size:], false)
}

// wifi decodes an IEEE 802.11 data frame that is not encrypted; other frames
// have no network layer.
func (p *Parsed) wifi(b []byte, padded bool) {
	const (
		toDS, fromDS, protected, order = 1, 2, 0x40, 0x80
		subQoS, subNoData              = 8, 4
	)
	if len(b) < 24 {
		p.short(ShortLink)
		return
	}
	kind, sub, flags := b[0]>>2&3, b[0]>>4, b[1]
	if kind != 2 || sub&subNoData != 0 || flags&protected != 0 {
		p.fault(UnknownNetwork)
		return
	}
	size := 24
	if flags&(toDS|fromDS) == toDS|fromDS {
		size += 6
	}
	aggregated := false
	if sub&subQoS != 0 {
		if len(b) < size+2 {
			p.short(ShortLink)
			return
		}
		aggregated = b[size]&0x80 != 0
		size += 2
		if flags&order != 0 {
			size += 4
		}
	}
	if padded {
		size = (size + 3) &^ 3
	}
	if aggregated { // first subframe of an A-MSDU: two addresses and a length
		size += 14
	}
	if len(b) < size {
		p.short(ShortLink)
		return
	}
	p.wifiAddresses(b, flags)
	p.llc(b[size:])
}

func (p *Parsed) wifiAddresses(b []byte, flags byte) {
	p.LinkOff, p.HasMAC = p.at(b), true
	dst, src := b[4:10], b[10:16]
	switch flags & 3 {
	case 1: // to the distribution system
		dst = b[16:22]
	case 2: // from it
		src = b[16:22]
	case 3:
		dst = b[16:22]
		if len(b) >= 30 {
			src = b[24:30]
		}
	}
	copy(p.DstMAC[:], dst)
	copy(p.SrcMAC[:], src)
}
