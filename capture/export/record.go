package export

import (
	"encoding/binary"

	"vft/capture/flow"
	"vft/capture/packet"
)

// values are the slots of one record.
type values [maxSlots]uint64

// data decodes a set of records. Every turn consumes the size of a record at
// least, which is never zero.
func (d *Decoder) data(m *message, t *template, set []byte, into []flow.Record) []flow.Record {
	d.values = values{}
	rate := m.rateOf(t, &d.values)
	for len(set) >= t.size {
		if m.left == 0 {
			d.counts[tooManyRecords]++
			m.unsure = true
			break
		}
		n := t.read(set, &d.values, &d.section)
		if n == 0 {
			d.counts[cutShort]++
			m.unsure = true
			break
		}
		set = set[n:]
		m.left--
		m.decoded++
		if t.options {
			d.option(m.exporter, t)
			continue
		}
		if t.has&rateSlots != 0 {
			rate = m.rateOf(t, &d.values)
		}
		into = d.record(m, t, rate, into)
	}
	d.section = nil
	return into
}

// record appends the record that is in the slots, if it is a flow.
func (d *Decoder) record(m *message, t *template, rate uint32, into []flow.Record) []flow.Record {
	into = append(into, flow.Record{Export: flow.Export{Exporter: m.addr, Domain: m.domain, Sampling: rate, Version: m.version}})
	if !d.fill(&into[len(into)-1], m, t) {
		d.counts[otherRecords]++
		return into[:len(into)-1]
	}
	m.records++
	return into
}

// read copies the fields of the record at the start of b into v, and returns
// the length of the record; 0 when b is too short for it.
func (t *template) read(b []byte, v *values, section *[]byte) int {
	if t.variable {
		return t.readVariable(b, v, section)
	}
	b = b[:t.size]
	for i := range t.steps {
		s := &t.steps[i]
		p := b[s.off:]
		switch s.n {
		case 4:
			v[s.slot%maxSlots] = uint64(binary.BigEndian.Uint32(p))
		case 2:
			v[s.slot%maxSlots] = uint64(binary.BigEndian.Uint16(p))
		case 1:
			v[s.slot%maxSlots] = uint64(p[0])
		case 8:
			v[s.slot%maxSlots] = binary.BigEndian.Uint64(p)
		default:
			s.take(p[:s.n], v, section)
		}
	}
	return t.size
}

// readVariable is read for templates with fields that state their length.
func (t *template) readVariable(b []byte, v *values, section *[]byte) int {
	at := 0
	for i := range t.steps {
		s := &t.steps[i]
		at += int(s.off)
		n := int(s.n)
		if n == variable {
			head := 0
			if n, head = statedLength(b[min(at, len(b)):]); head == 0 {
				return 0
			}
			at += head
		}
		if at+n > len(b) {
			return 0
		}
		s.take(b[at:at+n], v, section)
		at += n
	}
	return at
}

// statedLength reads the length that a field begins with (RFC 7011 section 7):
// one byte, or 255 and two more. head is how many bytes that are, 0 when they are
// cut.
func statedLength(b []byte) (n, head int) {
	switch {
	case len(b) >= 1 && b[0] < 255:
		return int(b[0]), 1
	case len(b) >= 3:
		return int(binary.BigEndian.Uint16(b[1:])), 3
	}
	return 0, 0
}

// take copies a field of any length: a number, or a piece of a packet.
func (s *step) take(p []byte, v *values, section *[]byte) {
	switch {
	case s.slot == packetFrame || s.slot == packetNet:
		*section = p
	case s.slot != unused:
		var n uint64
		for _, c := range p {
			n = n<<8 | uint64(c)
		}
		v[s.slot%maxSlots] = n
	}
}

// addressSlots are those without which a record is no flow.
const addressSlots = 1<<src4 | 1<<dst4 | 1<<src6High | 1<<dst6High | 1<<station4 | 1<<packetFrame | 1<<packetNet

// fill makes r of the slots, and returns false for a record that is no flow.
func (d *Decoder) fill(r *flow.Record, m *message, t *template) bool {
	v := &d.values
	if t.has&addressSlots == 0 {
		return false
	}
	if t.has&(1<<packetFrame|1<<packetNet) != 0 {
		d.fillSection(r, t)
	} else {
		fillKey(r, t, v)
		fillSides(r, m.version, v)
		towardsResponder(r)
	}
	if t.has&eventSlots != 0 && isEvent(v) && r.Fwd.Packets|r.Fwd.Bytes|r.Rev.Packets|r.Rev.Bytes == 0 {
		return false
	}
	d.bounded(r)
	r.End = endOf(v[endReason])
	var sound bool
	r.First, r.Last, sound = m.times(t, v)
	if !sound {
		d.counts[badTime]++
	}
	return true
}

