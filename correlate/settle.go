package correlate

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"vft/correlate/window"
	"vft/event"
)

// settle hands the matches of h to the incidents. Those of the port and the
// client come first: they absorb the notice of a source that they explain.
func (f *Fleet) settle(h *hit, port *place) {
	f.unite(h)
	onPort := incidentKey{kind: event.ByPort, key: portKey(h.Dst.Port())}
	onClient := incidentKey{kind: event.ByClient, key: portKey(h.client.number)}
	absorbed := f.settlePlace(h, ofPort, onPort, port)
	absorbed = f.settlePlace(h, ofClient, onClient, &h.client.place) || absorbed
	f.settleSource(h, absorbed)
}

// unite gives matches of the client to the port when nearly all hits on the
// client are on that port: the same events are one incident.
func (f *Fleet) unite(h *hit) {
	_, open := f.incidents[incidentKey{kind: event.ByPort, key: portKey(h.Dst.Port())}]
	for i := range f.matches {
		open = open || f.matches[i].scope == ofPort
	}
	for i := range f.matches {
		m := &f.matches[i]
		if open && m.scope == ofClient && h.client.place.recent.mostlyOn(h.Dst.Port(), h.tick, window.Ticks(m.window)) {
			m.scope = ofPort
		}
	}
}

// settlePlace adds h to the incident of its port or client, opening it when a
// rule holds, and reports whether there is one that people have been told of. A
// new one is held for a moment first: its sources may turn out to be attackers
// with incidents of their own, which say more.
func (f *Fleet) settlePlace(h *hit, of scope, key incidentKey, p *place) bool {
	i := f.incidents[key]
	if i == nil {
		longest, any := f.longest(of)
		if !any {
			return false
		}
		i = f.begin(key, f.placeName(h, of), h.Time)
		f.recall(i, h, p, longest)
		i.heldSince = f.newest
		f.held = append(f.held, i)
	} else {
		i.see(h.Client, h.Src.Addr(), h.Dst.Port(), h.ID, h.Time)
	}
	i.weigh(h.Client, h.Evidence)
	stronger := f.apply(i, h, of)
	if i.isHeld() {
		return false
	}
	f.absorb(i, h.key)
	f.tell(i, false, stronger)
	return true
}

// release tells of the incidents that were held long enough, unless their
// sources explain them.
func (f *Fleet) release(now time.Time) {
	if len(f.held) == 0 {
		return
	}
	f.held = slices.DeleteFunc(f.held, func(i *incident) bool {
		switch {
		case f.incidents[i.incidentKey] != i:
			return true
		case now.Sub(i.heldSince) < f.rules.Hold:
			return false
		}
		f.raise(i)
		return true
	})
}

// raise tells of a held incident of a port or client and absorbs the notices of
// its sources. When nearly all its hits are from sources that have incidents of
// their own, those list its rules instead.
func (f *Fleet) raise(i *incident) {
	i.heldSince = time.Time{}
	p, now, ticks := f.placeOf(i), window.At(i.end), int32(0)
	for _, m := range i.rules {
		ticks = max(ticks, window.Ticks(m.Window))
	}
	explained, of := 0, 0
	p.recent.each(now, ticks, func(s *sighting) {
		of++
		if owner := f.incidents[incidentKey{kind: event.BySource, key: s.source}]; owner != nil && !owner.onlyNotice() {
			explained++
		}
	})
	if float64(explained) < allowance*float64(of) {
		p.recent.each(now, ticks, func(s *sighting) { f.absorb(i, s.source) })
		f.tell(i, true, false)
		return
	}
	delete(f.incidents, i.incidentKey)
	p.recent.each(now, ticks, func(s *sighting) {
		if owner := f.incidents[incidentKey{kind: event.BySource, key: s.source}]; owner != nil {
			for _, m := range i.rules {
				owner.match(m)
			}
			owner.changed = true
		}
	})
}

// placeOf returns the counters that a port or client incident is about.
func (f *Fleet) placeOf(i *incident) *place {
	if i.kind == event.ByClient {
		return &f.clients[i.title].place
	}
	p, _ := f.ports.Get(i.incidentKey.key, false)
	return p
}

