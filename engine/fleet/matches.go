package fleet

import (
	"net/netip"
	"strings"
	"time"

	rules "vft/correlate/fleet"
	"vft/event"
	"vft/incident"
)

// The limits of the rules themselves: what is told, and whose share it takes, is the
// business of the incidents.
const (
	mostMatched  = 1 << 14 // parties for which rules hold at once
	mostPerHour  = 10000
	forgetAfter  = time.Hour   // that a party is quiet; its incident may live on
	matchedAgain = time.Second // after which a party that goes on is looked at again
)

// unlimited is how the rules are asked: so that one noisy party cannot spend what
// they may say, they say all, and incidents share it out.
func unlimited(r rules.Rules) rules.Rules {
	r.MaxOpen, r.RaisePerHour, r.UpdateEvery = mostMatched, mostPerHour, matchedAgain
	r.Rule[rules.Touch].PerHour = mostPerHour
	r.QuietMax = min(r.QuietMax, forgetAfter)
	return r
}

// matches turns what the fleet rules say of a source, a port, a client or a lost
// sensor into findings.
type matches struct {
	rules rules.Rules
	room  *incident.Room
	told  map[string]progress // by the id that the rules give a party
}

// progress is what was told of a party.
type progress struct {
	count  uint64
	events int
}

func newMatches(r rules.Rules, room *incident.Room) *matches {
	return &matches{rules: r, room: room, told: map[string]progress{}}
}

// take hands on what the rules say of one party.
func (m *matches) take(e event.Event) {
	a := e.Alert
	if a.State == event.Resolved {
		m.resolved(&e)
		return
	}
	told := m.told[a.ID]
	f := m.finding(&e)
	for i := range a.Rules {
		r := f
		m.describe(&r, &a.Rules[i], i == 0, &e)
		if i == 0 {
			r.Count = a.Count - min(a.Count, told.count)
		}
		m.room.Observe(&r)
	}
	for _, id := range a.Events[min(told.events, len(a.Events)):] {
		one := f
		one.Event = id
		m.room.Observe(&one)
	}
	m.told[a.ID] = progress{a.Count, len(a.Events)}
}

// finding says whom the rules speak of. Without a type it only adds to what is open.
func (m *matches) finding(e *event.Event) event.Finding {
	a := e.Alert
	f := event.Finding{Time: later(a.End, a.Start), Rule: true, Evidence: a.Evidence, Ports: a.Ports, Sensor: "fleet"}
	if a.Kind == event.BySensor || a.Evidence == event.E0 && len(a.Ports) == 0 {
		f.Time = e.Time
	}
	if len(a.Clients) > 0 {
		f.Client, f.Clients = a.Clients[0], a.Clients[1:]
	}
	switch {
	case a.Kind == event.BySource && len(a.Sources) > 0:
		f.Offender = a.Sources[0]
		if len(a.Sources) > 1 {
			f.Sources = a.Sources
		}
	case a.Kind == event.BySource:
		f.Offender, _ = netip.ParseAddr(a.Key)
	default:
		f.By, f.Party, f.Sources = a.Kind, a.Key, a.Sources
	}
	return f
}

// describe says which rule holds.
func (m *matches) describe(f *event.Finding, match *event.Match, strongest bool, e *event.Event) {
	a := e.Alert
	f.Type, f.Value, f.Threshold, f.Window, f.Since = match.ID, match.Value, match.Threshold, match.Window, match.Since
	f.Memory = min(match.Window, m.rules.QuietMax)
	f.Notice = match.ID == rules.Touch.String()
	rule := m.ruleOf(match.ID)
	if rule != nil {
		f.Severity, f.Title, f.Description, f.Technique = rule.Severity, rule.Title, rule.Description, rule.Technique
	}
	if strongest {
		f.Severity = max(f.Severity, a.Severity)
	}
	if a.Kind == event.BySensor {
		_, why, _ := strings.Cut(e.Message, ": ")
		f.Memory = -1 // until the client is back
		f.Details = []event.Detail{{Name: "why", Value: why}}
	}
	f.Details = append(f.Details, event.Detail{Name: "sources", Value: len(a.Sources)}, event.Detail{Name: "clients", Value: len(a.Clients)})
}

func (m *matches) ruleOf(name string) *rules.Rule {
	for id := range m.rules.Rule {
		if rules.RuleID(id).String() == name {
			return &m.rules.Rule[id]
		}
	}
	return nil
}

// resolved forgets a party. Its incident ends by itself when all is quiet, at once
// when its client is back or when it is ignored from now on.
func (m *matches) resolved(e *event.Event) {
	a := e.Alert
	delete(m.told, a.ID)
	switch {
	case a.Kind == event.BySensor:
		f := m.finding(e)
		f.Type, f.Over, f.Time = a.Rule, true, e.Time
		f.Details = []event.Detail{{Name: "reason", Value: a.Reason}}
		m.room.Observe(&f)
	case a.Reason == "ignored":
		m.room.End(a.Kind, a.Key, a.Reason)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
