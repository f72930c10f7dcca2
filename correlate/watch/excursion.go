package watch

import (
	"math"
	"time"

	"vft/event"
)

// repeatEvery is how often what goes on is told again at most, in nanoseconds.
const repeatEvery = int64(10 * time.Second)

// excursion is a time in which values are abnormal. It is told of when it has lasted, and
// again while it goes on, with what is new.
type excursion struct {
	Since int64 `json:"since"` // begin of the first abnormal interval
	Until int64 `json:"until"` // end of the newest one
	Told  int64 `json:"told"`  // when it was told last; 0: never
	All   int   `json:"all"`   // abnormal intervals
	New   int   `json:"new"`   // of them, not told yet

	// The value that lies farthest from the usual.
	Best     event.Anomaly `json:"best"`
	Usual    float64       `json:"usual"`
	Distance float64       `json:"distance"`
}

// extend takes an abnormal interval in, whose value is so far from the usual.
func (s *excursion) extend(a *event.Anomaly, usual, distance float64, end int64) {
	s.All++
	s.New++
	s.Until = end
	if distance = min(math.Abs(distance), math.MaxFloat64); s.All == 1 || distance > s.Distance {
		s.Best, s.Usual, s.Distance = *a, usual, distance
	}
}

// told reports whether anybody was told of it.
func (s *excursion) told() bool { return s != nil && s.Told != 0 }

// untold reports whether something is new since it was told.
func (s *excursion) untold() bool { return s.told() && s.New > 0 }

// waits reports whether it was told of so recently that it is not told again yet.
func (s *excursion) waits() bool { return s.Told != 0 && s.Until-s.Told < repeatEvery }

// findingMemory is how long after a finding it is over: so many quiet intervals and the one
// that the next is told at the end of, but longer than it takes to be told again.
func findingMemory(quiet int, window time.Duration) time.Duration {
	return max(time.Duration(quiet+1)*window, 2*time.Duration(repeatEvery))
}

// maxSeverity is what a statistic weighs at most; an incident that nothing else is
// needed for begins at 40.
const maxSeverity = 39

// severity weighs how far the value is from the usual, as a multiple of how far the
// threshold is, and how long it goes on: 15, and 6 for each of two doublings of either,
// the time from half a minute on.
func (s *excursion) severity() int {
	far := 0.0
	if reach := math.Abs(s.Best.Threshold - s.Usual); reach > 0 {
		far = math.Log2(max(1, s.Distance/reach))
	}
	long := math.Log2(max(1, float64(s.All)*s.Best.Window.Seconds()/30))
	return min(15+int(6*min(far, 2)+6*min(long, 2)), maxSeverity)
}

// finding is what it tells, without what it is about. What was told is not new any more.
func (s *excursion) finding() event.Finding {
	best := s.Best
	f := event.Finding{
		Sensor: best.Detector, Time: utc(s.Until), Since: utc(s.Since), Window: best.Window, Count: uint64(s.New),
		Value: best.Value, Threshold: best.Threshold, Anomaly: &best,
	}
	s.Told, s.New = s.Until, 0
	return f
}

func utc(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
