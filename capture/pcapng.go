package capture

import (
	"encoding/binary"
	"math"
	"math/bits"

	"vft/capture/packet"
)

// Block types of pcapng (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6

	byteOrderMagic = 0x1a2b3c4d
	minBlock       = 12
	maxInterfaces  = 1 << 16 // of one section

	optionEnd        = 0
	optionResolution = 9
	optionOffset     = 14
)

// ngInterface is what an interface description block tells.
type ngInterface struct {
	link    packet.LinkType
	snaplen int
	perSec  uint64 // units of its time stamps in a second
	offset  int64  // seconds to add
}

// section is one section of a pcapng file: it has its own byte order and its
// own interfaces.
type section struct {
	order      binary.ByteOrder
	interfaces []ngInterface
}

// pcapng reads the blocks of a pcapng file.
func (s *stream) pcapng(report *Report, each func(*Packet)) error {
	var sec section
	var pkt Packet
	for {
		if !s.need(8) {
			return s.ended("a block header", 8)
		}
		at := s.offset()
		if binary.BigEndian.Uint32(s.buf[s.r:]) == blockSection { // the same in both orders
			if err := s.newSection(&sec); err != nil {
				return err
			}
		}
		kind, size := sec.order.Uint32(s.buf[s.r:]), sec.order.Uint32(s.buf[s.r+4:])
		if size < minBlock || size > maxBlock {
			return s.broken(at, "a block of %d bytes; it must have %d to %d", size, minBlock, maxBlock)
		}
		padded := int(size+3) &^ 3 // some writers forget the padding in the length
		if !s.need(padded) {
			return s.ended("a block", padded)
		}
		block := s.buf[s.r : s.r+padded]
		if trailer := sec.order.Uint32(block[padded-4:]); trailer != size {
			return s.broken(at, "a block states %d bytes at its start and %d at its end", size, trailer)
		}
		if bad := sec.block(kind, block[8:padded-4], &pkt, report); bad != "" {
			return s.broken(at, "%s", bad)
		}
		s.r += padded
		if pkt.Data == nil {
			report.Skipped++
			continue
		}
		report.note(&pkt, sec.interfaces[pkt.Interface].snaplen)
		each(&pkt)
		pkt.Data = nil
	}
}

// newSection reads the byte order and the version of a section header.
func (s *stream) newSection(sec *section) error {
	const versionEnd = 16
	if !s.need(versionEnd) {
		return s.ended("a section header", versionEnd)
	}
	head := s.buf[s.r:]
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(head[8:]):
		sec.order = binary.LittleEndian
	case binary.BigEndian.Uint32(head[8:]):
		sec.order = binary.BigEndian
	default:
		return s.broken(s.offset(), "a section header without a byte-order magic")
	}
	major, minor := sec.order.Uint16(head[12:]), sec.order.Uint16(head[14:])
	if major != 1 || minor != 0 && minor != 2 {
		return s.broken(s.offset(), "pcapng of version %d.%d; only 1.0 and 1.2 are known", major, minor)
	}
	sec.interfaces = sec.interfaces[:0]
	return nil
}

// block reads one block body. A packet is left in pkt; what is wrong with the
// block is returned in words.
func (sec *section) block(kind uint32, body []byte, pkt *Packet, report *Report) (bad string) {
	switch kind {
	case blockInterface:
		return sec.describe(body)
	case blockEnhanced:
		if len(body) < 20 {
			return "an enhanced packet block is too short"
		}
		return sec.packet(pkt, sec.order.Uint32(body), body[4:])
	case blockPacket:
		if len(body) < 20 {
			return "a packet block is too short"
		}
		return sec.packet(pkt, uint32(sec.order.Uint16(body)), body[4:])
	case blockSimple:
		return sec.simple(pkt, body, report.Last)
	}
	return ""
}

