package detect

import (
	"time"

	"vft/capture/packet"
)

// Horizontal scan: the threshold random walk of Jung, Paxson, Berger and
// Balakrishnan, "Fast Portscan Detection Using Sequential Hypothesis Testing"
// (2004), with theta0 0.8, theta1 0.2 and alpha = beta = 0.01: each first
// contact with a host that fails multiplies the likelihood ratio of its source
// by 4, each that succeeds divides it by 4, and 99 flags. The walk is kept as a
// logarithm, in halves of a step.
const (
	step          = 2    // a factor of 4
	flagAt        = 7    // 4^3.5 = 128: the first that is 99 or more
	creditMost    = -16  // how far successes may carry a source
	idleMost      = 2    // how many idle connections count, half a step each: health checks are made of them
	leastHosts    = 3    // fewer are no sweep, however sure
	insideHosts   = 8    // the same of a source inside, which has reason to know hosts, and where the internet knocks
	walkThreshold = 99.0 // in records
	severityScan  = 50
	maxWalks      = 1 << 15
	maxFans       = 1 << 13
	maxScanned    = 1 << 12
	scanQuiet     = 60 * second
	priorTime     = 300 * second // a host that was scanned so lately makes the next who fails there suspect
	walkHosts     = 8

	// What the walk may not see: many hosts on one port that give no answer or
	// no use. UDP and stray ACK segments count here alone, as silence there says
	// little.
	horizontalHosts  = 25
	horizontalInside = 50
	horizontalWindow = 5 * time.Minute
)

// walk is the random walk of one source.
type walk struct {
	last  int64
	ratio int8
	idles uint8
	hosts uint8 // distinct ones that failed, exact up to walkHosts
	n     uint8 // listed
	list  [walkHosts]packet.Addr
	ports [walkHosts]uint16
	good  halves // contacts that were of use, in horizontalWindow
	held  bool   // it waits to be told
	told  bool
}

// fan counts the hosts that one source tried on one port without use.
type fan struct {
	begin       int64
	now, before uint16
	from        uint16 // source port of ACK segments
	held, told  bool
	listed      uint8
	list        [walkHosts]packet.Addr
}

// walkKey is by source, and inside by port as well: who has reason to know many hosts may
// fail with some of them for as many reasons, peers that are gone for example.
func (s *scans) walkKey(c *contact) uint64 {
	if c.inside {
		return s.hash.of(c.src, packet.Addr{}, 2<<32|1<<16|uint64(c.port))
	}
	return s.hash.of(source(c.src), packet.Addr{}, 2<<32)
}

func (s *scans) walk(c *contact, now int64) *walk {
	w, fresh := s.walks.get(s.walkKey(c), now)
	if !fresh && now-w.last > forgetTime {
		*w = walk{}
	}
	w.last = now
	return w
}

func (s *scans) succeeded(c *contact, now int64) {
	if c.how == synProbe || c.how == udpProbe {
		w := s.walk(c, now)
		w.ratio = max(w.ratio-step, creditMost)
		w.good.add(now, int64(horizontalWindow))
	}
}

// failed takes a contact that was of no use.
func (s *scans) failed(c *contact, pr *pair, now int64) {
	w := s.walk(c, now)
	f := s.fan(c, now)
	s.fanned(c, pr, f, w, now)
	if c.uncertain() {
		return
	}
	s.slow(c, pr, w, now)
	known := false
	for i := range w.n {
		known = known || w.list[i] == c.dst
	}
	if known {
		return
	}
	if w.hosts == 0 && s.wasScanned(c.dst, now) {
		w.ratio += step
	}
	w.take(c)
	if c.end != idle {
		s.strengthen(c)
	}
	s.walked(c, pr, w, now)
}

// walked tells of a walk that arrived.
func (s *scans) walked(c *contact, pr *pair, w *walk, now int64) {
	hosts := uint8(leastHosts)
	suspect := c.inside && c.by == noTool && !w.told && !s.seeks(c)
	if suspect || !c.inside && s.slowly.noisy(c.dst, now) {
		hosts = insideHosts
	}
	if w.ratio < flagAt || w.hosts < hosts {
		return
	}
	if suspect && (w.hosts < holdHosts || s.onSchedule(c, w.list[:w.n], w.ports[:w.n])) {
		if w.held || s.hold(heldScan{key: s.walkKey(c), to: s.key(c.src, c.dst, c.port, c.how), at: now}) {
			w.held = true
			return
		}
	}
	w.told = true
	s.horizontal(c, pr, w.list[:w.n], w.ports[:w.n], power4(w.ratio), walkThreshold, time.Duration(forgetTime), now)
}

