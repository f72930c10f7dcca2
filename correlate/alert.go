package correlate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"vft/event"
)

// write emits the state of an incident.
func (f *Fleet) write(i *incident, at time.Time, state event.AlertState, reason string) {
	switch state {
	case event.Firing:
		f.counts.raised++
	case event.Updated:
		f.counts.updated++
	case event.Resolved:
		f.counts.resolved++
	}
	i.changed, i.written = false, at
	alert := f.alert(i, state, reason)
	f.emit(event.Event{
		ID: f.ids.Next(at), Time: at, Dataset: event.DatasetAlert, Evidence: i.evidence,
		Message: i.message(&alert), Alert: &alert,
	})
}

// alert is a copy of an incident for others.
func (f *Fleet) alert(i *incident, state event.AlertState, reason string) event.Alert {
	rule := &f.rules.Rule[i.strongest]
	severity := i.severity
	if i.evidence == event.E0 && i.kind != event.BySensor {
		severity = min(severity, packetSeverity)
	}
	return event.Alert{
		ID: i.id, State: state, Kind: i.kind, Key: i.title,
		Rule: i.strongest.String(), Name: rule.Title, Description: rule.Description, Technique: rule.Technique,
		Severity: severity, Start: i.start, End: i.end, Rules: f.strongestFirst(i), Count: i.count,
		Clients: slices.Clone(i.clients), Sources: slices.Clone(i.sources), Ports: slices.Clone(i.ports),
		Evidence: i.evidence, Reason: reason, Events: slices.Clone(i.events),
	}
}

func (f *Fleet) strongestFirst(i *incident) []event.Match {
	rules := slices.Clone(i.rules)
	severity := func(m event.Match) int { return f.weight(i, RuleID(slices.Index(ruleNames[:], m.ID))) }
	slices.SortStableFunc(rules, func(a, b event.Match) int { return cmp.Compare(severity(b), severity(a)) })
	return rules
}

// message says in one sentence what happened.
func (i *incident) message(a *event.Alert) string {
	end := ""
	if a.State == event.Resolved {
		end = " (resolved: " + a.Reason + ")"
	}
	switch {
	case i.lost:
		return fmt.Sprintf("client %s is lost: %s%s", i.title, i.note, end)
	case i.note != "":
		return fmt.Sprintf(i.note, i.count) + end
	case i.kind == event.ByPort:
		return fmt.Sprintf("%s: port %s was hit %s by %s on %s%s", a.Name, i.title, times(i.count), many(len(i.sources), "source"), many(len(i.clients), "client"), end)
	case i.kind == event.ByClient:
		return fmt.Sprintf("%s: client %s was hit %s by %s on %s%s", a.Name, i.title, times(i.count), many(len(i.sources), "source"), many(len(i.ports), "port"), end)
	}
	return fmt.Sprintf("%s: %s hit %s of %s, %s%s", a.Name, i.title, many(len(i.ports), "trap port"), many(len(i.clients), "client"), times(i.count), end)
}

func many(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case n >= maxListed:
		return fmt.Sprintf("%d or more %ss", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Lost raises the incident of a client that is silent or whose traps do not
// report; why is one clause. A client that is lost already stays so.
func (f *Fleet) Lost(client string, at time.Time, why string) {
	key := incidentKey{kind: event.BySensor, name: client}
	rule := &f.rules.Rule[SensorLost]
	if rule.Off || f.incidents[key] != nil {
		return
	}
	f.newest = later(f.newest, at)
	i := f.begin(key, client, at)
	i.lost, i.note, i.count = true, strings.TrimSuffix(why, "."), 1
	i.strongest, i.severity = SensorLost, rule.Severity
	i.clients = []string{client}
	i.match(event.Match{ID: SensorLost.String(), Value: 1, Threshold: 1, Since: at})
	f.write(i, at, event.Firing, "raised")
}

// Returned resolves the incident of a lost client.
func (f *Fleet) Returned(client string, at time.Time) {
	if i := f.incidents[incidentKey{kind: event.BySensor, name: client}]; i != nil && i.lost {
		f.newest = later(f.newest, at)
		i.end = later(i.end, at)
		f.resolve(i, f.newest, "the client is back")
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
