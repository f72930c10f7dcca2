package detect

import (
	"encoding/binary"
	"slices"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/beacon"
	"vft/correlate/window"
	"vft/event"
	"vft/ipproto"
)

// Beacons: a host inside that calls one outside at regular intervals, scored as
// RITA version 5 does over a day that begins with the first contact. A pair is
// judged when it calls an hour or more after it was judged last, when its day
// is over, and at the end of the capture: a pair that does not call does not
// change. DNS and the time protocol are left out: both are regular by nature,
// and tunnels through DNS are found by what they ask.
const (
	maxContacts    = 1 << 17 // pairs with fewer than beacon.MinConnections, 56 bytes each with their key
	maxCallers     = 1 << 14
	beaconDay      = 24 * time.Hour
	beaconJudge    = 3600 // seconds from one judgement to the next
	beaconCalls    = 20   // fewer are chance, whatever their score
	beaconRegular  = 0.6  // least score of the times: calls at random (exponential intervals) have 0.52
	beaconLimit    = 128  // episodes that may begin in a day
	earlyScore     = 0.9
	earlyCalls     = 60
	earlySpan      = 600 // seconds
	earlyFill      = 2. / 3
	beaconQuiet    = 24 * 3600 * second
	beaconModifier = 0.15
	beaconNew      = 7 * 24 * 3600  // seconds since the first contact, at most
	beaconOld      = 30 * 24 * 3600 // at least
	portNTP        = 123
	ntpMessage     = 48 // bytes, RFC 5905 section 7.3
)

// beaconBands are the least scores that are told, and how severe they are: leads, as
// programs of every kind call home.
var beaconBands = [...]struct {
	score    float64
	severity int
}{{beacon.Low, 30}, {beacon.Medium, 35}, {beacon.High, 38}}

// contacts are the first calls of a pair, before it is admitted: fewer than admit it.
// Most pairs never have more, and each of them costs memory that is far away.
type contacts struct {
	bytes  [beacon.MinConnections - 1]uint64
	starts [beacon.MinConnections - 1]uint32 // seconds since 1970; only differences mean something
	n      uint8
}

// start returns a time of c, seconds since 1970; near is one that is near it.
func (c *contacts) start(i int, near int64) int64 {
	return near - int64(int32(uint32(near)-c.starts[i]))
}

// caller is an admitted pair.
type caller struct {
	pair     beacon.Pair
	src, dst packet.Addr
	first    int64 // seconds since 1970 of the first contact of all
	judged   int64 // contact that was judged last
	told     uint8 // band that was told of this day; 0 is none
	port     uint16
	proto    uint8
	answered bool // a handshake was completed
}

type beacons struct {
	hash     hasher
	episodes *episodes
	fresh    *cache[contacts]
	callers  *window.Table[caller]
	since    int64 // seconds since 1970 of the first contact of all pairs
	day      int64
	today    int // episodes that began in day

	evicted uint64
	untold  uint64
	leftOut uint64
}

func newBeacons(h hasher, e *episodes) *beacons {
	b := &beacons{hash: h, episodes: e, fresh: newCache[contacts](maxContacts)}
	b.callers = window.NewTable(maxCallers, func(window.Key, *caller) { b.evicted++ })
	return b
}

// contact takes a flow from a host inside to one outside.
func (b *beacons) contact(r *flow.Record, now int64) {
	if regularByNature(r) {
		b.leftOut++
		return
	}
	start := seconds(r.First)
	if b.since == 0 || start < b.since {
		b.since = start
	}
	key := b.key(r.Src, r.Dst)
	c := b.callers.Find(key)
	if c == nil {
		b.admit(key, r, start, now)
		return
	}
	c, _ = b.callers.Get(key, c.told > 0) // now it is the one used last
	b.call(c, r, start, now)
}

func (b *beacons) key(src, dst packet.Addr) window.Key { return b.hash.tableKey(src, dst, 12<<32) }

func regularByNature(r *flow.Record) bool {
	return r.DstPort == 53 || r.Proto == protoUDP && r.DstPort == portNTP && r.Fwd.Payload == ntpMessage*r.Fwd.Packets
}

// admit counts the first contacts within a day; the last one that is needed
// makes the pair a caller.
func (b *beacons) admit(key window.Key, r *flow.Record, start, now int64) {
	f, _ := b.fresh.get(binary.LittleEndian.Uint64(key[:]), now) // as keyed a hash as the whole
	if f.n > 0 && start-f.start(0, start) >= seconds(int64(beaconDay)) {
		*f = contacts{}
	}
	at := int(f.n)
	for at > 0 && f.start(at-1, start) > start { // flows end in another order than they begin
		at--
	}
	if int(f.n) < len(f.starts) {
		copy(f.starts[at+1:], f.starts[at:f.n])
		copy(f.bytes[at+1:], f.bytes[at:f.n])
		f.starts[at], f.bytes[at] = uint32(start), r.Fwd.Bytes
		f.n++
		return
	}
	c, _ := b.callers.Get(key, false)
	c.src, c.dst = r.Src, r.Dst
	c.of(r)
	for i := range f.starts {
		if i == at {
			c.pair.Add(start, r.Fwd.Bytes)
		}
		c.pair.Add(f.start(i, start), f.bytes[i])
	}
	if at == len(f.starts) {
		c.pair.Add(start, r.Fwd.Bytes)
	}
	c.first = min(start, f.start(0, start))
	c.judged = c.first
	*f = contacts{}
}

