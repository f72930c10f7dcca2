package incident

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// state is what Snapshot keeps of a Room.
type state struct {
	Version  int                  `json:"version"`
	IDs      []byte               `json:"ids"`
	Open     []*incident          `json:"open"`
	Held     []string             `json:"held,omitempty"` // ids, in the order in which they wait
	Budgets  budgets              `json:"budgets,omitempty"`
	Overflow map[string]*overflow `json:"overflow,omitempty"`
	Ended    []endedParty         `json:"ended,omitempty"`
	Clock    time.Time            `json:"clock"`
	Advanced time.Time            `json:"advanced"`
	Counts   counts               `json:"counts"`
}

type endedParty struct {
	Party party     `json:"party"`
	At    time.Time `json:"at"`
}

const stateVersion = 1

// Snapshot returns the Room as bytes from which Restore makes one that goes on with
// the same events.
func (r *Room) Snapshot() ([]byte, error) {
	ids, err := r.ids.MarshalBinary()
	if err != nil {
		return nil, err
	}
	s := state{Version: stateVersion, IDs: ids, Open: r.open, Budgets: r.budgets, Overflow: r.overflow, Clock: r.clock, Advanced: r.advanced, Counts: r.counts}
	for _, i := range r.open {
		i.StrongestAt = slices.Index(i.Findings, i.strongest)
	}
	for _, i := range r.held {
		s.Held = append(s.Held, i.ID)
	}
	for who, at := range r.ended {
		s.Ended = append(s.Ended, endedParty{who, at})
	}
	slices.SortFunc(s.Ended, func(a, b endedParty) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Party.String(), b.Party.String()))
	})
	return json.Marshal(s)
}

// Restore makes the Room what it was at Snapshot; settings and emit stay. On an
// error the Room is as it was.
func (r *Room) Restore(b []byte) error {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("cannot read the incidents: %w", err)
	}
	if s.Version != stateVersion {
		return fmt.Errorf("cannot read the incidents: they are of version %d, this vft reads %d", s.Version, stateVersion)
	}
	n := New(r.set, r.emit)
	if err := n.ids.UnmarshalBinary(s.IDs); err != nil {
		return fmt.Errorf("cannot read the incidents: %w", err)
	}
	n.open, n.clock, n.advanced, n.counts = s.Open, s.Clock, s.Advanced, s.Counts
	if s.Budgets != nil {
		n.budgets = s.Budgets
	}
	for _, e := range s.Ended {
		n.ended[e.Party] = e.At
	}
	byID := map[string]*incident{}
	for _, i := range n.open {
		if i == nil || len(i.Parties) == 0 || slices.Contains(i.Findings, nil) {
			return errors.New("cannot read the incidents: one of them is about nobody")
		}
		byID[i.ID] = i
		if i.StrongestAt >= 0 && i.StrongestAt < len(i.Findings) {
			i.strongest = i.Findings[i.StrongestAt]
		}
		for _, p := range i.Parties {
			n.parties[p] = i
		}
		if i.Overflow != "" {
			if err := n.restoreOverflow(i, s.Overflow[i.Overflow]); err != nil {
				return err
			}
		}
	}
	for _, id := range s.Held {
		if byID[id] == nil {
			return fmt.Errorf("cannot read the incidents: %s waits but is not among them", id)
		}
		n.held = append(n.held, byID[id])
	}
	*r = *n
	return nil
}

func (r *Room) restoreOverflow(i *incident, o *overflow) error {
	if o == nil {
		return fmt.Errorf("cannot read the incidents: nothing is known of the overflow %s", i.ID)
	}
	o.Incident, o.places = i, map[party]int{}
	for k, c := range o.Counters {
		o.places[c.Party] = k
	}
	r.overflow[i.Overflow] = o
	return nil
}
