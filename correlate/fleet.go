package correlate

import (
	"net/netip"
	"slices"
	"time"

	"vft/correlate/window"
	"vft/event"
)

// The limits of a Fleet that are no settings.
const (
	maxPorts   = 8192             // ports kept; a trap pool has 40
	maxClients = 1<<16 - 1        // clients kept
	lateness   = 30 * time.Second // how late an event may come and count like any other
	allowance  = 0.9              // share of one source from which on a match is the source's
	dayLong    = 24 * time.Hour
)

// FleetConfig says how a Fleet judges.
type FleetConfig struct {
	Rules Rules
	Seed  [32]byte // of the ids of alert events; from crypto/rand, or fixed in a replay
}

// Fleet judges what all clients see, by the fleet rules, and keeps the
// incidents. One goroutine uses it at a time.
type Fleet struct {
	rules     Rules
	emit      event.Emit
	ids       *event.IDs
	sources   *window.Table[source]
	ports     *window.Table[place]
	clients   map[string]*client
	names     []string // of clients, by number
	inside    inside
	incidents map[incidentKey]*incident
	held      []*incident // begun, but nobody was told yet
	notices   window.Hits // touches raised, to fold them when they become many
	newest    time.Time
	counts    counts
	ignored   []uint64 // hits of each entry of rules.Ignore
	matches   []match  // scratch
}

// client is what a Fleet keeps of one client.
type client struct {
	number uint16
	place  place
	since  window.Tick
}

// NewFleet returns a Fleet that has seen nothing. Every alert goes through
// emit, with Event.Time on the clock of the events.
func NewFleet(config FleetConfig, emit event.Emit) *Fleet {
	f := &Fleet{
		rules: config.Rules, emit: emit, ids: event.NewIDs(config.Seed),
		clients: map[string]*client{}, incidents: map[incidentKey]*incident{},
		ignored: make([]uint64, len(config.Rules.Ignore)),
	}
	f.sources = window.NewTable(config.Rules.Keys, f.forgetSource)
	f.ports = window.NewTable(maxPorts, func(window.Key, *place) { f.counts.portsEvicted++ })
	return f
}

// Verdict is what became of one event.
type Verdict uint8

// The verdicts.
const (
	Counted Verdict = iota
	Late            // counted, but it came more than 30 s after newer events
	Ignored         // an ignore entry matches it
)

// Observe judges a trap hit or a probe. Its time may lie before that of earlier
// events: up to 30 s late it counts like any other, later it counts wherever a
// window still covers it. Other events are passed over.
func (f *Fleet) Observe(e *event.Event) Verdict {
	if e.Dataset != event.DatasetTrap && e.Dataset != event.DatasetProbe {
		return Counted
	}
	f.counts.observed++
	if f.ignore(e) {
		f.counts.ignored++
		return Ignored
	}
	verdict := Counted
	if f.newest.Sub(e.Time) > lateness {
		f.counts.late++
		verdict = Late
	}
	if e.Time.After(f.newest) {
		f.newest = e.Time
	}
	f.release(f.newest)
	f.judge(e)
	return verdict
}

// judge updates what is known of the source, the port and the client of e,
// and hands the rules that match to the incidents.
func (f *Fleet) judge(e *event.Event) {
	h := f.hit(e)
	f.matches = f.matches[:0]
	f.judgeSource(&h)
	port, _ := f.ports.Get(portKey(e.Dst.Port()), e.Evidence > event.E0)
	f.judgePlace(&h, port, &portRules)
	f.judgePlace(&h, &h.client.place, &clientRules)
	f.settle(&h, port)
}

// hit is one event on its way through the rules.
type hit struct {
	*event.Event
	tick   window.Tick
	key    window.Key // of the source
	source *source
	client *client
	fresh  bool // the source was not known
	inside bool
}

func (f *Fleet) hit(e *event.Event) hit {
	h := hit{Event: e, tick: window.At(e.Time), key: f.sourceKey(e.Src.Addr()), inside: f.inside.has(e.Src.Addr(), f.rules.Networks)}
	h.client = f.client(e.Client, h.tick)
	h.source, h.fresh = f.sources.Get(h.key, e.Evidence > event.E0)
	return h
}

// client returns what is known of a client. When there are too many, the rest
// share one entry: they count, but as one.
func (f *Fleet) client(name string, t window.Tick) *client {
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
	c := &client{number: uint16(len(f.names)), since: t}
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
	return (!g.Source.IsValid() || g.Source.Contains(e.Src.Addr().WithZone(""))) &&
		(g.Port == 0 || g.Port == e.Dst.Port()) &&
		(g.Client == "" || g.Client == e.Client) &&
		(g.Tool == "" || g.Tool == tool(e)) &&
		(g.Until.IsZero() || e.Time.Before(g.Until))
}

