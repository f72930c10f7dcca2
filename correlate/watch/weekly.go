package watch

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"vft/capture/flow"
	"vft/event"
)

// WeeklyTransferConfig says how WeeklyTransfer watches. Start from
// DefaultWeeklyTransferConfig.
type WeeklyTransferConfig struct {
	Pairs    int    // of host and peer that are kept, at least 1; 1.7 KB each
	Floor    uint64 // bytes in an hour below which nothing is abnormal
	Weeks    int    // earlier weeks that must be known of an hour, 1 to 4
	Episodes int    // that may begin in an hour
	// Local is nil, or says which hosts are inside: then only what goes from inside to
	// outside is judged.
	Local func(netip.Addr) bool
	Seed  [32]byte // of which pairs are admitted
}

// DefaultWeeklyTransferConfig returns 4,096 pairs, 64 MiB in an hour, two weeks, 100
// that may begin in an hour.
func DefaultWeeklyTransferConfig() WeeklyTransferConfig {
	return WeeklyTransferConfig{Pairs: 4096, Floor: 64 << 20, Weeks: 2, Episodes: 100}
}

// Validate says what is wrong with the first setting that is.
func (c WeeklyTransferConfig) Validate() error {
	switch {
	case c.Pairs < 1 || c.Pairs > 1<<20:
		return fmt.Errorf("cannot watch %d pairs: it must be 1 to %d", c.Pairs, 1<<20)
	case c.Weeks < 1 || c.Weeks > weeksKept:
		return fmt.Errorf("cannot learn for %d weeks: it must be 1 to %d", c.Weeks, weeksKept)
	case c.Episodes < 1:
		return fmt.Errorf("cannot tell of %d an hour: it must be at least 1", c.Episodes)
	}
	return nil
}

// WeeklyTransfer holds what a host sends to a peer in an hour against the same hour of
// earlier weeks: each direction of each pair has a history of four weeks of its own
// (see history), once it was seen through an hour. The pairs that carry most are kept,
// by Space-Saving as in Exfiltration; a pair that takes the place of another begins
// without history. What is abnormal is told when it goes beyond the threshold, not at
// the end of the hour, and is learned cut down to the threshold.
//
// An hour is learned when the next one is over, so that flows that are told of when
// they end count where they belong. Hours that were not watched from beginning to end
// teach nothing. One goroutine uses it at a time.
type WeeklyTransfer struct {
	cfg     WeeklyTransferConfig
	found   event.Find
	random  *rand.Rand
	index   pairIndex
	all     []*habit // by slot
	order   habitHeap
	hour    int64   // since 1970, the newest of the two that are open; 0: none yet
	partial [2]bool // of each open hour: it was not watched from its beginning
	resumed bool    // restored, and not told of any time since
	began   int     // to be abnormal, in the newest hour
	count   weeklyCounts
}

type weeklyCounts struct{ bytes, untracked, replaced, episodes, suppressed uint64 }

// habit is what one host sends one peer.
type habit struct {
	key   pairKey
	slot  uint32    // in WeeklyTransfer.all
	most  uint64    // bytes, of the week mainly, and what was inherited
	place uint64    // most when the heap was put in order last
	open  [2]uint64 // bytes of the two open hours, by their parity
	limit [2]uint64 // of these hours; 0: not known yet
	past  *history  // nil until an hour was over
	told  int64     // when it was told last that an hour is abnormal; 0: none is
	hour  int64     // the newest abnormal one
}

// NewWeeklyTransfer returns a WeeklyTransfer that has seen nothing. What is
// abnormal goes through find.
func NewWeeklyTransfer(cfg WeeklyTransferConfig, find event.Find) (*WeeklyTransfer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	x := &WeeklyTransfer{cfg: cfg, found: find, random: rand.New(rand.NewChaCha8(cfg.Seed))}
	x.forget()
	return x, nil
}

// forget drops all pairs.
func (x *WeeklyTransfer) forget() {
	x.all, x.order = nil, nil
	x.index = newPairIndex(x.cfg.Seed, func(slot uint32) *pairKey { return &x.all[slot].key })
}

