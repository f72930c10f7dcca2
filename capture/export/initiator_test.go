package export

import (
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

// A record of both directions is told from who began.
func TestInitiator(t *testing.T) {
	fields := []spec{{7, 2, 0}, {11, 2, 0}, {4, 1, 0}, {2, 4, 0}, {1, 4, 0}, {6, 1, 0}, {2, 4, reversePEN}, {1, 4, reversePEN}, {6, 1, reversePEN}}
	for _, c := range []struct {
		why             string
		proto           byte
		packets         uint32 // of the side that the record has first
		flags           byte
		reversePackets  uint32
		reverseFlags    byte
		turned, session bool
	}{
		{"a refused SYN, the answer first", 6, 1, 20, 1, 2, true, true},
		{"a SYN that was taken and reset, the answer first", 6, 1, 18, 2, 6, true, true},
		{"only the other side sent packets", 6, 0, 0, 3, 2, true, false},
		{"the same of UDP", 17, 0, 0, 3, 0, true, false},
		{"a connection, whoever began it", 6, 4, 27, 4, 27, false, true},
		{"a SYN and its answer, in order", 6, 1, 2, 1, 20, false, true},
		{"both began at once", 6, 1, 2, 1, 2, false, true},
		{"an answer of which no flags are told", 17, 1, 0, 1, 0, false, true},
		{"one direction", 6, 1, 18, 0, 0, false, false},
	} {
		r := one(flow.IPFIX, fields, u16(445), u16(40000), []byte{c.proto}, u32(c.packets), u32(60*c.packets), []byte{c.flags},
			u32(c.reversePackets), u32(60*c.reversePackets), []byte{c.reverseFlags})
		want := flow.Key{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: 445, DstPort: 40000, Proto: c.proto, Ports: true}
		fwd := flow.Side{Packets: uint64(c.packets), Bytes: 60 * uint64(c.packets), Flags: packet.Flags(c.flags)}
		rev := flow.Side{Packets: uint64(c.reversePackets), Bytes: 60 * uint64(c.reversePackets), Flags: packet.Flags(c.reverseFlags)}
		if c.turned {
			want, fwd, rev = want.Reverse(), rev, fwd
		}
		if r.Key != want || r.Fwd != fwd || r.Rev != rev || (r.Rev.Packets > 0) != c.session {
			t.Errorf("%s: %+v", c.why, r)
		}
		again := r
		if towardsResponder(&again); again != r {
			t.Errorf("%s: turned twice", c.why)
		}
	}
}