// longest returns the longest window of the matches in a scope, if there are any.
func (f *Fleet) longest(of scope) (d time.Duration, any bool) {
	for i := range f.matches {
		if f.matches[i].scope == of {
			d, any = max(d, f.matches[i].window), true
		}
	}
	return d, any
}

func (f *Fleet) placeName(h *hit, of scope) string {
	if of == ofPort {
		return strconv.Itoa(int(h.Dst.Port()))
	}
	return f.names[h.client.number]
}

// recall fills a new incident with the hits that led to it.
func (f *Fleet) recall(i *incident, h *hit, p *place, longest time.Duration) {
	p.recent.each(h.tick, window.Ticks(longest), func(s *sighting) {
		at := h.Time.Add(-time.Duration(h.tick.Since(s.at)) * 10 * time.Millisecond)
		i.see(f.names[s.client], netip.AddrFrom16(s.addr).Unmap(), s.port, s.id, at)
		if old := f.sources.Find(s.source); old != nil {
			i.weigh(f.names[s.client], old.evidence)
		}
	})
}

// absorb ends the notice of a source, when it is no more than that.
func (f *Fleet) absorb(into *incident, source window.Key) {
	if i := f.incidents[incidentKey{kind: event.BySource, key: source}]; i != nil && i.onlyNotice() {
		f.counts.absorbed++
		f.resolve(i, f.newest, "joined "+into.id)
	}
}

// settleSource adds h to the incident of its source, opening it when a rule
// holds that the incident of a port or client does not explain.
func (f *Fleet) settleSource(h *hit, absorbed bool) {
	key := incidentKey{kind: event.BySource, key: h.key}
	i := f.incidents[key]
	fresh := i == nil
	if fresh {
		notice, any := f.notice()
		switch {
		case !any:
			return
		case notice && absorbed:
			f.counts.absorbed++
			return
		case notice && f.foldNotice(h):
			return
		}
		i = f.begin(key, f.sourceName(h.key), h.Time)
		i.inside = h.inside
		f.remember(i, h.source)
	}
	i.see(h.Client, h.Src.Addr(), h.Dst.Port(), h.ID, h.Time)
	i.weigh(h.Client, h.Evidence)
	f.tell(i, fresh, f.apply(i, h, ofSource))
}

// notice reports whether the touch is all that holds for the source, and
// whether anything does.
func (f *Fleet) notice() (only, any bool) {
	only = true
	for i := range f.matches {
		if f.matches[i].scope == ofSource {
			any = true
			only = only && f.matches[i].rule == Touch
		}
	}
	return only && any, any
}

// remember fills a new incident with what is known of its source from before,
// so that no hit is lost that was no more than a notice.
func (f *Fleet) remember(i *incident, s *source) {
	i.count = uint64(s.untold) - 1
	i.evidence = s.evidence
	s.contacts.Each(func(c contact, _ window.Tick) {
		i.clients = list(i.clients, f.names[c.client], maxListed)
		i.ports = list(i.ports, c.port, maxListed)
	})
}

// foldNotice counts the notice of h in one alert when there have been too many
// within an hour, and reports whether it did.
func (f *Fleet) foldNotice(h *hit) bool {
	n, _ := f.notices.Add(h.tick, window.Ticks(time.Hour))
	if n <= f.rules.Rule[Touch].PerHour {
		return false
	}
	f.counts.folded++
	if h.Evidence == event.E0 {
		f.fold("spoofable-sources", h.Time, "%d sources that may be forged touched traps")
	} else {
		f.fold("touch", h.Time, "%d addresses touched a trap for the first time, too many to tell of each")
	}
	return true
}

// fold counts one more in the alert of that name.
func (f *Fleet) fold(name string, at time.Time, note string) {
	key := incidentKey{kind: event.BySensor, name: name}
	i := f.incidents[key]
	fresh := i == nil
	if fresh {
		i = f.begin(key, name, at)
		i.strongest, i.severity = Touch, f.rules.Rule[Touch].Severity
		i.match(event.Match{ID: Touch.String(), Threshold: float64(f.rules.Rule[Touch].PerHour), Window: time.Hour, Since: at})
		i.note = note
	}
	i.count++
	i.rules[0].Value = float64(i.count)
	if at.After(i.end) {
		i.end = at
	}
	i.changed = true
	f.tell(i, fresh, false)
}
