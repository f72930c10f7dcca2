package sensor

import (
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
	maxListed   = 64   // hosts and ports
	maxDistinct = 1024 // that are counted one by one
	updateEvery = 10 * time.Second
	remember    = time.Minute // beyond the cool-down
	leastFolded = time.Minute // what stands for many keys cools down for so long at least
	wrongClock  = time.Hour   // flows are not that late
)

// ownDetails are the details that vft writes itself.
var ownDetails = map[string]bool{"attacked_hosts": true, "hosts": true, "ports": true, "distinct_ports": true, "count": true, "value": true, "threshold": true,
	"window_s": true, "window": true, "condition": true, "values": true, "folded": true}

// episodeKey tells the episodes of a sensor apart by their keys; 0 is the one
// that stands for those which find no place.
type episodeKey struct {
	sensor string
	key    uint64
}

// episode is a threat and what follows in its cool-down.
type episode struct {
	by        *Definition
	key       episodeKey
	id        event.ID
	observer  string
	offender  packet.Addr
	transport string
	start     int64 // flow time of the first flow in the window that fired
	fired     int64 // flow time of the flow that fired
	end       int64 // flow time of the last flow
	arrived   int64 // when it fired, by Set.Advance
	wrote     int64 // flow time of the flow that a record was written for
	flows     uint64
	values    values // largest
	hosts     seen[packet.Addr]
	ports     seen[uint16]
	resolved  bool
}

// seen is a set of which the first members are listed.
type seen[T comparable] struct {
	list []T
	all  map[T]struct{}
}

func (s *seen[T]) add(v T) {
	if _, known := s.all[v]; known || len(s.all) >= maxDistinct {
		return
	}
	if s.all == nil {
		s.all = map[T]struct{}{}
	}
	s.all[v] = struct{}{}
	if len(s.list) < maxListed {
		s.list = append(s.list, v)
	}
}

// episodes writes each episode once as firing, at most every ten seconds as
// updated, and once as resolved, when its cool-down is over.
type episodes struct {
	emit     event.Emit
	ids      *event.IDs
	observer string // of vft's own captures
	live     map[episodeKey]*episode
	order    []*episode // as they began: records must not depend on the order of a map

	over int // of them, resolved

	minute int64 // of arrivals
	begun  int   // in it

	fired, updated, folded uint64
}

// cooling returns the episode whose cool-down keeps the key from firing at t. A
// flow that is late belongs to it too, but not one that is so far from it that a
// wrong clock made the episode.
func (e *episodes) cooling(key episodeKey, t int64) *episode {
	ep := e.live[key]
	if ep == nil {
		return nil
	}
	if age := t - ep.fired; age >= int64(ep.coolDown()) || age <= -int64(max(ep.by.CoolDown, wrongClock)) {
		e.forget(ep)
		return nil
	}
	return ep
}

func (ep *episode) coolDown() time.Duration {
	if ep.key.key == 0 {
		return max(ep.by.CoolDown, leastFolded)
	}
	return ep.by.CoolDown
}

// forget ends an episode.
func (e *episodes) forget(ep *episode) {
	e.resolve(ep)
	e.over--
	delete(e.live, ep.key)
	e.order = slices.Delete(e.order, slices.Index(e.order, ep), slices.Index(e.order, ep)+1)
}

func (e *episodes) resolve(ep *episode) {
	if ep.resolved {
		return
	}
	ep.resolved = true
	e.over++
	e.write(ep, event.Resolved, max(ep.end, ep.fired+int64(ep.coolDown())))
	ep.hosts, ep.ports = seen[packet.Addr]{}, seen[uint16]{}
}

// begin starts an episode at a time of its clock.
func (e *episodes) begin(d *Definition, key episodeKey, r record, at, arrived int64) *episode {
	ep := &episode{by: d, key: key, id: e.ids.Next(utc(at)), start: at, fired: at, end: at, arrived: arrived, wrote: at,
		observer: e.observer, offender: r.Src, transport: ipproto.Name(r.Proto)}
	if r.Export.Exporter != (packet.Addr{}) {
		ep.observer = r.Export.Exporter.String()
	}
	if key.key == 0 {
		ep.offender = packet.Addr{}
	}
	e.live[key] = ep
	e.order = append(e.order, ep)
	e.fired++
	e.begun++
	return ep
}

