package fleet

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"vft/correlate/window"
	"vft/event"
)

func sourceKeyOf(key window.Key) incidentKey { return incidentKey{ofSource, key} }

// keyOf is the incident that a match of that scope belongs to.
func (h *hit) keyOf(of scope) incidentKey {
	switch of {
	case ofPort:
		return incidentKey{of, portKey(h.Dst.Port())}
	case ofClient:
		return incidentKey{of, portKey(h.client.number)}
	}
	return sourceKeyOf(h.key)
}

// findOpen finds the incidents that h may belong to. One that was quiet for long
// enough before h is resolved first: the time between two calls of Advance must
// not matter.
func (f *Fleet) findOpen(h *hit) {
	if len(f.incidents) == 0 {
		return
	}
	for _, of := range [...]scope{ofSource, ofPort, ofClient} {
		i := f.incidents[h.keyOf(of)]
		if i != nil && f.isOver(i, f.newest) {
			f.resolve(i, f.newest, "quiet")
			i = nil
		}
		h.open[of] = i
	}
}

// settle hands the matches of h to the incidents. Those of the port and the
// client come first: they absorb the notice of a source that they explain.
func (f *Fleet) settle(h *hit, port *place) {
	f.unite(h)
	onPort := f.settlePlace(h, ofPort, port)
	onClient := f.settlePlace(h, ofClient, &h.client.place)
	f.settleSource(h, onPort, onClient)
}

// unite gives matches of the client to the port when nearly all hits on the
// client are on that port: the same events are one incident.
func (f *Fleet) unite(h *hit) {
	client, port := false, h.open[ofPort] != nil
	for i := range f.matches {
		port = port || f.matches[i].scope == ofPort
		client = client || f.matches[i].scope == ofClient
	}
	if !client || !port {
		return
	}
	for i := range f.matches {
		m := &f.matches[i]
		if m.scope == ofClient && h.client.place.recent.mostlyOn(h.Dst.Port(), h.tick, f.ticks[m.rule]) {
			m.scope = ofPort
		}
	}
}

// settlePlace adds h to the incident of its port or client, opening it when a
// rule holds, and returns it if people were told of it. A new one is held for a
// moment first: its sources may turn out to be attackers with incidents of their
// own, which say more.
func (f *Fleet) settlePlace(h *hit, of scope, p *place) *incident {
	i := h.open[of]
	if i == nil {
		longest, any := f.longest(of)
		if !any || len(f.held) >= maxHeld {
			return nil
		}
		i = f.hold(h, of, p, longest)
	} else {
		i.see(&h.seen, h.Client, h.Time, f.newest)
	}
	stronger := f.apply(i, h, of)
	if i.isHeld() {
		return nil
	}
	if f.absorb(i, h.open[ofSource]) {
		h.open[ofSource] = nil
	}
	f.tell(i, false, stronger)
	return i
}

// names reports whether people learn from i of the source of h.
func (i *incident) names(h *hit) bool {
	return i != nil && slices.Contains(i.sources, netip.AddrFrom16(h.seen.addr).Unmap())
}

// hold opens the incident of a port or client, with the hits that led to it.
func (f *Fleet) hold(h *hit, of scope, p *place, longest int32) *incident {
	kind, title := event.ByPort, strconv.Itoa(int(h.Dst.Port()))
	if of == ofClient {
		kind, title = event.ByClient, f.names[h.client.number]
	}
	i := f.beginAt(h.keyOf(of), kind, title, h.Time)
	p.recent.each(h.tick, longest, func(s *sighting) {
		i.see(s, f.names[s.client], h.timeOf(s.at), f.newest)
	})
	i.heldSince = f.newest
	f.held = append(f.held, i)
	return i
}

// longest returns the longest window of the matches in a scope, if there are any.
func (f *Fleet) longest(of scope) (ticks int32, any bool) {
	for i := range f.matches {
		if m := &f.matches[i]; m.scope == of {
			ticks, any = max(ticks, f.ticks[m.rule]), true
		}
	}
	return ticks, any
}

