package watch

import (
	"cmp"
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// ExfiltrationConfig says from how many bytes on a host gives too much away. Start from
// DefaultExfiltrationConfig.
type ExfiltrationConfig struct {
	Pairs int    // of source and destination that are kept, at least 1
	Day   uint64 // payload bytes in 24 hours; 0: not watched
	Week  uint64 // in 7 days; 0: not watched
	// Share is how many times what came back the bytes must be: a download and a
	// backup that reads as much as it writes are none.
	Share float64
	// Burst is the payload bytes in two hours at most to a destination that is new to
	// a host of which enough is known; 0: not watched.
	Burst uint64
	Hosts int // local ones whose habits are kept, at least 1; 100 bytes each
	// Local says which sources give away; what goes from one to another is inside.
	// nil: the private, unique local, loopback and link-local addresses.
	Local func(netip.Addr) bool
	// Episodes is how many may begin in an hour. Whoever can forge flows would make
	// one of each; a pair beyond is judged again when it carries more in the next.
	Episodes int
}

// DefaultExfiltrationConfig returns 10,000 pairs, 1 GiB in 24 hours, 3 GiB in 7 days, ten
// times what came back, 200 MiB to a new destination, 16,384 hosts, 100 that may begin in an hour.
func DefaultExfiltrationConfig() ExfiltrationConfig {
	return ExfiltrationConfig{Pairs: 10_000, Day: 1 << 30, Week: 3 << 30, Share: 10, Burst: 200 << 20, Hosts: 16_384, Episodes: 100}
}

// Validate says what is wrong with the first setting that is.
func (c ExfiltrationConfig) Validate() error {
	switch {
	case c.Pairs < 1:
		return fmt.Errorf("cannot watch %d pairs: at least 1 is needed", c.Pairs)
	case c.Hosts < 1:
		return fmt.Errorf("cannot know %d hosts: at least 1 is needed", c.Hosts)
	case c.Episodes < 1:
		return fmt.Errorf("cannot tell of %d an hour: at least 1 is needed", c.Episodes)
	case !(c.Share >= 0):
		return fmt.Errorf("cannot use share %v: it must be at least 0", c.Share)
	}
	return nil
}

// Exfiltration finds what leaves for outside: a pair of a local source and a destination
// that carries much in a day or a week, however slowly, and a large upload to where the
// source has never been. What a source has given to a peer in a day for longer than a
// week is its habit: up to twice that is silent. What others fetch from a service of the
// source is less: much of it over a long time is a lead, at once it is nothing. It keeps the pairs that
// carry most in bounded memory, by Space-Saving (Metwally, Agrawal and El Abbadi,
// "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005):
// a new pair takes the place of the smallest and inherits its count, as an error that
// fades with the week. What is held against the limits is what was seen for certain.
// One goroutine uses it at a time.
type Exfiltration struct {
	cfg   ExfiltrationConfig
	find  event.Find
	index map[pairKey]*pair
	order pairHeap
	hosts profiles
	hour  int64 // since 1970
	begun int   // of those above a limit, in it
	count exfiltrationCounts
}

type exfiltrationCounts struct{ bytes, replaced, episodes, suppressed uint64 }

type pairKey struct{ src, dst packet.Addr }

// pair is what one source gave one destination, by hour and by day.
type pair struct {
	key   pairKey
	first int64 // when it was seen first
	out   volume
	back  volume
	error uint64 // inherited
	given uint64 // bytes in flows that the source opened, fading over a week
	asked uint64 // bytes in flows that the destination opened, likewise
	most  uint64 // the count of Space-Saving: bytes of the week and the error
	at    int    // in the heap
	told  int64  // when it was told last that it is above a limit; 0: it is not
}

// volume is the bytes of the newest 24 hours and 7 days, the present ones included.
type volume struct {
	Hours [24]uint64 `json:"hours"`
	Days  [7]uint64  `json:"days"`
}

func (v *volume) add(hour int64, n uint64) {
	v.Hours[hour%24] += n
	v.Days[hour/24%7] += n
}

func (v *volume) day() (sum uint64) {
	for _, n := range v.Hours {
		sum += n
	}
	return sum
}

func (v *volume) week() (sum uint64) {
	for _, n := range v.Days {
		sum += n
	}
	return sum
}

// recent returns the bytes of the newest two hours.
func (v *volume) recent(hour int64) uint64 { return v.Hours[hour%24] + v.Hours[(hour+23)%24] }

// slow reports whether no two hours carried more than half of the day, nor one day more
// than half of the week.
func (v *volume) slow(days bool) bool {
	if days {
		return slices.Max(v.Days[:]) <= v.week()/2
	}
	largest := uint64(0)
	for i := range v.Hours {
		largest = max(largest, v.Hours[i]+v.Hours[(i+1)%24])
	}
	return largest <= v.day()/2
}

// clear makes room for a new hour.
func (v *volume) clear(hour int64) {
	v.Hours[hour%24] = 0
	if hour%24 == 0 {
		v.Days[hour/24%7] = 0
	}
}

// NewExfiltration returns an Exfiltration that has seen nothing. What it finds goes through find.
func NewExfiltration(cfg ExfiltrationConfig, find event.Find) (*Exfiltration, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Local == nil {
		cfg.Local = private
	}
	return &Exfiltration{cfg: cfg, find: find, index: map[pairKey]*pair{}, hosts: newProfiles(cfg.Hosts)}, nil
}

func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

// Carried takes what a flow carried along its key and back, at now. It is what
// TransferConfig.Carried wants. A time before the present hour counts in that.
func (x *Exfiltration) Carried(key *flow.Key, forth, back uint64, now int64) {
	x.Advance(now)
	src, dst := key.Src.Netip(), key.Dst.Netip()
	from, to := x.cfg.Local(src), x.cfg.Local(dst)
	switch {
	case from == to || dst.IsMulticast() || dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
	case from:
		x.add(pairKey{key.Src, key.Dst}, forth, back, now, !answers(key))
	default:
		x.add(pairKey{key.Dst, key.Src}, back, forth, now, answers(key))
	}
}

// answers reports whether a flow looks as if its first packet had been missed: what is
// its source serves.
func answers(key *flow.Key) bool { return key.Ports && key.SrcPort < 1024 && key.DstPort >= 1024 }

// New reports whether a flow goes from a local host to a destination outside that it
// has first talked to within a day, of its own accord and after enough was known of it.
func (x *Exfiltration) New(key *flow.Key, now int64) bool {
	p := x.index[pairKey{key.Src, key.Dst}]
	if p == nil || now-p.first >= int64(24*time.Hour) || p.asked > p.given {
		return false
	}
	g := x.hosts.index[key.Src]
	if g == nil {
		return false
	}
	enough, _ := g.knows(p.first)
	return enough
}

func (x *Exfiltration) add(key pairKey, out, back uint64, now int64, opened bool) {
	x.count.bytes += out
	g := x.hosts.see(key.src, now)
	p := x.index[key]
	if p == nil {
		if out == 0 {
			return
		}
		p = x.insert(key, now)
		if opened {
			g.peers++
		}
	}
	p.out.add(x.hour, out)
	p.back.add(x.hour, back)
	p.most += out
	if opened {
		p.given += out
	} else {
		p.asked += out
	}
	heap.Fix(&x.order, p.at)
	x.judge(p, g, now)
}

// insert makes a place for a pair; when there is none it takes that of the smallest.
func (x *Exfiltration) insert(key pairKey, now int64) *pair {
	if len(x.order) < x.cfg.Pairs {
		p := &pair{key: key, first: now, at: len(x.order)}
		x.order, x.index[key] = append(x.order, p), p
		return p
	}
	p := x.order[0]
	delete(x.index, p.key)
	x.count.replaced++
	*p = pair{key: key, first: now, error: p.most, most: p.most, at: p.at}
	x.index[key] = p
	return p
}

// Advance tells that it is now: hours that passed leave the windows. Times that go
// back change nothing.
func (x *Exfiltration) Advance(now int64) {
	hour := now / int64(time.Hour)
	if hour <= x.hour {
		return
	}
	x.begun = 0
	// More than a week clears everything: the rest need not be counted off.
	for x.hour = max(x.hour, hour-8*24); x.hour < hour; {
		x.hour++
		for _, p := range x.order {
			p.out.clear(x.hour)
			p.back.clear(x.hour)
			p.error -= p.error / weekHours
			p.given -= p.given / weekHours
			p.asked -= p.asked / weekHours
		}
		x.hosts.fade()
	}
	x.sweep(now)
}

// sweep forgets pairs that carried nothing for a week, learns what hosts are used to
// give, and puts the heap in order.
func (x *Exfiltration) sweep(now int64) {
	kept := x.order[:0]
	for _, p := range x.order {
		g := x.hosts.index[p.key.src]
		if g == nil { // it was evicted
			g = &profile{since: now}
		}
		if now-p.first >= int64(7*24*time.Hour) {
			g.usual = max(g.usual, slices.Max(p.out.Days[:]))
		}
		if p.told != 0 && x.above(p, g, now).window == 0 {
			p.told = 0
		}
		p.most = p.out.week() + p.error
		if p.out.week() > 0 || p.back.week() > 0 {
			p.at = len(kept)
			kept = append(kept, p)
		} else {
			delete(x.index, p.key)
		}
	}
	clear(x.order[len(kept):])
	x.order = kept
	heap.Init(&x.order)
}

func comparePairs(a, b pairKey) int {
	return cmp.Or(cmp.Compare(a.src.Hi, b.src.Hi), cmp.Compare(a.src.Lo, b.src.Lo), cmp.Compare(a.dst.Hi, b.dst.Hi), cmp.Compare(a.dst.Lo, b.dst.Lo))
}

// Counts yields every counter by its name.
func (x *Exfiltration) Counts(yield func(name string, n uint64)) {
	yield("exfiltration_bytes", x.count.bytes)
	yield("exfiltration_pairs", uint64(len(x.order)))
	yield("exfiltration_pairs_replaced", x.count.replaced)
	yield("exfiltration_hosts", uint64(len(x.hosts.all)))
	yield("exfiltration_hosts_evicted", x.hosts.evicted)
	yield("exfiltration_episodes", x.count.episodes)
	yield("exfiltration_episodes_suppressed", x.count.suppressed)
}

// pairHeap has the smallest pair on top. Equal ones stand by key, so that the order in
// which pairs came does not matter.
type pairHeap []*pair

func (h pairHeap) Len() int { return len(h) }
func (h pairHeap) Less(i, j int) bool {
	if a, b := h[i].most, h[j].most; a != b {
		return a < b
	}
	return comparePairs(h[i].key, h[j].key) < 0
}
func (h pairHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push and Pop complete heap.Interface; pairs are put in and taken out in place.
func (h *pairHeap) Push(x any) { *h = append(*h, x.(*pair)) }

// Pop removes the last pair.
func (h *pairHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
