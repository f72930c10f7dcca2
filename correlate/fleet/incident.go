package fleet

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
	maxForged = maxListed / 2 // sources by packets only: they must not crowd out the real
	maxEvents = 20
)

// packetSeverity is the most that packets alone weigh: their source may be
// forged.
const packetSeverity = 40

// slower is how many times UpdateEvery an update waits when an incident does
// nothing new.
const slower = 60

// incidentKey finds an open incident of a source, a port or a client.
type incidentKey struct {
	of  scope
	key window.Key // source, port, or number of the client
}

// incident is what a person sees: matches that belong together.
type incident struct {
	incidentKey
	serial     uint64 // in the order in which they began
	id         string
	kind       event.AlertKind
	title      string // the key as it is written
	start, end time.Time
	touched    time.Time // when its last event came, on the clock of the Fleet
	rules      []event.Match
	matched    [ruleCount]uint8 // where each rule stands in rules, from 1; 0: nowhere
	count      uint64
	clients    []string
	sources    []netip.Addr
	ports      []uint16
	events     []event.ID
	proof      proof
	inside     bool
	lost       bool      // ends only when the client returns
	fold       foldID    // what it counts in place of many; 0: it is no such one
	note       string    // why a client is lost
	rank       rank      // of its strongest rule
	strongest  RuleID    //
	changed    bool      // since it was written
	grew       bool      // so that it lists more
	told       uint64    // count when it was written
	written    time.Time //
	heldSince  time.Time // nobody was told yet; zero: they were
}

func (i *incident) isHeld() bool { return !i.heldSince.IsZero() }

// rank orders rules by what they weigh: the severity that a person sees, then
// that of the rule itself.
type rank int

func (r rank) severity() int { return int(r >> 8) }

// weight is what a rule gives to an incident when an event with that evidence
// made it hold: packets alone never make more than packetSeverity.
func (f *Fleet) weight(id RuleID, inside bool, level event.Evidence) rank {
	severity := f.rules.Rule[id].Severity
	if id == Touch && inside {
		severity = max(f.rules.Rule[Touch].InsideSeverity, severity)
	}
	shown := severity
	if level == event.E0 {
		shown = min(severity, packetSeverity)
	}
	return rank(shown<<8 | severity)
}

// heaviest is the rank of the strongest match of the source, 0 when there is
// none.
func (f *Fleet) heaviest(h *hit) (heaviest rank) {
	for i := range f.matches {
		if f.matches[i].scope == ofSource {
			heaviest = max(heaviest, f.weight(f.matches[i].rule, h.inside, h.Evidence))
		}
	}
	return heaviest
}

// begin opens an incident that nobody finds yet.
func (f *Fleet) begin(kind event.AlertKind, title string, start time.Time) *incident {
	f.begun++
	return &incident{
		serial: f.begun, id: alertID(kind, title, start, f.begun), kind: kind, title: title,
		start: start, end: start, touched: f.newest, rank: -1,
	}
}

// beginAt opens the incident of a source, port or client.
func (f *Fleet) beginAt(key incidentKey, kind event.AlertKind, title string, start time.Time) *incident {
	i := f.begin(kind, title, start)
	i.incidentKey = key
	f.incidents[key] = i
	return i
}

// alertID is a hash of what an incident is, as a UUID of version 8 (RFC 9562),
// so that a replay gives the same ones.
func alertID(kind event.AlertKind, title string, start time.Time, serial uint64) string {
	b := binary.BigEndian.AppendUint64(append([]byte(kind), 0), uint64(start.UnixNano()))
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(b, serial), title...))
	id := event.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id.String()
}

// room makes room for one more incident, if need be by ending the weakest that
// is not stronger. It reports whether there is room. It walks over all when it
// is full: ask for it only after what bounds the alerts of an hour.
func (f *Fleet) room(r rank) bool {
	if f.open < f.rules.MaxOpen {
		return true
	}
	var weakest *incident
	for _, i := range f.incidents {
		if !i.isHeld() && (weakest == nil || i.weaker(weakest) < 0) {
			weakest = i
		}
	}
	if weakest.rank > r {
		return false
	}
	f.counts.evicted++
	f.resolve(weakest, f.newest, "evicted: too many incidents are open")
	return true
}

func (i *incident) weaker(other *incident) int {
	return cmp.Or(cmp.Compare(i.rank, other.rank), i.touched.Compare(other.touched), cmp.Compare(i.serial, other.serial))
}

