package watch

import (
	"time"

	"vft/capture/packet"
)

// profile is a local host as Exfiltration knows it: what it is used to give away.
type profile struct {
	host  packet.Addr
	since int64  // when it was seen first
	last  int64  // and last
	peers int    // outside, to which it has opened flows
	usual uint64 // bytes of a day to one peer that it has known for a week; the largest, fading
}

// profiles is the bounded table of local hosts.
type profiles struct {
	limit   int
	index   map[packet.Addr]*profile
	all     []*profile
	hand    int
	evicted uint64
}

func newProfiles(limit int) profiles {
	return profiles{limit: limit, index: map[packet.Addr]*profile{}}
}

// profilesLook is how many hosts are looked at to find one that makes room.
const profilesLook = 16

// see returns a host that is active at now. A new one drives out, of the next ones, the
// one that was seen least recently.
func (t *profiles) see(host packet.Addr, now int64) *profile {
	g := t.index[host]
	if g == nil {
		g = t.place()
		*g = profile{host: host, since: now}
		t.index[host] = g
	}
	g.last = max(g.last, now)
	return g
}

func (t *profiles) place() *profile {
	if len(t.all) < t.limit {
		g := &profile{}
		t.all = append(t.all, g)
		return g
	}
	var oldest *profile
	for range min(profilesLook, len(t.all)) {
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
func (t *profiles) fade() {
	for _, g := range t.all {
		g.usual -= g.usual / (4 * weekHours)
	}
}

// This much must be known of a host before a destination can be new to
// it: its peers of a day, or as many peers as browsing makes in some minutes.
const (
	profiledAfter = 24 * time.Hour
	profiledSoon  = 5 * time.Minute
	profiledPeers = 20
)

// knows reports whether enough was known of the host at a time to tell what is new to
// it, and whether for a whole day.
func (g *profile) knows(at int64) (enough, day bool) {
	day = at-g.since >= int64(profiledAfter)
	return day || at-g.since >= int64(profiledSoon) && g.peers >= profiledPeers, day
}
