package ecs

import (
	"time"

	"vft/event"
)

const summaryClass = `"kind":"event","category":["network"],"type":["info"],"action":"replay_ended"`

// summary writes what a replay saw.
func (r record) summary(e *event.Event, o Observer) record {
	s := e.Summary
	if s == nil {
		s = &event.Summary{}
	}
	r = r.event(e, o, summaryClass).close()
	r = r.summaryMessage(e, s)
	r = r.endpoints(e)
	r = r.key("vft").open().key("summary").open()
	r = r.key("packets").uint(s.Packets).key("bytes").uint(s.Bytes).key("flows").uint(s.Flows)
	r = r.key("first").timeOrNull(s.First).key("last").timeOrNull(s.Last)
	r = r.key("malformed").uint(s.Malformed).key("alerts").uint(s.Alerts).key("seconds").float(s.Seconds)
	return sorted(r.key("counters"), s.Counters, record.uint).close().close()
}

// timeOrNull appends a time, null for the zero time.
func (r record) timeOrNull(t time.Time) record {
	if t.IsZero() {
		return r.raw("null")
	}
	return r.time(t)
}

// summaryMessage is like: Replayed 100 packets, 6400 bytes, 7 flows in 12.5 s: 2 alerts, 0 malformed packets.
func (r record) summaryMessage(e *event.Event, s *event.Summary) record {
	r, given := r.message(e)
	if !given {
		r = r.raw("Replayed ").uint(s.Packets).raw(plural(s.Packets, " packet, ", " packets, "))
		r = r.uint(s.Bytes).raw(plural(s.Bytes, " byte, ", " bytes, "))
		r = r.uint(s.Flows).raw(plural(s.Flows, " flow in ", " flows in ")).rounded(s.Seconds).raw(" s: ")
		r = r.uint(s.Alerts).raw(plural(s.Alerts, " alert, ", " alerts, "))
		r = r.uint(s.Malformed).raw(plural(s.Malformed, " malformed packet", " malformed packets"))
	}
	return r.quote()
}
