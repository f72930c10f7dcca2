package modes

import (
	"sync"
	"time"

	"vft/alerting/amqp"
	"vft/correlate/fleet"
	"vft/event"
	"vft/siem"
	"vft/siem/ecs"
)

// desk is where events are judged and records written, one at a time: the
// fleet rules and what they say, in the order of the events.
type desk struct {
	hostname, version string
	outs              []*siem.Destination
	notify            *amqp.Notifier   // nil: no broker is told of threats
	created           func() time.Time // when a record is written; zero in a replay, whose records must repeat

	mu      sync.Mutex // guards what follows
	fleet   *fleet.Fleet
	pending []event.Event // alerts of the event that is being judged
	line    []byte
}

func newDesk(rules fleet.Rules, build Build, outs []*siem.Destination) *desk {
	d := &desk{hostname: hostname(), version: build.Version, outs: outs, created: time.Now}
	d.fleet = fleet.NewFleet(fleet.FleetConfig{Rules: rules, Seed: seed()}, func(e event.Event) { d.pending = append(d.pending, e) })
	return d
}

// observe judges a batch of events and writes what the rules say; the events
// themselves too when record is set.
func (d *desk) observe(events []event.Event, record bool) {
	d.do(func(*fleet.Fleet) {
		for i := range events {
			e := &events[i]
			verdict := d.fleet.Observe(e)
			if record {
				if tag := tagOf(verdict); tag != "" {
					e.Tags = append(e.Tags[:len(e.Tags):len(e.Tags)], tag)
				}
				d.write(e)
			}
			d.flush()
		}
	})
}

// tagOf is how a record says that its event did not count like any other.
func tagOf(v fleet.Verdict) string {
	switch v {
	case fleet.Late:
		return "late"
	case fleet.Ignored:
		return "ignored"
	}
	return ""
}

// do calls the rules and writes the alerts that come of it.
func (d *desk) do(call func(*fleet.Fleet)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	call(d.fleet)
	d.flush()
}

// tell writes an event that no rule looks at.
func (d *desk) tell(e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write(&e)
}

// flush writes the pending alerts; d.mu is held.
func (d *desk) flush() {
	for i := range d.pending {
		d.write(&d.pending[i])
	}
	d.pending = d.pending[:0]
}

// write sends one record to every destination; d.mu is held.
func (d *desk) write(e *event.Event) {
	d.line = ecs.Append(d.line[:0], e, ecs.Observer{Hostname: d.hostname, Version: d.version, Created: d.created()})
	for _, out := range d.outs {
		out.Send(d.line)
	}
	if d.notify != nil && e.Threat != nil {
		d.notify.Send(e)
	}
}
