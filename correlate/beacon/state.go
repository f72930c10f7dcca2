package beacon

import "fmt"

// State is what a Pair has kept, as JSON can hold it. A restored Pair scores as the
// saved one would have.
type State struct {
	Origin      int64         `json:"origin"`      // seconds since 1970 of the first connection
	Last        int64         `json:"last"`        // seconds since Origin of the latest
	Connections uint32        `json:"connections"` // in all
	Starts      []int32       `json:"starts"`      // of those that are kept, seconds since Origin, in the places of a ring
	Bytes       []uint32      `json:"bytes"`       // sent in them
	Hours       [Hours]uint32 `json:"hours"`       // connections in each hour of the day that Origin began
}

// Save returns a copy of what is kept.
func (p *Pair) Save() State {
	kept := min(int(p.n), Kept)
	return State{
		Origin: p.Origin, Last: p.last, Connections: p.n, Hours: p.hours,
		Starts: append([]int32{}, p.starts[:kept]...), Bytes: append([]uint32{}, p.bytes[:kept]...),
	}
}

// Restore returns a Pair that goes on where the saved one was. It refuses a state that
// no Pair can have.
func Restore(s State) (p Pair, err error) {
	if err := s.check(); err != nil {
		return Pair{}, fmt.Errorf("cannot restore the connections of a pair: %w", err)
	}
	p = Pair{n: s.Connections, hours: s.Hours, Origin: s.Origin, last: s.Last}
	copy(p.starts[:], s.Starts)
	copy(p.bytes[:], s.Bytes)
	return p, nil
}

func (s *State) check() error {
	kept := int(min(s.Connections, Kept))
	switch {
	case len(s.Starts) != kept || len(s.Bytes) != kept:
		return fmt.Errorf("%d times and %d sizes of %d connections", len(s.Starts), len(s.Bytes), s.Connections)
	case s.Last < 0 || s.Connections == 0 && s.Last != 0:
		return fmt.Errorf("the latest of %d connections is %d s after the first", s.Connections, s.Last)
	}
	for _, at := range s.Starts {
		if at < 0 || int64(at) > s.Last {
			return fmt.Errorf("a connection at %d s is outside of the %d s that were seen", at, s.Last)
		}
	}
	hours := uint64(0)
	for _, n := range s.Hours {
		hours += uint64(n)
	}
	if hours != uint64(s.Connections) {
		return fmt.Errorf("%d connections in the hours, %d in all", hours, s.Connections)
	}
	return nil
}
