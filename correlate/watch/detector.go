package watch

import (
	"math"

	"vft/correlate/spot"
)

// detector watches one statistic: it judges a value, learns it, and decides when
// what was abnormal has become the new normal.
type detector struct {
	name   string
	set    Settings
	now    *model
	before *model // from before the new normal; nil when there is none
	recent ring   // the newest Recalibrate values, as they came
	run    int    // abnormal values in a row
	back   int    // values in a row that the model before finds normal
	week   *week  // nil without a baseline
	last   int64  // end of the newest interval
	open   *episode
	count  detectorCounts
}

// detectorCounts are the counters of one statistic since it was started or reset.
type detectorCounts struct {
	Values    uint64 `json:"values"`
	Missing   uint64 `json:"missing"`   // intervals without a value
	Anomalies uint64 `json:"anomalies"` // abnormal values
	Withheld  uint64 `json:"withheld"`  // excesses that the masking guard did not learn
	Episodes  uint64 `json:"episodes"`
	NewNormal uint64 `json:"new_normal"` // recalibrations after a run of anomalies
	Returned  uint64 `json:"returned"`   // times the model before came back
}

func newDetector(name string, set Settings) (*detector, error) {
	m, err := newModel(set.Config)
	if err != nil {
		return nil, err
	}
	d := &detector{name: name, set: set, now: m, recent: newRing(set.Recalibrate)}
	if set.Weekly {
		d.week = &week{}
	}
	return d, nil
}

// step judges the value x of the interval that began at t, and learns from it.
// changed is true when x was the last of a run that makes the abnormal normal.
func (d *detector) step(x float64, t int64) (v verdict, changed bool) {
	usual := d.usual(t)
	x -= usual
	v = d.now.judge(x)
	d.count.Values++
	if v.abnormal() {
		d.count.Anomalies++
		d.run++
	} else {
		d.run = 0
	}
	d.recent.push(x)
	d.comeBack(x)
	if d.now.learn(x, v) {
		d.count.Withheld++
	}
	d.learnWeek(x, usual, t, &v)
	if d.run >= d.set.Recalibrate {
		d.recalibrate()
		changed = true
	}
	v.threshold += usual
	v.expected += usual
	return v, changed
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
	d.run, d.back = 0, 0
	if d.before == nil {
		d.before = d.now
	}
	fresh, err := newModel(d.set.Config)
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

// thresholds returns the values beyond which the next one, at t, is an anomaly by
// the tails; nil where there is none.
func (d *detector) thresholds(t int64) (up, down *float64) {
	usual := d.usual(t)
	if z, ok := d.now.threshold(spot.Up); ok {
		z += usual
		up = &z
	}
	if z, ok := d.now.threshold(spot.Down); ok {
		z += usual
		down = &z
	}
	return up, down
}

func usable(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
