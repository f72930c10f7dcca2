package incident

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"vft/event"
)

const (
	allowance   = 0.9                   // share of its sources from which on others explain an incident
	statistic   = "statistic"           // the type of findings that join whatever goes on at their host
	evidenceFor = 10 * time.Minute      // how long after its last sign an incident explains what else is unusual
	reaction    = time.Minute           // how long after it a host reacts to what is done to it
	together    = 10 * time.Second      // how far apart the beginnings of a scan and its decoys are
	likeness    = 0.8                   // share of the ports that they try in the same order
	leastAlike  = 8                     // ports, fewer say nothing ...
	atOnce      = 10 * time.Millisecond // ... unless they come back to back, from one tool
)

// cause returns the open incident that a finding belongs to although it is about
// another party, nil when there is none.
func (r *Room) cause(who party, f *event.Finding) *incident {
	switch {
	case f.Type == statistic:
		return r.ofHost(f)
	case f.Notice:
		return r.named(f)
	case who.Kind != event.BySource:
		return nil
	}
	if i := r.reactsTo(f); i != nil {
		return i
	}
	return r.decoyOf(f)
}

// adopt lets a party lead to an incident until that ends.
func (r *Room) adopt(i *incident, who party) {
	if who.Kind == event.ByPort || slices.Contains(i.Parties, who) || len(i.Parties) >= maxListed {
		return
	}
	i.Parties = append(i.Parties, who)
	r.parties[who] = i
}

// ofHost returns the strongest incident that goes on at the host of a statistic:
// what is unusual there is evidence of it.
func (r *Room) ofHost(f *event.Finding) (strongest *incident) {
	for _, i := range r.open {
		if r.explains(i) && (f.Client == "" || slices.Contains(i.Clients, f.Client)) && (strongest == nil || i.Rank > strongest.Rank) {
			strongest = i
		}
	}
	return strongest
}

// explains reports whether an incident is strong and fresh enough to explain what
// a statistic shows.
func (r *Room) explains(i *incident) bool {
	return !i.isHeld() && i.Overflow == "" && i.Kind != event.BySensor && i.Rank.severity() >= packetSeverity &&
		!i.onlyNotice() && !i.onlyStatistics() && r.clock.Sub(i.Touched) <= evidenceFor
}

// named returns the incident of a port or client that names the source of a
// notice already.
func (r *Room) named(f *event.Finding) *incident {
	names := func(p party) *incident {
		i := r.parties[p]
		if i == nil || i.isHeld() || i.over(r.clock) {
			return nil
		}
		if !slices.ContainsFunc(i.Sources, func(s weight) bool { return s.Addr == f.Offender }) {
			return nil
		}
		return i
	}
	for _, port := range f.Ports {
		if i := names(party{Kind: event.ByPort, Name: strconv.Itoa(int(port))}); i != nil {
			r.counts.Absorbed++
			return i
		}
	}
	if i := names(party{Kind: event.ByClient, Name: f.Client}); i != nil {
		r.counts.Absorbed++
		return i
	}
	return nil
}

// reactions are what a host does that is scanned or flooded, or that routes for
// one: a router asks for hosts that a stranger tries, a server answers forged
// addresses.
var reactions = map[string]bool{
	"portscan": true, "horizontal_scan": true, "vertical_scan": true, "slow_scan": true, "host_discovery": true,
	"tcp_flood": true, "icmp_flood": true, "udp_flood": true,
}

// reactsTo returns the incident of which a finding shows no more than how its
// victim, or the router before it, reacts.
func (r *Room) reactsTo(f *event.Finding) *incident {
	if !reactions[f.Type] {
		return nil
	}
	for _, i := range r.open {
		if i.isHeld() || i.Overflow != "" || r.clock.Sub(i.Touched) > reaction {
			continue
		}
		if slices.Contains(i.Victims, f.Offender) && r.answers(i, f) {
			return i
		}
		if f.Type == "host_discovery" && f.Scan == "arp" && i.scansHosts() && overlap(i.Victims, f.Victims) {
			return i
		}
	}
	return nil
}

// answers reports whether the targets of f are the offenders of i, or i's are
// forged.
func (r *Room) answers(i *incident, f *event.Finding) bool {
	for _, t := range i.Findings {
		if t.Many && !t.Ended {
			return true
		}
	}
	known := 0
	for _, v := range f.Victims {
		if slices.ContainsFunc(i.Sources, func(s weight) bool { return s.Addr == v }) {
			known++
		}
	}
	return known > 0 && 2*known >= len(f.Victims)
}

// scansHosts reports whether an incident has tried many hosts.
func (i *incident) scansHosts() bool {
	return slices.ContainsFunc(i.Findings, func(t *finding) bool {
		return t.Type == "horizontal_scan" || t.Type == "host_discovery" || t.Type == "portscan" || t.Type == "sweep"
	})
}

// overlap reports whether at least half of some hosts are among others.
func overlap(others, some []netip.Addr) bool {
	n := 0
	for _, a := range some {
		if slices.Contains(others, a) {
			n++
		}
	}
	return n > 0 && 2*n >= len(some)
}

// decoyOf returns the incident of another source that tries the same ports of the
// same host in the same order at the same time: a scanner can send each probe
// from forged addresses too, so that nobody knows which is its own.
func (r *Room) decoyOf(f *event.Finding) *incident {
	if f.Type != "vertical_scan" || f.Evidence != event.E0 || len(f.Victims) != 1 || len(f.Ports) == 0 {
		return nil
	}
	begun := f.Time
	if !f.Since.IsZero() {
		begun = f.Since
	}
	for _, i := range r.open {
		if i.isHeld() || i.Kind != event.BySource || i.Overflow != "" || begun.Sub(i.Start).Abs() > together || f.Time.Sub(i.Start) > time.Minute {
			continue
		}
		for _, t := range i.Findings {
			if t.Type == f.Type && t.Scan == f.Scan && slices.Contains(t.Hosts, f.Victims[0]) && (alike(t.Ports, f.Ports) || backToBack(t, f, begun)) {
				i.Decoys = true
				return i
			}
		}
	}
	return nil
}

