package fleet

import (
	"cmp"
	"fmt"
	"math"
	"slices"
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
	i.changed, i.grew, i.told, i.written = false, false, i.count, at
	alert := f.alert(i, state, reason)
	f.emit(event.Event{
		ID: f.ids.Next(at), Time: at, Dataset: event.DatasetAlert, Evidence: i.proof.level,
		Message: i.message(&alert), Alert: &alert,
	})
}

// alert is a copy of an incident for others.
func (f *Fleet) alert(i *incident, state event.AlertState, reason string) event.Alert {
	rule := &f.rules.Rule[i.strongest]
	return event.Alert{
		ID: i.id, State: state, Kind: i.kind, Key: i.title,
		Rule: i.strongest.String(), Name: rule.Title, Description: rule.Description, Technique: rule.Technique,
		Severity: i.rank.severity(), Start: i.start, End: i.end, Rules: f.strongestFirst(i), Count: i.count,
		Clients: slices.Clone(i.clients), Sources: slices.Clone(i.sources), Ports: slices.Clone(i.ports),
		Evidence: i.proof.level, Reason: reason, Events: slices.Clone(i.events),
	}
}

// strongestFirst returns the rules of i: the one that it is named after, then
// by severity.
func (f *Fleet) strongestFirst(i *incident) []event.Match {
	rules := slices.Clone(i.rules)
	weight := func(m event.Match) rank {
		if id := ruleOf(m); id != i.strongest {
			return f.weight(id, i.inside, i.proof.level)
		}
		return math.MaxInt
	}
	slices.SortStableFunc(rules, func(a, b event.Match) int { return cmp.Compare(weight(b), weight(a)) })
	return rules
}

func ruleOf(m event.Match) RuleID { return RuleID(slices.Index(ruleNames[:], m.ID)) }

// message says in one sentence what happened.
func (i *incident) message(a *event.Alert) string {
	end := ""
	if a.State == event.Resolved {
		end = " (resolved: " + a.Reason + ")"
	}
	switch {
	case i.fold != 0:
		return fmt.Sprintf(foldNotes[i.fold], i.count) + end
	case i.lost:
		return fmt.Sprintf("client %s is lost: %s%s", i.title, i.note, end)
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
