package incident

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"vft/event"
)

const (
	maxOverflows = 64   // at once; beyond, those of the classes alone
	maxCounters  = 1024 // parties that one overflow counts
	topListed    = 20   // that it names
	standsOut    = 4    // times the mean of the others, and ...
	leastOut     = 32   // ... at least so many observations: it gets an incident of its own
	overflowFor  = time.Hour
)

// overflow counts in place of incidents that a noisy party has no share left for.
// Its counters are Space-Saving (Metwally, Agrawal and El Abbadi, 2005): the
// lightest gives its place, and its count as an error, to a newcomer.
type overflow struct {
	Incident *incident `json:"-"`
	Counters []counter `json:"counters"`
	Total    uint64    `json:"total"`   // observations
	Parties  uint64    `json:"parties"` // newcomers among the counters
	Promoted budget    `json:"promoted,omitempty"`

	places map[party]int // of the counters
}

type counter struct {
	Party party      `json:"party"`
	Addr  netip.Addr `json:"addr,omitzero"`
	N     uint64     `json:"n"`
	Error uint64     `json:"error,omitempty"`
}

func (c *counter) sure() uint64 { return c.N - c.Error }

// count adds to the counter of a party and returns it.
func (o *overflow) count(who party, addr netip.Addr, n uint64) *counter {
	o.Total += n
	if k, known := o.places[who]; known {
		o.Counters[k].N += n
		return &o.Counters[k]
	}
	o.Parties++
	if len(o.Counters) < maxCounters {
		o.places[who] = len(o.Counters)
		o.Counters = append(o.Counters, counter{who, addr, n, 0})
		return &o.Counters[len(o.Counters)-1]
	}
	lightest := 0
	for k := range o.Counters {
		if o.Counters[k].N < o.Counters[lightest].N {
			lightest = k
		}
	}
	c := &o.Counters[lightest]
	delete(o.places, c.Party)
	o.places[who] = lightest
	*c = counter{who, addr, c.N + n, c.N}
	return c
}

// stands reports whether a party is so much heavier than the others that it must
// be seen: the noise may be there to hide it.
func (o *overflow) stands(c *counter) bool {
	others := o.Parties - 1
	if others < 8 || c.sure() < leastOut {
		return false
	}
	mean := float64(o.Total-min(o.Total, c.sure())) / float64(others)
	return float64(c.sure()) >= standsOut*mean
}

// spill counts a finding in the overflow of a noisy party. It reports whether the
// finding may begin an incident all the same, since it stands out there.
func (r *Room) spill(of claim, who party, f *event.Finding) bool {
	name := of.noisy.String() + "\x00" + string(of.noisy.Kind)
	o := r.overflow[name]
	if o != nil && o.Incident.over(r.clock) {
		r.resolve(o.Incident, r.clock, "quiet")
		o = nil
	}
	fresh := o == nil
	if fresh {
		if len(r.overflow) >= maxOverflows && of.noisy.Kind != event.BySensor {
			c := r.claims(who, f)
			return r.spill(c[len(c)-1], who, f)
		}
		o = r.openOverflow(name, of, f)
	}
	c := o.count(who, f.Offender, max(f.Count, 1))
	if now := r.clock.Unix(); o.stands(c) && o.Promoted.left(now, maxPromoted) {
		o.Promoted = o.Promoted.take(now, maxPromoted)
		r.counts.Promoted++
		return true
	}
	r.counts.Folded++
	r.tellOverflow(o, of, f, fresh)
	return false
}

func (r *Room) openOverflow(name string, of claim, f *event.Finding) *overflow {
	i := &incident{
		Parties: []party{of.noisy}, Kind: of.noisy.Kind, Key: of.noisy.String(), Start: f.Time, End: f.Time, Touched: r.clock, Rank: -1, Overflow: name,
	}
	i.ID = alertID(i.Kind, "overflow "+i.Key, i.Start)
	r.parties[of.noisy] = i
	r.open = append(r.open, i)
	o := &overflow{Incident: i, places: map[party]int{}}
	r.overflow[name] = o
	return o
}

// tellOverflow adds a finding to what an overflow tells.
func (r *Room) tellOverflow(o *overflow, of claim, f *event.Finding, fresh bool) {
	i := o.Incident
	strength := i.Rank
	client := f.Client
	r.add(i, &event.Finding{
		Type: "overflow", Sensor: "overflow", Rule: true, Time: f.Time, Memory: overflowFor, Client: client, Event: f.Event, Ports: f.Ports[:min(len(f.Ports), 8)],
		Value: float64(o.Parties), Threshold: float64(of.perHour), Unit: "sources", Window: time.Hour, Count: max(f.Count, 1),
		Severity: f.Severity, Evidence: f.Evidence, Details: []event.Detail{{Name: "of", Value: f.Type}},
	})
	if fresh {
		r.write(i, f.Time, event.Firing, "raised")
		return
	}
	r.tell(i, i.Rank > strength)
}

// heaviest are the addresses of the parties that are heaviest for sure.
func (o *overflow) heaviest() (all []weight) {
	counters := slices.Clone(o.Counters)
	slices.SortStableFunc(counters, func(a, b counter) int { return cmp.Compare(b.sure(), a.sure()) })
	for _, c := range counters {
		if len(all) == topListed {
			break
		}
		if c.Addr.IsValid() {
			all = append(all, weight{c.Addr, c.sure()})
		}
	}
	return all
}