// fillKey sets the addresses and ports. Templates may have the fields of both
// IP versions, of which one is zero.
func fillKey(r *flow.Record, t *template, v *values) {
	r.Proto = uint8(v[proto])
	switch four := v[src4] | v[dst4]; {
	case four != 0 || t.has&(1<<src6High|1<<dst6High) == 0:
		r.Src, r.Dst = packet.Addr4(uint32(v[src4])), packet.Addr4(uint32(v[dst4]))
	case v[src6High]|v[src6Low]|v[dst6High]|v[dst6Low] == 0 && t.has&(1<<src4|1<<dst4) != 0:
		r.Src, r.Dst = packet.Addr4(0), packet.Addr4(0)
	default:
		r.Src, r.Dst = packet.Addr{Hi: v[src6High], Lo: v[src6Low]}, packet.Addr{Hi: v[dst6High], Lo: v[dst6Low]}
	}
	if station := packet.Addr4(uint32(v[station4])); t.has&(1<<station4|1<<src4|1<<src6High) == 1<<station4 {
		if v[direction] == 0 { // from the station
			r.Src = station
		} else {
			r.Dst = station
		}
	}
	if r.Ports = hasPorts(r.Proto); r.Ports {
		r.SrcPort, r.DstPort = uint16(v[srcPort]), uint16(v[dstPort])
	} else if isICMP(r.Proto) { // many exporters put both where a port would be
		r.Export.ICMP = uint16(v[icmpTypeCode] | v[icmpType]<<8 | v[icmpCode])
		if r.Export.ICMP == 0 {
			r.Export.ICMP = uint16(v[dstPort])
		}
	}
}

// fillSides sets the counters, corrected by the sampling rate.
//
// OUT_BYTES and OUT_PKTS of NetFlow 9 (RFC 3954 section 8) are what a session
// carried back where IN_BYTES or IN_PKTS are there as well, and otherwise those
// of a flow that was seen leaving. In IPFIX the same numbers mean the same
// packets after a middlebox changed them. initiatorOctets and the like are for
// both directions of a session.
func fillSides(r *flow.Record, version flow.Version, v *values) {
	bytes, packets := v[inBytes], v[inPackets]
	backBytes, backPackets := v[reverseBytes], v[reversePackets]
	switch out := v[outBytes] | v[outPackets]; {
	case bytes|packets == 0 && out != 0:
		bytes, packets = v[outBytes], v[outPackets]
	case out != 0 && version == flow.NetFlow9:
		backBytes, backPackets = v[outBytes], v[outPackets]
	}
	if bytes|backBytes == 0 {
		bytes, backBytes = v[initiatorBytes], v[responderBytes]
	}
	if packets|backPackets == 0 {
		packets, backPackets = v[initiatorPackets], v[responderPackets]
	}
	if bytes == 0 { // of the frames; the link headers are most often Ethernet's
		const ethernet = 14
		bytes = v[layer2Bytes] - min(v[layer2Bytes], packets*ethernet)
	}
	rate := r.Export.Sampling
	r.Fwd = flow.Side{Packets: times(packets, rate), Bytes: times(bytes, rate), Flags: packet.Flags(v[tcpFlags]), TTL: uint8(v[ttl])}
	r.Rev = flow.Side{Packets: times(backPackets, rate), Bytes: times(backBytes, rate), Flags: packet.Flags(v[reverseFlags]), TTL: uint8(v[reverseTTL])}
}

// fillSection sets key and counters from the piece of a packet that the record
// has in place of them.
func (d *Decoder) fillSection(r *flow.Record, t *template) {
	link := packet.LinkEthernet
	if t.fills(packetNet) {
		link = packet.LinkRaw
	}
	p := &d.sampled
	p.Decode(link, d.section, max(int(d.values[frameLength]&0xffff), len(d.section)))
	if key, ok := flow.KeyOf(p); ok {
		r.Key = key
		r.Fwd = flow.Side{Packets: times(1, r.Export.Sampling), Bytes: times(uint64(p.NetLen), r.Export.Sampling), TTL: p.TTL}
		if p.HasFlags {
			r.Fwd.Flags = p.Flags
		}
	}
}

const eventSlots = 1<<firewallEvent | 1<<natEvent

// isEvent reports whether a record without counters tells of something else than
// a flow that passed or was refused: of a session that a firewall opened and will
// report when it ends, or of a translation.
func isEvent(v *values) bool {
	const created = 1
	return v[firewallEvent] == created || v[firewallEvent] == 0 && v[natEvent] != 0
}
