package flow

import (
	"time"

	"vft/capture/packet"
)

// The defaults of Config.
const (
	DefaultMax    = 1 << 20
	DefaultIdle   = 60 * time.Second
	DefaultActive = 30 * time.Minute
)

// Config sets the limits of a Table. Zero values mean the defaults; a negative
// timeout means none.
type Config struct {
	Max        int           // flows at once, at most 1<<30; the table then evicts
	Idle       time.Duration // a flow without a packet for longer has ended
	Active     time.Duration // a flow is reported when it gets older, and begins anew
	Seed       uint64        // of the hash; random when strangers send the packets
	LinkHeader uint8         // bytes of link header of each packet, for Record.NetworkBytes; 14 for Ethernet
	// SplitFragments leaves later fragments in a flow without ports, instead of
	// joining them with the flow of their first fragment.
	SplitFragments bool
	Emit           func(*Record) // gets each ended flow; the Record is valid until it returns. nil: nobody wants them
}

// Counters tell what became of flows and fragments.
type Counters struct {
	Started         uint64
	Ended           [Finished + 1]uint64 // by End
	FragmentsJoined uint64
	FragmentsAlone  uint64 // later fragments whose first one was not seen, or too long ago
	FragmentsForgot uint64 // first fragments that pushed another out of the bounded memory
}

// Touch says what a packet meant to its flow, for counts of distinct things.
type Touch uint8

// The bits of a Touch.
const (
	NewFlow     Touch = 1 << iota // it began a flow
	NewSide                       // the first in its direction
	FirstOfFlow                   // the first of its flow since Mark; never set for a later fragment
	FirstOfSide                   // the first of its flow in its direction since Mark; likewise
	Reverse                       // against the direction of the first packet
)

// Table holds the live flows. One goroutine owns it. A slot takes 64 bytes and
// the index 12 to 16 more per flow; an IPv6 flow takes 32 more. Time is that of
// the packets.
type Table struct {
	cfg    Config
	idle   int64
	active int64

	index  index
	slab   slab
	hand   uint32   // of the clock that chooses whom to evict
	fresh  []uint32 // slots with a packet since Mark
	frags  *fragments
	last   uint32 // slot of the last packet
	hash   uint64 // of its key
	warmth uint32
	count  Counters
	rec    Record // reused for Emit

	nextSweep int64
}

// NewTable returns an empty table. Memory is taken as flows come.
func NewTable(cfg Config) *Table {
	if cfg.Max <= 0 {
		cfg.Max = DefaultMax
	}
	cfg.Max = min(cfg.Max, 1<<30)
	t := &Table{cfg: cfg, idle: timeout(cfg.Idle, DefaultIdle), active: timeout(cfg.Active, DefaultActive)}
	t.index.reset(cfg.Max)
	return t
}

const never = 1<<63 - 1

func timeout(d, standard time.Duration) int64 {
	switch {
	case d < 0:
		return never
	case d == 0:
		return int64(standard)
	}
	return int64(d)
}

// Len returns the number of live flows.
func (t *Table) Len() int { return t.index.used }

// Counters returns what happened so far.
func (t *Table) Counters() Counters { return t.count }

// Ahead fills in what Hashed wants to know of each packet, and brings the flows
// that the packets belong to into the cache of the processor: here their misses
// overlap. Some dozen packets are enough.
func (t *Table) Ahead(packets []packet.Parsed, hashes []uint64) {
	for i := range packets {
		k := keyOf(&packets[i])
		hashes[i] = k.Hash(t.cfg.Seed)
	}
	if t.index.used < inCache {
		return
	}
	for _, hash := range hashes[:len(packets)] {
		if e := t.index.first(uint32(hash)); e != 0 && e.hash() == uint32(hash) {
			t.warmth ^= t.slab.at(e.slot()).span
		}
	}
}

// inCache is how many flows stay in the cache without help.
const inCache = 1 << 13

// keyOf is the key field by field: a copy of 16 bytes waits for the two stores of
// 8 just before.
func keyOf(p *packet.Parsed) (k Key) {
	k.Src.Hi, k.Src.Lo, k.Dst.Hi, k.Dst.Lo = p.Src.Hi, p.Src.Lo, p.Dst.Hi, p.Dst.Lo
	k.SrcPort, k.DstPort, k.Proto, k.Ports = p.SrcPort, p.DstPort, p.Proto, p.HasPorts
	return k
}

