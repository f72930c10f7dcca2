package detect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vft/capture/packet"
	"vft/event"
	"vft/ipproto"
)

// Limits of what is told of an episode, and of the episodes at once.
const (
	maxEpisodes = 1024
	maxPorts    = 64   // in details.ports
	maxHosts    = 64   // in details.attacked_hosts
	maxDistinct = 1024 // that are counted one by one
	updateEvery = 10 * second
)

// finding is one observation that makes an episode, or belongs to one.
type finding struct {
	kind      string // vft.threat.type
	sensor    string // the detection
	key       string // tells episodes of one kind and offender apart; may be empty
	offender  packet.Addr
	name      string // of the offender when it has no address
	spoofed   bool   // many offenders, none of them worth a name
	anyone    bool   // whoever offends, kind and key alone tell the episode
	scan      string
	transport string
	severity  int
	evidence  event.Evidence
	target    packet.Addr // zero: none
	port      uint16      // of the target; used when hasPort
	hasPort   bool
	count     uint64 // observations that this one stands for; 0 is 1
	value     float64
	threshold float64
	window    time.Duration
	memory    int64  // nanoseconds for which the detection remembers what made it fire
	unit      string // of value, threshold and usual: "ports", "hosts", "packets/s", ...
	usual     float64
	isUsual   bool   // usual is known
	by        string // recognised program
	more      []detail

	// What was seen before an episode began; read when it does.
	pastHosts []packet.Addr
	pastPorts []uint16
}

// detail is one more entry of vft.threat.details.
type detail struct {
	name  string
	value any
}

type episodeKey struct {
	kind, key, name string
	offender        packet.Addr
}

// episode is a run of findings that belong together.
type episode struct {
	finding
	id      event.ID
	start   int64
	end     int64
	total   uint64
	ports   []uint16
	hosts   []packet.Addr
	nPorts  map[uint16]struct{}
	nHosts  map[packet.Addr]struct{}
	wrote   int64
	changed bool

	exporter packet.Addr // who told of it first; zero: own capture
}

// episodes writes each episode once as firing, at most every ten seconds as
// updated, and once as resolved.
type episodes struct {
	emit     event.Emit
	ids      *event.IDs
	observer string
	off      []string
	live     map[episodeKey]*episode
	exporter packet.Addr // whose records are looked at; zero: own capture
	order    []*episode  // as they began: records must not depend on the order of a map

	fired   uint64
	updated uint64
	folded  uint64 // findings beyond maxEpisodes, told as one episode a kind
}

func newEpisodes(cfg *Config) *episodes {
	return &episodes{emit: cfg.Emit, ids: event.NewIDs(cfg.Seed), observer: cfg.Observer, off: slices.Clone(cfg.Off), live: map[episodeKey]*episode{}}
}

func (e *episodes) keyOf(f *finding) episodeKey {
	if f.anyone {
		return episodeKey{kind: f.kind, key: f.key}
	}
	return episodeKey{f.kind, f.key, f.name, source(f.offender)}
}

// running reports whether the episode that f would belong to is live.
func (e *episodes) running(f *finding) bool { return e.live[e.keyOf(f)] != nil }

// note adds a finding to its episode, or begins one.
func (e *episodes) note(f *finding, now int64) {
	if e.emit == nil || slices.Contains(e.off, f.sensor) {
		return
	}
	key := e.keyOf(f)
	ep := e.live[key]
	if ep == nil && len(e.live) >= maxEpisodes {
		e.folded++
		f.spoofed, f.anyone, f.name, f.key, f.offender = true, true, "", "folded", packet.Addr{}
		key = e.keyOf(f)
		ep = e.live[key]
	}
	fresh := ep == nil
	if fresh {
		ep = &episode{exporter: e.exporter, id: e.ids.Next(time.Unix(0, now)), start: now, nPorts: map[uint16]struct{}{}, nHosts: map[packet.Addr]struct{}{}}
		e.live[key] = ep
		e.order = append(e.order, ep)
		e.fired++
	}
	ep.add(f, now)
	if fresh {
		e.write(ep, event.Firing, now)
	}
}

func (ep *episode) add(f *finding, now int64) {
	value, severity, scan := ep.value, ep.severity, ep.scan
	if ep.total == 0 {
		ep.past(f)
	}
	ep.finding = *f
	ep.pastHosts, ep.pastPorts = nil, nil
	ep.value, ep.severity = max(value, f.value), max(severity, f.severity)
	ep.scan = cmp.Or(f.scan, scan)
	ep.end = max(ep.end, now)
	ep.total += max(f.count, 1)
	ep.changed = true
	if f.target != (packet.Addr{}) {
		ep.hosts = addTo(ep.hosts, ep.nHosts, f.target, maxHosts)
	}
	if f.hasPort {
		ep.ports = addTo(ep.ports, ep.nPorts, f.port, maxPorts)
	}
}

