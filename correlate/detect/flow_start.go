package detect

import (
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/window"
	"vft/ipproto"
)

// IP protocol numbers of the flows that are contacts.
const (
	protoTCP = ipproto.TCP
	protoUDP = ipproto.UDP
)

const (
	maxCut    = 1 << 12
	cutBelong = 300 * second // longer after it was cut, a flow is another one
)

// flows looks at finished flows. It keeps, besides its detections, the flows
// that were cut, so that each contact counts once, by its start.
type flows struct {
	hash    hasher
	home    home
	clock   int64
	cut     *cache[int64] // when the last part ended
	beacons *beacons
	peers   *newPeers
}

func newFlows(d *Detections, h home) *flows {
	f := &flows{hash: d.hash, home: h, cut: newCache[int64](maxCut), beacons: newBeacons(d.hash, d.episodes), peers: newNewPeers(d.hash, d.episodes)}
	d.onFlow = append(d.onFlow, f.flow)
	d.onAdvance = append(d.onAdvance, f.advance)
	d.onClose = append(d.onClose, f.beacons.close)
	d.onCount = append(d.onCount, f.counts)
	return f
}

// flow takes a contact that a host inside made: an answer and what follows a
// cut are none, nor is a TCP connection whose beginning was not seen.
func (f *flows) flow(r *flow.Record) {
	if !f.continues(r) {
		f.begun(r)
	}
}

// begun takes a flow that is no part of another.
func (f *flows) begun(r *flow.Record) {
	if !r.Ports || !starts(r) || many(r.Dst) || !f.home.has(r.Src) {
		return
	}
	now := max(f.clock, r.Last)
	f.peers.contact(r, now)
	if !f.home.has(r.Dst) {
		f.beacons.contact(r, now)
	}
}

func (f *flows) advance(now int64) {
	f.clock = now
	f.peers.advance(now)
}

func starts(r *flow.Record) bool {
	return r.Proto == protoUDP || r.Proto == protoTCP && r.Fwd.Flags&packet.SYN != 0
}

// continues reports whether r goes on where an earlier record of the flow was
// cut. The first packet after the cut may have gone either way.
func (f *flows) continues(r *flow.Record) bool {
	k := r.Key.Canonical()
	key := f.hash.of(k.Src, k.Dst, uint64(k.SrcPort)<<24|uint64(k.DstPort)<<8|uint64(k.Proto))
	ended := f.cut.find(key, r.Last)
	goesOn := ended != nil && r.First-*ended <= cutBelong
	if r.End == flow.Active || r.End == flow.Overflow {
		ended, _ = f.cut.get(key, r.Last)
		*ended = r.Last
	} else if ended != nil {
		*ended = -cutBelong
	}
	return goesOn
}

func (f *flows) counts(yield func(string, uint64)) {
	yield("cut_flows_evicted", f.cut.evicted)
	f.beacons.counts(yield)
	f.peers.counts(yield)
}

// tableKey is 128 bits of keyed hash, which do not collide.
func (h *hasher) tableKey(from, to packet.Addr, x uint64) (k window.Key) {
	a, b := h.of(from, to, x), h.of(to, from, x^0xa5a5a5a5<<32)
	for i := range 8 {
		k[i], k[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	return k
}

// seconds turns packet time into seconds since 1970.
func seconds(ns int64) int64 { return ns / int64(time.Second) }
