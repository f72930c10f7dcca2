package detect

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"vft/capture/packet"
	"vft/correlate/window"
)

// What a saved state holds of slow scans at most: those that failed with most are kept.
const (
	maxSavedReaches = 1 << 12 // 1.1 KB each where full
	maxSavedVectors = 1 << 10 // 2.7 KB each
	savedMembers    = 2       // with fewer, a key is not worth a line
)

// SlowState is what the slow and distributed scans have counted, some megabytes at
// most. Vectors mean something only with the seed.
type SlowState struct {
	Seed []byte       `json:"seed"`
	Keys []ReachState `json:"keys"`
}

// ReachState is what one source, or one port of a host, failed with.
type ReachState struct {
	Host     netip.Addr    `json:"host"`
	Port     uint16        `json:"port,omitempty"`
	Counts   string        `json:"counts"`           // inside, outside: targets of a source; sources: of a service; host, port: strangers
	Members  []MemberState `json:"members"`          // the newest
	Vector   []byte        `json:"vector,omitempty"` // cells of 4 bytes, big-endian; none: the members are all
	Success  [2]uint64     `json:"success"`          // hashed, this half week and the one before
	HalfWeek int64         `json:"half_week"`        // seconds since 1970 at which it began
}

// MemberState is a target or a source, last tried at so many seconds since 1970.
type MemberState struct {
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port,omitempty"`
	At      uint32     `json:"at"`
}

var reachNames = [reachKinds]string{"inside", "outside", "sources", "host", "port"}

// save returns what has to outlive a run: what failed with at least savedMembers,
// those with most and then the newest first.
func (s *slowScans) save() *SlowState {
	state := &SlowState{Seed: s.seed[:], Keys: []ReachState{}}
	type found struct {
		key window.Key
		r   *reach
	}
	var all []found
	for _, table := range []*window.Table[reach]{s.services, s.sources} {
		table.Each(func(key window.Key, r *reach, _ bool) {
			if r.n >= savedMembers {
				all = append(all, found{key, r})
			}
		})
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.r.n, b.r.n) })
	s.good.settle()
	vectors := 0
	for _, f := range slices.Backward(all[max(0, len(all)-maxSavedReaches):]) {
		one := ReachState{Host: f.r.host.Netip(), Port: f.r.port, Counts: reachNames[f.r.kind]}
		for _, m := range f.r.members[:f.r.n] {
			one.Members = append(one.Members, MemberState{m.addr.Netip(), m.port, m.at})
		}
		if v := s.vectors.Find(f.key); f.r.counted && v != nil && vectors < maxSavedVectors {
			vectors++
			for _, at := range v {
				one.Vector = binary.BigEndian.AppendUint32(one.Vector, at)
			}
		}
		if g := s.good.find(s.hashOf(f.r.host, f.r.port, f.r.kind)); g != nil {
			one.Success, one.HalfWeek = [2]uint64{g.now, g.before}, int64(g.begin)
		}
		state.Keys = append(state.Keys, one)
	}
	slices.Reverse(state.Keys) // as they were used
	return state
}

// restore takes what save returned and passed valid.
func (s *slowScans) restore(state *SlowState) {
	copy(s.seed[:], state.Seed)
	s.hash = newHasher(s.seed)
	for i := range state.Keys {
		v := &state.Keys[i]
		r := reach{host: packet.AddrFrom(v.Host), port: v.Port, kind: v.kind(), counted: v.Vector != nil}
		for _, m := range v.Members {
			r.members[r.n] = member{packet.AddrFrom(m.Address), m.At, m.Port}
			r.n++
		}
		key := s.key(&r)
		kept, _ := s.table(r.kind).Get(key, r.n >= reachStrong)
		*kept = r
		if r.counted {
			cells, _ := s.vectors.Get(key, false)
			for i := range cells {
				cells[i] = binary.BigEndian.Uint32(v.Vector[4*i:])
			}
		}
		if v.Success != [2]uint64{} {
			s.good.put(success{key: s.hashOf(r.host, r.port, r.kind), now: v.Success[0], before: v.Success[1], begin: uint32(v.HalfWeek)})
		}
	}
}

func (v *ReachState) kind() reachKind {
	for k, name := range reachNames {
		if name == v.Counts {
			return reachKind(k)
		}
	}
	return reachKinds
}

func (s *SlowState) valid() error {
	if len(s.Seed) != 32 || len(s.Keys) > maxSavedReaches {
		return fmt.Errorf("its slow scans have a seed of %d bytes and %d keys", len(s.Seed), len(s.Keys))
	}
	vectors := 0
	for i := range s.Keys {
		v := &s.Keys[i]
		if err := v.valid(); err != nil {
			return fmt.Errorf("in its slow scans %w", err)
		}
		if v.Vector != nil {
			vectors++
		}
	}
	if vectors > maxSavedVectors {
		return fmt.Errorf("its slow scans have %d vectors", vectors)
	}
	return nil
}

func (v *ReachState) valid() error {
	switch {
	case !v.Host.IsValid():
		return errors.New("a key has no address")
	case v.kind() == reachKinds:
		return fmt.Errorf("%s counts %q", v.Host, v.Counts)
	case len(v.Members) == 0 || len(v.Members) > reachExact:
		return fmt.Errorf("%s has %d members", v.Host, len(v.Members))
	case v.Vector != nil && len(v.Vector) != 4*window.VectorCells:
		return fmt.Errorf("%s has a vector of %d bytes", v.Host, len(v.Vector))
	case v.HalfWeek < 0 || v.HalfWeek > 1<<32-1:
		return fmt.Errorf("%s has a half week of %d", v.Host, v.HalfWeek)
	}
	for _, m := range v.Members {
		if !m.Address.IsValid() {
			return fmt.Errorf("%s has a member without address", v.Host)
		}
	}
	return nil
}
