package known

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vft/event"
)

// Ignore describes what counts nowhere: hits, findings and incidents. All fields
// that are set must match; at least one but Until is set.
type Ignore struct {
	Source  netip.Prefix // who did it
	Network netip.Prefix // who did it, or everybody to whom it was done
	Port    uint16       // the only port that it was done to
	Client  string       // the host that saw it
	Type    string       // finding type or fleet rule; of a hit "trap_hit" or "probe"
	Tool    string       // recognised program
	Until   time.Time    // the entry holds before it; zero: for ever
}

// Holds reports whether the entry still holds at an event time.
func (g *Ignore) Holds(at time.Time) bool { return g.Until.IsZero() || at.Before(g.Until) }

// MatchesFinding reports whether the entry ignores f.
func (g *Ignore) MatchesFinding(f *event.Finding) bool {
	return g.Holds(f.Time) &&
		(g.Type == "" || g.Type == f.Type) &&
		(!g.Source.IsValid() || g.fromSource(f)) &&
		(!g.Network.IsValid() || contains(g.Network, f.Offender) || onlyIn(g.Network, f.Victims)) &&
		(g.Port == 0 || len(f.Ports) > 0 && !slices.ContainsFunc(f.Ports, func(p uint16) bool { return p != g.Port })) &&
		(g.Client == "" || g.Client == f.Client) &&
		(g.Tool == "" || g.Tool == f.Tool)
}

// fromSource reports whether all that a finding accuses are of the source.
func (g *Ignore) fromSource(f *event.Finding) bool {
	if f.Offender.IsValid() {
		return contains(g.Source, f.Offender)
	}
	return onlyIn(g.Source, f.Sources)
}

func onlyIn(n netip.Prefix, all []netip.Addr) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(a netip.Addr) bool { return !contains(n, a) })
}

func contains(n netip.Prefix, a netip.Addr) bool { return n.Contains(a.Unmap().WithZone("")) }

// MatchesHit reports whether the entry ignores a hit of a trap or a probe.
func (g *Ignore) MatchesHit(e *event.Event) bool {
	return g.Holds(e.Time) &&
		(g.Type == "" || g.Type == hitType(e)) &&
		(!g.Source.IsValid() || contains(g.Source, e.Src.Addr())) &&
		(!g.Network.IsValid() || contains(g.Network, e.Src.Addr()) || contains(g.Network, e.Dst.Addr())) &&
		(g.Port == 0 || g.Port == e.Dst.Port()) &&
		(g.Client == "" || g.Client == e.Client) &&
		(g.Tool == "" || g.Tool == hitTool(e))
}

func hitType(e *event.Event) string {
	switch {
	case e.Trap != nil:
		return "trap_hit"
	case e.Probe != nil:
		return "probe"
	}
	return ""
}

func hitTool(e *event.Event) string {
	switch {
	case e.Trap != nil:
		return e.Trap.Tool
	case e.Probe != nil:
		return e.Probe.Tool
	}
	return ""
}

// Ignores is a list of entries with how often each has matched. Several goroutines
// may use it. A nil *Ignores ignores nothing.
type Ignores struct {
	mu    sync.RWMutex // guards what it points to: Replace exchanges it
	now   *ignores
	total atomic.Uint64
}

// ignores is one state of the list. Entries that name one address are found by it.
type ignores struct {
	entries []Ignore
	hits    []atomic.Uint64
	byAddr  map[netip.Addr][]int
	others  []int
}

// NewIgnores returns a list that has matched nothing.
func NewIgnores(entries []Ignore) *Ignores {
	l := &Ignores{}
	l.Replace(entries)
	return l
}

// Replace exchanges the entries. Those that stay keep their counts.
func (l *Ignores) Replace(entries []Ignore) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := &ignores{entries: slices.Clone(entries), hits: make([]atomic.Uint64, len(entries)), byAddr: map[netip.Addr][]int{}}
	for i, g := range entries {
		if g.Source.IsValid() && g.Source.IsSingleIP() {
			next.byAddr[g.Source.Addr()] = append(next.byAddr[g.Source.Addr()], i)
		} else {
			next.others = append(next.others, i)
		}
		if l.now != nil {
			if was := slices.Index(l.now.entries, g); was >= 0 {
				next.hits[i].Store(l.now.hits[was].Load())
			}
		}
	}
	l.now = next
}

// Matches reports whether an entry ignores f, and counts it for the first that does.
func (l *Ignores) Matches(f *event.Finding) bool {
	return l.first(f.Offender, func(g *Ignore) bool { return g.MatchesFinding(f) }) ||
		!f.Offender.IsValid() && len(f.Sources) > 0 && l.first(f.Sources[0], func(g *Ignore) bool { return g.Source.IsValid() && g.MatchesFinding(f) })
}

// MatchesHit reports whether an entry ignores a hit, and counts it for the first that does.
func (l *Ignores) MatchesHit(e *event.Event) bool {
	return l.first(e.Src.Addr(), func(g *Ignore) bool { return g.MatchesHit(e) })
}

func (l *Ignores) first(source netip.Addr, matches func(*Ignore) bool) bool {
	if l == nil {
		return false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := l.now
	if len(n.entries) == 0 {
		return false
	}
	for _, i := range n.byAddr[source.Unmap().WithZone("")] {
		if matches(&n.entries[i]) {
			n.hits[i].Add(1)
			l.total.Add(1)
			return true
		}
	}
	for _, i := range n.others {
		if matches(&n.entries[i]) {
			n.hits[i].Add(1)
			l.total.Add(1)
			return true
		}
	}
	return false
}

// Entries returns the entries and how often each has matched.
func (l *Ignores) Entries() (entries []Ignore, hits []uint64) {
	if l == nil {
		return nil, nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	hits = make([]uint64, len(l.now.hits))
	for i := range hits {
		hits[i] = l.now.hits[i].Load()
	}
	return slices.Clone(l.now.entries), hits
}

// Counts yields how much was ignored in all.
func (l *Ignores) Counts(yield func(name string, value uint64)) {
	if l != nil {
		yield("ignored", l.total.Load())
	}
}
