package detect

import (
	"time"

	"vft/capture/packet"
)

// A host inside that fails with some hosts on one port may scan, or check services that
// are down. Checks are repeated on schedule, so what is found of a source inside is held
// for a minute, unless its packets carry the mark of a tool or it fails with very many.
const (
	holdTime  = 60 * second
	maxHeld   = 1 << 10
	holdHosts = 25 // so many are told at once, unless most were repeated on schedule
)

// heldScan is what a source is suspected of.
type heldScan struct {
	key  uint64 // of its walk or fan
	to   uint64 // key of the contact that made it
	at   int64
	fan  bool
	host int // hosts that failed, of a fan
}

// hold keeps a finding back, and reports false when it must be told at once.
func (s *scans) hold(h heldScan) bool {
	if len(s.held) == cap(s.held) {
		s.hurried++
		return false
	}
	s.held = append(s.held, h)
	return true
}

// release tells what was held long enough, or all at the end.
func (s *scans) release(now int64, all bool) {
	n := 0
	for ; n < len(s.held) && (all || now-s.held[n].at >= holdTime); n++ {
		s.decide(&s.held[n], now)
	}
	if n > 0 {
		s.held = append(s.held[:0], s.held[n:]...)
	}
}

// decide tells of a held finding, unless most of its contacts are made on schedule.
func (s *scans) decide(h *heldScan, now int64) {
	c := s.contacts.peek(h.to)
	if c == nil {
		return
	}
	pr := s.pair(c, now)
	if h.fan {
		f := s.fans.peek(h.key)
		if f == nil {
			return
		}
		if f.held = false; s.onSchedule(c, f.list[:f.listed], nil) {
			*f = fan{}
			return
		}
		f.told = true
		s.horizontal(c, pr, f.list[:f.listed], nil, float64(h.host), horizontalHosts, horizontalWindow, now)
		return
	}
	w := s.walks.peek(h.key)
	if w == nil {
		return
	}
	if w.held = false; s.onSchedule(c, w.list[:w.n], w.ports[:w.n]) {
		*w = walk{last: w.last, good: w.good}
		return
	}
	w.told = true
	s.horizontal(c, pr, w.list[:w.n], w.ports[:w.n], power4(w.ratio), walkThreshold, time.Duration(forgetTime), now)
}

// excused reports whether what a source inside failed with over a long time is no scan:
// most of it is tried on schedule, or the targets are peers.
func (s *scans) excused(r *reach) bool {
	if r.kind == reachOutside && r.peers() {
		return true
	}
	regular := 0
	for _, m := range r.members[:r.n] {
		if o := s.contacts.peek(s.key(r.host, m.addr, m.port, synProbe)); o != nil && o.scheduled() {
			regular++
		}
	}
	return 2*regular >= int(r.n)
}

// onSchedule reports whether most of the contacts of a source with the listed hosts, on
// the port of c or those given, are made on schedule.
func (s *scans) onSchedule(c *contact, hosts []packet.Addr, ports []uint16) bool {
	regular := 0
	for i, host := range hosts {
		port := c.port
		if ports != nil {
			port = ports[i]
		}
		if o := s.contacts.peek(s.key(c.src, host, port, c.how)); o != nil && o.scheduled() {
			regular++
		}
	}
	return 2*regular >= len(hosts) && regular > 0
}
