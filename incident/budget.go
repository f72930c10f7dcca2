package incident

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"vft/event"
)

// class is one kind of incident that has a budget of its own: the noise of one
// hides none of the others.
type class uint8

const (
	forged  class = iota // sources that nothing but packets prove
	notices              // below severity 40
	raised               // from 40 on
	grave                // from 70 on
	sensors              // what vft cannot see
	classes
)

const graveSeverity = 70

var classNames = [classes]string{"spoofable sources", "notices", "incidents", "grave incidents", "sensors"}

func classOf(f *event.Finding) class {
	switch severity := rankOf(f).severity(); {
	case f.By == event.BySensor:
		return sensors
	case f.Evidence == event.E0 && f.Offender.IsValid() && !f.Many:
		return forged
	case severity < packetSeverity || f.Notice:
		return notices
	case severity < graveSeverity:
		return raised
	}
	return grave
}

// Limits of the shares. A prefix gets an eighth of what may begin in an hour, but
// not more than 16; a client or an exporter half, where there are several.
const (
	leastShare  = 4
	mostShare   = 16
	maxBudgets  = 1 << 13
	maxPromoted = 10 // an hour, that stand out in an overflow
)

// budget is when what was begun lately was begun, in seconds since 1970, oldest
// first.
type budget []int64

// left reports whether one more may begin at now.
func (b budget) left(now int64, perHour int) bool {
	return len(b) < perHour || now-b[len(b)-perHour] >= 3600
}

func (b budget) take(now int64, perHour int) budget {
	for len(b) > 0 && (now-b[0] >= 3600 || len(b) >= perHour) {
		b = b[1:]
	}
	return append(slices.Clip(b), now)
}

// budgets are the shares of all who had one, by class and by what it is of. They
// are bounded; beyond, only the class counts.
type budgets map[string]budget

func newBudgets() budgets { return budgets{} }

// forget drops what is older than an hour.
func (b budgets) forget(clock time.Time) {
	if len(b) < maxBudgets/2 {
		return
	}
	for name, one := range b {
		if len(one) == 0 || clock.Unix()-one[len(one)-1] >= 3600 {
			delete(b, name)
		}
	}
}

// claim is what an incident takes a share of.
type claim struct {
	name    string
	perHour int
	noisy   party // who is told of when it is spent
}

// claims lists the shares that an incident needs, the narrowest first.
func (r *Room) claims(who party, f *event.Finding) []claim {
	c, inside := classOf(f), f.Offender.IsValid() && r.set.Home(f.Offender)
	perHour := r.set.RaisePerHour
	if c == forged || c == notices {
		perHour = r.set.Notices
	}
	name, of := strconv.Itoa(int(c)), classNames[c]
	if inside {
		name, of = name+"i", "own "+of
	}
	var all []claim
	if who.Kind == event.BySource && f.Offender.IsValid() && !inside {
		n := networkOf(f.Offender)
		all = append(all, claim{name + "/" + n.String(), max(leastShare, min(perHour/8, mostShare)), party{Kind: event.BySource, Prefix: n, Part: "overflow"}})
	}
	if r.set.Shared && f.Client != "" && c != sensors {
		all = append(all, claim{name + "@" + f.Client, max(1, perHour/2), party{Kind: event.ByClient, Name: f.Client, Part: "overflow"}})
	}
	if exporter, err := netip.ParseAddr(f.Observer); err == nil && c != sensors {
		all = append(all, claim{name + "<" + exporter.String(), max(1, perHour/2), party{Kind: event.BySensor, Name: exporter.String(), Part: "overflow"}})
	}
	return append(all, claim{name, perHour, party{Kind: event.BySensor, Name: of, Part: "overflow"}})
}

// mayBegin reports whether an incident may begin. If not, it is counted in the
// overflow of whoever has spent his share.
func (r *Room) mayBegin(who party, f *event.Finding) bool {
	now := r.clock.Unix()
	claims := r.claims(who, f)
	for _, c := range claims {
		if !r.budgets[c.name].left(now, c.perHour) {
			return r.spill(c, who, f)
		}
	}
	if len(r.open) >= r.set.MaxOpen && !r.makeRoom(rankOf(f)) {
		return r.spill(claims[len(claims)-1], who, f)
	}
	for _, c := range claims {
		if _, known := r.budgets[c.name]; known || len(r.budgets) < maxBudgets || c.name == claims[len(claims)-1].name {
			r.budgets[c.name] = r.budgets[c.name].take(now, c.perHour)
		}
	}
	return true
}

// makeRoom ends the weakest incident that is not stronger than r; of equals the
// one of the network that has most, then the oldest. It reports whether there is
// room.
func (r *Room) makeRoom(strength rank) bool {
	var weakest *incident
	crowd := map[netip.Prefix]int{}
	for _, i := range r.open {
		if n, ok := i.network(); ok {
			crowd[n]++
		}
	}
	size := func(i *incident) int { n, _ := i.network(); return crowd[n] }
	for _, i := range r.open {
		if i.isHeld() || i.Overflow != "" {
			continue
		}
		if weakest == nil || i.Rank < weakest.Rank || i.Rank == weakest.Rank && size(i) > size(weakest) {
			weakest = i
		}
	}
	if weakest == nil || weakest.Rank > strength {
		return false
	}
	r.counts.Evicted++
	r.resolve(weakest, r.clock, "evicted: too many incidents are open")
	return true
}

func (i *incident) network() (netip.Prefix, bool) {
	if i.Kind != event.BySource || !i.Parties[0].Prefix.IsValid() {
		return netip.Prefix{}, false
	}
	return networkOf(i.Parties[0].Prefix.Addr()), true
}