// release tells of the incidents that were held long enough, unless their
// sources explain them.
func (f *Fleet) release(now time.Time) {
	n := 0
	for ; n < len(f.held) && now.Sub(f.held[n].heldSince) >= f.rules.Hold; n++ {
		if i := f.held[n]; f.incidents[i.incidentKey] == i {
			f.raise(i)
		}
	}
	if n > 0 {
		f.held = slices.Delete(f.held, 0, n)
	}
}

// raise tells of a held incident of a port or client and absorbs the notices of
// its sources. When nearly all its hits are from sources that have incidents of
// their own, those list its rules instead.
func (f *Fleet) raise(i *incident) {
	owners, explained, of := f.ownersOf(i)
	switch {
	case of > 0 && float64(explained) >= allowance*float64(of):
		f.drop(i)
		f.hand(i, owners)
	case f.tooManyPlaces(i):
		f.drop(i)
		f.foldPlace(i)
	default:
		i.heldSince = time.Time{}
		f.open++
		for _, addr := range i.sources {
			f.absorb(i, f.incidents[sourceKeyOf(f.sourceKey(addr))])
		}
		f.tell(i, true, false)
	}
}

// ownersOf returns the incidents of the sources of a held incident that are
// more than notices, how many of its latest hits are theirs, and of how many.
func (f *Fleet) ownersOf(i *incident) (owners []*incident, explained, of int) {
	p, ticks := f.placeOf(i), int32(0)
	if p == nil {
		return nil, 0, 0
	}
	for _, m := range i.rules {
		ticks = max(ticks, window.Ticks(m.Window))
	}
	p.recent.each(window.At(i.end), ticks, func(s *sighting) {
		of++
		if owner := f.incidents[sourceKeyOf(s.source)]; owner != nil && !owner.onlyNotice() {
			explained++
			if !slices.Contains(owners, owner) {
				owners = append(owners, owner)
			}
		}
	})
	return owners, explained, of
}

// hand adds the rules of an incident to those that explain it.
func (f *Fleet) hand(i *incident, owners []*incident) {
	for _, owner := range owners {
		stronger := false
		for _, m := range i.rules {
			id := ruleOf(m)
			owner.match(id, m)
			if r := f.weight(id, owner.inside, owner.proof.level); r > owner.rank {
				owner.rank, owner.strongest, stronger = r, id, true
			}
		}
		owner.changed = true
		f.tell(owner, false, stronger)
	}
}

// placeOf returns the counters that a port or client incident is about, nil
// when they were evicted.
func (f *Fleet) placeOf(i *incident) *place {
	if i.kind == event.ByClient {
		return &f.clients[i.title].place
	}
	return f.ports.Find(i.key)
}

// absorb ends the incident of a source when it is no more than a notice, and
// reports whether it was. There may be none.
func (f *Fleet) absorb(into, notice *incident) bool {
	if notice == nil || !notice.onlyNotice() {
		return false
	}
	f.counts.absorbed++
	f.resolve(notice, f.newest, "joined "+into.id)
	return true
}

// settleSource adds h to the incident of its source, opening it when a rule
// holds that the incident of a port or client does not explain.
func (f *Fleet) settleSource(h *hit, onPort, onClient *incident) {
	i := h.open[ofSource]
	fresh := i == nil
	if fresh {
		notice, any := f.notice()
		switch {
		case !any:
			return
		case notice && (onPort.names(h) || onClient.names(h)):
			f.counts.absorbed++
			return
		case f.tooMany(h, notice):
			return
		}
		i = f.beginAt(sourceKeyOf(h.key), event.BySource, f.sourceName(h.key), h.Time)
		f.open++
		i.inside = h.inside
		f.remember(i, h.source)
	}
	i.see(&h.seen, h.Client, h.Time, f.newest)
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
	i.proof = s.proof
	for _, c := range s.of[:s.n] {
		i.clients = list(i.clients, f.names[c.number()], maxListed)
		i.ports = list(i.ports, c.port, maxListed)
	}
}
