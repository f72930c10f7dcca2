package correlate

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"vft/correlate/window"
	"vft/event"
)

// The limits of what one incident lists. What goes beyond still counts.
const (
	maxListed = 100
	maxEvents = 20
)

// packetSeverity is the most that packets alone weigh: their source may be
// forged.
const packetSeverity = 40

// incidentKey finds an open incident.
type incidentKey struct {
	kind event.AlertKind
	key  window.Key // source, port or number of the client
	name string     // of a sensor
}

// incident is what a person sees: matches that belong together.
type incident struct {
	incidentKey
	id         string
	title      string // the key as it is written
	start, end time.Time
	rules      []event.Match
	count      uint64
	clients    []string
	sources    []netip.Addr
	ports      []uint16
	events     []event.ID
	evidence   event.Evidence
	proven     string // first client whose evidence is more than packets
	inside     bool
	lost       bool   // ends only when the client returns
	note       string // in place of a message made from the fields
	severity   int
	strongest  RuleID
	changed    bool // since it was written
	written    time.Time
	heldSince  time.Time // nobody was told yet; zero: they were
}

func (i *incident) isHeld() bool { return !i.heldSince.IsZero() }

// begin opens an incident; the weakest makes room when there are too many.
func (f *Fleet) begin(key incidentKey, title string, start time.Time) *incident {
	if len(f.incidents) >= f.rules.MaxOpen {
		f.counts.evicted++
		f.resolve(f.weakest(), f.newest, "evicted: too many incidents are open")
	}
	i := &incident{incidentKey: key, id: alertID(key.kind, title, start), title: title, start: start, end: start, severity: -1}
	f.incidents[key] = i
	return i
}

// alertID is a hash of what an incident is, as a UUID of version 8 (RFC 9562),
// so that a replay raises nothing twice.
func alertID(kind event.AlertKind, title string, start time.Time) string {
	b := binary.BigEndian.AppendUint64(append([]byte(kind), 0), uint64(start.UnixNano()))
	sum := sha256.Sum256(append(b, title...))
	id := event.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id.String()
}

func (f *Fleet) weakest() *incident {
	return slices.MinFunc(f.sorted(), func(a, b *incident) int {
		return cmp.Or(cmp.Compare(a.severity, b.severity), a.end.Compare(b.end))
	})
}

// sorted returns the open incidents, held ones too, in the order in which they
// began.
func (f *Fleet) sorted() []*incident {
	all := make([]*incident, 0, len(f.incidents))
	for _, i := range f.incidents {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *incident) int { return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.id, b.id)) })
	return all
}

// see adds one event to what the incident tells.
func (i *incident) see(client string, addr netip.Addr, port uint16, id event.ID, at time.Time) {
	i.count++
	if at.Before(i.start) {
		i.start = at
	}
	if at.After(i.end) {
		i.end = at
	}
	i.clients = list(i.clients, client, maxListed)
	i.sources = list(i.sources, addr, maxListed)
	i.ports = list(i.ports, port, maxListed)
	if len(i.events) < maxEvents {
		i.events = append(i.events, id)
	}
	i.changed = true
}

// weigh raises the evidence: two clients that agree on a handshake are E3.
func (i *incident) weigh(client string, e event.Evidence) {
	i.evidence = max(i.evidence, e)
	switch {
	case e < event.E1:
	case i.proven == "":
		i.proven = client
	case i.proven != client:
		i.evidence = event.E3
	}
}

// list adds one to all unless it is there or the list is full.
func list[T comparable](all []T, one T, most int) []T {
	if len(all) >= most || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// apply adds matches to an incident and reports whether it got a stronger rule.
func (f *Fleet) apply(i *incident, h *hit, matches scope) (stronger bool) {
	for n := range f.matches {
		m := &f.matches[n]
		if m.scope != matches {
			continue
		}
		since := h.Time.Add(-time.Duration(h.tick.Since(m.since)) * 10 * time.Millisecond)
		i.match(event.Match{ID: m.rule.String(), Value: m.value, Threshold: m.limit, Window: m.window, Since: since})
		if s := f.weight(i, m.rule); s > i.severity {
			i.severity, i.strongest, stronger = s, m.rule, true
		}
	}
	return stronger
}

func (i *incident) match(m event.Match) {
	if m.Since.Before(i.start) {
		i.start = m.Since
	}
	for n := range i.rules {
		if i.rules[n].ID == m.ID {
			i.rules[n].Value = max(i.rules[n].Value, m.Value)
			return
		}
	}
	i.rules = append(i.rules, m)
}

// weight is the severity that a rule gives to an incident.
func (f *Fleet) weight(i *incident, id RuleID) int {
	if id == Touch && i.inside {
		return max(f.rules.Rule[Touch].InsideSeverity, f.rules.Rule[Touch].Severity)
	}
	return f.rules.Rule[id].Severity
}

// onlyNotice reports whether nothing but the touch rule holds.
func (i *incident) onlyNotice() bool {
	return i.kind == event.BySource && len(i.rules) == 1 && i.rules[0].ID == Touch.String()
}

// quiet is how long an incident must be without an event to be resolved.
func (f *Fleet) quiet(i *incident) time.Duration {
	longest := time.Duration(0)
	for _, m := range i.rules {
		longest = max(longest, m.Window)
	}
	return min(longest, f.rules.QuietMax)
}

// tell writes what changed: at once when the incident is new or got a stronger
// rule, otherwise when the last record is old enough.
func (f *Fleet) tell(i *incident, fresh, stronger bool) {
	switch {
	case fresh:
		f.write(i, f.newest, event.Firing, "raised")
	case stronger:
		f.write(i, f.newest, event.Updated, "stronger rule")
	case i.changed && f.newest.Sub(i.written) >= f.rules.UpdateEvery:
		f.write(i, f.newest, event.Updated, "more events")
	}
}

// resolve ends an incident. What its rules counted is spent: the same events
// raise nothing again.
func (f *Fleet) resolve(i *incident, at time.Time, reason string) {
	delete(f.incidents, i.incidentKey)
	if i.isHeld() {
		return
	}
	f.write(i, at, event.Resolved, reason)
	switch i.kind {
	case event.BySource:
		if s := f.sources.Find(i.incidentKey.key); s != nil {
			s.spend(i)
		}
	case event.ByPort:
		if p := f.ports.Find(i.incidentKey.key); p != nil {
			*p = place{rate: p.rate}
		}
	case event.ByClient:
		p := f.placeOf(i)
		*p = place{rate: p.rate}
	}
}

// spend forgets what the rules of an incident that ended have counted. After a
// mere notice everything still counts: a slow scanner is one notice after the
// other.
func (s *source) spend(i *incident) {
	if i.onlyNotice() {
		return
	}
	s.untold = 0
	s.hits = window.Hits{}
	s.contacts = window.Distinct[contact]{}
}
