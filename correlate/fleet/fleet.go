package fleet

import (
	"net/netip"
	"time"

	"vft/correlate/known"
	"vft/correlate/window"
	"vft/event"
)

// The limits of a Fleet that are no settings.
const (
	maxPorts   = 8192             // ports kept; a trap pool has 40
	maxClients = 1<<15 - 1        // clients kept
	maxHeld    = 4096             // incidents held at once
	lateness   = 30 * time.Second // how late an event may come and count like any other
	clockLimit = 7 * dayLong      // how late, or early, it may come and count at all
	allowance  = 0.9              // share of one source from which on a match is the source's
	dayLong    = 24 * time.Hour
	perTick    = 10 * time.Millisecond
)

// FleetConfig says how a Fleet judges.
type FleetConfig struct {
	Rules Rules
	Seed  [32]byte // of the ids of alert events; from crypto/rand, or fixed in a replay
	// Ignores takes the place of a list made from Rules.Ignore, so that findings count
	// in the same one; nil: none is shared. SetRules replaces its entries.
	Ignores *known.Ignores
}

// Fleet judges what all clients see, by the fleet rules, and keeps the
// incidents. One goroutine uses it at a time.
type Fleet struct {
	rules     Rules
	ticks     [ruleCount]int32 // windows of the rules
	emit      event.Emit
	ids       *event.IDs
	sources   *window.Table[source]
	ports     *window.Table[place]
	clients   map[string]*client
	names     []string // of clients, by number
	inside    inside
	incidents map[incidentKey]*incident
	lost      map[string]*incident // of clients
	missing   map[string]bool      // clients whose loss is counted in folds
	folds     [foldCount]*incident
	open      int         // of incidents, how many are not held
	held      []*incident // begun, but nobody was told yet; in that order
	begun     uint64      // incidents
	limits    limits
	newest    time.Time // the clock: the newest event or Advance
	advanced  time.Time // the last Advance
	tidied    time.Time // when tidy was called
	counts    counts
	ignores   *known.Ignores
	matches   []match // scratch
}

// client is what a Fleet keeps of one client.
type client struct {
	number uint16
	place  place
}

// NewFleet returns a Fleet that has seen nothing. Every alert goes through
// emit, with Event.Time on the clock of the events.
func NewFleet(config FleetConfig, emit event.Emit) *Fleet {
	f := &Fleet{
		emit: emit, ids: event.NewIDs(config.Seed),
		clients: map[string]*client{}, incidents: map[incidentKey]*incident{},
		lost: map[string]*incident{}, missing: map[string]bool{},
		ignores: config.Ignores,
	}
	if f.ignores == nil {
		f.ignores = known.NewIgnores(config.Rules.Ignore)
	}
	f.use(config.Rules)
	f.sources = f.newSources(config.Rules.Keys)
	f.ports = window.NewTable(maxPorts, func(window.Key, *place) { f.counts.portsEvicted++ })
	return f
}

func (f *Fleet) use(rules Rules) {
	f.rules = rules
	for id := range rules.Rule {
		f.ticks[id] = window.Ticks(rules.Rule[id].Window)
	}
}

// Verdict is what became of one event.
type Verdict uint8

// The verdicts.
const (
	Counted Verdict = iota
	Late            // it came more than 30 s after newer events; not counted when it came more than 7 days after
	Ignored         // an ignore entry matches it
	Ahead           // not counted: it is more than 7 days ahead of the clock
)

// Observe judges a trap hit or a probe. Its time may lie before that of earlier
// events: up to 30 s late it counts like any other, later it counts wherever a
// window still covers it. Other events are passed over, and so are those of a
// clock that is wrong: ticks compare only over 248 days.
func (f *Fleet) Observe(e *event.Event) Verdict {
	if e.Dataset != event.DatasetTrap && e.Dataset != event.DatasetProbe {
		return Counted
	}
	f.counts.observed++
	if f.ignores.MatchesHit(e) {
		f.counts.ignored++
		return Ignored
	}
	verdict := Counted
	switch {
	case !f.advanced.IsZero() && e.Time.Sub(f.advanced) > clockLimit:
		f.counts.ahead++
		return Ahead
	case !f.newest.IsZero() && f.newest.Sub(e.Time) > lateness:
		f.counts.late++
		if f.newest.Sub(e.Time) > clockLimit {
			return Late
		}
		verdict = Late
	}
	f.see(e.Time)
	f.release(f.newest)
	f.judge(e)
	return verdict
}

// see moves the clock on to the time of an event, unless that lies absurdly far
// ahead: one wrong clock must not make the events of all others late.
func (f *Fleet) see(at time.Time) {
	if at.After(f.newest) && (f.advanced.IsZero() || at.Sub(f.advanced) <= dayLong) {
		f.newest = at
	}
}

// judge updates what is known of the source, the port and the client of e,
// and hands the rules that match to the incidents.
func (f *Fleet) judge(e *event.Event) {
	h := f.hit(e)
	f.findOpen(&h)
	f.matches = f.matches[:0]
	f.judgeSource(&h)
	port, _ := f.ports.Get(portKey(e.Dst.Port()), e.Evidence > event.E0)
	f.judgePort(&h, port)
	f.judgeClient(&h, &h.client.place)
	f.settle(&h, port)
}

// hit is one event on its way through the rules.
type hit struct {
	*event.Event
	tick   window.Tick
	key    window.Key // of the source
	source *source
	client *client
	seen   sighting
	fresh  bool // the source was not known
	inside bool
	open   [ofClient + 1]*incident // that it may belong to, by scope
}