// seeks reports whether a source was told to look for hosts: it has no reason to know
// those that it then fails with.
func (s *scans) seeks(c *contact) bool {
	return s.episodes.running(&finding{kind: "host_discovery", key: "arp", offender: c.src})
}

// fanned tells of very many hosts on one port, unless as many gave an answer.
func (s *scans) fanned(c *contact, pr *pair, f *fan, w *walk, now int64) {
	n, limit := int(f.now)+int(f.before), horizontalHosts
	suspect := c.inside && c.by == noTool && !f.told
	if suspect {
		limit = horizontalInside
	}
	if n < limit || c.how == ipProtocol || n <= w.good.count(now, int64(horizontalWindow)) {
		return
	}
	if suspect {
		if f.held || s.hold(heldScan{key: s.fanKey(c), to: s.key(c.src, c.dst, c.port, c.how), at: now, fan: true, host: n}) {
			f.held = true
			return
		}
	}
	f.told = true
	s.horizontal(c, pr, f.list[:f.listed], nil, float64(n), float64(limit), horizontalWindow, now)
}

// take moves the walk by one contact that failed.
func (w *walk) take(c *contact) {
	weight := int8(step)
	switch {
	case c.end == idle && w.idles >= idleMost:
		weight = 0
	case c.end == idle:
		weight = step / 2
		w.idles++
	case c.by != noTool:
		weight = 2 * step
	}
	w.ratio = min(w.ratio+weight, 60)
	if weight == 0 {
		return
	}
	w.hosts = bump(w.hosts)
	if w.n < walkHosts {
		w.list[w.n], w.ports[w.n] = c.dst, c.port
		w.n++
	}
}

func (s *scans) strengthen(c *contact) {
	s.walks.strengthen(s.walkKey(c))
}

func power4(halves int8) float64 {
	v := 1.0
	for range halves / 2 {
		v *= 4
	}
	if halves%2 == 1 {
		v *= 2
	}
	return v
}

// swept takes an ACK segment that nobody answered. From one source port to many
// hosts it is a sweep; from as many ports it is what open connections send.
func (s *scans) swept(c *contact, pr *pair, now int64) {
	f := s.fan(c, now)
	if f.from != c.from {
		f.now, f.before, f.from, f.listed = 1, 0, c.from, 0
	}
	if n := int(f.now) + int(f.before); n >= horizontalHosts {
		s.horizontal(c, pr, f.list[:f.listed], nil, float64(n), horizontalHosts, horizontalWindow, now)
	}
}

// fan counts a host in the fan of its source and port.
func (s *scans) fan(c *contact, now int64) *fan {
	f, fresh := s.fans.get(s.fanKey(c), now)
	const half = int64(horizontalWindow) / 2
	switch age := now - f.begin; {
	case fresh || age >= 2*half:
		*f = fan{begin: now, held: !fresh && f.held}
	case age >= half:
		f.begin, f.before, f.now = f.begin+half, f.now, 0
	}
	f.now = min(f.now, 1<<15) + 1
	if f.listed < walkHosts {
		f.list[f.listed] = c.dst
		f.listed++
	}
	return f
}

func (s *scans) fanKey(c *contact) uint64 {
	return s.hash.of(s.home.source(c.src), packet.Addr{}, 3<<32|uint64(c.how)<<16|uint64(c.port))
}

func (s *scans) scannedKey(host packet.Addr) uint64 { return s.hash.of(packet.Addr{}, host, 4<<32) }

// wasScanned reports whether a scanner was flagged for this host lately.
func (s *scans) wasScanned(host packet.Addr, now int64) bool {
	key := s.scannedKey(host)
	set := &s.scanned.sets[key>>8&s.scanned.mask]
	for i := range 4 {
		if set.keys[i] == key {
			return tick(now)-set.used[i] <= uint32(priorTime>>24)
		}
	}
	return false
}

func (s *scans) horizontal(c *contact, pr *pair, hosts []packet.Addr, ports []uint16, value, threshold float64, window time.Duration, now int64) {
	s.scanned.get(s.scannedKey(c.dst), now)
	f := s.finding("horizontal_scan", c, pr, value, threshold, window)
	f.severity = severityScan
	f.pastHosts, f.pastPorts = hosts, ports
	for _, host := range hosts {
		s.scanned.get(s.scannedKey(host), now)
	}
	s.episodes.note(f, now)
}
