package detect

import (
	"vft/capture/flow"
	"vft/capture/packet"
)

// Brute force in exported flows: the short connections that are alike, as
// bruteforce.go counts them. What the connections said is not known. Where an
// exporter samples, nothing can be told.
const (
	segmentHeaders4 = 20 + 32 // bytes; what stacks that stamp times send without data
	segmentHeaders6 = 40 + 32
)

type exportBrute struct{ of *bruteForce }

func newExportBrute(b *bruteForce) *exportBrute { return &exportBrute{b} }

// met takes a whole flow. The answer may not have been exported.
func (b *exportBrute) met(r *flow.Record, now int64) {
	const spoke = packet.SYN | packet.ACK
	if r.Proto != protoTCP || !guarded(r.DstPort) || sampled(r) || r.Fwd.Flags&spoke != spoke || r.Last-r.First > shortTime {
		return
	}
	out, back := data(r, &r.Fwd), data(r, &r.Rev)
	if out == 0 || out > shortBytes || back > shortBytes {
		return
	}
	if g, n := b.of.tried(r.Src, r.DstPort, float32(out+back), r.Last); g != nil && n >= bruteConnections {
		b.of.report(r.Src, r.Dst, r.DstPort, float64(n), bruteConnections, bruteWindow, r.Last)
	}
}

// data is about how many bytes one direction carried.
func data(r *flow.Record, s *flow.Side) uint64 {
	headers := segmentHeaders4 * s.Packets
	if !r.Src.Is4() {
		headers = segmentHeaders6 * s.Packets
	}
	return max(s.Bytes, headers) - headers
}
