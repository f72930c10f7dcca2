package detect

import (
	"vft/capture/packet"
)

// Limits of the memory of first contacts.
const (
	maxFirst   = 1 << 16
	maxPairs   = 1 << 15
	maxWaiting = 1 << 15          // contacts that wait for an answer
	perSecond  = 1 << 14          // first contacts that are looked at; a flood brings more, and they tell nothing new
	answerTime = 3 * second       // no answer for longer is a failure
	forgetTime = 30 * 60 * second // a contact that was not repeated for so long is a first one again

	// A contact that is repeated on schedule is no first one for a week, however long the
	// pauses: checks of services that are down, monitors, half-open checks.
	scheduleTime  = 7 * 24 * 3600 * second
	scheduleGap   = 6 * 3600 * second // longer gaps are no schedule
	scheduleLeast = second / 2        // what comes sooner is a retry
	scheduleEven  = 2                 // gaps in a row that are like the one before
	scheduleMany  = 8                 // or so many repetitions
)

// outcome is what became of a contact.
type outcome uint8

const (
	waiting    outcome = iota
	connected          // the handshake was completed, and nobody sent data yet
	useful             // data came from either side, or an answer
	refused            // RST, or an ICMP error
	unroutable         // a router has no way there
	halfOpen           // the target accepted, and the source broke off
	idle               // the connection was closed before anybody sent a byte
	unanswered         // nothing came for answerTime
	unjudged           // left the memory while it waited
)

// contact is one source that tried one port of one host with one technique.
type contact struct {
	src, dst   packet.Addr
	at         int64  // of its first packet
	seen       uint32 // tick of its latest repetition
	gap        uint32 // ticks between the two latest
	port       uint16 // or a protocol number
	from       uint16 // source port
	how        technique
	end        outcome
	by         tool
	even       uint8 // gaps in a row that were like the one before
	repeats    uint8
	plain      bool // the SYN has no options of an operating system's stack
	fragmented bool
	doubtful   bool // counts only when it is refused
	inside     bool // the source
	toInside   bool // the target
}

// pair is what one source tried on one host, in the half-window that runs and
// the one before it.
type pair struct {
	begin    int64
	now      int16 // distinct ports without use
	before   int16
	failed   uint8 // of these, that failed for sure
	marked   uint8 // of these, with the mark of a tool
	connects uint8 // handshakes completed
	half     uint8 // and broken off
	listed   uint8
	from     uint16 // source port of the last ACK segment
	ports    [maxListed]uint16
}

const maxListed = 20

// waiter is a contact that waits for its answer.
type waiter struct {
	key uint64
	at  int64
}

// scans keeps the first contacts, judges them, and finds scans in them.
type scans struct {
	hash     hasher
	episodes *episodes
	home     home
	contacts *cache[contact]
	pairs    *cache[pair]
	walks    *cache[walk]
	fans     *cache[fan]
	scanned  *cache[struct{}] // targets of scanners that were flagged
	slowly   *slowScans
	ways     *ways
	streams  streams
	held     []heldScan // oldest first
	queue    []waiter   // a ring, oldest at head
	head, n  int
	budget   int // first contacts that this second may still bring
	overrun  uint64
	skipped  uint64
	hurried  uint64
}

func newScans(h hasher, e *episodes, inside home, slowly *slowScans) *scans {
	s := &scans{
		hash: h, episodes: e, home: inside, slowly: slowly, ways: newWays(e),
		contacts: newCache[contact](maxFirst), pairs: newCache[pair](maxPairs),
		walks: newCache[walk](maxWalks), fans: newCache[fan](maxFans), scanned: newCache[struct{}](maxScanned),
		queue: make([]waiter, maxWaiting), budget: perSecond, held: make([]heldScan, 0, maxHeld), streams: newStreams(h),
	}
	s.contacts.stale = uint32(scheduleTime >> 24)
	slowly.excuse = s.excused
	return s
}

func (s *scans) key(src, dst packet.Addr, port uint16, how technique) uint64 {
	if how > ackProbe && how != maimonProbe {
		return s.hash.of(s.home.source(src), dst, uint64(port)|uint64(how)<<16)
	}
	return s.hash.of(s.home.source(src), dst, uint64(port)) // whatever its flags, TCP is answered the same
}

func (s *scans) pairKey(src, dst packet.Addr) uint64 {
	return s.hash.of(s.home.source(src), dst, 1<<32)
}