// keep takes a pair in, which must then find its place in the heap.
func (x *WeeklyTransfer) keep(h *habit) {
	h.slot = uint32(len(x.all))
	x.all = append(x.all, h)
	x.index.put(&h.key, h.slot)
}

// find returns what is kept of a pair, nil when it is not.
func (x *WeeklyTransfer) find(key *pairKey) *habit {
	if slot, known := x.index.find(key); known {
		return x.all[slot]
	}
	return nil
}

// Carried takes what a captured flow carried along its key and back, at now. It is what
// TransferConfig.Carried wants.
func (x *WeeklyTransfer) Carried(key *flow.Key, forth, back uint64, now int64) {
	x.Advance(now)
	hour := now / int64(time.Hour)
	x.add(pairKey{key.Src, key.Dst}, forth, hour, now)
	x.add(pairKey{key.Dst, key.Src}, back, hour, now)
}

// Flow takes a flow that an exporter told of, with its bytes from the IP header on. They
// are spread over the time of the flow; what is older than the hours that are open counts
// in the older of them.
func (x *WeeklyTransfer) Flow(r *flow.Record) {
	x.Advance(r.Last)
	x.spread(pairKey{r.Src, r.Dst}, r.NetworkBytes(&r.Fwd), r)
	x.spread(pairKey{r.Dst, r.Src}, r.NetworkBytes(&r.Rev), r)
}

func (x *WeeklyTransfer) spread(key pairKey, bytes uint64, r *flow.Record) {
	last := r.Last / int64(time.Hour)
	begin, long := last*int64(time.Hour), r.Last-r.First
	if r.First >= begin || long <= 0 {
		x.add(key, bytes, last, r.Last)
		return
	}
	within := uint64(float64(bytes) * float64(r.Last-begin) / float64(long))
	x.add(key, min(within, bytes), last, r.Last)
	x.add(key, bytes-min(within, bytes), last-1, r.Last)
}

func (x *WeeklyTransfer) add(key pairKey, bytes uint64, hour, now int64) {
	if bytes == 0 || hour < 0 {
		return
	}
	x.count.bytes += bytes
	h := x.find(&key)
	if h == nil {
		if h = x.insert(key, bytes); h == nil {
			return
		}
	}
	hour = min(max(hour, x.hour-1), x.hour)
	h.most += bytes
	at := hour % 2
	h.open[at] += bytes
	if h.past != nil && h.open[at] >= x.cfg.Floor {
		x.judge(h, hour, now)
	}
}

// insert makes a place for a pair. When there is none it takes that of the smallest with
// the chance that its bytes have among those of both, and inherits its count: a pair that
// carries little, of which there are very many, hardly ever costs more than that.
func (x *WeeklyTransfer) insert(key pairKey, bytes uint64) *habit {
	if len(x.order) < x.cfg.Pairs {
		h := &habit{key: key}
		x.keep(h)
		heap.Push(&x.order, h)
		return h
	}
	// The counts have grown since the heap was put in order: what is on top with a
	// larger count than it stands for goes down.
	h := x.order[0]
	for ; h.place != h.most; h = x.order[0] {
		h.place = h.most
		heap.Fix(&x.order, 0)
	}
	if float64(bytes) <= x.random.Float64()*(float64(h.most)+float64(bytes)) {
		x.count.untracked += bytes
		return nil
	}
	x.index.remove(&h.key)
	x.count.replaced++
	*h = habit{key: key, slot: h.slot, most: h.most, place: h.most}
	x.index.put(&key, h.slot)
	heap.Fix(&x.order, 0)
	return h
}

// judge tells of a pair whose hour is above the threshold.
func (x *WeeklyTransfer) judge(h *habit, hour, now int64) {
	at := hour % 2
	if x.cfg.Local != nil && (!x.cfg.Local(h.key.src.Netip()) || x.cfg.Local(h.key.dst.Netip())) {
		return
	}
	if h.limit[at] == 0 {
		h.limit[at] = h.past.limit(hour, x.cfg.Weeks, x.cfg.Floor)
	}
	switch {
	case h.open[at] <= h.limit[at]:
		return
	case h.told == 0:
		if x.began >= x.cfg.Episodes {
			x.count.suppressed++
			return
		}
		x.began++
		x.count.episodes++
	case now-h.told < repeatEvery && hour <= h.hour:
		return
	}
	x.tell(h, hour, now)
}

