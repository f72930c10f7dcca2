package capture

import (
	"encoding/binary"
	"math"

	"vft/capture/packet"
)

// variant is what the magic number of a pcap file tells
// (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/).
type variant struct {
	order  binary.ByteOrder
	unit   int64 // nanoseconds in the unit of the second time field
	record int   // size of a record header
}

const (
	pcapHeader    = 24
	pcapRecord    = 16
	pcapModified  = 24 // Kuznetsov's patch adds interface, protocol and packet type
	linkTypeMask  = 0x03ffffff
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34
)

func pcapVariant(head []byte) (variant, bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(head) {
		case magicMicro:
			return variant{order, 1000, pcapRecord}, true
		case magicNano:
			return variant{order, 1, pcapRecord}, true
		case magicModified:
			return variant{order, 1000, pcapModified}, true
		}
	}
	return variant{}, false
}

// pcap reads the records of a pcap file.
func (s *stream) pcap(report *Report, each func(*Packet)) error {
	if !s.need(pcapHeader) {
		return s.ended("the file header", pcapHeader)
	}
	head := s.buf[s.r:]
	v, _ := pcapVariant(head)
	if major := v.order.Uint16(head[4:]); major != 2 {
		return s.broken(0, "pcap of version %d; only version 2 is known", major)
	}
	snaplen := int(min(v.order.Uint32(head[16:]), maxPacket))
	pkt := Packet{Link: packet.LinkType(v.order.Uint32(head[20:]) & linkTypeMask)}
	s.r += pcapHeader
	if v.order == binary.LittleEndian {
		return s.records(report, each, &pkt, v, snaplen, binary.LittleEndian.Uint32)
	}
	return s.records(report, each, &pkt, v, snaplen, binary.BigEndian.Uint32)
}

func (s *stream) records(report *Report, each func(*Packet), pkt *Packet, v variant, snaplen int, u32 func([]byte) uint32) error {
	for {
		if s.w-s.r < v.record && !s.need(v.record) {
			return s.ended("a record header", v.record)
		}
		h := s.buf[s.r : s.r+v.record]
		size, wire := u32(h[8:]), u32(h[12:])
		if size > maxPacket {
			return s.broken(s.offset(), "a packet of %d bytes; the limit is %d", size, maxPacket)
		}
		end := v.record + int(size)
		if s.w-s.r < end && !s.need(end) {
			return s.ended("a record", end)
		}
		h = s.buf[s.r : s.r+end]
		pkt.Time = int64(u32(h))*1e9 + int64(u32(h[4:]))*v.unit
		pkt.Data = h[v.record:end:end]
		pkt.Wire = int(min(wire, math.MaxInt32))
		s.r += end
		report.note(pkt, snaplen)
		each(pkt)
	}
}