// begin notes that a packet began a flow to a port of its destination.
func (s *scans) begin(p *packet.Parsed, port uint16, how technique, now int64) {
	if many(p.Dst) || p.Src == p.Dst {
		return
	}
	if s.budget <= 0 {
		s.skipped++
		return
	}
	key := s.key(p.Src, p.Dst, port, how)
	c, fresh := s.contacts.get(key, now)
	if !fresh && (c.how == how || how == ackProbe) && s.repeated(c, key, now) {
		return
	}
	s.budget--
	c.renew(p, port, how, now)
	c.inside, c.toInside = s.home.has(p.Src), s.home.has(p.Dst)
	if how == synProbe {
		c.mark(p)
	}
	s.wait(key, now)
	pr := s.pair(c, now)
	c.doubtful = pr.doubts(p, how)
	if !c.doubtful {
		s.count(c, pr, now)
	}
}

// renew makes c a first contact, which knows when it was made before.
func (c *contact) renew(p *packet.Parsed, port uint16, how technique, now int64) {
	was := *c
	*c = contact{src: p.Src, dst: p.Dst, at: now, seen: tick(now), port: port, from: p.SrcPort, how: how}
	if was.how == how {
		c.gap, c.even, c.repeats = was.gap, was.even, was.repeats
	}
}

// repeated notes that a contact was made again, and reports whether it is therefore no
// first one.
func (s *scans) repeated(c *contact, key uint64, now int64) bool {
	gap := tick(now) - c.seen
	if gap < uint32(scheduleLeast>>24) {
		return true
	}
	before := c.gap
	c.gap, c.seen = gap, tick(now)
	if c.repeats = bump(c.repeats); before == 0 {
		return gap <= uint32(forgetTime>>24)
	}
	if off := distance(gap, before); off <= before/4+12 && gap <= uint32(scheduleGap>>24) {
		c.even = bump(c.even)
	} else if !c.scheduled() {
		c.even = 0
	}
	if c.scheduled() && c.inside {
		s.contacts.strengthen(key)
	}
	return gap <= uint32(forgetTime>>24) || c.scheduled() && gap <= uint32(scheduleTime>>24)
}

// scheduled reports whether a contact is made again and again.
func (c *contact) scheduled() bool {
	return c.even >= scheduleEven || c.repeats >= scheduleMany && c.gap <= uint32(forgetTime>>24)
}

// doubts reports whether a packet may well be no probe: a fragment too small to
// show its flags, a datagram that may be an answer, or an ACK segment from another port
// than the last, as the connections send that were open before the capture began.
func (pr *pair) doubts(p *packet.Parsed, how technique) bool {
	other := how == ackProbe && pr.from != p.SrcPort
	if how == ackProbe {
		pr.from = p.SrcPort
	}
	return other || p.Fragment || how == udpProbe && mayReply(p)
}

// count adds a port to those that were tried without use.
func (s *scans) count(c *contact, pr *pair, now int64) {
	pr.now++
	if pr.listed < maxListed {
		pr.ports[pr.listed] = c.port
		pr.listed++
	}
	if int(pr.now+pr.before) >= verticalPorts {
		s.vertical(c, pr, float64(pr.now+pr.before), verticalPorts, verticalWindow, now)
	}
}

// pair returns the pair of a contact, moved on to the half-window of now.
func (s *scans) pair(c *contact, now int64) *pair {
	pr, fresh := s.pairs.get(s.pairKey(c.src, c.dst), now)
	if fresh {
		pr.begin = now
		return pr
	}
	const half = int64(verticalWindow) / 2
	if age := now - pr.begin; age >= half {
		before := pr.now
		if age >= 2*half {
			before = 0
		}
		keep := *pr
		*pr = pair{begin: now - age%half, before: max(before, 0), failed: keep.failed, marked: keep.marked, connects: keep.connects, half: keep.half, listed: keep.listed, from: keep.from, ports: keep.ports}
		if age >= forgetTime {
			*pr = pair{begin: now}
		}
	}
	return pr
}

// wait puts a contact in the queue of those that wait for an answer.
func (s *scans) wait(key uint64, now int64) {
	if s.n == len(s.queue) {
		s.head = (s.head + 1) % len(s.queue)
		s.n--
		s.overrun++
	}
	s.queue[(s.head+s.n)%len(s.queue)] = waiter{key, now}
	s.n++
}