func tool(e *event.Event) string {
	switch {
	case e.Trap != nil:
		return e.Trap.Tool
	case e.Probe != nil:
		return e.Probe.Tool
	}
	return ""
}

// Advance tells the Fleet that it is now: it writes the updates that were held
// back, resolves incidents that have been quiet long enough, and forgets
// sources. Call it about once a second, or with the time of a replay.
func (f *Fleet) Advance(now time.Time) {
	if now.After(f.newest) {
		f.newest = now
	}
	f.release(now)
	for _, i := range f.sorted() {
		switch {
		case i.lost, i.isHeld():
		case now.Sub(i.end) >= f.quiet(i):
			f.resolve(i, now, "quiet")
		case i.changed && now.Sub(i.written) >= f.rules.UpdateEvery:
			f.write(i, now, event.Updated, "more events")
		}
	}
	f.expire(window.At(now))
}

// expire forgets sources that have been quiet for longer than any rule
// remembers.
func (f *Fleet) expire(now window.Tick) {
	keep := window.Ticks(max(f.rules.Rule[SlowScan].Keep, f.rules.Rule[Touch].Window))
	for _, strong := range []bool{false, true} {
		for {
			key, s, ok := f.sources.Oldest(strong)
			if !ok || now.Since(s.last) <= keep {
				break
			}
			f.sources.Delete(key)
		}
	}
}

// SetRules changes the rules. What was counted stays, except for rules whose
// window changed, which count anew; open incidents of a source that is ignored
// from now on are resolved.
func (f *Fleet) SetRules(rules Rules) {
	old := f.rules
	f.rules = rules
	f.ignored = make([]uint64, len(rules.Ignore))
	if old.Keys != rules.Keys || old.Rule[SameSource].Window != rules.Rule[SameSource].Window || old.IPv6Prefix != rules.IPv6Prefix {
		f.sources = window.NewTable(rules.Keys, f.forgetSource)
	}
	if portRules.changed(&old, &rules) {
		f.ports = window.NewTable(maxPorts, func(window.Key, *place) { f.counts.portsEvicted++ })
	}
	if clientRules.changed(&old, &rules) {
		for _, c := range f.clients {
			c.place = place{}
		}
	}
	for _, i := range f.sorted() {
		if slices.ContainsFunc(rules.Ignore, func(g Ignore) bool { return g.covers(i, f.newest) }) {
			f.resolve(i, f.newest, "ignored")
		}
	}
}

// covers reports whether g ignores all that incident i is about.
func (g *Ignore) covers(i *incident, now time.Time) bool {
	if g.Port != 0 || g.Client != "" || g.Tool != "" || i.kind != event.BySource || !g.Until.IsZero() && !now.Before(g.Until) {
		return false
	}
	return !slices.ContainsFunc(i.sources, func(a netip.Addr) bool { return !g.Source.Contains(a) })
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

// forgetSource counts a source that left the full table. Sources that never
// proved that they exist are told of in one alert.
func (f *Fleet) forgetSource(_ window.Key, s *source) {
	f.counts.sourcesEvicted++
	if s.evidence == event.E0 {
		f.fold("spoofable-sources", f.newest, "%d sources that may be forged were forgotten to make room")
	}
}

// counts are the counters of a Fleet.
type counts struct {
	observed, ignored, late                     uint64
	sourcesEvicted, portsEvicted, clientsFolded uint64
	raised, updated, resolved, evicted, folded  uint64
	absorbed                                    uint64
}

// Counts yields every counter by its name. sources, ports, clients and
// incidents_open are what is kept now.
func (f *Fleet) Counts(yield func(name string, n uint64)) {
	c := &f.counts
	for _, one := range []struct {
		name string
		n    uint64
	}{
		{"events", c.observed}, {"events_ignored", c.ignored}, {"events_late", c.late},
		{"sources", uint64(f.sources.Len())}, {"sources_evicted", c.sourcesEvicted},
		{"ports", uint64(f.ports.Len())}, {"ports_evicted", c.portsEvicted},
		{"clients", uint64(len(f.clients))}, {"clients_folded", c.clientsFolded},
		{"incidents_open", uint64(len(f.incidents))}, {"incidents_raised", c.raised}, {"incidents_updated", c.updated},
		{"incidents_resolved", c.resolved}, {"incidents_evicted", c.evicted},
		{"notices_folded", c.folded}, {"notices_absorbed", c.absorbed},
	} {
		yield(one.name, one.n)
	}
}

// IgnoreHits returns how often each entry of Rules.Ignore has matched.
func (f *Fleet) IgnoreHits() []uint64 { return slices.Clone(f.ignored) }
