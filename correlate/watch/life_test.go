package watch

import (
	"slices"
	"time"

	"vft/event"
)

// life gives findings their beginning and their end, as who takes them does: an event
// for each.
type life struct {
	out      []event.Event
	findings []event.Finding
	open     []*living
}

type living struct {
	key   string
	first event.Finding
	best  event.Finding
	until time.Time
	count uint64
}

func (l *life) find(f *event.Finding) {
	l.findings = append(l.findings, *f)
	l.advance(f.Time.UnixNano())
	key := f.Type + " " + f.Sensor + " " + f.Key + " " + f.Offender.String()
	at := slices.IndexFunc(l.open, func(o *living) bool { return o.key == key })
	if f.Over {
		if at >= 0 {
			l.end(at, f.Time, f.Details[0].Value.(string))
		}
		return
	}
	if at < 0 {
		o := &living{key: key, first: *f, best: *f, until: f.Time, count: f.Count}
		l.open = append(l.open, o)
		l.tell(o, f.Time, event.Firing, "")
		return
	}
	o := l.open[at]
	o.until, o.count = f.Time, o.count+f.Count
	if f.Value > o.best.Value {
		o.best = *f
	}
}

// advance ends what was quiet for as long as its detector remembers.
func (l *life) advance(now int64) {
	for at := 0; at < len(l.open); at++ {
		if o := l.open[at]; utc(now).Sub(o.until) >= o.first.Memory {
			l.end(at, utc(now), "quiet")
			at--
		}
	}
}

func (l *life) close() {
	for len(l.open) > 0 {
		l.end(0, l.open[0].until, "end of capture")
	}
}

func (l *life) end(at int, when time.Time, reason string) {
	o := l.open[at]
	l.open = slices.Delete(l.open, at, at+1)
	l.tell(o, when, event.Resolved, reason)
}

func (l *life) tell(o *living, at time.Time, state event.AlertState, reason string) {
	f := &o.best
	e := event.Event{Time: at, Dataset: event.DatasetThreat, Src: f.Src, Dst: f.Dst, Transport: f.Transport, Evidence: f.Evidence}
	if f.Anomaly == nil {
		e.Threat = &event.Threat{Type: f.Type, Offender: f.Offender.String(), Sensor: f.Sensor, State: state, Severity: f.Severity, Start: o.first.Since, End: o.until,
			Episode: o.key + o.first.Since.String(), Details: map[string]any{"window_s": int(f.Window.Seconds()), "reason": reason}}
	} else {
		a := *f.Anomaly
		a.State, a.Reason, a.Start, a.End, a.Count, a.Severity, a.Episode = state, reason, o.first.Since, o.until, o.count, f.Severity, o.key+o.first.Since.String()
		e.Dataset, e.Anomaly = event.DatasetAnomaly, &a
	}
	l.out = append(l.out, e)
}
