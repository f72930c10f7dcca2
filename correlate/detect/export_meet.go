package detect

import (
	"vft/capture/flow"
	"vft/capture/packet"
)

// The two directions of a flow come as records of their own, in any order,
// perhaps from two exporters, and one flow may come from several exporters that
// its packets passed. They meet here: the first record of a flow waits for that
// of the other direction, and each direction belongs to the exporter that told
// of it first.
const (
	maxMeetings = 1 << 16     // flows, 208 bytes each
	meetTime    = 60 * second // a direction waits so long for the other
	flowGap     = 60 * second // after a longer silence a flow is another one
	sureGap     = 2 * second  // the direction that began so much earlier is the client's
	portsServed = 1024        // ports below are those of servers
)

// role is what a record is to its flow.
type role uint8

const (
	first     role = iota // of its flow
	answer                // the first of the other direction
	more                  // of a direction that was told of before
	duplicate             // of another exporter, or told twice
)

// meeting is a flow whose records came so far.
type meeting struct {
	flow        flow.Record // Fwd is the direction whose record came first
	other       packet.Addr // exporter of Rev
	firsts      [2]int64    // when each direction began
	lasts       [2]int64    // and ended, as far as was told
	at          int64       // clock of its first record
	told        bool        // to met
	newestFirst [2]int64    // of the latest record of each direction
}

// meetings is the table of the flows that were exported lately.
type meetings struct {
	hash  hasher
	all   *cache[meeting]
	queue []waiter // a ring, oldest at head; those that wait to be told
	head  int
	n     int
	met   func(*flow.Record)
	whole flow.Record // what met gets

	hurried    uint64 // had to leave before the other direction came
	duplicates uint64
}

func newMeetings(h hasher, met func(*flow.Record)) *meetings {
	return &meetings{hash: h, met: met, all: newCache[meeting](maxMeetings), queue: make([]waiter, maxMeetings)}
}

// key is that of both directions. ICMP is one flow per pair of addresses.
func (t *meetings) key(k flow.Key) uint64 {
	k = k.Canonical()
	return t.hash.of(k.Src, k.Dst, uint64(k.SrcPort)<<24|uint64(k.DstPort)<<8|uint64(k.Proto))
}

// meet adds a record of one direction to its flow. The meeting is valid until
// the next call.
func (t *meetings) meet(r *flow.Record, now int64) (*meeting, role) {
	key := t.key(r.Key)
	m := t.all.find(key, now)
	if m == nil {
		t.makeRoom(key, now)
		m, _ = t.all.get(key, now)
	} else if side, known := m.side(r); known && !m.over(r, side) {
		return m, t.add(m, r, side)
	} else if !m.told && m.at != 0 {
		t.tell(m)
	}
	*m = meeting{flow: *r, at: now, firsts: [2]int64{r.First}, lasts: [2]int64{r.Last}, newestFirst: [2]int64{r.First}}
	t.wait(key, now)
	return m, first
}

// side returns which direction of m r is, and false when it is none.
func (m *meeting) side(r *flow.Record) (int, bool) {
	if m.flow.Key == r.Key {
		return 0, true
	}
	return 1, m.flow.Key == r.Reverse()
}

// over reports whether r belongs to a later flow between the same ports.
func (m *meeting) over(r *flow.Record, side int) bool {
	last := max(m.lasts[0], m.lasts[1])
	if r.First-last > flowGap {
		return true
	}
	const ends = packet.FIN | packet.RST
	closed := (m.flow.Fwd.Flags|m.flow.Rev.Flags)&ends != 0
	return closed && r.First > last && r.Fwd.Flags&packet.SYN != 0 && !sampled(r) && r.Export.Exporter == m.exporter(side)
}

func (m *meeting) exporter(side int) packet.Addr {
	if side == 0 || m.flow.Rev.Packets == 0 {
		return m.flow.Export.Exporter
	}
	return m.other
}