// Packet counts an IP packet that passed at now, and does nothing for others.
func (t *Table) Packet(p *packet.Parsed, now int64) Touch {
	if !p.IP() {
		return 0
	}
	k := keyOf(p)
	return t.packet(&k, p, k.Hash(t.cfg.Seed), now)
}

// Hashed is Packet for one that Ahead was given, with the hash that it filled in.
func (t *Table) Hashed(p *packet.Parsed, hash uint64, now int64) Touch {
	if !p.IP() {
		return 0
	}
	k := keyOf(p)
	return t.packet(&k, p, hash, now)
}

func (t *Table) packet(k *Key, p *packet.Parsed, whole uint64, now int64) Touch {
	if p.Fragment && t.fragment(k, p, now) {
		whole = k.Hash(t.cfg.Seed)
	}
	t.hash = whole
	hash := uint32(whole)
	at, reverse, free := t.find(k, hash)
	var touch Touch
	if at == none {
		at = t.insert(k, hash, free, now)
		touch = NewFlow
	} else if t.over(at, now) {
		t.restart(at, k, now)
		touch, reverse = NewFlow, false
	}
	s := t.slab.at(at)
	t.last = at
	return touch | t.update(s, at, p, now, reverse)
}

// update adds the packet to its slot.
func (t *Table) update(s *slot, at uint32, p *packet.Parsed, now int64, reverse bool) Touch {
	side, touch := 0, Touch(0)
	if reverse {
		side, touch = 1, Reverse
	}
	if s.packets[side] == 0 {
		s.ttl[side] = p.TTL
		touch |= NewSide
	}
	if s.packets[0]|s.packets[1] != 0 {
		s.state |= stateAgain
	}
	s.packets[side]++
	add48(&s.bytes[side], &s.bytesHigh[side], uint32(p.Wire))
	add48(&s.payload[side], &s.payloadHigh[side], uint32(p.PayloadLen))
	s.flags[side] |= uint8(p.Flags)
	s.extend(now)
	if p.FragOffset > 0 {
		return touch
	}
	seen := uint8(stateFwd << side)
	if s.state&(stateFwd|stateRev) == 0 {
		touch |= FirstOfFlow
	}
	if s.state&seen == 0 {
		touch |= FirstOfSide
		if s.state&stateFresh == 0 {
			t.fresh = append(t.fresh, at)
		}
		s.state |= seen | stateFresh
	}
	return touch
}

// over reports whether the flow in a slot ended before a packet at now.
func (t *Table) over(at uint32, now int64) bool {
	s := t.slab.at(at)
	return now-s.lastTime() > t.idle || now-s.first > t.active || s.full(now)
}

// restart emits the flow in a slot and begins a new one with the same key.
func (t *Table) restart(at uint32, k *Key, now int64) {
	s := t.slab.at(at)
	end := Overflow
	switch {
	case now-s.lastTime() > t.idle:
		end = Idle
	case now-s.first > t.active:
		end = Active
	}
	t.emit(at, end)
	t.slab.release(s)
	t.slab.fill(s, k, now)
	t.count.Started++
}

// insert begins a flow; free is where its entry may stand in the index.
func (t *Table) insert(k *Key, hash, free uint32, now int64) uint32 {
	if t.index.used >= t.cfg.Max {
		t.evict()
		free = t.index.home(hash)
	}
	at := t.slab.take()
	t.slab.fill(t.slab.at(at), k, now)
	t.index.insert(hash, at, free)
	t.count.Started++
	return at
}

// find returns the slot of k or of its reverse; none, and the free place of the
// index that it came to, when there is none.
func (t *Table) find(k *Key, hash uint32) (at uint32, reverse bool, free uint32) {
	v4 := k.Src.Is4() && k.Dst.Is4()
	for i := t.index.home(hash); ; i = t.index.next(i) {
		e := t.index.entries[i]
		if e == 0 {
			return none, false, i
		}
		if e.hash() != hash {
			continue
		}
		at = e.slot()
		if same, reverse := t.slab.equal(t.slab.at(at), k, v4); same {
			return at, reverse, i
		}
	}
}

// evictBatch flows leave a full table at once: loads of the index that wait for
// nothing run side by side, so that the misses of the cache overlap.
const evictBatch = 64

