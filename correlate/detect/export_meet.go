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
	maxMeetings = 1 << 16     // flows, 160 bytes each, with key and place in the queue
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

// meeting is a flow whose records came so far: two lines of the processor's
// cache. Strong in its table until it was told.
type meeting struct {
	key      flow.Key // of the direction whose record came first
	exporter packet.Addr
	sampling uint32
	owners   [2]uint16 // hashes of the exporters of each direction
	bytes    [2]uint64 // from the IP header on
	firsts   [2]int64
	lasts    [2]int64
	packets  [2]uint32 // stays at its maximum; 0: that direction was not told of
	at       uint32    // tick of the first record
	flags    [2]packet.Flags
	version  flow.Version
	told     bool // to met
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

// hashOf is that of both directions. ICMP is one flow per pair of addresses.
func (t *meetings) hashOf(k *flow.Key) uint64 { return k.Hash(t.hash.a) | 1 }

// meet adds a record of one direction, whose exporter has the hash owner, to its
// flow, and tells of the flow when it is the answer. The meeting is valid until
// the next call.
func (t *meetings) meet(r *flow.Record, owner uint16, now int64) (*meeting, role) {
	key := t.hashOf(&r.Key)
	m := t.all.find(key, now)
	if m == nil {
		t.makeRoom(key, now)
		m, _ = t.all.get(key, now)
	} else if side, known := m.side(r); known && !m.over(r, side, owner) {
		return m, t.add(m, r, side, owner)
	} else if !m.told {
		t.tell(m)
	}
	*m = meeting{key: r.Key, exporter: r.Export.Exporter, sampling: r.Export.Sampling, version: r.Export.Version, at: tick(now)}
	m.set(r, 0, owner)
	t.all.strengthen(key)
	t.wait(key, now)
	return m, first
}

// set takes the first record of a direction.
func (m *meeting) set(r *flow.Record, side int, owner uint16) {
	m.owners[side], m.firsts[side], m.lasts[side], m.flags[side] = owner, r.First, r.Last, r.Fwd.Flags
	m.packets[side], m.bytes[side] = few(r.Fwd.Packets), r.NetworkBytes(&r.Fwd)
}

func few(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// side returns which direction of m r is, and false when it is none.
func (m *meeting) side(r *flow.Record) (int, bool) {
	if m.key == r.Key {
		return 0, true
	}
	return 1, m.key == r.Reverse()
}

// over reports whether r belongs to a later flow between the same ports.
func (m *meeting) over(r *flow.Record, side int, owner uint16) bool {
	last := max(m.lasts[0], m.lasts[1])
	if r.First-last > flowGap {
		return true
	}
	const ends = packet.FIN | packet.RST
	closed := (m.flags[0]|m.flags[1])&ends != 0
	known := owner == m.owners[side] || m.packets[side] == 0
	return closed && known && r.First > last && r.Fwd.Flags&packet.SYN != 0 && !sampled(r)
}

// add adds a record to a direction that belongs to the exporter that told of it
// first, unless that fell silent.
func (t *meetings) add(m *meeting, r *flow.Record, side int, owner uint16) role {
	if m.packets[side] == 0 {
		m.set(r, side, owner)
		return answer
	}
	if owner != m.owners[side] && r.First <= m.lasts[side]+flowGap || owner == m.owners[side] && m.again(r, side) {
		t.duplicates++
		return duplicate
	}
	m.owners[side] = owner
	m.packets[side] = few(uint64(m.packets[side]) + r.Fwd.Packets)
	m.bytes[side] += r.NetworkBytes(&r.Fwd)
	m.flags[side] |= r.Fwd.Flags
	m.firsts[side], m.lasts[side] = min(m.firsts[side], r.First), max(m.lasts[side], r.Last)
	return more
}

// again reports whether an exporter tells of the same packets again, since it
// meters them where they come in and where they go out. Times of whole seconds do
// not tell.
func (m *meeting) again(r *flow.Record, side int) bool {
	return r.Last == m.lasts[side] && r.Last%second != 0 && !sampled(r)
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
	if m := t.all.peekStrong(w.key); m != nil && m.at == tick(w.at) {
		t.tell(m)
		t.all.weaken(w.key)
	}
}

// answered tells of a flow whose answer came, which waits no more.
func (t *meetings) answered(m *meeting) {
	key := t.hashOf(&m.key)
	t.tell(m)
	t.all.weaken(key)
	if t.n > 0 && t.queue[(t.head+t.n-1)%len(t.queue)].key == key {
		t.n--
	}
}

// makeRoom tells of the flow that the one of key is about to push out.
func (t *meetings) makeRoom(key uint64, now int64) {
	if m := t.all.leaving(key, now); m != nil {
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
	from, to := 0, 1
	if m.backwards() {
		from, to = 1, 0
	}
	r := &t.whole
	*r = flow.Record{Key: m.key, First: m.firsts[0], Last: m.lasts[0], End: flow.Idle, Fwd: m.direction(from), Rev: m.direction(to)}
	r.Export = flow.Export{Exporter: m.exporter, Sampling: m.sampling, Version: m.version}
	if m.packets[1] > 0 {
		r.First, r.Last = min(r.First, m.firsts[1]), max(r.Last, m.lasts[1])
	}
	if from == 1 {
		r.Key = m.key.Reverse()
	}
	t.met(r)
}

func (m *meeting) direction(side int) flow.Side {
	return flow.Side{Packets: uint64(m.packets[side]), Bytes: m.bytes[side], Flags: m.flags[side]}
}

// backwards reports whether the direction that came first is that of the
// server. TCP flags tell most, then the ports, since the two times may be of
// different clocks and are seldom finer than a millisecond.
func (m *meeting) backwards() bool {
	answered := m.packets[1] > 0
	if m.key.Proto == protoTCP {
		if fwd, rev := opens(m.flags[0]), answered && opens(m.flags[1]); fwd != rev {
			return rev
		}
		if fwd, rev := replying(m.flags[0]), answered && replying(m.flags[1]); fwd != rev {
			return fwd
		}
	}
	lead := m.firsts[1] - m.firsts[0]
	switch from, to := m.key.SrcPort < portsServed, m.key.DstPort < portsServed; {
	case answered && lead < -sureGap:
		return true
	case answered && lead > sureGap:
		return false
	case from != to:
		return from
	case answered && lead != 0:
		return lead < 0
	}
	return m.key.SrcPort < m.key.DstPort
}

// opens reports whether the flags are those of a client that never got an
// answer, or broke off at it.
func opens(f packet.Flags) bool { return f&tcpFlags&^packet.RST == packet.SYN }

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