// tell tells of an hour that is abnormal so far; each counts once.
func (x *WeeklyTransfer) tell(h *habit, hour, now int64) {
	at := hour % 2
	series := h.past.same(hour)
	usual := 0.0
	if len(series) > 0 {
		usual = slices.Max(series)
	}
	f := event.Finding{
		Type: transferFinding, Sensor: "hour-of-week", Key: h.key.src.String() + " " + h.key.dst.String(),
		Time: utc(max(now, hour*int64(time.Hour))), Since: utc(hour * int64(time.Hour)), Memory: 2 * time.Hour, Window: time.Hour,
		Offender: h.key.src.Netip(), Victims: []netip.Addr{h.key.dst.Netip()}, Src: ends(h.key.src.Netip(), 0), Dst: ends(h.key.dst.Netip(), 0),
		Value: float64(h.open[at]), Threshold: float64(h.limit[at]), Usual: &usual, Unit: "bytes", Severity: severityHour,
		Anomaly: &event.Anomaly{
			Detector: "hour-of-week", Side: "up", Value: float64(h.open[at]), Threshold: float64(h.limit[at]), Window: time.Hour, Bytes: h.open[at], Series: series,
		},
	}
	if h.told == 0 || hour > h.hour {
		f.Count = 1
	}
	h.told, h.hour = max(now, 1), max(hour, h.hour)
	x.found(&f)
}

// severityHour is what more than usual at an hour weighs: volume alone is a lead.
const severityHour = 30

// Advance tells that it is now: hours that are over are learned. Times
// that go back change nothing.
func (x *WeeklyTransfer) Advance(now int64) {
	hour := now / int64(time.Hour)
	resumed := x.resumed
	x.resumed = false
	switch {
	case hour <= x.hour:
	case x.hour == 0:
		x.hour, x.partial = hour, [2]bool{true, true}
	case hour == x.hour+1:
		x.close(x.hour - 1)
		x.next(hour, resumed)
	default: // hours that nobody watched
		x.partial[x.hour%2] = true
		x.close(x.hour - 1)
		x.close(x.hour)
		x.partial[(hour+1)%2] = true
		x.next(hour, true)
	}
}

func (x *WeeklyTransfer) next(hour int64, partial bool) {
	x.hour, x.began = hour, 0
	x.partial[hour%2] = partial
}

// close learns an hour. What was abnormal is not any more when the hour was usual.
func (x *WeeklyTransfer) close(hour int64) {
	at := hour % 2
	for _, h := range x.order {
		bytes := h.open[at]
		if !x.partial[at] {
			if h.past == nil {
				h.past = newHistory()
			}
			if limit := h.past.limit(hour, x.cfg.Weeks, x.cfg.Floor); bytes > limit {
				bytes = limit
			}
			h.past.learn(hour, bytes)
		}
		h.open[at], h.limit[at] = 0, 0
		h.most -= h.most / weekHours
		h.place = h.most
		if h.hour < hour {
			h.told = 0
		}
	}
	heap.Init(&x.order)
}

// Counts yields every counter by its name.
func (x *WeeklyTransfer) Counts(yield func(name string, n uint64)) {
	yield("weekly_bytes", x.count.bytes)
	yield("weekly_bytes_untracked", x.count.untracked)
	yield("weekly_pairs", uint64(len(x.order)))
	yield("weekly_pairs_replaced", x.count.replaced)
	yield("weekly_episodes", x.count.episodes)
	yield("weekly_episodes_suppressed", x.count.suppressed)
}

// habitHeap has the smallest pair on top, equal ones by key.
type habitHeap []*habit

func (h habitHeap) Len() int { return len(h) }
func (h habitHeap) Less(i, j int) bool {
	if h[i].place != h[j].place {
		return h[i].place < h[j].place
	}
	return comparePairs(h[i].key, h[j].key) < 0
}
func (h habitHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds a pair.
func (h *habitHeap) Push(x any) { *h = append(*h, x.(*habit)) }

// Pop removes the last pair.
func (h *habitHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