// packet reads time, lengths and data of a packet or enhanced packet block.
func (sec *section) packet(pkt *Packet, iface uint32, b []byte) string {
	if uint64(iface) >= uint64(len(sec.interfaces)) {
		return "a packet of an interface that was not described"
	}
	size, wire := sec.order.Uint32(b[8:]), sec.order.Uint32(b[12:])
	if uint64(size) > uint64(len(b)-16) || size > maxPacket {
		return "a packet is longer than its block or than 262144 bytes"
	}
	on := &sec.interfaces[iface]
	pkt.Time = on.time(uint64(sec.order.Uint32(b))<<32 | uint64(sec.order.Uint32(b[4:])))
	pkt.untimed = false
	pkt.Link, pkt.Interface = on.link, int(iface)
	pkt.Data = b[16 : 16+size : 16+size]
	pkt.Wire = int(min(wire, math.MaxInt32))
	return ""
}

// simple reads a simple packet block: no time (the last one is taken), always
// of interface 0.
func (sec *section) simple(pkt *Packet, b []byte, last int64) string {
	if len(sec.interfaces) == 0 {
		return "a packet of an interface that was not described"
	}
	if len(b) < 4 {
		return "a simple packet block is too short"
	}
	on, wire := &sec.interfaces[0], int(min(sec.order.Uint32(b), math.MaxInt32))
	size := min(wire, len(b)-4)
	if on.snaplen > 0 {
		size = min(size, on.snaplen)
	}
	if size > maxPacket {
		return "a packet is longer than 262144 bytes"
	}
	pkt.Time, pkt.untimed = last, true
	pkt.Link, pkt.Interface, pkt.Wire = on.link, 0, wire
	pkt.Data = b[4 : 4+size : 4+size]
	return ""
}

// describe reads an interface description block and its options.
func (sec *section) describe(b []byte) string {
	if len(b) < 8 {
		return "an interface description is too short"
	}
	if len(sec.interfaces) == maxInterfaces {
		return "more than 65536 interfaces in one section"
	}
	n := ngInterface{
		link:    packet.LinkType(sec.order.Uint16(b)),
		snaplen: int(min(sec.order.Uint32(b[4:]), math.MaxInt32)),
		perSec:  1e6,
	}
	for b = b[8:]; len(b) >= 4; {
		code, size := sec.order.Uint16(b), int(sec.order.Uint16(b[2:]))
		if code == optionEnd || size > len(b)-4 {
			break
		}
		value := b[4 : 4+size]
		switch {
		case code == optionResolution && size >= 1:
			n.perSec = unitsPerSecond(value[0])
		case code == optionOffset && size >= 8:
			n.offset = int64(sec.order.Uint64(value))
		}
		b = b[min(len(b), 4+(size+3)&^3):]
	}
	sec.interfaces = append(sec.interfaces, n)
	return ""
}

// unitsPerSecond reads if_tsresol: a negative power of ten, or of two when the
// top bit is set. What a 64-bit number cannot hold counts as its largest power.
func unitsPerSecond(resolution byte) uint64 {
	if resolution&0x80 != 0 {
		return 1 << min(resolution&0x7f, 63)
	}
	n := uint64(1)
	for range min(resolution, 19) {
		n *= 10
	}
	return n
}

// time converts a time stamp to nanoseconds since 1970. Writers with a wrong
// clock produce stamps with the top bit set: they are taken as negative.
func (n *ngInterface) time(stamp uint64) int64 {
	const billion = 1_000_000_000
	if n.perSec == 1_000_000 && n.offset == 0 && stamp < math.MaxInt64/1000 {
		return int64(stamp) * 1000
	}
	sign := int64(1)
	if int64(stamp) < 0 {
		stamp, sign = -stamp, -1
	}
	hi, lo := bits.Mul64(stamp%n.perSec, billion)
	fraction, _ := bits.Div64(hi, lo, n.perSec)
	seconds := sign*int64(stamp/n.perSec) + n.offset
	const limit = math.MaxInt64 / 2 / billion // the years 1824 to 2116, so that no difference overflows
	seconds = max(-limit, min(limit, seconds))
	return seconds*billion + sign*int64(fraction)
}
