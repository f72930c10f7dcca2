package detect

import (
	"vft/capture/packet"
)

// streamPackets is how many datagrams one way make a stream: media, logs and measurements
// get no answer and are in use all the same. A scan sends one or two to a port.
const (
	streamPackets = 8
	maxStreams    = 1 << 13 // one byte each
)

// streams counts the datagrams of the flows that nobody answered yet, in cells that flows
// may share: then one of them is taken for a stream a little early.
type streams struct {
	seed  uint64
	cells []uint8
}

func newStreams(h hasher) streams { return streams{h.a, make([]uint8, maxStreams)} }

func (s *streams) cell(p *packet.Parsed) *uint8 {
	k := (p.Src.Lo ^ p.Dst.Lo ^ uint64(p.DstPort)<<40 ^ s.seed) * 0x9e3779b97f4a7c15
	return &s.cells[k>>51]
}

// begins notes the first datagram of a flow.
func (s *streams) begins(p *packet.Parsed) { *s.cell(p) = 1 }

// goesOn notes another one, and reports whether a stream has just become of them.
func (s *streams) goesOn(p *packet.Parsed) bool {
	c := s.cell(p)
	if *c > streamPackets {
		return false
	}
	*c++
	return *c == streamPackets
}