// full reports whether a new episode must be folded: none of those that are
// over can make room for it, or as many began in this minute already. That is
// what an exporter gets which sets its clock on with every flow.
func (e *episodes) full(now int64) bool {
	if minute := now / int64(time.Minute); minute != e.minute {
		e.minute, e.begun = minute, 0
	}
	if e.begun >= maxEpisodes {
		return true
	}
	if len(e.live) < maxEpisodes {
		return false
	}
	if e.over == 0 {
		return true
	}
	e.forget(e.order[slices.IndexFunc(e.order, func(ep *episode) bool { return ep.resolved })])
	return false
}

// note adds a flow to an episode that goes on, at a time of its clock.
func (e *episodes) note(ep *episode, r record, at int64, v *values) {
	if ep.resolved {
		return
	}
	ep.flows++
	ep.end = max(ep.end, at)
	ep.add(r, v)
	if at-ep.wrote >= int64(updateEvery) {
		ep.wrote = at
		e.updated++
		e.write(ep, event.Updated, at)
	}
}

func (ep *episode) add(r record, v *values) {
	ep.hosts.add(r.Dst)
	if r.Ports {
		ep.ports.add(r.DstPort)
	}
	if v.Flows >= ep.values.Flows {
		ep.values = *v
	}
}

// advance resolves the episodes whose cool-down is over and forgets them later:
// flows that are on their way must not fire again.
func (e *episodes) advance(now int64) {
	for _, ep := range slices.Clone(e.order) {
		age := now - ep.arrived
		if age >= int64(ep.coolDown()) {
			e.resolve(ep)
		}
		if age >= 2*int64(ep.coolDown())+int64(remember) {
			e.forget(ep)
		}
	}
}

// close resolves all that is left.
func (e *episodes) close() {
	for _, ep := range e.order {
		if !ep.resolved {
			ep.resolved = true
			e.write(ep, event.Resolved, ep.end)
		}
	}
	clear(e.live)
	e.order, e.over = nil, 0
}

func (e *episodes) write(ep *episode, state event.AlertState, at int64) {
	if e.emit == nil {
		return
	}
	t := &event.Threat{
		Type: ep.by.Type, Observer: ep.observer, Sensor: ep.by.Name, State: state, Episode: ep.id.String(), Severity: ep.by.Severity,
		Start: utc(ep.start), End: utc(ep.end), Details: ep.details(),
	}
	ev := event.Event{ID: e.ids.Next(utc(at)), Time: utc(at), Dataset: event.DatasetThreat, Transport: ep.transport, Threat: t}
	if ep.key.key != 0 {
		t.Offender = ep.offender.String()
		ev.Src = netip.AddrPortFrom(ep.offender.Netip(), 0)
	}
	if len(ep.hosts.list) == 1 {
		port := uint16(0)
		if len(ep.ports.list) == 1 {
			port = ep.ports.list[0]
		}
		ev.Dst = netip.AddrPortFrom(ep.hosts.list[0].Netip(), port)
	}
	ev.Message = ep.message(t)
	e.emit(ev)
}

func (ep *episode) details() map[string]any {
	hosts := make([]string, len(ep.hosts.list))
	for i, h := range ep.hosts.list {
		hosts[i] = h.String()
	}
	m := map[string]any{"attacked_hosts": hosts, "hosts": len(ep.hosts.all), "count": ep.flows, "window_s": ep.by.window.seconds()}
	if len(ep.ports.list) > 0 {
		m["ports"] = slices.Sorted(slices.Values(ep.ports.list))
		m["distinct_ports"] = len(ep.ports.all)
	}
	if c := ep.by.condition; c != nil {
		m["condition"] = c.source
		if b, ok := c.measured(); ok {
			m["value"], m["threshold"] = ep.values.of(b.metric), b.number
		}
		all := map[string]any{}
		for i, used := range c.uses {
			if used {
				all[metricNames[i]] = ep.values.of(metric(i))
			}
		}
		m["values"] = all
	}
	if ep.key.key == 0 {
		m["folded"] = true
	}
	for _, d := range ep.by.details {
		m[d.name] = d.value
	}
	return m
}

// message is one sentence for a person.
func (ep *episode) message(t *event.Threat) string {
	who, on := t.Offender, "the network"
	if who == "" {
		who = "many sources"
	}
	switch n := len(ep.hosts.all); {
	case n == 1:
		on = ep.hosts.list[0].String()
	case n > 1:
		on = fmt.Sprintf("%d hosts", n)
	}
	flows := "1 flow"
	if ep.flows != 1 {
		flows = fmt.Sprintf("%d flows", ep.flows)
	}
	return fmt.Sprintf("%s by %s against %s: %s, sensor %s", t.Type, who, on, flows, t.Sensor)
}

func utc(ns int64) time.Time { return time.Unix(0, ns).UTC() }
