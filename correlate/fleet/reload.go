package fleet

import (
	"slices"

	"vft/correlate/window"
	"vft/event"
)

// SetRules changes the rules. What was counted stays, except for rules whose
// window changed, which count anew, and for all sources when the IPv6 prefix
// did; open incidents that are ignored from now on are resolved.
func (f *Fleet) SetRules(rules Rules) {
	old := f.rules
	f.use(rules)
	f.ignores.Replace(rules.Ignore)
	f.resize(&old)
	f.recount(&old)
	for _, i := range f.sorted() {
		if slices.ContainsFunc(rules.Ignore, func(g Ignore) bool { return covers(&g, i, f.newest) }) {
			f.resolve(i, f.newest, "ignored")
		}
	}
}

func (f *Fleet) newSources(keys int) *window.Table[source] {
	return window.NewTable(keys, func(_ window.Key, s *source) {
		f.counts.sourcesEvicted++
		if s.proof.level == event.E0 {
			f.counts.spoofableEvicted++
		}
	})
}

// resize moves the sources into a table of the new size.
func (f *Fleet) resize(old *Rules) {
	if old.Keys == f.rules.Keys && old.IPv6Prefix == f.rules.IPv6Prefix {
		return
	}
	from := f.sources
	f.sources = f.newSources(f.rules.Keys)
	if old.IPv6Prefix != f.rules.IPv6Prefix {
		return
	}
	from.Each(func(key window.Key, s *source, strong bool) {
		to, _ := f.sources.Get(key, strong)
		*to = *s
	})
}

// recount empties the counters of the windows that changed.
func (f *Fleet) recount(old *Rules) {
	changed := func(id RuleID) bool { return old.Rule[id].Window != f.rules.Rule[id].Window }
	if changed(SameSource) {
		f.sources.Each(func(_ window.Key, s *source, _ bool) { s.hits = window.Hits{} })
	}
	f.ports.Each(func(_ window.Key, p *place, _ bool) { p.recount(changed(SamePort), changed(PortCampaign)) })
	for _, c := range f.clients {
		c.place.recount(changed(SameClient), changed(Victim))
	}
}

func (p *place) recount(repeat, wide bool) {
	if repeat {
		p.hits = window.Hits{}
	}
	if wide {
		p.wide, p.rate = window.Hits{}, window.Rate{}
	}
}
