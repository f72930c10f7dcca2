package detect

import (
	"net/netip"
	"time"

	"vft/capture/packet"
	"vft/correlate/window"
	"vft/event"
)

// Slow and distributed scans: distinct ports of hosts that one source tried in vain,
// and distinct sources that tried one port of one host in vain, over windows of a
// minute to a week. They find what the random walk has forgotten after 30 minutes:
// one port of one host an hour. Only first contacts that failed count (refused, no
// answer to a SYN, broken off half open, flags that no stack sends): the hosts that a
// browser reaches are none, and neither are contacts that a scan was told of already.
// A source must fail with more than it succeeds with, in the same week and on the
// same side (hosts inside, hosts outside): a person who meets dead hosts, a network
// that is cut off and a server that goes down are no scans. A scan that hides among
// more successes than that is not found here; neither is one behind an address with
// 266 successes or more, of which no more are counted.
//
// A stranger that succeeded with nothing needs no more than four, where strangers are
// rare: at addresses that the internet cannot reach (see background.go for the others).
const (
	maxReaches   = 1 << 15 // sources, and as many services, hosts and ports, 440 bytes each
	maxVectors   = 1 << 12 // of them that went beyond reachExact, 2 KiB each
	reachExact   = 16      // targets or sources that are kept one by one
	reachStrong  = 2       // with so many, it leaves a full table last
	slowLimit    = 128     // episodes that may begin in a day
	slowWeek     = 7 * 24 * 3600
	floodedTime  = 60 * second // what comes so soon after a flood belongs to it
	severitySlow = 50

	strangeTargets = 4
	strangeTime    = 600 // seconds from the first to the last of them, at least: others find what is faster
	hurriedTime    = 120 // seconds in which the newest of a host inside are left to the walk
	peerShare      = 4   // all but a quarter on ports of their own: peers
)

// slowWindows are tried in this order. What many sources do not find is common where
// the internet knocks, so that it takes more of them.
var slowWindows = [...]struct {
	window           time.Duration
	targets, sources int
	quiet            int64
}{
	{time.Minute, 100, 50, 120 * second},
	{15 * time.Minute, 60, 100, 900 * second},
	{6 * time.Hour, 30, 250, 6 * 3600 * second},
	{slowWeek * time.Second, 20, 1000, 24 * 3600 * second},
}

// reachKind is what is counted of a key.
type reachKind uint8

const (
	reachInside  reachKind = iota // the ports of hosts inside that a source tried
	reachOutside                  // the ports of hosts outside
	reachService                  // the sources that tried a port of a host
	reachHost                     // the strangers that tried any port of a host
	reachPort                     // the strangers that tried a port of any host
	reachKinds
)

// reach is what one key failed with: the newest, and beyond reachExact the vector
// that counts all.
type reach struct {
	host    packet.Addr // the source, or the host of a service; none of a port
	port    uint16      // of a service
	kind    reachKind
	n       uint8
	counted bool   // by a vector
	judged  uint32 // second
	noisy   uint32 // second until which strangers are no news to a host
	members [reachExact]member
}

// member is one target of a source, or one source of a service.
type member struct {
	addr packet.Addr
	at   uint32 // second of the latest contact
	port uint16 // of a target, or what tells the targets of strangers apart
}

type slowScans struct {
	seed     [32]byte // of hash; it goes with the state, which means nothing without
	hash     hasher
	episodes *episodes
	home     home
	floods   *floods
	sources  *window.Table[reach]
	services *window.Table[reach] // hosts and ports too
	vectors  *window.Table[window.Vector]
	good     *successes
	noise    background
	shares   *cache[share]
	excuse   func(*reach) bool // whether what a host inside failed with is no scan
	day      int64
	today    int // episodes that began in day

	evicted   uint64
	forgotten uint64
	untold    uint64
	refused   uint64
}

func newSlowScans(seed [32]byte, e *episodes, h home, f *floods) *slowScans {
	s := &slowScans{seed: seed, hash: newHasher(seed), episodes: e, home: h, floods: f, good: newSuccesses(slowWeek), noise: background{episodes: e}, shares: newCache[share](maxShares)}
	s.sources = window.NewTable(maxReaches, func(window.Key, *reach) { s.evicted++ })
	s.services = window.NewTable(maxReaches, func(window.Key, *reach) { s.evicted++ })
	s.vectors = window.NewTable(maxVectors, func(window.Key, *window.Vector) { s.forgotten++ })
	return s
}

