package watch

import (
	"math"
	"net/netip"
	"time"

	"vft/event"
)

// episode is a time of abnormal values. It is told of twice: when it starts and
// when it ends.
type episode struct {
	Anomaly  event.Anomaly `json:"anomaly"` // as it stands; Value is the largest
	Distance float64       `json:"distance"`
	End      int64         `json:"end"` // of the last abnormal interval

	src, dst  netip.AddrPort // of a flow
	transport string
	quiet     int    // intervals since then; of a flow
	past      uint64 // a bit for each of the newest intervals: it was abnormal; of a flow
	carried   uint64 // bytes of the abnormal intervals; of a flow
}

// told reports whether it was told of that it began.
func (e *episode) told() bool { return e != nil && e.Anomaly.Episode != "" }

// extend takes an abnormal interval in.
func (e *episode) extend(a *event.Anomaly, distance float64, end int64) {
	e.Anomaly.Count++
	e.Anomaly.End, e.End, e.quiet = utc(end), end, 0
	if distance = math.Abs(distance); distance > e.Distance {
		e.Distance = distance
		p := &e.Anomaly
		p.Detector, p.Side = a.Detector, a.Side
		p.Value, p.Threshold, p.Probability = a.Value, a.Threshold, a.Probability
		p.Bytes, p.Methods, p.Series = a.Bytes, a.Methods, a.Series
	}
}

// record is an event that tells the state of the episode.
func (e *episode) record(ids *event.IDs, at int64, state event.AlertState, reason string) event.Event {
	a := e.Anomaly
	a.State, a.Reason = state, reason
	ev := event.Event{
		ID: ids.Next(utc(at)), Time: utc(at), Dataset: event.DatasetAnomaly,
		Src: e.src, Dst: e.dst, Transport: e.transport,
	}
	if e.Anomaly.Episode == "" {
		e.Anomaly.Episode = ev.ID.String()
		a.Episode = e.Anomaly.Episode
	}
	ev.Anomaly = &a
	return ev
}

func utc(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