func (c *caller) of(r *flow.Record) {
	c.port, c.proto = r.DstPort, r.Proto
	c.answered = r.Proto == protoTCP && r.Rev.Flags&packet.SYN != 0
}

func (b *beacons) call(c *caller, r *flow.Record, start, now int64) {
	if c.pair.Connections() > 0 && start-c.pair.Origin >= seconds(int64(beaconDay)) {
		b.judge(c, now)
		c.pair, c.told = beacon.Pair{}, 0
	}
	if c.pair.Connections() == 0 {
		c.judged = start
	}
	c.of(r)
	c.pair.Add(start, r.Fwd.Bytes)
	if start-c.judged >= beaconJudge {
		c.judged = start
		b.judge(c, now)
	}
}

// judge tells of c when it reached a band that was not told of this day.
func (b *beacons) judge(c *caller, now int64) {
	s, ok := c.pair.Score(seconds(int64(beaconDay)))
	if !ok || c.pair.Connections() < beaconCalls || s.Timestamps < beaconRegular {
		return
	}
	v := verdict{score: min(1, max(0, s.Total+b.modifier(c)))}
	for v.band < len(beaconBands) && v.score >= beaconBands[v.band].score {
		v.band++
		v.threshold = beaconBands[v.band-1].score
	}
	if s.Duration == 0 {
		v = early(&c.pair, &s)
	}
	if v.band > int(c.told) && b.tell(c, &s, v, now) {
		c.told = uint8(v.band)
	}
}

// verdict is what is told of a pair. Band 0 is not told.
type verdict struct {
	score, threshold float64
	band             int
	early            bool
}

// early judges a pair that called in fewer than six hours, of which the hours
// say nothing yet: by the regularity of times and sizes alone, when there were
// many calls and they fill the time. Bursts do not.
func early(p *beacon.Pair, s *beacon.Score) verdict {
	v := verdict{score: (s.Timestamps + s.Bytes) / 2, threshold: earlyScore, early: true}
	fills := s.Interval * float64(p.Connections())
	if v.score >= earlyScore && p.Connections() >= earlyCalls && p.Span() >= earlySpan && fills >= earlyFill*float64(p.Span()) {
		v.band = 1
	}
	return v
}

// modifier is what the first contact says of a pair: a new one is suspect, one
// of long standing is not. It is known only after the hosts were watched so long.
func (b *beacons) modifier(c *caller) float64 {
	at := c.pair.Origin + c.pair.Span()
	switch age := at - c.first; {
	case age >= beaconOld:
		return -beaconModifier
	case age <= beaconNew && at-b.since > beaconNew:
		return beaconModifier
	}
	return 0
}

func (b *beacons) tell(c *caller, s *beacon.Score, v verdict, now int64) bool {
	f := &finding{
		kind: "beacon", sensor: "beacon", key: c.dst.String(), offender: c.src, transport: ipproto.Name(c.proto), severity: beaconBands[v.band-1].severity,
		evidence: event.E0, target: c.dst, port: c.port, hasPort: true, value: v.score, threshold: v.threshold, window: beaconDay, memory: beaconQuiet,
		more: []detail{
			{"connections", c.pair.Connections()}, {"interval_s", s.Interval}, {"score_timestamps", s.Timestamps}, {"score_bytes", s.Bytes},
			{"score_histogram", s.Histogram}, {"score_duration", s.Duration}, {"modifier", b.modifier(c)}, {"early", v.early}, {"first_seen", time.Unix(c.first, 0).UTC()},
		},
	}
	if c.answered {
		f.evidence = event.E1
	}
	if !c.src.Is4() { // an episode knows an IPv6 offender by its network only
		f.key = c.src.String() + " " + f.key
	}
	if !b.episodes.running(f) && !b.mayBegin(now) {
		b.untold++
		return false
	}
	b.episodes.note(f, now)
	return true
}

// mayBegin keeps long episodes from taking the places of all others.
func (b *beacons) mayBegin(now int64) bool {
	if day := now / int64(beaconDay); day != b.day {
		b.day, b.today = day, 0
	}
	b.today++
	return b.today <= beaconLimit
}

// close judges all pairs, in an order that the addresses decide.
func (b *beacons) close(now int64) {
	var all []*caller
	b.callers.Each(func(_ window.Key, c *caller, _ bool) { all = append(all, c) })
	slices.SortFunc(all, func(x, y *caller) int {
		if x.src == y.src {
			return order(x.dst, y.dst)
		}
		return order(x.src, y.src)
	})
	for _, c := range all {
		b.judge(c, now)
	}
}

func order(x, y packet.Addr) int {
	switch {
	case x.Less(y):
		return -1
	case y.Less(x):
		return 1
	}
	return 0
}

func (b *beacons) counts(yield func(string, uint64)) {
	yield("beacon_contacts_evicted", b.fresh.evicted)
	yield("beacon_pairs_evicted", b.evicted)
	yield("beacon_left_out", b.leftOut)
	yield("beacon_untold", b.untold)
}