// contact takes a first contact of src with a port of dst that was judged.
func (s *slowScans) contact(src, dst packet.Addr, port uint16, failed bool, now int64) {
	from, kind := s.home.source(src), reachOutside
	if s.home.has(dst) {
		kind = reachInside
	}
	at := uint32(seconds(now))
	if !failed {
		s.good.both(s.hashOf(from, 0, kind), s.hashOf(dst, port, reachService), at)
		return
	}
	strange := !s.home.has(src)
	if strange {
		s.noise.heard(s, from, dst, port, now)
	}
	if s.told(src) || s.floods.told(dst, now) {
		return // that explains it
	}
	if strange && !s.admit(from, now) {
		return
	}
	s.failed(reach{host: from, kind: kind}, member{dst, at, port}, now)
	s.failed(reach{host: dst, port: port, kind: reachService}, member{from, at, 0}, now)
	if strange {
		s.failed(reach{host: dst, kind: reachHost}, member{from, at, port}, now)
		s.failed(reach{port: port, kind: reachPort}, member{from, at, uint16(dst.Lo ^ dst.Hi)}, now)
	}
}

// told reports whether a faster detection tells of a source already.
func (s *slowScans) told(src packet.Addr) bool {
	return s.episodes.running(&finding{kind: "vertical_scan", offender: src}) || s.episodes.running(&finding{kind: "horizontal_scan", offender: src})
}

// hashOf is the hash of a source, or of a port of a host.
func (s *slowScans) hashOf(host packet.Addr, port uint16, kind reachKind) uint64 {
	return s.hash.of(host, packet.Addr{}, 14<<32|uint64(kind)<<16|uint64(port))
}

func (s *slowScans) failed(r reach, m member, now int64) {
	key := s.key(&r)
	table := s.table(r.kind)
	v, fresh := table.Get(key, false)
	if fresh {
		*v = r
	}
	v.add(m, s, key)
	if v.n == reachStrong {
		table.Get(key, true)
	}
	if v.judged != m.at { // once a second: a flood costs no more
		v.judged = m.at
		s.judge(v, key, now)
	}
}

// table keeps those who ask apart from those who are asked: neither drives the other out.
func (s *slowScans) table(k reachKind) *window.Table[reach] {
	if k >= reachService {
		return s.services
	}
	return s.sources
}

func (s *slowScans) key(r *reach) window.Key {
	return s.hash.tableKey(r.host, packet.Addr{}, 15<<32|uint64(r.kind)<<16|uint64(r.port))
}

// add notes a member; the one that was not seen for the longest time makes room, and
// from then on, unless it is older than all windows, the vector counts.
func (r *reach) add(m member, s *slowScans, key window.Key) {
	at, known := r.place(m)
	if !known && r.n == reachExact && !r.counted && int64(r.members[at].at)+slowWeek > int64(m.at) {
		r.counted = true
	}
	if r.counted {
		v, fresh := s.vectors.Get(key, false)
		if fresh {
			for _, old := range r.members[:r.n] {
				v.Add(s.memberHash(r.kind, old), old.at)
			}
		}
		v.Add(s.memberHash(r.kind, m), m.at)
	}
	if known {
		m.at = max(m.at, r.members[at].at)
	} else if r.n < reachExact {
		r.n++
	}
	r.members[at] = m
}

// memberHash is the hash of what is counted.
func (s *slowScans) memberHash(k reachKind, m member) uint64 {
	if k >= reachHost {
		m.port = 0
	}
	return s.hashOf(m.addr, m.port, reachKinds)
}

// place returns where m stands, or where it goes.
func (r *reach) place(m member) (at int, known bool) {
	for i, old := range r.members[:r.n] {
		if old.addr == m.addr && (old.port == m.port || r.kind >= reachHost) {
			return i, true
		}
		if old.at < r.members[at].at {
			at = i
		}
	}
	if r.n < reachExact {
		at = int(r.n)
	}
	return at, false
}

// judge tells of the first window in which r failed with too many, and with more than
// it succeeded with.
func (s *slowScans) judge(r *reach, key window.Key, now int64) {
	if r.kind >= reachHost {
		s.judgeMany(r, key, now)
		return
	}
	succeeded := s.good.count(s.hashOf(r.host, r.port, r.kind), uint32(seconds(now)))
	for i := range slowWindows {
		w := &slowWindows[i]
		limit := w.targets
		if r.kind == reachService {
			limit = w.sources
		}
		if n := s.count(r, key, uint32(w.window/time.Second), now); n >= limit && n > succeeded {
			s.tell(r, n, limit, succeeded, i, now)
			return
		}
	}
	if r.kind == reachInside && succeeded == 0 && s.strange(r, now) {
		week := len(slowWindows) - 1
		s.tell(r, s.count(r, key, slowWeek, now), strangeTargets, 0, week, now)
	}
}