// backToBack reports whether a scan that a tool marks begins with the same ports as
// another, hardly later.
func backToBack(t *finding, f *event.Finding, begun time.Time) bool {
	return f.Tool != "" && f.Tool == t.Tool && begun.Sub(t.Begun).Abs() <= atOnce && len(t.Ports) >= len(f.Ports) && slices.Equal(t.Ports[:len(f.Ports)], f.Ports)
}

// alike reports whether two scans try the same ports in the same order.
func alike(a, b []uint16) bool {
	n := min(len(a), len(b))
	if n < leastAlike {
		return false
	}
	same := 0
	for k := range n {
		if a[k] == b[k] {
			same++
		}
	}
	return float64(same) >= likeness*float64(n)
}

// waits reports whether an incident that a finding begins is held for a moment:
// its sources may turn out to be attackers with incidents of their own.
func waits(f *event.Finding) bool {
	return !f.Rule && len(f.Sources) > 0 && (f.By == event.ByPort || f.By == event.ByClient || f.Many)
}

// release tells of the incidents that were held long enough.
func (r *Room) release(now time.Time) {
	n := 0
	for ; n < len(r.held) && now.Sub(r.held[n].HeldSince) >= r.set.Hold; n++ {
		r.settle(r.held[n])
	}
	if n > 0 {
		r.held = slices.Delete(r.held, 0, n)
	}
}

// settle tells of a held incident, unless its sources explain it: then theirs
// list its findings instead.
func (r *Room) settle(i *incident) {
	owners, explained, of := r.owners(i)
	first := i.Findings[0].Finding
	first.Victims, first.Ports, first.Sources = i.Findings[0].Hosts, i.Ports, i.heaviest(maxListed)
	switch {
	case of > 0 && float64(explained) >= allowance*float64(of):
		r.drop(i)
		r.hand(i, owners)
	case !r.mayBegin(i.Parties[0], &first):
		r.drop(i)
	default:
		r.raise(i, &first)
	}
}

// owners returns the incidents of the sources of a held incident that are more
// than notices, and how much of it is theirs.
func (r *Room) owners(i *incident) (owners []*incident, explained, of uint64) {
	for _, s := range i.Sources {
		of += s.N
		owner := r.parties[party{Kind: event.BySource, Prefix: r.sourceOf(s.Addr)}]
		if owner != nil && owner != i && !owner.onlyNotice() {
			explained += s.N
			if !slices.Contains(owners, owner) {
				owners = append(owners, owner)
			}
		}
	}
	return owners, explained, of
}

// hand adds the findings of an incident to those that explain it.
func (r *Room) hand(i *incident, owners []*incident) {
	r.counts.Joined++
	for _, owner := range owners {
		strength := owner.Rank
		for _, t := range i.Findings {
			f := t.Finding
			f.Count, f.Sources = 0, nil
			r.add(owner, &f)
		}
		if !owner.isHeld() {
			r.tell(owner, owner.Rank > strength)
		}
	}
}

// absorb ends what a new incident explains: the notices of its sources, and the
// statistics of the hosts that saw it.
func (r *Room) absorb(i *incident) {
	if i.Kind != event.BySource {
		for _, s := range slices.Clone(i.Sources) {
			r.absorbNotice(i, s.Addr)
		}
	}
	if i.onlyStatistics() || i.Rank.severity() < packetSeverity || i.Kind == event.BySensor || i.onlyNotice() {
		return
	}
	for _, client := range i.Clients {
		p := party{Kind: event.ByClient, Name: client, Part: statistic}
		s := r.parties[p]
		if s == nil || s == i || !s.onlyStatistics() || r.clock.Sub(s.Touched) > evidenceFor {
			continue
		}
		r.counts.Joined++
		i.Findings = append(i.Findings, s.Findings[:min(len(s.Findings), max(0, maxFindings-len(i.Findings)))]...)
		s.Findings = s.Findings[:1:1] // what it is named after; the others live on in i
		r.drop(s)
		r.write(s, r.clock, event.Resolved, "joined "+i.ID)
		r.adopt(i, p)
	}
}

// absorbNotices ends the notices of the sources that an open incident of a port or
// client has just named.
func (r *Room) absorbNotices(i *incident, f *event.Finding) {
	if i.Kind == event.BySource || i.Overflow != "" {
		return
	}
	for _, a := range f.Sources {
		r.absorbNotice(i, a)
	}
	if f.Offender.IsValid() {
		r.absorbNotice(i, f.Offender)
	}
}

func (r *Room) absorbNotice(into *incident, source netip.Addr) {
	notice := r.parties[party{Kind: event.BySource, Prefix: r.sourceOf(source)}]
	if notice == nil || notice == into || !notice.onlyNotice() {
		return
	}
	r.counts.Absorbed++
	r.resolve(notice, r.clock, "joined "+into.ID)
}

// onlyNotice reports whether an incident is no more than a first sign.
func (i *incident) onlyNotice() bool {
	return i.Kind == event.BySource && i.Overflow == "" && !slices.ContainsFunc(i.Findings, func(t *finding) bool { return !t.Notice })
}

// onlyStatistics reports whether nothing but statistics are unusual.
func (i *incident) onlyStatistics() bool {
	return i.Overflow == "" && !slices.ContainsFunc(i.Findings, func(t *finding) bool { return t.Type != statistic })
}
