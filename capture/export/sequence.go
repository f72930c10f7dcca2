package export

// sequence measures what was lost on the way by the sequence numbers of an
// exporter. They count records (NetFlow 5 and 7, IPFIX) or datagrams (NetFlow 9,
// sFlow), and wrap around.
//
// What counts is how far the numbers went against how many units came, so that
// datagrams out of order are no loss, and exporters whose number includes the
// units of its own datagram, as that of softflowd does, none either.
type sequence struct {
	known bool
	next  uint32 // expected
	went  uint64 // units that the numbers went since the start
	came  uint64 // units that came since then
	late  uint8  // datagrams in a row that were behind
	tally
}

// tally is what a sequence tells.
type tally struct {
	sent     uint64 // units that came since ever
	before   uint64 // units lost before the start
	restarts uint64
	most     uint32 // units in one datagram
}

const (
	// maxGap is the longest gap that counts as loss. Longer ones, and steps back
	// of more, are an exporter that began anew.
	maxGap = 1 << 16
	// maxLate datagrams in a row behind the expected number are an exporter that
	// began anew, a little before where it was; fewer are out of order.
	maxLate = 8
)

// saw takes the sequence number of a datagram and the units in it.
func (s *sequence) saw(seq, units uint32) {
	s.sent += uint64(units)
	s.most = max(s.most, units)
	gap, end := int64(int32(seq-s.next)), int64(int32(seq+units-s.next))
	switch {
	case !s.known:
		s.start(seq, units)
	case end > 0 && gap <= maxGap:
		s.went += uint64(end)
		s.came += uint64(units)
		s.next, s.late = seq+units, 0
	case end <= 0 && gap >= -maxGap && s.late < maxLate:
		s.came += uint64(units)
		if units > 0 {
			s.late++
		}
	default:
		s.restarts++
		s.start(seq, units)
	}
}

// start begins to measure at a datagram.
func (s *sequence) start(seq, units uint32) {
	s.before = s.lost()
	s.known, s.next, s.late = true, seq+units, 0
	s.went, s.came = uint64(units), uint64(units)
}

// unsure follows saw for a datagram with an unknown number of units: the next
// one cannot tell whether anything is missing between them.
func (s *sequence) unsure() { s.known = false }

// lost returns how many units are missing.
func (s *sequence) lost() uint64 {
	return s.before + s.went - min(s.went, s.came)
}

// sequences are those of the ports that an exporter sends from: two programs on
// one host count each for itself.
type sequences struct {
	ports [4]struct {
		port uint16
		used bool
		sequence
	} // latest first; more ports take turns, and nothing is measured between them
	gone tally // of ports that were pushed out
}

// of returns the sequence of a port. It is valid until the next call.
func (s *sequences) of(port uint16) *sequence {
	if s.ports[0].used && s.ports[0].port == port {
		return &s.ports[0].sequence
	}
	i := 1
	for i < len(s.ports)-1 && (!s.ports[i].used || s.ports[i].port != port) {
		i++
	}
	found := s.ports[i]
	if !found.used || found.port != port {
		s.gone.add(&found.sequence)
		found.port, found.used, found.sequence = port, true, sequence{}
	}
	copy(s.ports[1:i+1], s.ports[:i])
	s.ports[0] = found
	return &s.ports[0].sequence
}

// sum returns what all ports tell; before is what was lost.
func (s *sequences) sum() tally {
	all := s.gone
	for i := range s.ports {
		all.add(&s.ports[i].sequence)
	}
	return all
}

func (t *tally) add(s *sequence) {
	t.sent += s.sent
	t.before += s.lost()
	t.restarts += s.restarts
	t.most = max(t.most, s.most)
}