// evict removes some flows, the weakest and then the oldest: the clock's hand
// passes over the slots, lets those with a second packet pass once, and takes
// those without.
func (t *Table) evict() {
	var victims, hashes [evictBatch]uint32
	n := min(evictBatch, 1+t.cfg.Max/64)
	for i := range n {
		victims[i] = t.victim()
		k := t.slab.key(t.slab.at(victims[i]))
		hashes[i] = uint32(k.Hash(t.cfg.Seed))
	}
	for _, hash := range hashes[:n] {
		t.warmth ^= uint32(t.index.first(hash))
	}
	for i := range n {
		t.index.remove(hashes[i], victims[i])
	}
	for _, at := range victims[:n] {
		t.emit(at, Evicted)
		t.free(at)
	}
}

// victim moves the hand to the next flow to evict, and on.
func (t *Table) victim() uint32 {
	for {
		at := t.hand
		if t.hand++; t.hand >= t.slab.size {
			t.hand = 0
		}
		s := t.slab.at(at)
		switch {
		case s.state&stateUsed == 0, s.state&stateDoomed != 0:
		case s.state&stateAgain != 0:
			s.state &^= stateAgain
		default:
			s.state |= stateDoomed
			return at
		}
	}
}

// remove emits a flow and frees its slot.
func (t *Table) remove(at uint32, end End) {
	t.emit(at, end)
	k := t.slab.key(t.slab.at(at))
	t.index.remove(uint32(k.Hash(t.cfg.Seed)), at)
	t.free(at)
}

func (t *Table) free(at uint32) {
	t.slab.release(t.slab.at(at))
	t.slab.give(at)
}

func (t *Table) emit(at uint32, end End) {
	t.count.Ended[end]++
	if t.cfg.Emit != nil {
		t.slab.record(t.slab.at(at), &t.rec)
		t.rec.End, t.rec.LinkHeader = end, t.cfg.LinkHeader
		t.cfg.Emit(&t.rec)
	}
}

// Mark begins a new interval for FirstOfFlow and FirstOfSide.
func (t *Table) Mark() {
	for _, at := range t.fresh {
		t.slab.at(at).state &^= stateFwd | stateRev | stateFresh
	}
	t.fresh = t.fresh[:0]
}

// Fresh calls each for every flow that had a packet since Mark, and at a time no
// earlier than since, and still lives.
func (t *Table) Fresh(since int64, each func(*Record)) {
	for _, at := range t.fresh {
		if s := t.slab.at(at); s.state&stateUsed != 0 && s.state&(stateFwd|stateRev) != 0 && s.lastTime() >= since {
			t.slab.record(s, &t.rec)
			each(&t.rec)
		}
	}
}

// Each calls each for every live flow.
func (t *Table) Each(each func(*Record)) {
	for at := range t.slab.size {
		if s := t.slab.at(at); s.state&stateUsed != 0 {
			t.slab.record(s, &t.rec)
			each(&t.rec)
		}
	}
}

// Current returns the flow of the last packet.
func (t *Table) Current() (r Record) {
	if t.slab.size > 0 {
		t.slab.record(t.slab.at(t.last), &r)
	}
	return r
}

// Hash returns the hash of the key of the last packet, with the seed of Config.
func (t *Table) Hash() uint64 { return t.hash }

// Advance ends the flows that timed out by now. It looks at all flows, but only
// four times in an idle timeout and at times that the clock alone decides, so
// that the same packets end the same flows at the same moments.
func (t *Table) Advance(now int64) {
	if now < t.nextSweep {
		return
	}
	period := min(t.idle, t.active, int64(DefaultIdle)) / 4
	period = max(period, int64(time.Second))
	t.nextSweep = (now/period + 1) * period
	for at := range t.slab.size {
		s := t.slab.at(at)
		switch {
		case s.state&stateUsed == 0:
		case now-s.lastTime() > t.idle:
			t.remove(at, Idle)
		case now-s.first > t.active:
			t.remove(at, Active)
		}
	}
}

// Flush ends all flows, at the end of a capture.
func (t *Table) Flush() {
	for at := range t.slab.size {
		if t.slab.at(at).state&stateUsed != 0 {
			t.remove(at, Finished)
		}
	}
}

// Memory returns the bytes that the flows take: slots, addresses and index.
func (t *Table) Memory() int {
	const slotSize, pairSize, entrySize = 64, 32, 8
	return len(t.slab.chunks)*chunkLen*slotSize + len(t.slab.pairs.chunks)*chunkLen*pairSize +
		len(t.index.entries)*entrySize + cap(t.fresh)*4
}
