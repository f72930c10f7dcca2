// Package incident gives findings their life and joins them into incidents: one
// for each attacker, whatever saw him and on however many hosts.
//
// A Room takes findings and gives events: vft.threat and vft.anomaly for the
// findings that are no rules over records, vft.alert for the incidents. Both are
// told once when they begin, then when they get worse, else ever more seldom, and
// once when they are over: when nothing was seen for as long as the detector
// remembers what made it speak.
//
// # Joining
//
// Findings of one offender are one incident: of an IPv4 address, of a /64 of a
// stranger, of the full address of a host inside. Findings without an offender go
// by their victim or by the host that saw them. Those of a port or a client wait
// a moment first, since their sources may be attackers with incidents of their
// own, which say more. See join.go for what else belongs to its cause.
//
// # Fairness
//
// How many incidents may begin in an hour is shared out: by what they weigh, by
// the prefix of their source, by the client and the exporter that tells of them.
// What goes beyond is one overflow incident of the noisy party. It names the
// heaviest by Space-Saving, and who stands out among them still gets an incident.
//
// A Room does no I/O, starts no goroutine and asks for no time: time comes with
// the findings and with Advance. The same calls give the same events, and
// Snapshot keeps what Restore goes on with.
package incident

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

// Limits of a Room that are no settings.
const (
	maxListed   = 100 // clients, sources, victims and ports that an incident lists
	maxForged   = 50  // of these, sources by packets only: they must not crowd out the real
	maxEvents   = 20  // ids of events
	maxFindings = 32  // findings of one incident; the weakest, oldest leaves
	maxHeld     = 4096
	maxEnded    = 1024             // parties whose last end is remembered
	lingers     = 10 * time.Minute // how long what comes and goes stays open
	ahead       = 24 * time.Hour   // how far the time of a finding may be before the clock and move it
)

// Settings say how a Room judges. Zero values mean the defaults.
type Settings struct {
	Seed       [32]byte              // of the ids of events; from crypto/rand, or fixed in a replay
	Home       func(netip.Addr) bool // what is inside; nil: the private networks
	IPv6Prefix int                   // bits of a stranger's IPv6 address that key it; default 64
	Shared     bool                  // findings come from many clients, each of which gets its share

	MaxOpen      int           // incidents open at once; default 4096
	Hold         time.Duration // how long one of a port or client waits; default 2 s
	Notices      int           // that begin in an hour: below severity 40, and of sources that may be forged; default 20
	RaisePerHour int           // of the others; default 500

	// Ignored reports whether a finding is not wanted; nil: all are.
	Ignored func(*event.Finding) bool
}

// Defaults returns s with the defaults in place of zero values.
func (s Settings) Defaults() Settings {
	if s.Home == nil {
		s.Home = private
	}
	s.IPv6Prefix = cmp.Or(s.IPv6Prefix, 64)
	s.MaxOpen = cmp.Or(s.MaxOpen, 4096)
	s.Hold = cmp.Or(s.Hold, 2*time.Second)
	s.Notices = cmp.Or(s.Notices, 20)
	s.RaisePerHour = cmp.Or(s.RaisePerHour, 500)
	return s
}

func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

// Room keeps the incidents of a host or of a fleet. One goroutine uses it at a
// time.
type Room struct {
	set      Settings
	emit     event.Emit
	ids      *event.IDs
	parties  map[party]*incident // every party of an open incident leads to it
	open     []*incident         // in the order in which they began; held ones too
	held     []*incident         // that nobody was told of yet
	budgets  budgets
	overflow map[string]*overflow // by noisy party
	ended    map[party]time.Time  // when what its detector called over ended
	clock    time.Time            // the newest finding or Advance
	advanced time.Time
	counts   counts
}

// counts are the counters of a Room.
type counts struct {
	Observed, Ignored, Unclaimed                uint64
	Raised, Updated, Resolved, Evicted          uint64
	Joined, Absorbed, Folded, Promoted          uint64
	Findings, FindingsResolved, FindingsEvicted uint64
}

