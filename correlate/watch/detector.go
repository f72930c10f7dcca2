package watch

import (
	"math"
	"math/bits"
	"time"

	"vft/capture/stat"
	"vft/correlate/spot"
)

// detector watches one statistic: it judges a value, learns it, and decides when
// what was abnormal has become the new normal.
type detector struct {
	name   string
	set    Settings
	kind   *stat.Statistic
	twin   *detector // the statistic that says the same, nil when there is none
	logs   bool      // values are brought to the scale of norm
	norm   normalizer
	now    *model
	before *model // from before the new normal; nil when there is none
	recent ring   // the newest Recalibrate values, as they came
	past   uint64 // a bit for each of the newest 64 values: it was abnormal
	bursts recurrence
	back   int   // values in a row that the model before finds normal
	week   *week // nil without a baseline
	last   int64 // end of the newest interval
	shown  stat.Sample
	open   *excursion // that goes on; nil: none
	by     string     // who found what was told of it
	count  detectorCounts
}

// detectorCounts are the counters of one statistic since it was started or reset.
type detectorCounts struct {
	Values    uint64 `json:"values"`
	Missing   uint64 `json:"missing"`   // intervals without a value
	Anomalies uint64 `json:"anomalies"` // abnormal values
	Small     uint64 `json:"small"`     // beyond the threshold, but less than twice the usual or of too few things
	Recurring uint64 `json:"recurring"` // beyond the threshold again and again: learned
	Customary uint64 `json:"customary"` // beyond the threshold, as at this hour of an earlier day or week
	Restored  uint64 `json:"restored"`  // beyond the threshold, but usual before the reference moved
	Withheld  uint64 `json:"withheld"`  // excesses that the masking guard did not learn
	Episodes  uint64 `json:"episodes"`
	NewNormal uint64 `json:"new_normal"` // recalibrations after a run of anomalies
	Returned  uint64 `json:"returned"`   // times the model before came back
}

func newDetector(kind *stat.Statistic, set Settings, logs bool) (*detector, error) {
	m, err := newModel(set.Config, logs)
	if err != nil {
		return nil, err
	}
	d := &detector{name: kind.Name, set: set, kind: kind, logs: logs, norm: newNormalizer(kind), now: m, recent: newRing(set.Recalibrate)}
	if !logs {
		d.norm.scale = stat.Plain
	}
	if set.Weekly {
		d.week = &week{}
	}
	return d, nil
}

// step judges the value of an interval and learns from it. changed is true when it was
// the last of a run that makes the abnormal normal.
func (d *detector) step(in *stat.Sample) (v verdict, changed bool) {
	t := in.Start
	usual := d.usual(t)
	x := d.norm.normal(in) - usual
	v = d.now.judge(x)
	d.count.Values++
	if v.abnormal() {
		d.exempt(x, usual, in, &v)
	}
	d.past <<= 1
	if v.abnormal() {
		d.count.Anomalies++
		d.past |= 1
	} else if v.flag == spot.Normal {
		d.norm.learn(in, d.set.NInit)
	}
	d.recent.push(x)
	d.comeBack(x)
	if d.now.learn(x, v) {
		d.count.Withheld++
	}
	d.learnWeek(x, usual, t, &v)
	if d.lasts() {
		d.recalibrate()
		changed = true
	}
	v.threshold = d.norm.value(v.threshold+usual, in)
	v.expected = d.norm.value(v.expected+usual, in)
	d.shown = *in
	return v, changed
}

// exempt finds out why a value beyond the threshold may not be abnormal after all.
func (d *detector) exempt(x, usual float64, in *stat.Sample, v *verdict) {
	chance := d.norm.chance(in, d.norm.value(v.expected+usual, in))
	switch {
	case d.logs && (math.Abs(x-v.expected) < math.Log(minEffect) || chance > d.set.Q):
		v.exempt = insignificant
		d.count.Small++
	case d.now.restores(x, v):
		v.exempt = reverted
		d.count.Restored++
	case d.week != nil && d.week.customary(in.Start, x+usual, v.side):
		v.exempt = seasonal
		d.count.Customary++
	case d.bursts.recur(in.Start, int64(d.set.Among)*(in.End-in.Start)) || !d.open.told() && d.bursts.toldOften(in.Start):
		v.exempt = recurrent
		d.count.Recurring++
		if v.teaches = in.Start-d.bursts.Taught >= relearnEvery; v.teaches {
			d.bursts.Taught = in.Start
		}
	default:
		return
	}
	v.flag = spot.Excess
}

// sustained reports whether enough of the newest values were abnormal to speak of it.
func (d *detector) sustained() bool {
	return bits.OnesCount64(d.past&(1<<d.set.Among-1)) >= d.set.Needed
}

