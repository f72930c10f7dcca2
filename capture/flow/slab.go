package flow

import "vft/capture/packet"

// slot is one live flow in one cache line. There is no pointer in it, so the
// garbage collector never looks at the slab. Byte counts and the span have 48
// bits in two parts: 256 TiB and 78 hours.
type slot struct {
	first       int64
	src, dst    uint32 // IPv4 addresses; for IPv6 src is a place in slab.pairs. In a free slot src is the next free one
	packets     [2]uint32
	bytes       [2]uint32
	payload     [2]uint32
	span        uint32 // from first to the last packet, nanoseconds
	sport       uint16
	dport       uint16
	bytesHigh   [2]uint16
	payloadHigh [2]uint16
	spanHigh    uint16
	proto       uint8
	flags       [2]uint8
	ttl         [2]uint8
	state       uint8
}

const (
	stateUsed   = 1 << iota
	stateV6     // the addresses are in slab.pairs
	statePorts  // Key.Ports
	stateAgain  // a second packet came since the clock passed
	stateFwd    // a packet since Mark
	stateRev    // one of the other direction; must be stateFwd << 1
	stateFresh  // the slot stands in Table.fresh, whoever uses it
	stateDoomed // chosen to be evicted
)

const (
	none     = 1<<32 - 1
	chunkLog = 14 // 16,384 slots: 1 MiB
	chunkLen = 1 << chunkLog
)

func add48(low *uint32, high *uint16, n uint32) {
	*low += n
	if *low < n {
		*high++
	}
}

func get48(low uint32, high uint16) uint64 { return uint64(high)<<32 | uint64(low) }

func (s *slot) lastTime() int64 { return s.first + int64(get48(s.span, s.spanHigh)) }

// extend makes the flow reach to now, which may lie before its first packet.
func (s *slot) extend(now int64) {
	span := int64(get48(s.span, s.spanHigh))
	switch d := now - s.first; {
	case d > span:
		span = d
	case d < 0:
		span -= d
		s.first = now
	default:
		return
	}
	s.span, s.spanHigh = uint32(span), uint16(span>>32)
}

// full reports whether a packet at now could make a counter wrap.
func (s *slot) full(now int64) bool {
	const most, high, span = 1<<32 - 1, 1<<16 - 1, 1 << 48
	return max(s.packets[0], s.packets[1]) == most ||
		max(s.bytesHigh[0], s.bytesHigh[1], s.payloadHigh[0], s.payloadHigh[1]) == high ||
		now-s.first >= span || s.lastTime()-now >= span
}

// slab holds slots in chunks, so that growing copies nothing.
type slab struct {
	chunks []*[chunkLen]slot
	pairs  pairs
	size   uint32 // slots ever used
	free   uint32 // 1 + the first free slot, 0 for none
}

func (m *slab) at(i uint32) *slot { return &m.chunks[i>>chunkLog][i&(chunkLen-1)] }

func (m *slab) take() uint32 {
	if m.free != 0 {
		at := m.free - 1
		m.free = m.at(at).src
		return at
	}
	if int(m.size>>chunkLog) == len(m.chunks) {
		m.chunks = append(m.chunks, new([chunkLen]slot))
	}
	m.size++
	return m.size - 1
}

func (m *slab) give(at uint32) {
	m.at(at).src = m.free
	m.free = at + 1
}

// fill begins a flow in a slot. That the slot stands in Table.fresh outlives
// its users.
func (m *slab) fill(s *slot, k *Key, now int64) {
	*s = slot{first: now, sport: k.SrcPort, dport: k.DstPort, proto: k.Proto, state: s.state&stateFresh | stateUsed}
	if k.Ports {
		s.state |= statePorts
	}
	if k.Src.Is4() && k.Dst.Is4() {
		s.src, s.dst = k.Src.V4(), k.Dst.V4()
		return
	}
	s.state |= stateV6
	s.src = m.pairs.take(k.Src, k.Dst)
}

// release empties a slot: its addresses are given back.
func (m *slab) release(s *slot) {
	if s.state&stateV6 != 0 {
		m.pairs.give(s.src)
	}
	s.state &= stateFresh
}

// equal reports whether a slot holds k, or its reverse.
func (m *slab) equal(s *slot, k *Key, v4 bool) (same, reverse bool) {
	if s.proto != k.Proto || (s.state&statePorts != 0) != k.Ports || (s.state&stateV6 == 0) != v4 {
		return false, false
	}
	if v4 {
		a, b := k.Src.V4(), k.Dst.V4()
		if s.src == a && s.dst == b && s.sport == k.SrcPort && s.dport == k.DstPort {
			return true, false
		}
		same = s.src == b && s.dst == a && s.sport == k.DstPort && s.dport == k.SrcPort
		return same, same
	}
	pair := m.pairs.at(s.src)
	if pair[0] == k.Src && pair[1] == k.Dst && s.sport == k.SrcPort && s.dport == k.DstPort {
		return true, false
	}
	same = pair[0] == k.Dst && pair[1] == k.Src && s.sport == k.DstPort && s.dport == k.SrcPort
	return same, same
}

func (m *slab) key(s *slot) Key {
	k := Key{SrcPort: s.sport, DstPort: s.dport, Proto: s.proto, Ports: s.state&statePorts != 0}
	if s.state&stateV6 != 0 {
		pair := m.pairs.at(s.src)
		k.Src, k.Dst = pair[0], pair[1]
	} else {
		k.Src, k.Dst = packet.Addr4(s.src), packet.Addr4(s.dst)
	}
	return k
}

func (m *slab) record(s *slot, r *Record) {
	*r = Record{Key: m.key(s), Fwd: s.side(0), Rev: s.side(1), First: s.first, Last: s.lastTime()}
}

func (s *slot) side(i int) Side {
	return Side{
		Packets: uint64(s.packets[i]),
		Bytes:   get48(s.bytes[i], s.bytesHigh[i]),
		Payload: get48(s.payload[i], s.payloadHigh[i]),
		Flags:   packet.Flags(s.flags[i]),
		TTL:     s.ttl[i],
	}
}

// pairs holds the addresses of IPv6 flows.
type pairs struct {
	chunks []*[chunkLen][2]packet.Addr
	size   uint32
	free   uint32 // 1 + the first free one, 0 for none; the rest of the list is in Hi
}

func (m *pairs) at(i uint32) *[2]packet.Addr { return &m.chunks[i>>chunkLog][i&(chunkLen-1)] }

func (m *pairs) take(src, dst packet.Addr) uint32 {
	at := m.size
	if m.free != 0 {
		at = m.free - 1
		m.free = uint32(m.at(at)[0].Hi)
	} else {
		if int(at>>chunkLog) == len(m.chunks) {
			m.chunks = append(m.chunks, new([chunkLen][2]packet.Addr))
		}
		m.size++
	}
	*m.at(at) = [2]packet.Addr{src, dst}
	return at
}

func (m *pairs) give(at uint32) {
	m.at(at)[0].Hi = uint64(m.free)
	m.free = at + 1
}
