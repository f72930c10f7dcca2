package export

import (
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

// towardsResponder turns r into the direction of who began, which is how a record
// of both directions should come (RFC 5103 section 3). Some exporters put the lower
// address first (softflowd -b). That shows where only the other side sent packets, and
// where the other side sent a SYN without ever an ACK and this one answered it; a
// connection in which both sent both is left as it is.
func towardsResponder(r *flow.Record) {
	const syn, ack = packet.SYN, packet.ACK
	switch {
	case r.Rev.Packets == 0:
		return
	case r.Fwd.Packets == 0:
	case r.Proto == ipproto.TCP && r.Rev.Flags&(syn|ack) == syn && r.Fwd.Flags&ack != 0:
	default:
		return
	}
	r.Key, r.Fwd, r.Rev = r.Reverse(), r.Rev, r.Fwd
}