// advance judges the contacts that had no answer in time.
func (s *scans) advance(now int64) {
	s.budget = perSecond
	for s.n > 0 && now-s.queue[s.head].at > answerTime {
		w := s.queue[s.head]
		s.head = (s.head + 1) % len(s.queue)
		s.n--
		if c := s.contacts.find(w.key, now); c != nil && c.end == waiting && c.at == w.at {
			s.judge(c, unanswered, w.at+answerTime)
		}
	}
	s.release(now, false)
}

// close judges what still waits: a second is enough at the end of a capture,
// and so is one of very many.
func (s *scans) close(now int64) {
	open := map[uint64]int{}
	for i := range s.n {
		if c := s.contacts.find(s.queue[(s.head+i)%len(s.queue)].key, now); c != nil {
			open[s.hash.of(s.home.source(c.src), packet.Addr{}, 0)]++
			open[s.pairKey(c.src, c.dst)]++
		}
	}
	for ; s.n > 0; s.n-- {
		w := s.queue[s.head]
		s.head = (s.head + 1) % len(s.queue)
		c := s.contacts.find(w.key, now)
		if c == nil || c.end != waiting || c.at != w.at {
			continue
		}
		if now-c.at >= second || open[s.hash.of(s.home.source(c.src), packet.Addr{}, 0)] >= horizontalHosts || open[s.pairKey(c.src, c.dst)] >= slowPorts {
			s.judge(c, unanswered, now)
		}
	}
	s.release(now, true)
}

// ended tells what became of the contact of src with a port of dst.
func (s *scans) ended(src, dst packet.Addr, port uint16, how technique, end outcome, now int64) {
	if c := s.contacts.find(s.key(src, dst, port, how), now); c != nil {
		s.judge(c, end, now)
	}
}

// judge scores a contact. It is scored once, but what was taken for no answer
// may still turn out to be useful.
func (s *scans) judge(c *contact, end outcome, now int64) {
	late := c.end == unanswered
	switch {
	case c.end == waiting, c.end == connected && end != connected, late && end == useful:
	default:
		return
	}
	c.end = end
	if end != unanswered && end != unroutable {
		s.ways.answered(c, now)
	}
	if end == connected {
		return
	}
	pr := s.pair(c, now)
	if c.doubtful {
		if end == unanswered && c.how == ackProbe {
			s.swept(c, pr, now)
		}
		if end != refused && end != halfOpen {
			return
		}
		c.doubtful = false
		s.count(c, pr, now)
	}
	switch end {
	case useful:
		if c.by != noTool { // what a tool marked is no use, whoever speaks then
			s.slow(c, pr, s.walk(c, now), now)
		}
		pr.connects = bump(pr.connects)
		if pr.now > 0 {
			pr.now--
		}
		if !late {
			s.succeeded(c, now)
		}
		s.slowly.contact(c.src, c.dst, c.port, false, now)
		return
	case idle:
		pr.connects = bump(pr.connects)
	case halfOpen:
		pr.half = bump(pr.half)
	}
	if s.episodes.running(s.verticalOf(c)) && int(pr.now+pr.before) >= verticalPorts {
		s.vertical(c, pr, float64(pr.now+pr.before), verticalPorts, verticalWindow, now)
	}
	if s.ways.broken(c, now) {
		return
	}
	s.failed(c, pr, now)
	if !c.uncertain() && (c.end != idle || c.by != noTool) {
		s.slowly.contact(c.src, c.dst, c.port, true, now)
	}
}

// uncertain reports whether the failure of a contact says little: services of UDP need
// not answer, and ACK segments are what connections send that were open before.
func (c *contact) uncertain() bool {
	return c.how == ackProbe || c.end == unanswered && c.how != synProbe
}

func bump(n uint8) uint8 { return min(n, 254) + 1 }

func (s *scans) counts(yield func(string, uint64)) {
	yield("scan_contacts_evicted", s.contacts.evicted)
	yield("scan_pairs_evicted", s.pairs.evicted)
	yield("scan_sources_evicted", s.walks.evicted+s.fans.evicted)
	yield("scan_contacts_unjudged", s.overrun)
	yield("scan_contacts_skipped", s.skipped)
	yield("scan_holds_hurried", s.hurried)
}
