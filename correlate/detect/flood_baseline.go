package detect

import (
	"math"

	"vft/correlate/spot"
)

// What the busiest destinations usually get in a second, by extreme value theory
// (correlate/spot): a destination and kind with an eighth of the floor in a second gets
// a detector, and from 128 seconds with packets on a flood is what is beyond its
// threshold, kept between twice and ten times the average second (or the floor). Steady
// destinations are then guarded closely, and those that live in bursts are left alone.
// A flood does not teach; until the baseline is known, it teaches little. What goes on
// for ten minutes beyond the threshold, and below ten times the average from before,
// is the new normal.
const (
	maxBaselines   = 512 // 2 KB each
	baselineShare  = 8   // of the floor
	baselineQuiet  = 60  // seconds without a packet after which another may take the place
	baselineNormal = 600 // seconds
	baselineLeast  = 2   // times the average second
	baselineGoesOn = 4   // a flood goes on down to such a part of the threshold, and down to the floor
	baselineBefore = 2   // how far above the average's threshold a second may teach until the baseline is known
)

// baselineConfig gives each second a chance of 1e-5 to be beyond the threshold. The
// shape of the tail is kept as in package watch.
func baselineConfig() spot.Config {
	return spot.Config{Q: 1e-5, Level: 0.9, NInit: 128, MaxExcess: 48, Up: true, ClampGamma: true, GammaMax: 0.8}
}

// baselineKey is a target and what is counted of it.
type baselineKey struct {
	target uint64
	kind   floodKind
}

// baseline is what one of them usually gets.
type baseline struct {
	baselineKey
	last int64 // second that was learned last
	run  int   // seconds in a row that only the baseline calls a flood
	spot *spot.Spot
}

type baselines struct {
	index   map[baselineKey]*baseline
	all     []*baseline   // in the order in which places were taken
	busy    []baselineKey // of this second; may hold one several times
	refused uint64
}

func newBaselines() *baselines {
	return &baselines{index: map[baselineKey]*baseline{}, busy: make([]baselineKey, 0, 256)}
}

// note takes a target that is busy in this second. It is called from packets and does
// not allocate.
func (b *baselines) note(key baselineKey) {
	if len(b.busy) < cap(b.busy) {
		b.busy = append(b.busy, key)
	}
}

// limit returns from how many in a second on a kind is a flood at a target, and whether
// the baseline says so.
func (b *baselines) limit(t *target, key baselineKey) (limit float64, learned bool) {
	floor, usual := float64(floodSpecs[key.kind].floor), float64(t.usual[key.kind])
	if one := b.index[key]; one != nil {
		if z, ok := one.spot.Threshold(spot.Up); ok {
			return min(max(z, floor, baselineLeast*usual), usualFactor*max(floor, usual)), true
		}
	}
	return max(floor, usualFactor*usual), false
}

// advance learns the seconds that ended, and gives places to what was busy in them.
func (b *baselines) advance(f *floods, now int64) {
	for _, one := range b.all {
		if t := f.targets.find(one.target, now); t != nil && t.second != one.last && t.second < now/second {
			one.learn(b, t)
		}
	}
	for _, key := range b.busy {
		if b.index[key] == nil {
			b.admit(key, now/second)
		}
	}
	b.busy = b.busy[:0]
}

func (o *baseline) learn(b *baselines, t *target) {
	o.last = t.second
	x := math.Max(float64(t.count[o.kind]), 0) + jitter(t.second)
	limit, learned := b.limit(t, o.baselineKey)
	switch {
	case !learned:
		o.spot.Step(math.Min(x, baselineBefore*limit)) // no NaN comes here
		return
	case x < limit:
		o.run = 0
		o.spot.Step(x)
		return
	}
	if x >= usualFactor*float64(t.usual[o.kind]) {
		o.run = 0
		return
	}
	if o.run++; o.run >= baselineNormal {
		o.run = 0
		o.spot.Reset()
		t.usual[o.kind] = float32(x)
	}
}

// jitter is a part of one that is spread evenly over the seconds. Whole numbers have ties,
// and a tail that is nothing but ties has no likelihood.
func jitter(sec int64) float64 {
	const golden = 0.618033988749895
	return math.Mod(float64(sec)*golden, 1)
}

// admit gives a place to a target and kind: a free one, or that of the baseline that
// was not needed for the longest time.
func (b *baselines) admit(key baselineKey, sec int64) {
	fresh, err := spot.New(baselineConfig())
	if err != nil {
		return // the settings are constant, and a test holds that they are valid
	}
	one := &baseline{baselineKey: key, last: sec, spot: fresh}
	if len(b.all) < maxBaselines {
		b.all = append(b.all, one)
		b.index[key] = one
		return
	}
	oldest := 0
	for i, o := range b.all {
		if o.last < b.all[oldest].last {
			oldest = i
		}
	}
	if sec-b.all[oldest].last < baselineQuiet {
		b.refused++
		return
	}
	delete(b.index, b.all[oldest].baselineKey)
	b.all[oldest], b.index[key] = one, one
}
