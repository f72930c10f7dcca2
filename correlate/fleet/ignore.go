package fleet

import (
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

// IgnoreHits returns how often each entry of Rules.Ignore has matched.
func (f *Fleet) IgnoreHits() []uint64 {
	_, hits := f.ignores.Entries()
	return hits
}

// covers reports whether an entry ignores all that incident i tells of. Of an incident
// that could not list all, or of the tools that nobody lists, that is unknown.
func covers(g *Ignore, i *incident, now time.Time) bool {
	if i.kind == event.BySensor || g.Tool != "" || g.Type != "" || g.Network.IsValid() || !g.Holds(now) {
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
