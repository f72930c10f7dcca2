package fleet

import (
	"time"

	"vft/correlate/window"
	"vft/event"
)

// foldID names an incident that counts in place of many.
type foldID uint8

// The incidents that count in place of many.
const (
	foldForged    foldID = iota + 1 // sources that may be forged
	foldTouches                     // notices
	foldInside                      // notices of the fleet's own hosts
	foldIncidents                   // incidents that are more than notices
	foldLost                        // clients
	foldCount
)

var foldTitles = [foldCount]string{foldForged: "spoofable-sources", foldTouches: "touch", foldInside: "inside-touch", foldIncidents: "incidents", foldLost: "lost-clients"}

var foldNotes = [foldCount]string{
	foldForged:    "%d sources that may be forged touched traps",
	foldTouches:   "%d addresses touched a trap for the first time, too many to tell of each",
	foldInside:    "%d of the fleet's own addresses touched a trap for the first time, too many to tell of each",
	foldIncidents: "%d events of attackers of whom there are too many to tell of each",
	foldLost:      "%d clients were lost, too many to tell of each",
}

// budget is how many alerts may still be raised: a bucket that fills evenly
// within an hour.
type budget struct {
	left   float64
	filled time.Time
}

func (b *budget) take(now time.Time, perHour int) bool {
	if b.filled.IsZero() {
		b.left, b.filled = float64(perHour), now
	}
	if passed := now.Sub(b.filled); passed > 0 {
		b.left = min(b.left+passed.Hours()*float64(perHour), float64(perHour))
		b.filled = now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// limits are what keeps strangers from raising alerts without end. Sources that
// may be forged, others, and the fleet's own hosts have their own: the noise of
// one hides none of the rest.
type limits struct {
	forged, touches, inside window.Hits // within an hour
	raised, raisedInside    budget
	lost                    budget
}

// tooMany reports whether the incident that h would open is one too many; it is
// then counted in the one that stands for them.
func (f *Fleet) tooMany(h *hit, notice bool) bool {
	switch {
	case h.source.proof.level == event.E0:
		if f.within(&f.limits.forged, h) {
			return false
		}
		f.foldHit(foldForged, h, Touch, f.wasTouched() || f.rules.Rule[Touch].Off)
	case notice && h.inside:
		if f.within(&f.limits.inside, h) {
			return false
		}
		f.foldHit(foldInside, h, Touch, true)
	case notice:
		if f.within(&f.limits.touches, h) {
			return false
		}
		f.foldHit(foldTouches, h, Touch, true)
	default:
		if f.budgetOf(h.inside).take(f.newest, f.rules.RaisePerHour) && f.room(f.heaviest(h)) {
			return false
		}
		f.foldHit(foldIncidents, h, f.strongestMatch(h), true)
	}
	return true
}

// within counts h and reports whether it is within the notices of an hour.
func (f *Fleet) within(noticed *window.Hits, h *hit) bool {
	n, _ := noticed.Add(h.tick, window.Ticks(time.Hour))
	return n <= f.rules.Rule[Touch].PerHour && f.room(f.heaviest(h))
}

func (f *Fleet) budgetOf(inside bool) *budget {
	if inside {
		return &f.limits.raisedInside
	}
	return &f.limits.raised
}

func (f *Fleet) wasTouched() bool {
	for i := range f.matches {
		if f.matches[i].rule == Touch {
			return true
		}
	}
	return false
}

func (f *Fleet) strongestMatch(h *hit) (id RuleID) {
	heaviest := rank(-1)
	for i := range f.matches {
		m := &f.matches[i]
		if r := f.weight(m.rule, h.inside, h.Evidence); m.scope == ofSource && r > heaviest {
			id, heaviest = m.rule, r
		}
	}
	return id
}

// foldHit adds h to the incident that counts in place of many. counts says
// whether it is one more of what that incident counts.
func (f *Fleet) foldHit(id foldID, h *hit, rule RuleID, counts bool) {
	f.counts.folded++
	i, fresh := f.folding(id, h.Time)
	known := i.count
	i.see(&h.seen, h.Client, h.Time, f.newest)
	if !counts && !fresh {
		i.count = known
	}
	f.tellFold(i, fresh, rule, f.weight(rule, id == foldInside, h.Evidence))
}

// tooManyPlaces reports whether an incident of a port or client is one too
// many.
func (f *Fleet) tooManyPlaces(i *incident) bool {
	if i.proof.level == event.E0 {
		n, _ := f.limits.forged.Add(window.At(i.end), window.Ticks(time.Hour))
		return n > f.rules.Rule[Touch].PerHour || !f.room(i.rank)
	}
	return !f.limits.raised.take(f.newest, f.rules.RaisePerHour) || !f.room(i.rank)
}

// foldPlace adds the incident of a port or client to one that counts in place
// of many.
func (f *Fleet) foldPlace(of *incident) {
	f.counts.folded++
	id, rule := foldIncidents, of.strongest
	if of.proof.level == event.E0 {
		id, rule = foldForged, Touch
	}
	i, fresh := f.folding(id, of.start)
	if id == foldIncidents {
		i.count += of.count
	} else if fresh {
		i.count += uint64(len(of.sources))
	}
	i.start, i.end, i.touched = earlier(i.start, of.start), later(i.end, of.end), f.newest
	for _, client := range of.clients {
		i.clients = list(i.clients, client, maxListed)
	}
	for _, addr := range of.sources {
		i.sources = list(i.sources, addr, maxForged)
	}
	for _, port := range of.ports {
		i.ports = list(i.ports, port, maxListed)
	}
	i.proof.level = max(i.proof.level, of.proof.level)
	i.changed = true
	f.tellFold(i, fresh, rule, f.weight(rule, false, of.proof.level))
}

// folding returns the incident that counts in place of many.
func (f *Fleet) folding(id foldID, at time.Time) (i *incident, fresh bool) {
	if i = f.folds[id]; i != nil && f.isOver(i, f.newest) {
		f.resolve(i, f.newest, "quiet")
	}
	if i = f.folds[id]; i != nil {
		return i, false
	}
	i = f.begin(event.BySensor, foldTitles[id], at)
	i.fold = id
	f.folds[id] = i
	return i, true
}

// tellFold writes what changed of such an incident, with the rule of what was
// added last.
func (f *Fleet) tellFold(i *incident, fresh bool, rule RuleID, r rank) {
	limit := f.rules.Rule[Touch].PerHour
	if i.fold == foldIncidents || i.fold == foldLost {
		limit = f.rules.RaisePerHour
	}
	i.match(rule, event.Match{Value: float64(i.count), Threshold: float64(limit), Window: time.Hour, Since: i.start})
	stronger := r > i.rank
	if stronger {
		i.rank, i.strongest = r, rule
	}
	f.tell(i, fresh, stronger)
}