// sorted returns all open incidents, held ones too, in the order in which they
// began.
func (f *Fleet) sorted() []*incident {
	all := make([]*incident, 0, len(f.incidents)+len(f.lost)+len(f.folds))
	for _, i := range f.incidents {
		all = append(all, i)
	}
	for _, i := range f.lost {
		all = append(all, i)
	}
	for _, i := range f.folds {
		if i != nil {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b *incident) int { return cmp.Compare(a.serial, b.serial) })
	return all
}

// see adds one event to what the incident tells.
func (i *incident) see(s *sighting, client string, at, clock time.Time) {
	i.count++
	i.start, i.end, i.touched = earlier(i.start, at), later(i.end, at), later(i.touched, clock)
	known := len(i.clients) + len(i.sources) + len(i.ports)
	i.clients = list(i.clients, client, maxListed)
	most := maxListed
	if s.level == event.E0 {
		most = maxForged
	}
	i.sources = list(i.sources, netip.AddrFrom16(s.addr).Unmap(), most)
	i.ports = list(i.ports, s.port, maxListed)
	if len(i.events) < maxEvents {
		i.events = append(i.events, s.id)
	}
	level := i.proof.level
	i.proof.add(s.client, s.level)
	i.grew = i.grew || i.proof.level > level || len(i.clients)+len(i.sources)+len(i.ports) > known
	i.changed = true
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
		if at := i.matched[m.rule]; at != 0 {
			i.rules[at-1].Value = max(i.rules[at-1].Value, m.value)
		} else {
			i.match(m.rule, event.Match{Value: m.value, Threshold: m.limit, Window: f.rules.Rule[m.rule].Window, Since: h.timeOf(m.since)})
		}
		if r := f.weight(m.rule, i.inside, h.Evidence); r > i.rank {
			i.rank, i.strongest, stronger = r, m.rule, true
		}
	}
	return stronger
}

func (i *incident) match(id RuleID, m event.Match) {
	i.start = earlier(i.start, m.Since)
	if at := i.matched[id]; at != 0 {
		known := &i.rules[at-1]
		known.Value = max(known.Value, m.Value)
		return
	}
	m.ID = id.String()
	i.rules = append(i.rules, m)
	i.matched[id] = uint8(len(i.rules))
	i.grew = true
}

func (i *incident) has(id RuleID) bool { return i.matched[id] != 0 }

// onlyNotice reports whether nothing but the touch rule holds.
func (i *incident) onlyNotice() bool {
	return i.kind == event.BySource && len(i.rules) == 1 && i.has(Touch)
}

// quiet is how long an incident must be without an event to be resolved.
func (f *Fleet) quiet(i *incident) time.Duration {
	longest := time.Duration(0)
	for n := range i.rules {
		longest = max(longest, i.rules[n].Window)
	}
	return min(longest, f.rules.QuietMax)
}

// isOver reports whether an incident was quiet for long enough by now. The
// clock is the Fleet's, not that of the events: what a client kept while it was
// away is told together however long ago it was.
func (f *Fleet) isOver(i *incident, now time.Time) bool {
	return !i.lost && !i.isHeld() && now.Sub(i.touched) >= f.quiet(i)
}

// tell writes what changed: at once when the incident is new or got a stronger
// rule, otherwise when an update is due.
func (f *Fleet) tell(i *incident, fresh, stronger bool) {
	switch {
	case fresh:
		f.write(i, f.newest, event.Firing, "raised")
	case stronger:
		f.write(i, f.newest, event.Updated, "stronger rule")
	case f.isDue(i, f.newest):
		f.write(i, f.newest, event.Updated, "more events")
	}
}

// isDue reports whether an update may be written: soon when there is more to
// see, seldom when the same goes on.
func (f *Fleet) isDue(i *incident, now time.Time) bool {
	wait := f.rules.UpdateEvery
	if !i.grew && i.count < 2*i.told {
		wait *= slower
	}
	return i.changed && now.Sub(i.written) >= wait
}

// resolve ends an incident. What its rules counted is spent: the same events
// raise nothing again.
func (f *Fleet) resolve(i *incident, at time.Time, reason string) {
	f.drop(i)
	if i.isHeld() {
		return
	}
	f.write(i, at, event.Resolved, reason)
	switch i.kind {
	case event.BySource:
		if s := f.sources.Find(i.key); s != nil {
			s.spend(i)
		}
	case event.ByPort, event.ByClient:
		if p := f.placeOf(i); p != nil {
			*p = place{last: p.last, rate: p.rate}
		}
	}
}

// drop takes an incident out of those that are open.
func (f *Fleet) drop(i *incident) {
	switch {
	case i.fold != 0:
		f.folds[i.fold] = nil
	case i.lost:
		delete(f.lost, i.title)
	default:
		delete(f.incidents, i.incidentKey)
		if !i.isHeld() {
			f.open--
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
