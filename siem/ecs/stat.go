package ecs

import (
	"math"
	"strconv"

	"vft/event"
)

const statClass = `"kind":"metric","category":["network"],"type":["info"],"action":"statistic"`

// stat writes the value of a statistic in one interval.
func (r record) stat(e *event.Event, o Observer) record {
	s := e.Stat
	if s == nil {
		s = &event.Stat{}
	}
	r = r.event(e, o, statClass).close()
	r = r.statMessage(e, s)
	r = r.endpoints(e)
	r = r.key("vft").open().key("stat").open().key("name").string(s.Name).key("value").number(s.Value)
	r = r.key("start").time(s.Start).key("end").time(s.End)
	r = r.key("threshold_up").number(s.Up).key("threshold_down").number(s.Down)
	return r.key("state").string(statState(s)).close().close()
}

func statState(s *event.Stat) string {
	if s.Ready {
		return "ready"
	}
	return "learning"
}

// statMessage is like: R_SYN is 0.25 (learning).
func (r record) statMessage(e *event.Event, s *event.Stat) record {
	r, given := r.message(e)
	if !given {
		r = r.text(first(s.Name, "A statistic"))
		if s.Value == nil {
			r = r.raw(" has no value")
		} else {
			r = r.raw(" is ").rounded(*s.Value)
		}
		if !s.Ready {
			r = r.raw(" (learning)")
		}
	}
	return r.quote()
}

// number appends a number, null when there is none.
func (r record) number(x *float64) record {
	if x == nil {
		return r.raw("null")
	}
	return r.float(*x)
}

// rounded adds a number to a sentence: whole from 1000 on, else four digits.
func (r record) rounded(x float64) record {
	if size := math.Abs(x); size >= 1000 && size < 1e15 {
		return strconv.AppendFloat(r, x, 'f', 0, 64)
	}
	return strconv.AppendFloat(r, x, 'g', 4, 64)
}
