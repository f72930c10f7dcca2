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
)

// outcome is what became of a contact.
type outcome uint8

const (
	waiting    outcome = iota
	useful             // data went both ways, or an answer came
	refused            // RST, or an ICMP error
	halfOpen           // the target accepted, and the source broke off
	idle               // the connection was closed before its source sent a byte
	unanswered         // nothing came for answerTime
	unjudged           // left the memory while it waited
)

// contact is one source that tried one port of one host with one technique.
type contact struct {
	src, dst   packet.Addr
	at         int64
	port       uint16 // or a protocol number
	from       uint16 // source port
	how        technique
	end        outcome
	by         tool
	plain      bool // the SYN has no options of an operating system's stack
	fragmented bool
	doubtful   bool // counts only when it is refused
	_          [8]byte
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
	contacts *cache[contact]
	pairs    *cache[pair]
	walks    *cache[walk]
	fans     *cache[fan]
	scanned  *cache[struct{}] // targets of scanners that were flagged
	slowly   *slowScans
	queue    []waiter // a ring, oldest at head
	head, n  int
	budget   int // first contacts that this second may still bring
	overrun  uint64
	skipped  uint64
}

func newScans(h hasher, e *episodes, slowly *slowScans) *scans {
	return &scans{
		hash: h, episodes: e, slowly: slowly,
		contacts: newCache[contact](maxFirst), pairs: newCache[pair](maxPairs),
		walks: newCache[walk](maxWalks), fans: newCache[fan](maxFans), scanned: newCache[struct{}](maxScanned),
		queue: make([]waiter, maxWaiting), budget: perSecond,
	}
}

func (s *scans) key(src, dst packet.Addr, port uint16, how technique) uint64 {
	if how > ackProbe && how != maimonProbe {
		return s.hash.of(source(src), dst, uint64(port)|uint64(how)<<16)
	}
	return s.hash.of(source(src), dst, uint64(port)) // whatever its flags, TCP is answered the same
}

func (s *scans) pairKey(src, dst packet.Addr) uint64 { return s.hash.of(source(src), dst, 1<<32) }

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
	if !fresh && (c.how == how || how == ackProbe) && now-c.at < forgetTime {
		return
	}
	s.budget--
	*c = contact{src: p.Src, dst: p.Dst, at: now, port: port, from: p.SrcPort, how: how}
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

// doubts reports whether a packet may well be no probe: a fragment too small to
// show its flags, or an ACK segment from another port than the last, as the
// connections send that were open before the capture began.
func (pr *pair) doubts(p *packet.Parsed, how technique) bool {
	other := how == ackProbe && pr.from != p.SrcPort
	if how == ackProbe {
		pr.from = p.SrcPort
	}
	return other || p.Fragment
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
}

// close judges what still waits: a second is enough at the end of a capture,
// and so is one of very many.
func (s *scans) close(now int64) {
	open := map[uint64]int{}
	for i := range s.n {
		if c := s.contacts.find(s.queue[(s.head+i)%len(s.queue)].key, now); c != nil {
			open[s.hash.of(source(c.src), packet.Addr{}, 0)]++
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
		if now-c.at >= second || open[s.hash.of(source(c.src), packet.Addr{}, 0)] >= horizontalHosts || open[s.pairKey(c.src, c.dst)] >= slowPorts {
			s.judge(c, unanswered, now)
		}
	}
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
	if c.end != waiting && !(c.end == unanswered && end == useful) {
		return
	}
	late := c.end == unanswered
	c.end = end
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
}
