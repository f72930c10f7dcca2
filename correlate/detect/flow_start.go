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
	cut     *cache[cutFlow]
	beacons *beacons
	peers   *newPeers
	long    *longConnections
}

func newFlows(d *Detections, h home) *flows {
	f := &flows{hash: d.hash, home: h, cut: newCache[cutFlow](maxCut), beacons: newBeacons(d.hash, d.episodes), peers: newNewPeers(d.hash, d.episodes), long: newLongConnections(d.hash, d.episodes, h)}
	d.onFlow = append(d.onFlow, f.flow)
	d.onAdvance = append(d.onAdvance, f.advance)
	d.onClose = append(d.onClose, f.beacons.close)
	d.onCount = append(d.onCount, f.counts)
	return f
}

// flow takes a contact that a host inside made: an answer and what follows a
// cut are none, nor is a TCP connection whose beginning was not seen.
func (f *flows) flow(r *flow.Record) {
	c := f.belongs(r)
	f.long.flow(r, c, max(f.clock, r.Last))
	if c.parts == 0 {
		f.begun(r)
	}
}

// called takes an echo request that carries data: pings of that kind are calls, and
// the flow that they make has no beginning for each.
func (f *flows) called(p *packet.Parsed, now int64) {
	if many(p.Dst) || !f.home.has(p.Src) || f.home.has(p.Dst) {
		return
	}
	f.beacons.contact(&flow.Record{
		Key: flow.Key{Src: p.Src, Dst: p.Dst, Proto: p.Proto}, First: now, Last: now, Fwd: flow.Side{Packets: 1, Bytes: uint64(p.Wire), Payload: uint64(p.PayloadLen)},
	}, now)
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

// cutFlow is what is known of a flow whose parts end one after the other.
type cutFlow struct {
	first  int64 // when it began
	ended  int64 // when the last part did
	client packet.Addr
	parts  uint32 // that ended before; 0: it is not known
}

// belongs returns what is known of the flow that r goes on with, where an earlier
// record of it was cut; parts is 0 when r is no part of another. The first packet
// after the cut may have gone either way.
func (f *flows) belongs(r *flow.Record) cutFlow {
	k := r.Key.Canonical()
	key := f.hash.of(k.Src, k.Dst, uint64(k.SrcPort)<<24|uint64(k.DstPort)<<8|uint64(k.Proto))
	was := cutFlow{first: r.First, client: r.Src}
	known := f.cut.find(key, r.Last)
	if known != nil && r.First-known.ended <= cutBelong {
		was = *known
	}
	if r.End == flow.Active || r.End == flow.Overflow {
		known, _ = f.cut.get(key, r.Last)
		*known = cutFlow{was.first, r.Last, was.client, was.parts + 1}
	} else if known != nil {
		known.ended = -cutBelong
	}
	return was
}

func (f *flows) counts(yield func(string, uint64)) {
	yield("cut_flows_evicted", f.cut.evicted)
	f.beacons.counts(yield)
	f.peers.counts(yield)
	f.long.counts(yield)
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