// addTo keeps the first of what is distinct.
func addTo[T comparable](list []T, seen map[T]struct{}, v T, limit int) []T {
	if _, known := seen[v]; known || len(seen) >= maxDistinct {
		return list
	}
	seen[v] = struct{}{}
	if len(list) < limit {
		list = append(list, v)
	}
	return list
}

func (ep *episode) past(f *finding) {
	for _, h := range f.pastHosts {
		ep.hosts = addTo(ep.hosts, ep.nHosts, h, maxHosts)
	}
	for _, p := range f.pastPorts {
		ep.ports = addTo(ep.ports, ep.nPorts, p, maxPorts)
	}
}

// advance writes what changed and resolves what is quiet.
func (e *episodes) advance(now int64) {
	if len(e.order) == 0 {
		return
	}
	keep := e.order[:0]
	for _, ep := range e.order {
		switch {
		case now-ep.end > ep.memory:
			e.resolve(ep, now)
			continue
		case ep.changed && now-ep.wrote >= updateEvery:
			e.updated++
			e.write(ep, event.Updated, now)
		}
		keep = append(keep, ep)
	}
	clear(e.order[len(keep):])
	e.order = keep
}

func (e *episodes) resolve(ep *episode, now int64) {
	delete(e.live, e.keyOf(&ep.finding))
	e.write(ep, event.Resolved, now)
}

func (e *episodes) close(now int64) {
	for _, ep := range e.order {
		e.resolve(ep, now)
	}
	e.order = nil
}

func (e *episodes) write(ep *episode, state event.AlertState, now int64) {
	ep.wrote, ep.changed = now, false
	at := time.Unix(0, now).UTC()
	t := &event.Threat{
		Type: ep.kind, Observer: e.observerOf(ep), Offender: ep.offenderName(), Sensor: ep.sensor, State: state, Episode: ep.id.String(), Severity: ep.severity,
		Start: time.Unix(0, ep.start).UTC(), End: time.Unix(0, ep.end).UTC(), Details: ep.details(),
	}
	ev := event.Event{ID: e.ids.Next(at), Time: at, Dataset: event.DatasetThreat, Transport: ipproto.Over(ep.transport, ep.overIPv4()), Evidence: ep.evidence, Threat: t, Message: ep.message(t.Offender)}
	if ep.offender != (packet.Addr{}) && !ep.spoofed {
		ev.Src = netip.AddrPortFrom(ep.offender.Netip(), 0)
	}
	if len(ep.hosts) == 1 {
		port := uint16(0)
		if len(ep.ports) == 1 {
			port = ep.ports[0]
		}
		ev.Dst = netip.AddrPortFrom(ep.hosts[0].Netip(), port)
	}
	e.emit(ev)
}

func (e *episodes) observerOf(ep *episode) string {
	if ep.exporter == (packet.Addr{}) {
		return e.observer
	}
	return ep.exporter.String()
}

// overIPv4 reports whether the hosts that the episode is about speak IPv4.
func (ep *episode) overIPv4() bool {
	if len(ep.hosts) > 0 {
		return ep.hosts[0].Is4()
	}
	return ep.offender.Is4() || ep.offender == (packet.Addr{})
}

func (ep *episode) offenderName() string {
	switch {
	case ep.name != "":
		return ep.name
	case ep.spoofed || ep.offender == packet.Addr{}:
		return ""
	}
	return ep.offender.String()
}

func (ep *episode) details() map[string]any {
	hosts := make([]string, len(ep.hosts))
	for i, h := range ep.hosts {
		hosts[i] = h.String()
	}
	m := map[string]any{"count": ep.total, "value": ep.value, "threshold": ep.threshold, "window_s": ep.window.Seconds(), "attacked_hosts": hosts, "hosts": len(ep.nHosts)}
	if len(ep.ports) > 0 {
		m["ports"] = slices.Sorted(slices.Values(ep.ports))
		m["distinct_ports"] = len(ep.nPorts)
	}
	for name, text := range map[string]string{"scan": ep.scan, "tool": ep.by, "unit": ep.unit} {
		if text != "" {
			m[name] = text
		}
	}
	if ep.isUsual {
		m["usual"] = ep.usual
	}
	if ep.spoofed {
		m["spoofed"] = true
	}
	for _, d := range ep.more {
		m[d.name] = d.value
	}
	return m
}

// message is one sentence for a person.
func (ep *episode) message(offender string) string {
	who := cmp.Or(offender, "many sources")
	on := "the network"
	switch n := len(ep.nHosts); {
	case n == 1:
		on = ep.hosts[0].String()
	case n > 1:
		on = fmt.Sprintf("%d hosts", n)
	}
	scan := ""
	if ep.scan != "" {
		scan = " (" + ep.scan + ")"
	}
	return fmt.Sprintf("%s%s by %s against %s: %s, threshold %s", ep.kind, scan, who, on, number(ep.value), number(ep.threshold))
}

func number(v float64) string { return fmt.Sprintf("%.6g", v) }

func (e *episodes) counts(yield func(string, uint64)) {
	yield("threats_fired", e.fired)
	yield("threats_updated", e.updated)
	yield("threats_folded", e.folded)
}
