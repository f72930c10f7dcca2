package watch

import (
	"vft/correlate/spot"
)

// Status tells what the detector of a statistic knows.
type Status struct {
	Name     string   `json:"name"`
	State    string   `json:"state"` // "learning" or "ready"
	N        int      `json:"n"`     // values learned
	Need     int      `json:"need"`  // values that calibrate
	Excesses int      `json:"excesses"`
	Up       *float64 `json:"threshold_up"` // for the next value; nil while learning, or when not watched
	Down     *float64 `json:"threshold_down"`
	Drift    float64  `json:"drift"`            // the reference: mean of the newest values, and the weekly baseline
	Weekly   int      `json:"weekly,omitempty"` // hours of the week that are known, of 168

	detectorCounts
	Abnormal bool            `json:"abnormal"` // told of, and not over
	Tail     spot.TailStatus `json:"tail"`     // of the upper side, or of the lower when only that is watched
}

// Status returns what is known of a statistic, false when no sample of it came yet.
func (s *Stats) Status(name string) (Status, bool) {
	d := s.detectors[name]
	if d == nil {
		return Status{}, false
	}
	return d.status(), true
}

// All returns the status of every statistic that had a sample, by name.
func (s *Stats) All() []Status {
	var all []Status
	for _, name := range s.names() {
		all = append(all, s.detectors[name].status())
	}
	return all
}

func (d *detector) status() Status {
	have, _ := d.now.spot.Learned()
	up, down := d.now.spot.Status(spot.Up), d.now.spot.Status(spot.Down)
	st := Status{
		Name: d.name, State: "learning", N: have + len(d.now.ref.values), Need: d.set.NInit,
		Excesses: up.Excesses + down.Excesses, Drift: d.norm.value(d.now.ref.mean+d.usual(d.last), &d.shown), detectorCounts: d.count, Tail: up,
	}
	if d.now.calibrated() {
		st.State = "ready"
	}
	if !d.set.Up {
		st.Tail = down
	}
	if d.week != nil {
		st.Weekly = d.week.Known
	}
	st.Abnormal = d.open.told()
	st.Up, st.Down = d.thresholds(d.last, &d.shown)
	return st
}
