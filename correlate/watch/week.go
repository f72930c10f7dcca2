package watch

import "time"

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
	Hour  int64              `json:"hour"`  // since 1970, that is being summed
	Sum   float64            `json:"sum"`
	N     int                `json:"n"`
}

// observe takes the value x at time t, and reports whether that made the last of
// the bins known.
func (w *week) observe(t int64, x float64) (complete bool) {
	hour := t / int64(time.Hour)
	if hour != w.Hour {
		complete = w.close()
		w.Hour = hour
	}
	w.Sum += x
	w.N++
	return complete
}

// close puts the hour that ended into its bin.
func (w *week) close() (complete bool) {
	if w.N == 0 {
		return false
	}
	at, mean := bin(w.Hour), w.Sum/float64(w.N)
	w.Sum, w.N = 0, 0
	w.Weeks[at]++
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
