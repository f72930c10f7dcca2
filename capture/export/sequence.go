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
	most  uint32 // units in one datagram

	sent     uint64 // units that came since ever
	before   uint64 // units lost before the start
	restarts uint64
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
