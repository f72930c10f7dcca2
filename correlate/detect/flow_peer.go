package detect

import (
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/window"
	"vft/event"
)

// New peers: after a period of learning, a host inside that reaches a service
// of administrators on a host where it never did: how an intruder goes from
// host to host. Only completed handshakes count; what gets no answer is left to
// the scans. The period is time that was watched: when nothing runs, nothing is
// learned.
const (
	// LearningPeriod is how long the peers of each host are learned.
	LearningPeriod = 24 * time.Hour

	maxPeers     = 1 << 16
	severityPeer = 40
	peerQuiet    = 600 * second
	watchedGap   = 3600 * second // a longer silence is time that was not watched
)

// administers reports whether port is a service that gives control of a host:
// SSH, RDP, SMB, RPC, WinRM.
func administers(port uint16) bool {
	switch port {
	case 22, 135, 445, 3389, 5985:
		return true
	}
	return false
}

// peer is a service that a host used.
type peer struct {
	src, dst packet.Addr
	seen     int64 // seconds since 1970 of the latest flow
	port     uint16
}

type newPeers struct {
	hash     hasher
	episodes *episodes
	known    *window.Table[peer]
	period   int64 // of learning
	watched  int64 // since learning began
	clock    int64
	evicted  uint64
}

func newNewPeers(h hasher, e *episodes) *newPeers {
	p := &newPeers{hash: h, episodes: e, period: int64(LearningPeriod)}
	p.known = window.NewTable(maxPeers, func(window.Key, *peer) { p.evicted++ })
	return p
}

func (p *newPeers) advance(now int64) {
	if gone := now - p.clock; p.clock != 0 && gone > 0 && gone <= watchedGap {
		p.watched += gone
	}
	p.clock = now
}

func (p *newPeers) learning() bool { return p.watched < p.period }

// contact takes a flow from a host inside. What is learned, or used again, is
// strong: a sweep of new peers does not make it leave.
func (p *newPeers) contact(r *flow.Record, now int64) {
	if r.Proto != protoTCP || !administers(r.DstPort) || r.Rev.Flags&packet.SYN == 0 || r.Fwd.Flags&packet.ACK == 0 {
		return
	}
	key := p.key(r.Src, r.Dst, r.DstPort)
	v, fresh := p.known.Get(key, p.learning() || p.known.Find(key) != nil)
	*v = peer{r.Src, r.Dst, seconds(r.Last), r.DstPort}
	if fresh && !p.learning() {
		p.tell(r, now)
	}
}

func (p *newPeers) key(src, dst packet.Addr, port uint16) window.Key {
	return p.hash.tableKey(src, dst, 13<<32|uint64(port))
}

// tell adds a peer to the episode of its source.
func (p *newPeers) tell(r *flow.Record, now int64) {
	p.episodes.note(&finding{
		kind: "new_peer", sensor: "new_peer", offender: r.Src, transport: "tcp", severity: severityPeer, evidence: event.E1, target: r.Dst, port: r.DstPort, hasPort: true,
		value: 1, threshold: 1, window: time.Duration(p.watched), memory: peerQuiet,
		more: []detail{{"learning_s", time.Duration(p.period).Seconds()}, {"watched_s", time.Duration(p.watched).Seconds()}, {"known_peers", p.known.Len()}},
	}, now)
}

func (p *newPeers) counts(yield func(string, uint64)) {
	yield("new_peer_evicted", p.evicted)
}
