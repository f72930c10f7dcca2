package detect

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"vft/capture/packet"
	"vft/correlate/window"
)

// stateVersion is raised when older versions cannot be read any more.
const stateVersion = 1

// State is what outlives a run, as plain JSON of some megabytes at most: the
// peers, how long they were learned, since when each pair that may be a beacon is
// known, and what slow scans were counted. The calls of the day that runs are not in
// it.
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
	Source      netip.Addr `json:"source"`
	Destination netip.Addr `json:"destination"`
	First       int64      `json:"first"`
}

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

// Save returns what has to outlive a run. The scores of beacons are not kept.
func (d *Detections) Save() State {
	p, b := d.flows.peers, d.flows.beacons
	s := State{
		Version: stateVersion, Learning: time.Duration(p.period), Watched: time.Duration(p.watched), Since: b.since, Slow: d.slow.save(),
		Peers: make([]PeerState, 0, p.known.Len()), Pairs: make([]PairState, 0, b.callers.Len()),
	}
	p.known.Each(func(_ window.Key, v *peer, strong bool) {
		s.Peers = append(s.Peers, PeerState{v.src.Netip(), v.dst.Netip(), v.port, v.seen, strong})
	})
	b.callers.Each(func(_ window.Key, c *caller, _ bool) {
		s.Pairs = append(s.Pairs, PairState{c.src.Netip(), c.dst.Netip(), c.first})
	})
	return s
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
	for _, v := range s.Pairs {
		src, dst := packet.AddrFrom(v.Source), packet.AddrFrom(v.Destination)
		c, _ := b.callers.Get(b.key(src, dst), false)
		c.src, c.dst, c.first = src, dst, v.First
	}
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
	}
	if s.Slow != nil {
		return s.Slow.valid()
	}
	return nil
}
