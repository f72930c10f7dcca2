package ecs

import "vft/event"

// client writes that a client came, went, was lost or dropped events.
func (r record) client(e *event.Event, o Observer) record {
	m := e.Member
	if m == nil {
		m = &event.Member{}
	}
	r = r.event(e, o, clientClass(m.State)).close()
	r = r.clientMessage(e, m)
	r = r.endpoints(e)
	r = r.key("vft").open().key("client").open()
	r = r.key("id").string(m.ID).key("state").string(string(m.State)).optional("version", m.Version)
	r = r.key("traps").ports(m.Traps).key("dropped").uint(m.Dropped).key("spooled").uint(m.Spooled)
	return r.key("lag").seconds(m.Lag).close().close()
}

func clientClass(state event.MemberState) string {
	switch state {
	case event.Connected:
		return `"kind":"event","category":["host"],"type":["start"],"action":"client_connected"`
	case event.Disconnected:
		return `"kind":"event","category":["host"],"type":["end"],"action":"client_disconnected"`
	case event.Lost:
		return `"kind":"event","category":["host"],"type":["end"],"action":"client_lost"`
	case event.Dropping:
		return `"kind":"event","category":["host"],"type":["info"],"action":"client_dropped"`
	}
	return `"kind":"event","category":["host"],"type":["info"],"action":"client"`
}

// clientMessage is like: client web1 connected.
func (r record) clientMessage(e *event.Event, m *event.Member) record {
	r, given := r.message(e)
	if given {
		return r.quote()
	}
	r = r.raw("client ").text(m.ID)
	switch m.State {
	case event.Lost:
		r = r.raw(" is lost: it sent no heartbeat")
	case event.Dropping:
		r = r.raw(" dropped ").uint(m.Dropped).raw(plural(m.Dropped, " event", " events")).raw(" since it started")
	default:
		r = r.raw(" ").text(string(m.State))
	}
	return r.quote()
}
