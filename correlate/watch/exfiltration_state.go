package watch

import (
	"cmp"
	"container/heap"
	"errors"
	"net/netip"
	"slices"

	"vft/capture/packet"
)

// ExfiltrationState is what Exfiltration keeps, as JSON can hold it.
type ExfiltrationState struct {
	Hour  int64       `json:"hour"` // since 1970
	Pairs []PairState `json:"pairs"`
	Hosts []HostState `json:"hosts,omitempty"` // the one seen least recently first
}

// HostState is what is known of one source.
type HostState struct {
	Host  netip.Addr `json:"host"`
	Since int64      `json:"since"` // nanoseconds since 1970
	Last  int64      `json:"last"`
	Peers int        `json:"peers"`
	Usual uint64     `json:"usual"` // bytes of a day to one peer
}

// PairState is what one source gave one destination.
type PairState struct {
	Source      netip.Addr `json:"source"`
	Destination netip.Addr `json:"destination"`
	First       int64      `json:"first"` // nanoseconds since 1970
	Out         volume     `json:"out"`
	Back        volume     `json:"back"`
	Error       uint64     `json:"error,omitempty"`
	Given       uint64     `json:"given,omitempty"`
	Asked       uint64     `json:"asked,omitempty"`
	Told        int64      `json:"told,omitempty"` // when it was told that it is above a limit
}

// Save returns a copy of all that is kept.
func (x *Exfiltration) Save() ExfiltrationState {
	state := ExfiltrationState{Hour: x.hour, Pairs: make([]PairState, 0, len(x.order))}
	for _, p := range x.order {
		one := PairState{p.key.src.Netip(), p.key.dst.Netip(), p.first, p.out, p.back, p.error, p.given, p.asked, p.told}
		state.Pairs = append(state.Pairs, one)
	}
	slices.SortFunc(state.Pairs, func(a, b PairState) int {
		return comparePairs(a.key(), b.key())
	})
	for _, g := range x.hosts.all {
		state.Hosts = append(state.Hosts, HostState{g.host.Netip(), g.since, g.last, g.peers, g.usual})
	}
	slices.SortFunc(state.Hosts, func(a, b HostState) int {
		return cmp.Or(cmp.Compare(a.Last, b.Last), a.Host.Compare(b.Host))
	})
	return state
}

func (s *PairState) key() pairKey {
	return pairKey{packet.AddrFrom(s.Source), packet.AddrFrom(s.Destination)}
}

// Restore goes on where Save left; what was kept until now is forgotten. A damaged state
// is an error and changes nothing. Of more pairs than are kept now the largest stay.
func (x *Exfiltration) Restore(state ExfiltrationState) error {
	if state.Hour < 0 {
		return errors.New("the state of the pairs is damaged: its hour is negative; it is learned anew")
	}
	index, order := map[pairKey]*pair{}, pairHeap{}
	for i := range state.Pairs {
		s := &state.Pairs[i]
		if !s.Source.IsValid() || !s.Destination.IsValid() || index[s.key()] != nil {
			return errors.New("the state of the pairs is damaged: an address is missing or a pair is there twice; it is learned anew")
		}
		p := &pair{key: s.key(), first: s.First, out: s.Out, back: s.Back, error: s.Error, given: s.Given, asked: s.Asked, told: s.Told, at: len(order)}
		p.most = p.out.week() + p.error
		order, index[p.key] = append(order, p), p
	}
	hosts := newProfiles(x.cfg.Hosts)
	for _, s := range state.Hosts[max(0, len(state.Hosts)-x.cfg.Hosts):] {
		if !s.Host.IsValid() || s.Peers < 0 {
			return errors.New("the state of the pairs is damaged: a host is none; it is learned anew")
		}
		g := hosts.see(packet.AddrFrom(s.Host), s.Since)
		g.since, g.last, g.peers, g.usual = s.Since, s.Last, s.Peers, s.Usual
	}
	heap.Init(&order)
	for len(order) > x.cfg.Pairs {
		delete(index, heap.Pop(&order).(*pair).key)
	}
	x.hour, x.index, x.order, x.hosts = state.Hour, index, order, hosts
	return nil
}
