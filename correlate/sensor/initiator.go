package sensor

import "vft/capture/packet"

// initiator returns r in the direction of who began, which is how a record of
// both directions should come. Some exporters put the lower address first
// (softflowd -b). That shows where only the other side sent packets, and where
// the other side sent a SYN without ever an ACK and this one answered it; a
// connection in which both sent both is left as it is.
func (s *Set) initiator(r record) record {
	const syn, ack = packet.SYN, packet.ACK
	switch {
	case r.Rev.Packets == 0:
		return r
	case r.Fwd.Packets == 0:
	case r.Proto == protoTCP && r.Rev.Flags&(syn|ack) == syn && r.Fwd.Flags&ack != 0:
	default:
		return r
	}
	s.turned = *r
	s.turned.Key, s.turned.Fwd, s.turned.Rev = r.Reverse(), r.Rev, r.Fwd
	return &s.turned
}