func (f *Fleet) hit(e *event.Event) hit {
	h := hit{Event: e, tick: window.At(e.Time), key: f.sourceKey(e.Src.Addr()), inside: f.inside.has(e.Src.Addr(), f.rules.Networks)}
	h.client = f.client(e.Client)
	h.source, h.fresh = f.sources.Get(h.key, e.Evidence > event.E0)
	h.seen = sighting{e.Src.Addr().As16(), h.key, e.ID, h.tick, h.client.number, e.Dst.Port(), e.Evidence}
	return h
}

// timeOf is the time of a tick near that of h.
func (h *hit) timeOf(t window.Tick) time.Time {
	return h.Time.Add(-time.Duration(h.tick.Since(t)) * perTick)
}

// client returns what is known of a client. When there are too many, the rest
// share one entry: they count, but as one.
func (f *Fleet) client(name string) *client {
	if c := f.clients[name]; c != nil {
		return c
	}
	if len(f.clients) >= maxClients {
		f.counts.clientsFolded++
		name = ""
		if c := f.clients[name]; c != nil {
			return c
		}
	}
	c := &client{number: uint16(len(f.names))}
	f.clients[name] = c
	f.names = append(f.names, name)
	return c
}

// sourceKey is the address, for IPv6 its first bits.
func (f *Fleet) sourceKey(addr netip.Addr) window.Key {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() && f.rules.IPv6Prefix < 128 {
		if prefix, err := addr.Prefix(f.rules.IPv6Prefix); err == nil {
			addr = prefix.Addr()
		}
	}
	return window.Key(addr.As16())
}

// sourceName is how a source is written: 10.0.0.9, 2001:db8::/64.
func (f *Fleet) sourceName(key window.Key) string {
	addr := netip.AddrFrom16(key).Unmap()
	if addr.Is6() && f.rules.IPv6Prefix < 128 {
		return netip.PrefixFrom(addr, f.rules.IPv6Prefix).String()
	}
	return addr.String()
}

func portKey(port uint16) window.Key { return window.Key{14: byte(port >> 8), 15: byte(port)} }

// Advance tells the Fleet that it is now: it writes the updates that were held
// back, resolves incidents that have been quiet long enough, and forgets
// sources. Call it about once a second, or with the time of a replay.
func (f *Fleet) Advance(now time.Time) {
	f.advanced = now
	f.newest = later(f.newest, now)
	f.release(now)
	for _, i := range f.sorted() {
		switch {
		case i.isHeld():
		case f.isOver(i, now):
			f.resolve(i, now, "quiet")
		case f.isDue(i, now):
			f.write(i, now, event.Updated, "more events")
		}
	}
	f.expire(window.At(now))
	if now.Sub(f.tidied) >= time.Hour {
		f.tidied = now
		f.tidy(window.At(now))
	}
}

// expire forgets sources that have been quiet for longer than any rule
// remembers, and those of a time to come that is not near.
func (f *Fleet) expire(now window.Tick) {
	keep := time.Duration(0)
	for _, id := range [...]RuleID{Touch, SameSource, HostScan, SlowScan, Sweep} {
		keep = max(keep, f.rules.Rule[id].Window, f.rules.Rule[id].Keep)
	}
	for _, strong := range [...]bool{false, true} {
		for {
			key, s, ok := f.sources.Oldest(strong)
			if age := now.Since(s.lastOr(now)); !ok || age <= window.Ticks(keep) && -age <= window.Ticks(dayLong) {
				break
			}
			f.sources.Delete(key)
		}
	}
}

func (s *source) lastOr(now window.Tick) window.Tick {
	if s == nil {
		return now
	}
	return s.last
}

// tidy forgets what was counted at ports and clients that have been quiet for a
// month: ticks compare only over 248 days.
func (f *Fleet) tidy(now window.Tick) {
	const month = 30 * dayLong
	forget := func(p *place) {
		if age := now.Since(p.last); age > window.Ticks(month) || -age > window.Ticks(month) {
			*p = place{last: now}
		}
	}
	f.ports.Each(func(_ window.Key, p *place, _ bool) { forget(p) })
	for _, c := range f.clients {
		forget(&c.place)
	}
}

// Open returns the incidents that are open now, oldest first.
func (f *Fleet) Open() []event.Alert {
	var all []event.Alert
	for _, i := range f.sorted() {
		if i.isHeld() {
			continue
		}
		all = append(all, f.alert(i, event.Updated, ""))
	}
	return all
}

// counts are the counters of a Fleet.
type counts struct {
	observed, ignored, late, ahead              uint64
	sourcesEvicted, portsEvicted, clientsFolded uint64
	raised, updated, resolved, evicted, folded  uint64
	absorbed, spoofableEvicted                  uint64
}

// Counts yields every counter by its name. sources, ports, clients and
// incidents_open are what is kept now.
func (f *Fleet) Counts(yield func(name string, n uint64)) {
	c := &f.counts
	for _, one := range []struct {
		name string
		n    uint64
	}{
		{"events", c.observed}, {"events_ignored", c.ignored}, {"events_late", c.late}, {"events_ahead", c.ahead},
		{"sources", uint64(f.sources.Len())}, {"sources_evicted", c.sourcesEvicted}, {"sources_spoofable_evicted", c.spoofableEvicted},
		{"ports", uint64(f.ports.Len())}, {"ports_evicted", c.portsEvicted},
		{"clients", uint64(len(f.clients))}, {"clients_folded", c.clientsFolded},
		{"inside", uint64(f.inside.entries)}, {"inside_refused", f.inside.refused},
		{"incidents_open", uint64(len(f.sorted()))}, {"incidents_raised", c.raised}, {"incidents_updated", c.updated},
		{"incidents_resolved", c.resolved}, {"incidents_evicted", c.evicted},
		{"notices_folded", c.folded}, {"notices_absorbed", c.absorbed},
	} {
		yield(one.name, one.n)
	}
}