// strange reports whether a stranger tried four targets in vain that strangers seldom
// reach, slowly.
func (s *slowScans) strange(r *reach, now int64) bool {
	if s.home.has(r.host) {
		return false
	}
	n, oldest := 0, uint32(1<<32-1)
	for _, m := range r.members[:r.n] {
		if s.noisy(m.addr, now) {
			return false
		}
		if int64(m.at)+slowWeek >= seconds(now) {
			n++
			oldest = min(oldest, m.at)
		}
	}
	return n >= strangeTargets && seconds(now)-int64(oldest) >= strangeTime
}

// count returns with how many r failed within a window of so many seconds.
func (s *slowScans) count(r *reach, key window.Key, long uint32, now int64) (n int) {
	at := uint32(seconds(now))
	if r.counted {
		if v := s.vectors.Find(key); v != nil {
			return v.Count(at, long)
		}
	}
	for _, m := range r.members[:r.n] {
		if int64(m.at)+int64(long) >= int64(at) {
			n++
		}
	}
	return n
}

// tell adds what was found to the episode of a source, or of a service.
func (s *slowScans) tell(r *reach, n, limit, succeeded, at int, now int64) {
	w := &slowWindows[at]
	newest := r.newest()
	if r.kind < reachService && s.home.has(r.host) && (w.window > time.Minute && r.hurried(newest.at) || s.excuse != nil && s.excuse(r)) {
		return
	}
	f := &finding{
		kind: "slow_scan", sensor: "slow_scan", severity: severitySlow, evidence: event.E0, target: newest.addr, port: newest.port, hasPort: true,
		offender: r.host, value: float64(n), threshold: float64(limit), window: w.window, memory: w.quiet, unit: "ports",
		more: []detail{{"distinct_destinations", n}, {"succeeded", succeeded}},
	}
	if r.kind == reachService {
		f.unit = "sources"
		f.anyone, f.key = true, netip.AddrPortFrom(r.host.Netip(), r.port).String()
		f.offender, f.target, f.port = packet.Addr{}, r.host, r.port
		f.more = []detail{{"distinct_sources", n}, {"sources", r.sources()}, {"succeeded", succeeded}}
	} else {
		for _, m := range r.members[:r.n] {
			f.pastHosts, f.pastPorts = append(f.pastHosts, m.addr), append(f.pastPorts, m.port)
		}
	}
	if !s.episodes.running(f) && !s.mayBegin(now) {
		s.untold++
		return
	}
	s.episodes.note(f, now)
}

// hurried reports whether all that are listed came within two minutes.
func (r *reach) hurried(newest uint32) bool {
	for _, m := range r.members[:r.n] {
		if m.at+hurriedTime < newest {
			return false
		}
	}
	return true
}

// peers reports whether hardly any of the listed targets share a port, and none a host:
// nobody looks for a service that way.
func (r *reach) peers() bool {
	again := 0
	for i, m := range r.members[:r.n] {
		for _, o := range r.members[:i] {
			if o.addr == m.addr {
				return false
			}
			if o.port == m.port {
				again++
				break
			}
		}
	}
	return again*peerShare <= int(r.n)
}

func (r *reach) newest() (m member) {
	for _, o := range r.members[:r.n] {
		if o.at >= m.at {
			m = o
		}
	}
	return m
}

// sources are the newest that tried a service.
func (r *reach) sources() []string {
	var all []string
	for _, m := range r.members[:r.n] {
		all = append(all, m.addr.String())
	}
	return all
}

// mayBegin keeps long episodes from taking the places of all others.
func (s *slowScans) mayBegin(now int64) bool {
	if day := now / int64(24*time.Hour); day != s.day {
		s.day, s.today = day, 0
	}
	s.today++
	return s.today <= slowLimit
}

func (s *slowScans) counts(yield func(string, uint64)) {
	yield("slow_scan_keys_evicted", s.evicted)
	yield("slow_scan_vectors_evicted", s.forgotten)
	yield("slow_scan_successes_evicted", s.good.evicted)
	yield("slow_scan_untold", s.untold)
	yield("slow_scan_keys_refused", s.refused)
	yield("slow_scan_shares_evicted", s.shares.evicted)
}
