package watch

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"vft/capture/packet"
)

// WeeklyTransferState is what WeeklyTransfer has learned, as JSON can hold it: at most
// 2 KB a pair.
type WeeklyTransferState struct {
	Hour  int64        `json:"hour"` // since 1970
	Pairs []HabitState `json:"pairs"`
}

// HabitState is what one host sends one peer.
type HabitState struct {
	Source      netip.Addr `json:"source"`
	Destination netip.Addr `json:"destination"`
	Most        uint64     `json:"most"`
	Bytes       [2]uint64  `json:"bytes"`             // of the even and the odd one of the two open hours
	History     []byte     `json:"history,omitempty"` // four weeks by hour, see history; none before the first hour
}

// Save returns a copy of all that was learned.
func (x *WeeklyTransfer) Save() WeeklyTransferState {
	state := WeeklyTransferState{Hour: x.hour, Pairs: make([]HabitState, 0, len(x.order))}
	for _, h := range x.order {
		one := HabitState{Source: h.key.src.Netip(), Destination: h.key.dst.Netip(), Most: h.most, Bytes: h.open}
		if h.past != nil {
			one.History = h.past.bytes()
		}
		state.Pairs = append(state.Pairs, one)
	}
	slices.SortFunc(state.Pairs, func(a, b HabitState) int { return comparePairs(a.key(), b.key()) })
	return state
}

func (s *HabitState) key() pairKey {
	return pairKey{packet.AddrFrom(s.Source), packet.AddrFrom(s.Destination)}
}

// Restore goes on where Save left; what was kept until now is forgotten. The hour that
// runs teaches nothing, since it was not watched throughout. A damaged state is an error
// and changes nothing. Of more pairs than are kept now the largest stay.
func (x *WeeklyTransfer) Restore(state WeeklyTransferState) error {
	known, order := map[pairKey]bool{}, habitHeap{}
	for i := range state.Pairs {
		h, err := state.Pairs[i].restore()
		if err == nil && known[h.key] {
			err = fmt.Errorf("%s to %s is there twice", h.key.src, h.key.dst)
		}
		if err != nil {
			return fmt.Errorf("the state of the weekly transfers is damaged: %w; they are learned anew", err)
		}
		order, known[h.key] = append(order, h), true
	}
	if state.Hour < 0 || state.Hour > maxHour {
		return fmt.Errorf("the state of the weekly transfers is damaged: its hour is %d; they are learned anew", state.Hour)
	}
	heap.Init(&order)
	for len(order) > x.cfg.Pairs {
		heap.Pop(&order)
	}
	x.forget()
	for _, h := range order {
		x.keep(h)
	}
	x.hour, x.order, x.partial = state.Hour, order, [2]bool{true, true}
	x.resumed = true
	return nil
}

// maxHour is the last hour since 1970 whose nanoseconds are a number of 63 bits.
const maxHour = math.MaxInt64/int64(time.Hour) - 2

func (s *HabitState) restore() (*habit, error) {
	if !s.Source.IsValid() || !s.Destination.IsValid() {
		return nil, errors.New("an address is missing")
	}
	h := &habit{key: s.key(), most: s.Most, place: s.Most, open: s.Bytes}
	if s.History != nil {
		var err error
		if h.past, err = historyOf(s.History); err != nil {
			return nil, err
		}
	}
	return h, nil
}