// New returns a Room without incidents. Events go through emit, with Event.Time
// on the clock of the findings.
func New(set Settings, emit event.Emit) *Room {
	set = set.Defaults()
	return &Room{
		set: set, emit: emit, ids: event.NewIDs(set.Seed), parties: map[party]*incident{}, overflow: map[string]*overflow{},
		budgets: newBudgets(), ended: map[party]time.Time{},
	}
}

// Configure changes the settings; Seed stays. Open incidents of which every
// finding is ignored from now on are resolved.
func (r *Room) Configure(set Settings) {
	set.Seed = r.set.Seed
	r.set = set.Defaults()
	if r.set.Ignored == nil {
		return
	}
	for _, i := range slices.Clone(r.open) {
		if i.ignored(r.set.Ignored) {
			r.resolve(i, r.clock, "ignored")
		}
	}
}

// Observe takes a finding. It keeps neither f nor its slices.
func (r *Room) Observe(f *event.Finding) {
	r.counts.Observed++
	r.see(f.Time)
	r.release(r.clock)
	if r.set.Ignored != nil && r.set.Ignored(f) {
		r.counts.Ignored++
		return
	}
	who := r.partyOf(f)
	i := r.parties[who]
	if i != nil && i.over(r.clock) {
		r.resolve(i, r.clock, "quiet")
		i = nil
	}
	if i == nil {
		if f.Type == "" || f.Over {
			r.counts.Unclaimed++
			return
		}
		r.begin(who, f)
		return
	}
	strength := i.Rank
	r.add(i, f)
	switch {
	case i.isHeld():
	case f.Over && i.over(r.clock):
		r.finish(i, f)
	default:
		r.absorbNotices(i, f)
		r.tell(i, i.Rank > strength)
	}
}

// finish ends an incident of which the detector says that it is over. If it begins
// again soon, the next one stays open for a while: what comes and goes is one.
func (r *Room) finish(i *incident, f *event.Finding) {
	r.forgetEnded()
	r.ended[i.Parties[0]] = r.clock
	reason := "it ended"
	for _, d := range f.Details {
		if why, ok := d.Value.(string); ok && d.Name == "reason" {
			reason = why
		}
	}
	r.resolve(i, later(f.Time, i.End), reason)
}

// begin opens an incident with a finding, unless it belongs to an open one, or
// there is one too many of it.
func (r *Room) begin(who party, f *event.Finding) {
	if cause := r.cause(who, f); cause != nil {
		r.counts.Joined++
		r.adopt(cause, who)
		strength := cause.Rank
		r.add(cause, f)
		if !cause.isHeld() {
			r.tell(cause, cause.Rank > strength)
		}
		return
	}
	waits := waits(f)
	if !waits && !r.mayBegin(who, f) {
		return
	}
	i := &incident{Parties: []party{who}, Kind: who.Kind, Key: who.String(), Start: f.Time, End: f.Time, Touched: r.clock, Rank: -1}
	if !f.Since.IsZero() && f.Since.Before(i.Start) {
		i.Start = f.Since
	}
	i.ID = alertID(i.Kind, i.Key, i.Start)
	if at, again := r.ended[who]; again && r.clock.Sub(at) <= lingers {
		i.Linger = lingers
	}
	r.parties[who] = i
	r.open = append(r.open, i)
	r.add(i, f)
	if waits && len(r.held) < maxHeld {
		i.HeldSince = r.clock
		r.held = append(r.held, i)
		return
	}
	r.raise(i, f)
}

// raise tells of an incident that is new.
func (r *Room) raise(i *incident, f *event.Finding) {
	i.HeldSince = time.Time{}
	r.absorb(i)
	r.write(i, f.Time, event.Firing, "raised")
	r.tellFindings(i)
}

