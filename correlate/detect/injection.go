package detect

import (
	"bytes"

	"vft/capture/packet"
	"vft/event"
)

// TCP injection, after HoneyBadger (github.com/david415/HoneyBadger): a second
// SYN/ACK with another sequence number, segments that overlap and disagree, data
// at the very sequence number of a FIN or RST. Of each connection with data the
// first bytes of its latest segments are kept: an injected segment races the
// real one, so it overlaps what came last.
const (
	maxBlocks         = 1 << 13 // connections whose segments are kept; 464 bytes each
	keptSegments      = 8
	keptBytes         = 46
	resync            = 1 << 24 // a jump of the sequence number that far is another connection
	severityInjection = 90
	injectionQuiet    = 60 * second
	raceTime          = 3 * second // an injected segment races the real one: what comes later is another fault
)

// kept is the beginning of one segment.
type kept struct {
	seq  uint32
	at   uint32 // tick
	side uint8
	n    uint8
	data [keptBytes]byte
}

// block holds the latest segments of one connection.
type block struct {
	owner    uint64
	next     uint32
	segments [keptSegments]kept
}

type injection struct {
	episodes *episodes
	blocks   []block
	hand     uint32 // the block that is taken next
	taken    uint64 // from connections that may still live
}

func newInjection(e *episodes) *injection {
	return &injection{episodes: e, blocks: make([]block, maxBlocks)}
}

// synack takes a SYN/ACK of a connection that has one.
func (j *injection) synack(p *packet.Parsed, c *conn, now int64) {
	if p.Seq == c.synack || p.Ack != c.answer || c.state&again != 0 { // a server may answer each SYN anew (SYN cookies)
		return
	}
	j.report(p, "handshake_hijack", []detail{{"sequence", p.Seq}, {"expected", c.synack}}, now)
}

// closed notes that side sender ended with p.
func (j *injection) closed(p *packet.Parsed, c *conn, sender int, reset bool) {
	s := &c.sides[sender]
	at := p.Seq + uint32(p.PayloadLen)
	if s.state&(begun|shut) != begun || reset && at != s.high { // a RST is accepted at exactly the next byte (RFC 5961 section 3)
		return
	}
	s.closed = at
	s.state |= shut
	if reset {
		s.state |= shutBy
	}
}

// segment takes a segment with data.
func (j *injection) segment(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	s := &c.sides[sender]
	end := p.Seq + uint32(p.PayloadLen)
	if s.state&begun == 0 || distance(p.Seq, s.high) > resync || distance(s.high, p.Seq) > resync && int32(p.Seq-s.high) > 0 {
		*s = side{next: p.Seq, high: p.Seq, bytes: s.bytes, state: begun}
	}
	if s.state&shut != 0 && p.Seq == s.closed {
		kind := "closing_fin"
		if s.state&shutBy != 0 {
			kind = "closing_rst"
		}
		j.report(p, kind, []detail{{"sequence", p.Seq}}, now)
		return
	}
	if int32(p.Seq-s.high) < 0 {
		j.overlap(p, c, key, sender, now)
	}
	if p.Seq == s.next {
		s.next = end
		if int32(s.next-s.high) < 0 { // the lengths of what came early are not kept: the gap is taken for filled
			s.next = s.high
		}
	}
	if int32(end-s.high) > 0 {
		s.high = end
	}
	j.keep(p, c, key, sender, now)
}

func distance(a, b uint32) uint32 {
	if d := int32(a - b); d < 0 {
		return uint32(-d)
	}
	return a - b
}

// keep stores the beginning of a segment.
func (j *injection) keep(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	b := &j.blocks[c.block]
	if b.owner != key {
		c.block = j.hand
		j.hand = (j.hand + 1) % maxBlocks
		b = &j.blocks[c.block]
		if b.owner != 0 {
			j.taken++
		}
		b.owner, b.next = key, 0
	}
	k := &b.segments[b.next%keptSegments]
	b.next++
	k.seq, k.at, k.side = p.Seq, tick(now), uint8(sender)
	k.n = uint8(copy(k.data[:], p.Payload()))
}

// overlap compares a segment with those that are kept.
func (j *injection) overlap(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	b := &j.blocks[c.block]
	payload := p.Payload()
	if b.owner != key || len(payload) <= 1 { // one byte: a probe that keeps a connection alive
		return
	}
	for i := range min(b.next, keptSegments) {
		k := &b.segments[i]
		if int(k.side) != sender || k.n <= 1 || tick(now)-k.at > uint32(raceTime>>24) {
			continue
		}
		if agree(k, p.Seq, payload) || broken(p) {
			continue
		}
		j.report(p, overlapKind(k, p, &c.sides[sender]), []detail{{"sequence", p.Seq}, {"overlaps", k.seq}}, now)
		return
	}
}

// agree compares what a kept segment and a new one say of the same bytes.
func agree(k *kept, seq uint32, payload []byte) bool {
	old := k.data[:k.n]
	if d := int32(seq - k.seq); d >= 0 {
		if int(d) >= len(old) {
			return true
		}
		old = old[d:]
	} else {
		if int(-d) >= len(payload) {
			return true
		}
		payload = payload[-d:]
	}
	n := min(len(old), len(payload))
	return bytes.Equal(old[:n], payload[:n])
}

// overlapKind names what an overlap does: replaces a segment, part of what was
// received, or what waits behind a gap.
func overlapKind(k *kept, p *packet.Parsed, s *side) string {
	switch {
	case int32(k.seq-s.next) >= 0 || int32(p.Seq-s.next) >= 0:
		return "coalesce"
	case k.seq == p.Seq:
		return "ordered"
	}
	return "partial_overlap"
}

// broken reports whether a segment that was captured whole has a wrong checksum
// (RFC 9293 section 3.1): no host accepts it.
func broken(p *packet.Parsed) bool {
	end := p.NetOff + p.NetLen
	if p.Network == packet.NonIP || p.NetLen == 0 || end > len(p.Data) || p.TransOff >= end || p.Fragment {
		return false
	}
	b := p.Data[p.TransOff:end]
	sum := uint64(protocolTCP) + uint64(len(b))
	for _, a := range []packet.Addr{p.Src, p.Dst} {
		if a.Is4() {
			a = packet.Addr{Lo: uint64(a.V4())}
		}
		sum += a.Hi>>32 + a.Hi&0xffffffff + a.Lo>>32 + a.Lo&0xffffffff
	}
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(be16(b))
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return sum != 0xffff
}

func (j *injection) report(p *packet.Parsed, kind string, more []detail, now int64) {
	j.episodes.note(&finding{
		kind: "tcp_injection", sensor: "tcp_injection", key: p.Dst.String(), offender: p.Src, scan: "", transport: "tcp", severity: severityInjection, evidence: event.E1,
		target: p.Dst, port: p.DstPort, hasPort: true, value: 1, threshold: 1, memory: injectionQuiet,
		more: append(more, detail{"injection", kind}, detail{"source_port", p.SrcPort}),
	}, now)
}

func (j *injection) counts(yield func(string, uint64)) { yield("injection_blocks_taken", j.taken) }
