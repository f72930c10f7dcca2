package detect

import (
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
	"vft/ipproto"
)

// Long connection: one connection, hours long, from a host inside to one outside that
// no other host inside talks to. Remote control looks so, and so do a VPN, a chat
// program and a shell that somebody left open: it is a lead and no more.
const (
	longTime      = 4 * time.Hour
	maxOutside    = 1 << 13
	severityLong  = 20
	longQuiet     = 4 * 3600 * second
	maxLongToday  = 32                     // episodes that may begin in a day
	longUserAgain = 7 * 24 * 3600 * second // a user that was quiet for longer is none
)

// outsider is a host outside, and who inside talked to it.
type outsider struct {
	user  packet.Addr
	last  int64 // of another user
	other bool
}

type longConnections struct {
	hash     hasher
	episodes *episodes
	home     home
	hosts    *cache[outsider]
	day      int64
	today    int
	untold   uint64
}

func newLongConnections(h hasher, e *episodes, inside home) *longConnections {
	return &longConnections{hash: h, episodes: e, home: inside, hosts: newCache[outsider](maxOutside)}
}

// flow takes a flow that ended, or a part of one; c is what is known of its beginning.
func (l *longConnections) flow(r *flow.Record, c cutFlow, now int64) {
	if !r.Ports || many(r.Dst) || many(r.Src) {
		return
	}
	src, dst, port := r.Src, r.Dst, r.DstPort
	if src != c.client {
		src, dst, port = dst, src, r.SrcPort
	}
	if l.home.has(dst) || !l.home.has(src) {
		return
	}
	o, fresh := l.hosts.get(l.hash.of(dst, packet.Addr{}, 27<<32), now)
	switch {
	case fresh:
		o.user = src
	case o.user != src:
		o.other, o.last = true, now
	}
	if r.Last-c.first < int64(longTime) || o.other && now-o.last < longUserAgain {
		return
	}
	l.tell(r, c, src, dst, port, now)
}

func (l *longConnections) tell(r *flow.Record, c cutFlow, src, dst packet.Addr, port uint16, now int64) {
	lasted := time.Duration(r.Last - c.first)
	f := &finding{
		kind: "long_connection", sensor: "long_connection", key: dst.String(), offender: src, transport: ipproto.Name(r.Proto), severity: severityLong, evidence: event.E1, target: dst, port: port, hasPort: true,
		value: lasted.Seconds(), threshold: longTime.Seconds(), unit: "seconds", window: lasted, memory: longQuiet, more: []detail{{"since", time.Unix(0, c.first).UTC()}},
	}
	if !l.episodes.running(f) {
		if day := now / int64(24*time.Hour); day != l.day {
			l.day, l.today = day, 0
		}
		if l.today++; l.today > maxLongToday {
			l.untold++
			return
		}
	}
	l.episodes.note(f, now)
}

func (l *longConnections) counts(yield func(string, uint64)) {
	yield("outside_hosts_evicted", l.hosts.evicted)
	yield("long_connections_untold", l.untold)
}
