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
	// Local says which sources give away; what goes from one to another is inside.
	// nil: the private, unique local, loopback and link-local addresses.
	Local func(netip.Addr) bool
	// Episodes is how many may begin in an hour. Whoever can forge flows would make
	// one of each; a pair beyond is judged again when it carries more in the next.
	Episodes int
	Seed     [32]byte // of the ids of events
}

// DefaultExfiltrationConfig returns 10,000 pairs, 1 GiB in 24 hours, 3 GiB in 7 days, ten
// times what came back, 100 episodes an hour.
func DefaultExfiltrationConfig() ExfiltrationConfig {
	return ExfiltrationConfig{Pairs: 10_000, Day: 1 << 30, Week: 3 << 30, Share: 10, Episodes: 100}
}

// Validate says what is wrong with the first setting that is.
func (c ExfiltrationConfig) Validate() error {
	switch {
	case c.Pairs < 1:
		return fmt.Errorf("cannot watch %d pairs: at least 1 is needed", c.Pairs)
	case c.Episodes < 1:
		return fmt.Errorf("cannot begin %d episodes an hour: at least 1 is needed", c.Episodes)
	case !(c.Share >= 0):
		return fmt.Errorf("cannot use share %v: it must be at least 0", c.Share)
	}
	return nil
}

// Exfiltration finds slow exfiltration: a pair of a local source and a destination
// outside that carries much in a day or a week, however slowly. It keeps the pairs that
// carry most in bounded memory, by Space-Saving (Metwally, Agrawal and El Abbadi,
// "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005):
// a new pair takes the place of the smallest and inherits its count, as an error that
// fades with the week. What is held against the limits is what was seen for certain.
// One goroutine uses it at a time.
type Exfiltration struct {
	cfg   ExfiltrationConfig
	emit  event.Emit
	ids   *event.IDs
	index map[pairKey]*pair
	order pairHeap
	hour  int64 // since 1970
	begun int   // episodes, in it
	count exfiltrationCounts
}

type exfiltrationCounts struct{ bytes, replaced, episodes, suppressed uint64 }

type pairKey struct{ src, dst packet.Addr }

// pair is what one source gave one destination, by hour and by day.
type pair struct {
	key   pairKey
	out   volume
	back  volume
	error uint64 // inherited
	most  uint64 // the count of Space-Saving: bytes of the week and the error
	at    int    // in the heap
	open  *event.Threat
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

// clear makes room for a new hour.
func (v *volume) clear(hour int64) {
	v.Hours[hour%24] = 0
	if hour%24 == 0 {
		v.Days[hour/24%7] = 0
	}
}

// NewExfiltration returns an Exfiltration that has seen nothing. Events go through emit.
func NewExfiltration(cfg ExfiltrationConfig, emit event.Emit) (*Exfiltration, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Local == nil {
		cfg.Local = private
	}
	return &Exfiltration{cfg: cfg, emit: emit, ids: event.NewIDs(cfg.Seed), index: map[pairKey]*pair{}}, nil
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
		x.add(pairKey{key.Src, key.Dst}, forth, back, now)
	default:
		x.add(pairKey{key.Dst, key.Src}, back, forth, now)
	}
}

func (x *Exfiltration) add(key pairKey, out, back uint64, now int64) {
	x.count.bytes += out
	p := x.index[key]
	if p == nil {
		if out == 0 {
			return
		}
		p = x.insert(key, now)
	}
	p.out.add(x.hour, out)
	p.back.add(x.hour, back)
	p.most += out
	heap.Fix(&x.order, p.at)
	x.judge(p, now)
}

// insert makes a place for a pair; when there is none it takes that of the smallest.
func (x *Exfiltration) insert(key pairKey, now int64) *pair {
	if len(x.order) < x.cfg.Pairs {
		p := &pair{key: key, at: len(x.order)}
		x.order, x.index[key] = append(x.order, p), p
		return p
	}
	p := x.order[0]
	x.resolve(p, now, "too many pairs")
	delete(x.index, p.key)
	x.count.replaced++
	*p = pair{key: key, error: p.most, most: p.most}
	x.index[key] = p
	return p
}

