package watch

import (
	"slices"
	"time"

	"vft/correlate/spot"
)

// weekHours is the number of bins of a week.
const weekHours = 168

// weekWeight is the part of the newest week in a bin.
const weekWeight = 0.3

// week is what a statistic usually is at each hour of the week, by UTC: the mean
// of an hour, weighted exponentially over the weeks. Between the middles of two hours
// it is interpolated, so that there is no step at the full hour.
type week struct {
	Bins  [weekHours]float64 `json:"bins"`
	Weeks [weekHours]int     `json:"weeks"` // seen by each bin
	Known int                `json:"known"` // bins that have seen a week
	Hour  int64              `json:"hour"`  // since 1970, that runs
	Mean  float64            `json:"mean"`  // of its N values
	N     int                `json:"n"`

	// What the newest hour of each bin sustained: the largest value that three of five
	// reached, and the smallest that they fell to.
	High   [weekHours]float64 `json:"high"`
	Low    [weekHours]float64 `json:"low"`
	Most   float64            `json:"most"` // of the hour that runs
	Least  float64            `json:"least"`
	Newest [5]float64         `json:"newest"` // values, in no order; the next goes to Next
	Next   int                `json:"next"`
	Full   bool               `json:"full"`
	Begun  bool               `json:"begun"` // Most and Least are those of this hour
}

// seasonalMargin is how far beyond what an hour sustained before a value may be: a quarter, of
// logarithms.
const seasonalMargin = 0.22

// peak takes the value in for what the hour sustains.
func (w *week) peak(x float64) {
	w.Newest[w.Next] = x
	if w.Next++; w.Next == len(w.Newest) {
		w.Next, w.Full = 0, true
	}
	if !w.Full {
		return
	}
	above, below := 0, 0
	for _, y := range w.Newest {
		if y > w.Most {
			above++
		}
		if y < w.Least {
			below++
		}
	}
	if w.Begun && above < 3 && below < 3 { // the median is within
		return
	}
	sorted := w.Newest
	slices.Sort(sorted[:])
	if !w.Begun {
		w.Begun, w.Most, w.Least = true, sorted[2], sorted[2]
	}
	w.Most, w.Least = max(w.Most, sorted[2]), min(w.Least, sorted[2])
}

// customary reports whether a value at t is no farther on its side than what was
// sustained at that hour, an hour earlier or later, a day ago or a week ago.
func (w *week) customary(t int64, x float64, side spot.Side) bool {
	hour := t / int64(time.Hour)
	for _, ago := range [...]int64{23, 24, 25, weekHours - 1, weekHours} {
		if at := bin(hour - ago); w.Weeks[at] > 0 && (side == spot.Up && x <= w.High[at]+seasonalMargin || side == spot.Down && x >= w.Low[at]-seasonalMargin) {
			return true
		}
	}
	return false
}

// observe takes the value x at time t, and reports whether that made the last of
// the bins known.
func (w *week) observe(t int64, x float64) (complete bool) {
	hour := t / int64(time.Hour)
	if hour != w.Hour {
		complete = w.close()
		w.Hour = hour
	}
	w.N++
	w.Mean += x/float64(w.N) - w.Mean/float64(w.N)
	return complete
}

// close puts the hour that ended into its bin.
func (w *week) close() (complete bool) {
	if w.N == 0 {
		return false
	}
	at, mean := bin(w.Hour), w.Mean
	w.Mean, w.N = 0, 0
	w.Weeks[at]++
	if w.High[at], w.Low[at] = w.Most, w.Least; !w.Begun { // too few values
		w.High[at], w.Low[at] = mean, mean
	}
	w.Begun = false
	if w.Weeks[at] > 1 {
		w.Bins[at] += weekWeight * (mean - w.Bins[at])
		return false
	}
	w.Bins[at] = mean
	w.Known++
	return w.Known == weekHours
}

// usual returns what is usual at t, 0 until every bin has seen a week.
func (w *week) usual(t int64) float64 {
	if w.Known < weekHours {
		return 0
	}
	const hour, half = int64(time.Hour), int64(time.Hour) / 2
	before := (t - half) / hour
	part := float64(t-half-before*hour) / float64(hour)
	return (1-part)*w.Bins[bin(before)] + part*w.Bins[bin(before+1)]
}

func bin(hour int64) int { return int((hour%weekHours + weekHours) % weekHours) }