// forgetEnded makes room for one more party: those whose time is over leave, and if
// there are still too many, the oldest.
func (r *Room) forgetEnded() {
	maps.DeleteFunc(r.ended, func(_ party, at time.Time) bool { return r.clock.Sub(at) > lingers })
	for len(r.ended) >= maxEnded {
		var oldest party
		for who, at := range r.ended {
			if was, known := r.ended[oldest]; !known || at.Before(was) || at.Equal(was) && who.String() < oldest.String() {
				oldest = who
			}
		}
		delete(r.ended, oldest)
	}
}

// see moves the clock on to the time of a finding, unless that lies absurdly far
// ahead: one wrong clock must not end what all others told.
func (r *Room) see(at time.Time) {
	if at.After(r.clock) && (r.advanced.IsZero() || at.Sub(r.advanced) <= ahead) {
		r.clock = at.UTC().Round(0)
	}
}

// Advance tells the Room that it is now: it writes the updates that were held
// back and resolves what is over. Call it about once a second, or with the time
// of a replay.
func (r *Room) Advance(now time.Time) {
	now = now.UTC().Round(0)
	r.advanced = now
	r.clock = later(r.clock, now)
	r.release(r.clock)
	for _, i := range slices.Clone(r.open) {
		switch {
		case i.isHeld():
		case i.over(r.clock):
			r.resolve(i, r.clock, "quiet")
		default:
			r.endFindings(i)
			if i.due(r.clock) {
				r.write(i, r.clock, event.Updated, "more of it")
				r.tellFindings(i)
			}
		}
	}
	r.budgets.forget(r.clock)
}

// Close ends every incident, at the end of a replay.
func (r *Room) Close(reason string) {
	for _, i := range slices.Clone(r.held) {
		r.settle(i)
	}
	r.held = nil
	for _, i := range slices.Clone(r.open) {
		r.resolve(i, r.clock, reason)
	}
}

// Resolve ends the incident with that id and reports whether it was open.
func (r *Room) Resolve(id, reason string) bool {
	at := slices.IndexFunc(r.open, func(i *incident) bool { return i.ID == id && !i.isHeld() })
	if at < 0 {
		return false
	}
	r.resolve(r.open[at], r.clock, reason)
	return true
}

// Open returns the incidents that are open now, oldest first.
func (r *Room) Open() (all []event.Alert) {
	for _, i := range r.open {
		if !i.isHeld() {
			all = append(all, r.alert(i, event.Updated, ""))
		}
	}
	return all
}

// Counts yields every counter by its name. incidents_open is how many there are
// now.
func (r *Room) Counts(yield func(name string, n uint64)) {
	c := &r.counts
	for _, one := range []struct {
		name string
		n    uint64
	}{
		{"findings_observed", c.Observed}, {"findings_ignored", c.Ignored}, {"findings_unclaimed", c.Unclaimed},
		{"findings_told", c.Findings}, {"findings_resolved", c.FindingsResolved}, {"findings_evicted", c.FindingsEvicted},
		{"incidents_open", uint64(len(r.open))}, {"incidents_raised", c.Raised}, {"incidents_updated", c.Updated},
		{"incidents_resolved", c.Resolved}, {"incidents_evicted", c.Evicted}, {"incidents_joined", c.Joined},
		{"notices_absorbed", c.Absorbed}, {"incidents_folded", c.Folded}, {"incidents_promoted", c.Promoted},
	} {
		yield(one.name, one.n)
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

// End ends the incident that is about that, unless detectors saw more than rules
// over trap hits did. It reports whether it was open.
func (r *Room) End(kind event.AlertKind, key, reason string) bool {
	at := slices.IndexFunc(r.open, func(i *incident) bool {
		return i.Kind == kind && i.Key == key && i.Overflow == "" && !slices.ContainsFunc(i.Findings, func(t *finding) bool { return !t.Rule })
	})
	if at < 0 {
		return false
	}
	r.resolve(r.open[at], r.clock, reason)
	return true
}
