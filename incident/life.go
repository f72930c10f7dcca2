package incident

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

// packetSeverity is the most that packets alone weigh: their source may be forged.
const packetSeverity = 40

// updates are how long an incident that only goes on waits before it is told
// again; after the last, each wait is twice the one before.
var updates = [...]time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour}

// rank orders findings by what they weigh: the severity that a person sees, then
// that of the detector.
type rank int

func (r rank) severity() int { return max(0, int(r>>8)) }

func rankOf(f *event.Finding) rank {
	severity := max(0, min(f.Severity, 100))
	shown := severity
	if f.Evidence == event.E0 && f.By != event.BySensor {
		shown = min(severity, packetSeverity)
	}
	return rank(shown<<8 | severity)
}

// incident is what a person sees: findings that belong together. Its exported
// fields are what Snapshot keeps.
type incident struct {
	ID        string          `json:"id"`
	Kind      event.AlertKind `json:"kind"`
	Key       string          `json:"key"`
	Parties   []party         `json:"parties"` // the first is what it is about, the others joined
	Start     time.Time       `json:"start"`
	End       time.Time       `json:"end"`
	Touched   time.Time       `json:"touched"` // when its last finding came, on the clock of the Room
	HeldSince time.Time       `json:"held,omitzero"`
	Findings  []*finding      `json:"findings"`
	Count     uint64          `json:"count"`
	Clients   []string        `json:"clients,omitempty"`
	Sources   []weight        `json:"sources,omitempty"`
	Victims   []netip.Addr    `json:"victims,omitempty"`
	Ports     []uint16        `json:"ports,omitempty"`
	Events    []event.ID      `json:"events,omitempty"`
	Evidence  event.Evidence  `json:"evidence"`
	Witness   string          `json:"witness,omitempty"` // the first client with more than packets
	Decoys    bool            `json:"decoys,omitempty"`  // its sources are probably one, the others forged
	Overflow  string          `json:"overflow,omitempty"`
	Changed   bool            `json:"changed,omitempty"` // since it was written
	Written   time.Time       `json:"written,omitzero"`
	Told      int             `json:"told,omitempty"`   // updates that were due by time
	Linger    time.Duration   `json:"linger,omitempty"` // how long it stays open when all is over

	Rank        rank `json:"rank"`
	StrongestAt int  `json:"strongest"` // among Findings; set by Snapshot

	strongest *finding
}

// weight is a source and how much of the incident is its.
type weight struct {
	Addr netip.Addr `json:"addr"`
	N    uint64     `json:"n"`
}

// finding is the life of one finding in an incident: what was observed so far.
type finding struct {
	event.Finding
	ID      string       `json:"id"`
	Begun   time.Time    `json:"begun"`
	Touched time.Time    `json:"touched"`        // on the clock of the Room
	Told    int          `json:"told,omitempty"` // severity at the last record + 1; 0: nobody was told
	Ended   bool         `json:"ended,omitempty"`
	Hosts   []netip.Addr `json:"hosts,omitempty"` // victims listed
	NHosts  int          `json:"nhosts,omitempty"`
	NPorts  int          `json:"nports,omitempty"`
	Spells  int          `json:"spells,omitempty"` // times that it began again

	Rank rank `json:"rank"`
}

func (i *incident) isHeld() bool { return !i.HeldSince.IsZero() }

// alertID is a hash of what an incident is, as a UUID of version 8 (RFC 9562), so
// that a replay gives the same ones.
func alertID(kind event.AlertKind, key string, start time.Time) string {
	return hashID(string(kind), key, start)
}

func hashID(kind, key string, start time.Time) string {
	b := binary.BigEndian.AppendUint64(append([]byte(kind), 0), uint64(start.UnixNano()))
	sum := sha256.Sum256(append(b, key...))
	id := event.ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id.String()
}

// add takes a finding into the incident.
func (r *Room) add(i *incident, f *event.Finding) {
	i.Touched = later(i.Touched, r.clock)
	i.Start, i.End = earlier(i.Start, f.Time), later(i.End, f.Time)
	if !f.Since.IsZero() {
		i.Start = earlier(i.Start, f.Since)
	}
	i.Count += f.Count
	i.see(f)
	if f.Type == "" {
		return
	}
	t := i.find(f)
	if t == nil {
		t = r.track(i, f)
	} else {
		t.observe(f, r.clock)
	}
	if t.Rank > i.Rank {
		i.Rank, i.strongest = t.Rank, t
	}
	if f.Over && !t.Ended {
		r.end(i, t, f.Time)
	}
}

