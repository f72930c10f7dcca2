package ecs

import (
	"net/netip"
	"slices"

	"vft/event"
)

const alertClass = `"kind":"alert","category":["intrusion_detection"],"type":["info"]`

// alert writes the state of an incident.
func (r record) alert(e *event.Event, o Observer) record {
	a := e.Alert
	if a == nil {
		a = &event.Alert{}
	}
	r = r.event(e, o, alertClass).key("action").quote().raw("incident_").text(string(a.State)).quote()
	r = r.key("severity").int(int64(a.Severity)).key("start").time(a.Start).key("end").time(a.End).close()
	r = r.alertMessage(e, a)
	r = r.endpoint("source", e.Src, e.Transport).endpoint("destination", e.Dst, e.Transport).network(e)
	r = r.key("related").open().key("ip").alertAddresses(e, a).close()
	r = r.key("rule").open().key("id").string(a.Rule).key("name").string(a.Name)
	r = r.optional("description", a.Description).close()
	return r.technique(a.Technique).key("vft").open().key("alert").incident(a).close()
}

func (r record) incident(a *event.Alert) record {
	r = r.open().key("id").string(a.ID).key("state").string(string(a.State))
	r = r.key("kind").string(string(a.Kind)).key("key").string(a.Key).key("rules").array()
	for i := range a.Rules {
		r = r.item().match(&a.Rules[i])
	}
	r = r.endArray().key("count").uint(a.Count).key("clients").strings(a.Clients)
	r = r.key("sources").array()
	for _, source := range a.Sources {
		r = r.related(source, netip.Addr{})
	}
	r = r.endArray().key("ports").ports(a.Ports)
	r = r.key("evidence").string(a.Evidence.String()).optional("reason", a.Reason)
	r = r.key("events").array()
	for _, id := range a.Events {
		r = r.item().id(id)
	}
	r = r.endArray().key("victims").array()
	for _, victim := range a.Victims {
		r = r.related(victim, netip.Addr{})
	}
	return r.endArray().key("findings").strings(a.Findings).close()
}

func (r record) match(m *event.Match) record {
	r = r.open().key("id").string(m.ID).key("value").float(m.Value).key("threshold").float(m.Threshold)
	r = r.optional("unit", m.Unit).key("window").seconds(m.Window).key("since").time(m.Since)
	return r.optional("message", m.Message).close()
}

func (r record) ports(list []uint16) record {
	r = r.array()
	for _, port := range list {
		r = r.item().uint(uint64(port))
	}
	return r.endArray()
}

// alertAddresses lists every address of the incident, each once.
func (r record) alertAddresses(e *event.Event, a *event.Alert) record {
	r = r.array()
	for _, source := range a.Sources {
		r = r.related(source, netip.Addr{})
	}
	if !slices.Contains(a.Sources, e.Src.Addr()) {
		r = r.related(e.Src.Addr(), netip.Addr{})
	}
	if !slices.Contains(a.Sources, e.Dst.Addr()) {
		r = r.related(e.Dst.Addr(), e.Src.Addr())
	}
	return r.endArray()
}

// alertMessage is like: Sweep by source 192.0.2.7: firing, severity 80, 12 events on 3 clients.
func (r record) alertMessage(e *event.Event, a *event.Alert) record {
	r, given := r.message(e)
	if !given {
		r = r.text(first(a.Name, a.Rule, "Incident")).raw(" by ").text(string(a.Kind)).raw(" ").text(a.Key)
		r = r.raw(": ").text(string(a.State)).raw(", severity ").int(int64(a.Severity)).raw(", ")
		r = r.uint(a.Count).raw(plural(a.Count, " event", " events"))
		if n := uint64(len(a.Clients)); n > 0 {
			r = r.raw(" on ").uint(n).raw(plural(n, " client", " clients"))
		}
	}
	return r.quote()
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
