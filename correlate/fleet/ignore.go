package fleet

import (
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

// IgnoreHits returns how often each entry of Rules.Ignore has matched.
func (f *Fleet) IgnoreHits() []uint64 { return slices.Clone(f.ignored) }

// ignore reports whether an entry of the ignore list matches.
func (f *Fleet) ignore(e *event.Event) bool {
	for i := range f.rules.Ignore {
		if f.rules.Ignore[i].matches(e) {
			f.ignored[i]++
			return true
		}
	}
	return false
}

func (g *Ignore) matches(e *event.Event) bool {
	return (!g.Source.IsValid() || g.Source.Contains(e.Src.Addr().Unmap().WithZone(""))) &&
		(g.Port == 0 || g.Port == e.Dst.Port()) &&
		(g.Client == "" || g.Client == e.Client) &&
		(g.Tool == "" || g.Tool == tool(e)) &&
		g.holds(e.Time)
}

func (g *Ignore) holds(at time.Time) bool { return g.Until.IsZero() || at.Before(g.Until) }

func tool(e *event.Event) string {
	switch {
	case e.Trap != nil:
		return e.Trap.Tool
	case e.Probe != nil:
		return e.Probe.Tool
	}
	return ""
}

// covers reports whether g ignores all that incident i tells of. Of an incident
// that could not list all, or of the tools that nobody lists, that is unknown.
func (g *Ignore) covers(i *incident, now time.Time) bool {
	if i.kind == event.BySensor || g.Tool != "" || !g.holds(now) {
		return false
	}
	return (!g.Source.IsValid() || all(i.sources, func(a netip.Addr) bool { return g.Source.Contains(a) })) &&
		(g.Port == 0 || all(i.ports, func(p uint16) bool { return p == g.Port })) &&
		(g.Client == "" || all(i.clients, func(c string) bool { return c == g.Client }))
}

// all reports whether a list is complete and of nothing else.
func all[T any](list []T, is func(T) bool) bool {
	return len(list) < maxForged && !slices.ContainsFunc(list, func(one T) bool { return !is(one) })
}
