// Package sensor finds threats in flows: what a user writes as filter, key,
// window and condition in a file of sensors. Three come with vft and are written
// in that same language. The flows are those that NetFlow, IPFIX and sFlow
// exporters send, and vft's own. It does no I/O, starts no goroutine and asks
// for no time: windows run on the times of the flows, so a replay finds what a
// live run found. All memory has a maximum and what had to leave is counted.
package sensor

import (
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// Config says which sensors run and where threats go.
type Config struct {
	Definitions Definitions
	// Seed keys the hashes, which a stranger must not know, and makes the ids of
	// the events. The same seed and flows give the same records.
	Seed [32]byte
	// MaxKeys is how many keys each sensor keeps windows for; 0 is 65,536, at most
	// 4,194,304. At most 200 bytes
	// each, more where a condition needs more than count.
	MaxKeys int
	// Observer names the interface or file of vft's own captures in records; the
	// observer of an exported flow is the address of its exporter.
	Observer string
	// Emit gets every record, in order, on the goroutine that calls Flow, Advance,
	// Close or Reload.
	Emit event.Emit
}

const (
	defaultKeys = 1 << 16
	mostKeys    = 1 << 22
	leastKeys   = 16
	bookSize    = 1 << 13 // IPv6 addresses that can be named when a sensor fires
	expireLook  = 1 << 10 // keys that Advance looks at
)

// Set is the sensors that look at one stream of flows. One goroutine owns it.
//
// A window belongs to a key, and the observer is part of every key. It ends at
// the newest flow of its key, so exporters whose clocks differ, or are wrong, do
// not disturb each other; a flow that comes late counts as long as the window
// reaches back to it.
type Set struct {
	hash     hasher
	maxKeys  int
	watchers []*watcher
	episodes episodes
	book     []packet.Addr // IPv6 destinations by hasher.short; what is overwritten cannot be named
	now      int64
	flows    uint64
}

// New returns the sensors of cfg, which have seen nothing.
func New(cfg Config) *Set {
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = defaultKeys
	}
	s := &Set{
		hash:     newHasher(cfg.Seed),
		maxKeys:  min(max(cfg.MaxKeys, leastKeys), mostKeys),
		episodes: episodes{emit: cfg.Emit, ids: event.NewIDs(cfg.Seed), observer: cfg.Observer, live: map[episodeKey]*episode{}},
	}
	s.Reload(cfg.Definitions)
	return s
}

// Flow looks at a flow that ended, in the direction of its initiator: a record
// of both directions counts once, by its key and what Fwd counts. It allocates
// only when a sensor fires, and does not keep r.
func (s *Set) Flow(r *flow.Record) {
	s.flows++
	if s.now == 0 {
		s.at(r.Last)
	}
	for _, w := range s.watchers {
		if w.filter(r) {
			s.watch(w, r)
		}
	}
}

func (s *Set) watch(w *watcher, r record) {
	slot, holds := w.flow(r)
	if slot >= 0 && !r.Dst.Is4() {
		s.remember(r.Dst)
	}
	if holds {
		s.found(w, slot, r)
	}
}

// found takes a flow for whose window the condition holds.
func (s *Set) found(w *watcher, slot int, r record) {
	key, at := episodeKey{w.Name, s.hash.of(r, w.key)}, r.Last
	ep := s.episodes.cooling(key, at)
	if ep == nil && s.episodes.full(s.now) {
		s.episodes.folded++
		key.key, at = 0, s.now // of many keys, whose clocks may differ
		ep = s.episodes.cooling(key, at)
	}
	if ep != nil {
		s.episodes.note(ep, r, at, &w.values)
		return
	}
	w.fired++
	ep = s.episodes.begin(&w.Definition, key, r, at, s.now)
	s.past(w, slot, ep)
	ep.add(r, &w.values)
	s.episodes.write(ep, event.Firing, at)
}

// past adds what the window holds to an episode that begins.
func (s *Set) past(w *watcher, slot int, ep *episode) {
	if slot < 0 {
		ep.flows = 1
		return
	}
	k := &w.keys.slots[slot]
	ep.flows = uint64(k.flows)
	at := k.log.first()
	if w.window.kind != count && ep.key.key != 0 {
		ep.start = (k.newest - int64(uint32(k.newest)-w.pool.note(at).at)) * 1e6
	}
	for range k.log.n {
		n := w.pool.note(at)
		if host, known := s.named(n); known {
			ep.hosts.add(host)
		}
		if n.kind&ported != 0 {
			ep.ports.add(n.port)
		}
		at = w.pool.after(at)
	}
}

// remember keeps an IPv6 destination, so that it can be named.
func (s *Set) remember(a packet.Addr) {
	if s.book == nil {
		s.book = make([]packet.Addr, bookSize)
	}
	s.book[s.hash.short(a)%bookSize] = a
}

func (s *Set) named(n *note) (packet.Addr, bool) {
	if n.kind&wide == 0 {
		return packet.Addr4(n.dst), true
	}
	a := s.book[n.dst%bookSize]
	return a, s.hash.short(a) == n.dst
}

// Advance tells the time, in nanoseconds since 1970: of the packets in a
// capture, of their arrival for exported flows. Call it about once a second. It
// ends episodes and forgets keys that were quiet for longer than their window;
// no window depends on it.
func (s *Set) Advance(now int64) {
	passed := now/1e9 != s.now/1e9
	s.at(now)
	if !passed {
		return
	}
	s.episodes.advance(now)
	for _, w := range s.watchers {
		w.expire(expireLook)
	}
}

func (s *Set) at(now int64) {
	s.now = now
	for _, w := range s.watchers {
		w.now = uint32(now / 1e9)
	}
}

// Close resolves every episode.
func (s *Set) Close() { s.episodes.close() }

// Reload changes the sensors. One whose filter, key, window and condition stay
// the same keeps its windows; the episodes of one that is gone are resolved.
func (s *Set) Reload(d Definitions) {
	old := s.watchers
	s.watchers = nil
	for _, one := range d {
		w := newWatcher(one, s.hash, s.maxKeys)
		for _, was := range old {
			if was.Name == one.Name && was.behaviour == one.behaviour {
				was.Definition = one
				w = was
			}
		}
		w.now = uint32(s.now / 1e9)
		s.watchers = append(s.watchers, w)
	}
	for _, ep := range append([]*episode(nil), s.episodes.order...) {
		if d.index(ep.key.sensor) < 0 {
			s.episodes.forget(ep)
		}
	}
}

// Bytes returns how much memory the windows of all sensors take. It is more when
// a condition needs more than count: then sums and members are kept too.
func (s *Set) Bytes() (n int) {
	for _, w := range s.watchers {
		n += w.keys.bytes() + w.pool.bytes() + w.members.bytes()
	}
	return n + cap(s.book)*16
}

// Counts calls yield for every counter. Flows that match a sensor and then do
// not count are late.
func (s *Set) Counts(yield func(name string, value uint64)) {
	var matched, late, evicted, failed uint64
	for _, w := range s.watchers {
		matched, late, evicted, failed = matched+w.matched, late+w.late, evicted+w.evicted, failed+w.failed
		yield("sensor_"+w.Name+"_fired", w.fired)
	}
	yield("sensor_flows", s.flows)
	yield("sensor_flows_matched", matched)
	yield("sensor_flows_late", late)
	yield("sensor_keys_evicted", evicted)
	yield("sensor_condition_errors", failed)
	yield("sensor_threats_fired", s.episodes.fired)
	yield("sensor_threats_updated", s.episodes.updated)
	yield("sensor_threats_folded", s.episodes.folded)
}
