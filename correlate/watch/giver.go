package watch

import (
	"time"

	"vft/capture/packet"
)

// giver is a local host as Exfiltration knows it: what it is used to give away.
type giver struct {
	host  packet.Addr
	since int64  // when it was seen first
	last  int64  // and last
	peers int    // outside, to which it has opened flows
	usual uint64 // bytes of a day to one peer that it has known for a week; the largest, fading
}

// givers is the bounded table of local hosts.
type givers struct {
	limit   int
	index   map[packet.Addr]*giver
	all     []*giver
	hand    int
	evicted uint64
}

func newGivers(limit int) givers { return givers{limit: limit, index: map[packet.Addr]*giver{}} }

// giversLook is how many hosts are looked at to find one that makes room.
const giversLook = 16

// see returns a host that is active at now. A new one drives out, of the next ones, the
// one that was seen least recently.
func (t *givers) see(host packet.Addr, now int64) *giver {
	g := t.index[host]
	if g == nil {
		g = t.place()
		*g = giver{host: host, since: now}
		t.index[host] = g
	}
	g.last = max(g.last, now)
	return g
}

func (t *givers) place() *giver {
	if len(t.all) < t.limit {
		g := &giver{}
		t.all = append(t.all, g)
		return g
	}
	var oldest *giver
	for range min(giversLook, len(t.all)) {
		if t.hand++; t.hand >= len(t.all) {
			t.hand = 0
		}
		if g := t.all[t.hand]; oldest == nil || g.last < oldest.last {
			oldest = g
		}
	}
	delete(t.index, oldest.host)
	t.evicted++
	return oldest
}

// fade lets an hour pass: what a host gave is forgotten in some weeks.
func (t *givers) fade() {
	for _, g := range t.all {
		g.usual -= g.usual / (4 * weekHours)
	}
}

// acquainted is how much must be known of a host before a destination can be new to
// it: its peers of a day, or as many peers as browsing makes in some minutes.
const (
	acquaintedAfter = 24 * time.Hour
	acquaintedSoon  = 5 * time.Minute
	acquaintedPeers = 20
)

// knows reports whether enough was known of the host at a time to tell what is new to
// it, and whether for a whole day.
func (g *giver) knows(at int64) (enough, day bool) {
	day = at-g.since >= int64(acquaintedAfter)
	return day || at-g.since >= int64(acquaintedSoon) && g.peers >= acquaintedPeers, day
}
