package detect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vft/capture/packet"
	"vft/correlate/beacon"
	"vft/correlate/window"
)

// stateVersion is raised when older versions cannot be read any more.
const stateVersion = 1

// State is what outlives a run, as plain JSON of twenty megabytes at most: the
// peers, how long they were learned, the pairs that may be beacons with their calls of
// the day that runs, and what slow scans were counted.
type State struct {
	Version  int           `json:"version"`
	Learning time.Duration `json:"learning_ns"` // the period
	Watched  time.Duration `json:"watched_ns"`  // of it
	Peers    []PeerState   `json:"peers"`
	Since    int64         `json:"pairs_since"` // seconds since 1970
	Pairs    []PairState   `json:"pairs"`
	Slow     *SlowState    `json:"slow_scans,omitempty"` // nil: not known
}

// PeerState is a service that a host used, last at Seen seconds since 1970.
type PeerState struct {
	Source      netip.Addr `json:"source"`
	Destination netip.Addr `json:"destination"`
	Port        uint16     `json:"port"`
	Seen        int64      `json:"seen"`
	Strong      bool       `json:"strong,omitempty"` // learned or used again: leaves a full table last
}

// PairState is a pair that may be a beacon, first seen at First seconds since 1970.
type PairState struct {
	Source      netip.Addr  `json:"source"`
	Destination netip.Addr  `json:"destination"`
	First       int64       `json:"first"`
	Calls       *CallsState `json:"calls,omitempty"` // nil: of the day that runs none are known
}

// CallsState is the calls of a pair in the day that runs, and the latest of them.
type CallsState struct {
	beacon.State
	Judged   int64  `json:"judged"` // seconds since 1970 of the call that was judged last
	Port     uint16 `json:"port"`
	Protocol uint8  `json:"protocol"`
	Answered bool   `json:"answered,omitempty"`
	Told     uint8  `json:"told,omitempty"` // the band that was told of the day: a restart does not tell it again
}

// maxSavedCalls is how many calls a saved state holds, 15 bytes each; of the pairs that
// were quiet for longest only the first contact is kept beyond.
const maxSavedCalls = 1 << 18

// Learn forgets all peers and learns them anew for so long; 0 is
// LearningPeriod. Until the period is over, no new peer is told. Time counts
// while packets or intervals come.
func (d *Detections) Learn(period time.Duration) {
	if period <= 0 {
		period = LearningPeriod
	}
	p := newNewPeers(d.flows.hash, d.episodes)
	p.period, p.clock, p.evicted = int64(period), d.flows.peers.clock, d.flows.peers.evicted
	d.flows.peers = p
}

// Learning returns how much of the period in which new peers are learned is
// over, and how long it is.
func (d *Detections) Learning() (watched, period time.Duration) {
	p := d.flows.peers
	return time.Duration(min(p.watched, p.period)), time.Duration(p.period)
}

// Save returns what has to outlive a run.
func (d *Detections) Save() State {
	p, b := d.flows.peers, d.flows.beacons
	s := State{
		Version: stateVersion, Learning: time.Duration(p.period), Watched: time.Duration(p.watched), Since: b.since, Slow: d.slow.save(),
		Peers: make([]PeerState, 0, p.known.Len()), Pairs: b.save(),
	}
	p.known.Each(func(_ window.Key, v *peer, strong bool) {
		s.Peers = append(s.Peers, PeerState{v.src.Netip(), v.dst.Netip(), v.port, v.seen, strong})
	})
	return s
}

// save returns the pairs in the order in which they leave a full table.
func (b *beacons) save() []PairState {
	all := make([]*caller, 0, b.callers.Len())
	b.callers.Each(func(_ window.Key, c *caller, _ bool) { all = append(all, c) })
	saved, calls := make([]PairState, len(all)), 0
	for i, c := range slices.Backward(all) {
		saved[i] = PairState{Source: c.src.Netip(), Destination: c.dst.Netip(), First: c.first}
		n := min(c.pair.Connections(), beacon.Kept)
		if n == 0 || calls+n > maxSavedCalls {
			continue
		}
		calls += n
		saved[i].Calls = &CallsState{State: c.pair.Save(), Judged: c.judged, Port: c.port, Protocol: c.proto, Answered: c.answered, Told: c.told}
	}
	return saved
}

// restore takes what save returned and passed valid.
func (b *beacons) restore(pairs []PairState) {
	for _, v := range pairs {
		src, dst := packet.AddrFrom(v.Source), packet.AddrFrom(v.Destination)
		c, _ := b.callers.Get(b.key(src, dst), false)
		*c = caller{src: src, dst: dst, first: v.First}
		if v.Calls != nil {
			c.pair, _ = beacon.Restore(v.Calls.State)
			c.judged, c.port, c.proto, c.answered, c.told = v.Calls.Judged, v.Calls.Port, v.Calls.Protocol, v.Calls.Answered, v.Calls.Told
		}
	}
}

// Restore takes what Save returned, before the first packet. On an error
// nothing is taken, and learning begins anew.
func (d *Detections) Restore(s State) error {
	if err := s.valid(); err != nil {
		return fmt.Errorf("the state of the detections is damaged: %w; peers are learned anew", err)
	}
	if s.Slow != nil {
		d.slow.restore(s.Slow)
	}
	d.Learn(s.Learning)
	p, b := d.flows.peers, d.flows.beacons
	p.watched, b.since = int64(s.Watched), s.Since
	for _, v := range s.Peers {
		src, dst := packet.AddrFrom(v.Source), packet.AddrFrom(v.Destination)
		known, _ := p.known.Get(p.key(src, dst, v.Port), v.Strong)
		*known = peer{src, dst, v.Seen, v.Port}
	}
	b.restore(s.Pairs)
	return nil
}

func (s *State) valid() error {
	if s.Version != stateVersion {
		return fmt.Errorf("its version is %d, not %d", s.Version, stateVersion)
	}
	if s.Watched < 0 || s.Learning <= 0 {
		return fmt.Errorf("%v of %v cannot have been learned", s.Watched, s.Learning)
	}
	for _, v := range s.Peers {
		if !v.Source.IsValid() || !v.Destination.IsValid() {
			return errors.New("a peer has no address")
		}
	}
	for _, v := range s.Pairs {
		if !v.Source.IsValid() || !v.Destination.IsValid() {
			return errors.New("a pair has no address")
		}
		if v.Calls != nil {
			if _, err := beacon.Restore(v.Calls.State); err != nil {
				return err
			}
			if int(v.Calls.Told) > len(beaconBands) {
				return fmt.Errorf("a pair was told of as of band %d", v.Calls.Told)
			}
		}
	}
	if s.Slow != nil {
		return s.Slow.valid()
	}
	return nil
}
