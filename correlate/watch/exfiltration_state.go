package watch

import (
	"container/heap"
	"errors"
	"net/netip"
	"slices"

	"vft/capture/packet"
	"vft/event"
)

// ExfiltrationState is what Exfiltration keeps, as JSON can hold it.
type ExfiltrationState struct {
	Hour  int64       `json:"hour"` // since 1970
	Pairs []PairState `json:"pairs"`
}

// PairState is what one source gave one destination.
type PairState struct {
	Source      netip.Addr    `json:"source"`
	Destination netip.Addr    `json:"destination"`
	Out         volume        `json:"out"`
	Back        volume        `json:"back"`
	Error       uint64        `json:"error,omitempty"`
	Open        *event.Threat `json:"open,omitempty"`
}

// Save returns a copy of all that is kept, open episodes included.
func (x *Exfiltration) Save() ExfiltrationState {
	state := ExfiltrationState{Hour: x.hour, Pairs: make([]PairState, 0, len(x.order))}
	for _, p := range x.order {
		one := PairState{p.key.src.Netip(), p.key.dst.Netip(), p.out, p.back, p.error, nil}
		if p.open != nil {
			open := *p.open
			one.Open = &open
		}
		state.Pairs = append(state.Pairs, one)
	}
	slices.SortFunc(state.Pairs, func(a, b PairState) int {
		return comparePairs(a.key(), b.key())
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
		p := &pair{key: s.key(), out: s.Out, back: s.Back, error: s.Error, at: len(order)}
		p.most = p.out.week() + p.error
		if s.Open != nil {
			open := *s.Open
			p.open = &open
		}
		order, index[p.key] = append(order, p), p
	}
	heap.Init(&order)
	for len(order) > x.cfg.Pairs {
		delete(index, heap.Pop(&order).(*pair).key)
	}
	x.hour, x.index, x.order = state.Hour, index, order
	return nil
}