func (t *meetings) add(m *meeting, r *flow.Record, side int) role {
	if side == 1 && m.flow.Rev.Packets == 0 {
		m.flow.Rev, m.other = r.Fwd, r.Export.Exporter
		m.firsts[1], m.lasts[1], m.newestFirst[1] = r.First, r.Last, r.First
		return answer
	}
	if r.Export.Exporter != m.exporter(side) {
		if r.First <= m.lasts[side]+flowGap {
			t.duplicates++
			return duplicate
		}
		m.adopt(r, side)
	} else if !sampled(r) && r.First == m.newestFirst[side] && r.Last == m.lasts[side] { // metered where it came in and where it went out
		t.duplicates++
		return duplicate
	}
	s := &m.flow.Fwd
	if side == 1 {
		s = &m.flow.Rev
	}
	s.Packets += r.Fwd.Packets
	s.Bytes += r.Fwd.Bytes
	s.Payload += r.Fwd.Payload
	s.Flags |= r.Fwd.Flags
	m.firsts[side], m.lasts[side], m.newestFirst[side] = min(m.firsts[side], r.First), max(m.lasts[side], r.Last), r.First
	return more
}

// adopt gives a direction to another exporter: that of before fell silent.
func (m *meeting) adopt(r *flow.Record, side int) {
	if side == 0 {
		m.flow.Export = r.Export
	} else {
		m.other = r.Export.Exporter
	}
}

// wait queues a flow that was not told yet.
func (t *meetings) wait(key uint64, now int64) {
	if t.n == len(t.queue) {
		t.hurried++
		t.next()
	}
	t.queue[(t.head+t.n)%len(t.queue)] = waiter{key, now}
	t.n++
}

// next tells of the oldest flow that waits, unless it was told meanwhile.
func (t *meetings) next() {
	w := t.queue[t.head]
	t.head = (t.head + 1) % len(t.queue)
	t.n--
	if m := t.all.peek(w.key); m != nil && !m.told && m.at == w.at {
		t.tell(m)
	}
}

// makeRoom tells of the flow that the one of key is about to push out.
func (t *meetings) makeRoom(key uint64, now int64) {
	if m := t.all.leaving(key, now); m != nil && !m.told && m.at != 0 {
		t.hurried++
		t.tell(m)
	}
}

func (t *meetings) advance(now int64) {
	for t.n > 0 && now-t.queue[t.head].at > meetTime {
		t.next()
	}
}

func (t *meetings) close() {
	for t.n > 0 {
		t.next()
	}
}

// tell hands a flow on, from client to server.
func (t *meetings) tell(m *meeting) {
	m.told = true
	r := &t.whole
	*r = m.flow
	r.First, r.Last = m.firsts[0], m.lasts[0]
	if r.Rev.Packets > 0 {
		r.First, r.Last = min(r.First, m.firsts[1]), max(r.Last, m.lasts[1])
	}
	r.End = flow.Idle // what continues it is not told
	if m.backwards() {
		r.Key, r.Fwd, r.Rev = r.Reverse(), r.Rev, r.Fwd
	}
	t.met(r)
}

// backwards reports whether the direction that came first is that of the
// server. TCP flags tell most, then the ports, since the two times may be of
// different clocks and are seldom finer than a millisecond.
func (m *meeting) backwards() bool {
	r := &m.flow
	answered := r.Rev.Packets > 0
	if r.Proto == protoTCP {
		if fwd, rev := asks(r.Fwd.Flags), answered && asks(r.Rev.Flags); fwd != rev {
			return rev
		}
		if fwd, rev := replying(r.Fwd.Flags), answered && replying(r.Rev.Flags); fwd != rev {
			return fwd
		}
	}
	lead := m.firsts[1] - m.firsts[0]
	switch from, to := r.SrcPort < portsServed, r.DstPort < portsServed; {
	case answered && lead < -sureGap:
		return true
	case answered && lead > sureGap:
		return false
	case from != to:
		return from
	case answered && lead != 0:
		return lead < 0
	case r.SrcPort != r.DstPort:
		return r.SrcPort < r.DstPort
	}
	return false
}

// asks reports whether only a client sends such flags: it never got an answer,
// or broke off at it.
func asks(f packet.Flags) bool { return f&(packet.SYN|packet.ACK) == packet.SYN }

// replying reports whether only a server sends them: it accepted and heard no
// more, or refused.
func replying(f packet.Flags) bool {
	f &= tcpFlags
	return f == packet.SYN|packet.ACK || f == packet.RST|packet.ACK
}

func (t *meetings) counts(yield func(string, uint64)) {
	yield("exported_flows_evicted", t.all.evicted)
	yield("exported_flows_hurried", t.hurried)
	yield("exported_duplicates", t.duplicates)
}
