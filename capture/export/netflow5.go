package export

import (
	"encoding/binary"
	"net/netip"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

// layout is where a protocol with fixed records has its fields.
type layout struct {
	header, record int // bytes
	flags, proto   int // offsets in the record
}

func layoutOf(v flow.Version) layout {
	switch v {
	case flow.NetFlow1:
		return layout{header: 16, record: 52, flags: 40, proto: 38}
	case flow.NetFlow7:
		return layout{header: 24, record: 52, flags: 37, proto: 38}
	}
	return layout{header: 24, record: 48, flags: 37, proto: 38}
}

// fixed decodes NetFlow 1, 5 and 7, whose records always look the same. The
// formats are those of Cisco's NetFlow Services Solutions Guide, appendix B.
func (d *Decoder) fixed(from netip.AddrPort, b []byte, now int64, into []flow.Record) []flow.Record {
	version := protocol(b)
	l := layoutOf(version)
	if len(b) < l.header {
		d.counts[shortHeader]++
		return into
	}
	header, data := b[:l.header], b[l.header:]
	count := int(binary.BigEndian.Uint16(header[2:]))
	if version == flow.NetFlow1 && len(data) == count*48 {
		l.record = 48 // softflowd leaves the last word out
	}
	if whole := len(data) / l.record; count > whole {
		d.counts[cutShort]++
		count = whole
	}
	e, c := d.fixedHeader(from, version, header, count, now)
	origin := flow.Export{Exporter: e.addr, Domain: e.domain, Sampling: e.rate(0), Version: version}
	for ; count > 0; count-- {
		into = append(into, flow.Record{End: flow.Finished, Export: origin})
		d.fixedRecord(&into[len(into)-1], data[:l.record], &l, &c)
		data = data[l.record:]
	}
	return into
}

// fixedHeader takes what the header of a datagram says. That of NetFlow 1 is
// shorter, and only that of NetFlow 5 has the engine and the sampling, of which
// the upper two bits are the mode.
func (d *Decoder) fixedHeader(from netip.AddrPort, version flow.Version, header []byte, count int, now int64) (*exporter, clock) {
	var domain uint32
	if version == flow.NetFlow5 {
		domain = uint32(binary.BigEndian.Uint16(header[20:]))
	}
	e := d.exporter(from.Addr(), domain, version, now)
	e.records += uint64(count)
	if version != flow.NetFlow1 {
		e.seq.of(from.Port()).saw(binary.BigEndian.Uint32(header[16:]), uint32(count))
	}
	if version == flow.NetFlow5 {
		e.sampling.general = uint32(binary.BigEndian.Uint16(header[22:])) & 0x3fff
	}
	sent := int64(binary.BigEndian.Uint32(header[8:]))*second + int64(binary.BigEndian.Uint32(header[12:]))
	return e, d.clock(e, sent, now, binary.BigEndian.Uint32(header[4:]))
}

// fixedRecord fills r from one record.
func (d *Decoder) fixedRecord(r *flow.Record, b []byte, l *layout, c *clock) {
	_ = b[47]
	r.Src = packet.Addr4(binary.BigEndian.Uint32(b))
	r.Dst = packet.Addr4(binary.BigEndian.Uint32(b[4:]))
	r.Proto = b[l.proto]
	if r.Ports = hasPorts(r.Proto); r.Ports {
		r.SrcPort = binary.BigEndian.Uint16(b[32:])
		r.DstPort = binary.BigEndian.Uint16(b[34:])
	} else if isICMP(r.Proto) {
		r.Export.ICMP = binary.BigEndian.Uint16(b[34:])
	}
	r.Fwd.Packets = times(uint64(binary.BigEndian.Uint32(b[16:])), r.Export.Sampling)
	r.Fwd.Bytes = times(uint64(binary.BigEndian.Uint32(b[20:])), r.Export.Sampling)
	d.bounded(r)
	r.Fwd.Flags = packet.Flags(b[l.flags])
	var sound bool
	r.First, r.Last, sound = c.span(c.since(binary.BigEndian.Uint32(b[24:])), c.since(binary.BigEndian.Uint32(b[28:])))
	if !sound {
		d.counts[badTime]++
	}
}

// hasPorts reports whether flows of a protocol have ports, as in captures: TCP,
// UDP and SCTP. Exporters put the type of ICMP where ports are.
func hasPorts(proto uint8) bool { return proto == 6 || proto == 17 || proto == 132 }

func isICMP(proto uint8) bool { return proto == ipproto.ICMP || proto == ipproto.ICMPv6 }