// see adds what a finding names to what the incident lists.
func (i *incident) see(f *event.Finding) {
	i.Changed = true
	if f.Client != "" {
		i.Clients = list(i.Clients, f.Client, maxListed)
	}
	for _, c := range f.Clients {
		i.Clients = list(i.Clients, c, maxListed)
	}
	n := max(f.Count, 1)
	if f.Offender.IsValid() && (!f.Many || len(f.Sources) == 0) {
		i.weigh(f.Offender, n, f.Evidence)
	}
	for _, a := range f.Sources {
		i.weigh(a, 1, f.Evidence)
	}
	for _, a := range f.Victims {
		i.Victims = list(i.Victims, a, maxListed)
	}
	for _, p := range f.Ports {
		i.Ports = list(i.Ports, p, maxListed)
	}
	if !f.Event.IsZero() && len(i.Events) < maxEvents {
		i.Events = list(i.Events, f.Event, maxEvents)
	}
	i.prove(f.Client, f.Evidence)
}

// weigh counts a source. When the list is full, a new one takes the place of the
// lightest and inherits its weight (Space-Saving; Metwally, Agrawal and El Abbadi,
// 2005), but one that may be forged does not drive out others.
func (i *incident) weigh(a netip.Addr, n uint64, level event.Evidence) {
	for k := range i.Sources {
		if i.Sources[k].Addr == a {
			i.Sources[k].N += n
			return
		}
	}
	most := maxListed
	if level == event.E0 {
		most = maxForged
	}
	if len(i.Sources) < most {
		i.Sources = append(i.Sources, weight{a, n})
		return
	}
	if len(i.Sources) > most {
		return
	}
	lightest := 0
	for k := range i.Sources {
		if i.Sources[k].N < i.Sources[lightest].N {
			lightest = k
		}
	}
	i.Sources[lightest] = weight{a, i.Sources[lightest].N + n}
}

// prove raises the evidence: two clients that agree on a handshake are E3.
func (i *incident) prove(client string, level event.Evidence) {
	i.Evidence = max(i.Evidence, min(level, event.E3))
	switch {
	case level < event.E1 || client == "":
	case i.Witness == "":
		i.Witness = client
	case i.Witness != client:
		i.Evidence = event.E3
	}
}