// lasts reports whether so many of the newest Recalibrate values were abnormal that
// this is the new normal.
func (d *detector) lasts() bool {
	newest := d.past & (1<<d.set.Recalibrate - 1)
	return bits.OnesCount64(newest)*d.set.Among >= d.set.Recalibrate*d.set.Needed
}

// burstsAnHour is how often in an hour something may be abnormal, and tellingsADay how
// often in a day it may be told of: what returns more often is usual.
const (
	burstsAnHour = 3
	tellingsADay = 3
)

// recurrence remembers when the newest bursts of abnormal values began.
type recurrence struct {
	Begun  [burstsAnHour + 1]int64 `json:"begun"`  // newest first; 0: none
	Last   int64                   `json:"last"`   // abnormal value
	Taught int64                   `json:"taught"` // when the tails learned from one
	Told   [tellingsADay]int64     `json:"told"`   // when excursions were told of, newest first; 0: none
}

// tell notes that an excursion is told of.
func (b *recurrence) tell(t int64) {
	copy(b.Told[1:], b.Told[:])
	b.Told[0] = t
}

// toldOften reports whether no more is told of within this day.
func (b *recurrence) toldOften(t int64) bool {
	oldest := b.Told[tellingsADay-1]
	return oldest != 0 && t-oldest <= int64(24*time.Hour)
}

// relearnEvery is how often what recurs teaches the tails: who repeats something as fast
// as he can must not raise the threshold as fast.
const relearnEvery = int64(5 * time.Minute)

// recur takes an abnormal value at t in, and reports whether its burst is more than
// the third within an hour. A burst ends when nothing is abnormal for longer than gap.
func (b *recurrence) recur(t, gap int64) bool {
	if t-b.Last > gap || b.Last == 0 {
		copy(b.Begun[1:], b.Begun[:])
		b.Begun[0] = t
	}
	b.Last = t
	return b.Begun[burstsAnHour] != 0 && b.Begun[0]-b.Begun[burstsAnHour] <= int64(time.Hour)
}

func (d *detector) usual(t int64) float64 {
	if d.week == nil {
		return 0
	}
	return d.week.usual(t)
}

// learnWeek gives the value to its hour. When the week becomes known, what was
// learned without it is moved or, where that cannot be, learned anew.
func (d *detector) learnWeek(x, usual float64, t int64, v *verdict) {
	if d.week == nil {
		return
	}
	d.week.peak(x + usual)
	if v.abnormal() {
		x = v.cut(x)
	}
	if !d.week.observe(t, x+usual) {
		return
	}
	by := -d.week.usual(t)
	d.now.ref.shift(by)
	d.recent.shift(by)
	d.now.robust.clear()
	d.before = nil
	if d.set.Depth == 0 {
		d.now.spot.Reset()
	}
}

// recalibrate begins to learn anew from the values of the run. The model until now
// is kept while that lasts.
func (d *detector) recalibrate() {
	d.count.NewNormal++
	d.past, d.back = 0, 0
	if d.before == nil {
		d.before = d.now
	}
	fresh, err := newModel(d.set.Config, d.logs)
	if err != nil {
		return // the same settings made the model that is there
	}
	d.now = fresh
	for _, x := range d.recent.oldestFirst() {
		d.now.learn(x, verdict{})
	}
}

// comeBack returns to the model before when as many values in a row as made the new
// normal are normal to it: then it was a long attack, not a new normal. Once the new
// model has learned enough, there is no way back.
func (d *detector) comeBack(x float64) {
	switch {
	case d.before == nil:
		return
	case d.now.spot.Fitted():
		d.before = nil
		return
	}
	if v := d.before.judge(x); v.abnormal() {
		d.back = 0
		return
	}
	if d.back++; d.back < d.set.Recalibrate {
		return
	}
	d.now, d.before, d.back = d.before, nil, 0
	d.now.ref.fill(append(d.now.ref.oldestFirst(), d.recent.oldestFirst()...))
	d.count.Returned++
}

// like returns a sample whose denominator a threshold can be told for: the newest when
// this one has none.
func (d *detector) like(in *stat.Sample) *stat.Sample {
	if in.OK {
		return in
	}
	return &d.shown
}

// thresholds returns the values beyond which the next one, at t and with the
// denominator of the sample, is an anomaly by the tails; nil where there is none.
func (d *detector) thresholds(t int64, in *stat.Sample) (up, down *float64) {
	usual := d.usual(t)
	if z, ok := d.now.threshold(spot.Up); ok {
		z = d.norm.value(z+usual, in)
		up = &z
	}
	if z, ok := d.now.threshold(spot.Down); ok {
		z = d.norm.value(z+usual, in)
		down = &z
	}
	return up, down
}

func usable(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
