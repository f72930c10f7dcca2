package traps

import (
	"net/netip"
	"sync"

	"vft/event"
)

// holds counts the connections that are held, so that no stranger can take all
// of them, nor all of them take the host's descriptors.
type holds struct {
	perSource, max int

	mu   sync.Mutex
	held map[netip.Addr]int // at most max keys
	all  int
}

// verdict says whether a connection may be held.
type verdict int

const (
	admitted verdict = iota
	sourceFull
	allFull
)

// enter counts a connection of source when it may be held.
func (h *holds) enter(source netip.Addr) verdict {
	key := sourceKey(source)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.all >= h.max:
		return allFull
	case h.held[key] >= h.perSource:
		return sourceFull
	}
	h.held[key]++
	h.all++
	return admitted
}

// leave takes back one enter that admitted.
func (h *holds) leave(source netip.Addr) {
	key := sourceKey(source)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.held[key]--; h.held[key] == 0 {
		delete(h.held, key)
	}
}

// now returns how many are held.
func (h *holds) now() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

// sourceKey returns the address that limits apply to: the /64 for IPv6, which
// one host can have for itself.
func sourceKey(source netip.Addr) netip.Addr {
	if source.Is4() {
		return source
	}
	prefix, err := source.Prefix(64)
	if err != nil {
		return source
	}
	return prefix.Addr()
}

// admit reports whether the connection of e is held, and counts it.
func (s *Set) admit(e event.Event) bool {
	switch s.holds.enter(e.Src.Addr()) {
	case sourceFull:
		s.counts.sourceFull.Add(1)
		return false
	case allFull:
		s.counts.allFull.Add(1)
		return false
	}
	s.counts.held.Add(1)
	return true
}