// judge begins an episode of a pair when it is above a limit.
func (x *Exfiltration) judge(p *pair, now int64) {
	if p.open != nil {
		return
	}
	bytes, back, limit, window := x.above(p)
	if window == 0 {
		return
	}
	if x.begun >= x.cfg.Episodes {
		x.count.suppressed++
		return
	}
	x.begun++
	x.count.episodes++
	src, dst := p.key.src.Netip(), p.key.dst.Netip()
	p.open = &event.Threat{
		Type: "exfiltration", Offender: src.String(), Sensor: "slow-exfiltration", Severity: 60,
		Start: utc(now).Add(-window), End: utc(now),
		Details: map[string]any{"destination": dst.String(), "bytes": bytes, "bytes_back": back, "threshold": limit, "window_s": int(window.Seconds())},
	}
	x.tell(p, now, event.Firing)
}

// above returns the first limit that a pair is above, a window of 0 when there is none.
func (x *Exfiltration) above(p *pair) (bytes, back, limit uint64, window time.Duration) {
	day, week := p.out.day(), p.out.week()
	switch {
	case x.cfg.Day > 0 && day >= x.cfg.Day && float64(day) >= x.cfg.Share*float64(p.back.day()):
		return day, p.back.day(), x.cfg.Day, 24 * time.Hour
	case x.cfg.Week > 0 && week >= x.cfg.Week && float64(week) >= x.cfg.Share*float64(p.back.week()):
		return week, p.back.week(), x.cfg.Week, 7 * 24 * time.Hour
	}
	return 0, 0, 0, 0
}

func (x *Exfiltration) tell(p *pair, now int64, state event.AlertState) {
	e := event.Event{ID: x.ids.Next(utc(now)), Time: utc(now), Dataset: event.DatasetThreat,
		Src: netip.AddrPortFrom(p.key.src.Netip(), 0), Dst: netip.AddrPortFrom(p.key.dst.Netip(), 0)}
	if p.open.Episode == "" {
		p.open.Episode = e.ID.String()
	}
	threat := *p.open
	threat.State = state
	e.Threat = &threat
	x.emit(e)
}

func (x *Exfiltration) resolve(p *pair, now int64, reason string) {
	if p.open == nil {
		return
	}
	details := map[string]any{"reason": reason}
	for name, value := range p.open.Details {
		if _, set := details[name]; !set {
			details[name] = value
		}
	}
	p.open.Details, p.open.End = details, utc(now)
	x.tell(p, now, event.Resolved)
	p.open = nil
}

// Advance tells that it is now: hours that passed leave the windows, and episodes end
// that are no longer above a limit. Times that go back change nothing.
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
		}
	}
	x.sweep(now)
}

// sweep ends episodes, forgets pairs that carried nothing for a week, and puts the heap
// in order.
func (x *Exfiltration) sweep(now int64) {
	kept := x.order[:0]
	var over []*pair
	for _, p := range x.order {
		if _, _, _, window := x.above(p); p.open != nil && window == 0 {
			over = append(over, p)
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
	slices.SortFunc(over, func(a, b *pair) int { return comparePairs(a.key, b.key) })
	for _, p := range over {
		x.resolve(p, now, "quiet")
	}
}

func comparePairs(a, b pairKey) int {
	return cmp.Or(cmp.Compare(a.src.Hi, b.src.Hi), cmp.Compare(a.src.Lo, b.src.Lo), cmp.Compare(a.dst.Hi, b.dst.Hi), cmp.Compare(a.dst.Lo, b.dst.Lo))
}

// Counts yields every counter by its name.
func (x *Exfiltration) Counts(yield func(name string, n uint64)) {
	yield("exfiltration_bytes", x.count.bytes)
	yield("exfiltration_pairs", uint64(len(x.order)))
	yield("exfiltration_pairs_replaced", x.count.replaced)
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