// list adds one to all unless it is there or the list is full.
func list[T comparable](all []T, one T, most int) []T {
	if len(all) >= most || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// find returns the life that f continues.
func (i *incident) find(f *event.Finding) *finding {
	for _, t := range i.Findings {
		if t.Type == f.Type && t.Key == f.Key && t.Sensor == f.Sensor && t.Offender == f.Offender && t.Name == f.Name {
			return t
		}
	}
	return nil
}

// track begins the life of a finding in an incident.
func (r *Room) track(i *incident, f *event.Finding) *finding {
	if len(i.Findings) >= maxFindings {
		r.evictFinding(i)
	}
	t := &finding{Finding: *f, Begun: f.Time, Touched: r.clock, Rank: rankOf(f)}
	if !f.Since.IsZero() {
		t.Begun = f.Since
	}
	t.Since = t.Begun
	t.Victims, t.Ports, t.Sources, t.Clients = nil, nil, nil, nil
	t.Details = canonical(f.Details)
	t.Anomaly = cloneAnomaly(f.Anomaly)
	t.Over = false
	t.ID = hashID("finding", f.Type+"\x00"+f.Sensor+"\x00"+f.Key+"\x00"+f.Name+"\x00"+f.Offender.String()+"\x00"+i.ID, t.Begun)
	t.collect(f)
	i.Findings = append(i.Findings, t)
	return t
}

// observe takes in what was seen again. A finding that had ended begins again.
func (t *finding) observe(f *event.Finding, clock time.Time) {
	if t.Ended && !f.Over {
		t.Ended = false
		t.Spells++
	}
	r := rankOf(f)
	farther := f.Value >= t.Value || r > t.Rank
	t.Time = later(t.Time, f.Time)
	t.Touched = later(t.Touched, clock)
	t.Count += f.Count
	t.Memory = max(t.Memory, f.Memory)
	t.Evidence = max(t.Evidence, f.Evidence)
	t.Severity = max(t.Severity, f.Severity)
	t.Rank = max(t.Rank, r)
	if farther && !f.Over {
		t.Value, t.Threshold, t.Usual, t.Unit, t.Window = max(t.Value, f.Value), f.Threshold, f.Usual, f.Unit, f.Window
		if f.Anomaly != nil {
			t.Anomaly = cloneAnomaly(f.Anomaly)
		}
	}
	t.Details = mergeDetails(t.Details, f.Details)
	if f.Scan != "" {
		t.Scan = f.Scan
	}
	if f.Tool != "" {
		t.Tool = f.Tool
	}
	if f.Process != nil {
		t.Process = f.Process
	}
	t.collect(f)
}

// Limits of what is told of one finding.
const (
	maxHosts    = 64
	maxPorts    = 64
	maxDistinct = 1024 // that are counted one by one
)

// collect adds the victims and ports that a finding names. Detectors tell each
// once, so those beyond the lists are only counted.
func (t *finding) collect(f *event.Finding) {
	for _, a := range f.Victims {
		if slices.Contains(t.Hosts, a) {
			continue
		}
		t.NHosts = min(t.NHosts+1, maxDistinct)
		if len(t.Hosts) < maxHosts {
			t.Hosts = append(t.Hosts, a)
		}
	}
	for _, p := range f.Ports {
		if slices.Contains(t.Ports, p) {
			continue
		}
		t.NPorts = min(t.NPorts+1, maxDistinct)
		if len(t.Ports) < maxPorts {
			t.Ports = append(t.Ports, p)
		}
	}
	t.NHosts, t.NPorts = max(t.NHosts, min(f.Hosts, maxDistinct)), max(t.NPorts, min(f.Distinct, maxDistinct))
}

// evictFinding makes room for one more: what has ended leaves first, then the
// weakest, then the oldest.
func (r *Room) evictFinding(i *incident) {
	weakest := 0
	for k, t := range i.Findings {
		w := i.Findings[weakest]
		if t != i.strongest && (w == i.strongest || t.Ended && !w.Ended || t.Ended == w.Ended && t.Rank < w.Rank) {
			weakest = k
		}
	}
	r.counts.FindingsEvicted++
	r.end(i, i.Findings[weakest], r.clock)
	i.Findings = slices.Delete(i.Findings, weakest, weakest+1)
}

// over reports whether an incident was quiet for as long as the longest memory of
// what made it. The clock is the Room's, not that of the findings: what a client
// kept while it was away is told together however long ago it was.
func (i *incident) over(now time.Time) bool {
	if i.isHeld() {
		return false
	}
	memory := i.Linger
	for _, t := range i.Findings {
		switch {
		case t.Ended:
		case t.Memory < 0:
			return false // it ends only when its detector says so
		default:
			memory = max(memory, t.Memory)
		}
	}
	return now.Sub(i.Touched) >= memory
}

// due reports whether an update may be written by time: ever more seldom.
func (i *incident) due(now time.Time) bool {
	return i.Changed && now.Sub(i.Written) >= wait(i.Told)
}

func wait(told int) time.Duration {
	last := len(updates) - 1
	if told <= last {
		return updates[told]
	}
	return updates[last] << min(told-last, 10)
}

// tell writes what changed of an incident that people know: at once when it got
// worse, otherwise when an update is due.
func (r *Room) tell(i *incident, worse bool) {
	switch {
	case worse:
		r.write(i, r.clock, event.Updated, "stronger finding")
	case i.due(r.clock):
		r.write(i, r.clock, event.Updated, "more of it")
	}
	r.tellFindings(i)
}

// resolve ends an incident and what is left of its findings.
func (r *Room) resolve(i *incident, at time.Time, reason string) {
	held := i.isHeld()
	r.drop(i)
	if held {
		return
	}
	for _, t := range i.Findings {
		r.end(i, t, at)
	}
	r.write(i, at, event.Resolved, reason)
}

// drop takes an incident out of those that are open.
func (r *Room) drop(i *incident) {
	for _, p := range i.Parties {
		if r.parties[p] == i {
			delete(r.parties, p)
		}
	}
	if at := slices.Index(r.open, i); at >= 0 {
		r.open = slices.Delete(r.open, at, at+1)
	}
	if o := r.overflow[i.Overflow]; o != nil {
		i.Sources = o.heaviest()
		delete(r.overflow, i.Overflow)
	}
}

// ignored reports whether an incident tells of nothing but what is ignored.
func (i *incident) ignored(by func(*event.Finding) bool) bool {
	if i.Overflow != "" || len(i.Findings) == 0 {
		return false
	}
	for _, t := range i.Findings {
		f := t.Finding
		f.Victims = t.Hosts
		if !by(&f) {
			return false
		}
	}
	return true
}
