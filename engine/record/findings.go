package record

import (
	"time"

	"vft/event"
	"vft/incident"
)

// Findings gives the findings of one analyzer their life, and hands on the records of
// it: vft.threat and vft.anomaly. What joins them to incidents of others stands
// elsewhere. One goroutine uses it at a time.
type Findings struct {
	room *incident.Room
	last int64 // Advance
}

// maxBegun is how many findings may begin in an hour.
const maxBegun = 1000

// NewFindings returns Findings that has seen none. Records go through emit.
func NewFindings(seed [32]byte, emit event.Emit) *Findings {
	return &Findings{room: incident.New(incident.Settings{Seed: seed, Notices: maxBegun, RaisePerHour: maxBegun}, func(e event.Event) {
		if e.Dataset != event.DatasetAlert {
			emit(e)
		}
	})}
}

// Find takes a finding. It is an event.Find.
func (f *Findings) Find(found *event.Finding) { f.room.Observe(found) }

// Advance tells that it is now, in nanoseconds since 1970: what is over ends. It may be
// called as often as one likes, and looks at all that is open once a second.
func (f *Findings) Advance(now int64) {
	if d := now - f.last; d >= int64(time.Second) || d < 0 {
		f.last = now
		f.room.Advance(time.Unix(0, now))
	}
}

// Close ends what is open, at the end of a capture.
func (f *Findings) Close() { f.room.Close("end of capture") }
