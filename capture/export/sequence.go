package export

// sequence measures what was lost on the way by the sequence numbers of an
// exporter. They count records (NetFlow 5 and 7, IPFIX) or datagrams (NetFlow 9,
// sFlow), and wrap around.
type sequence struct {
	known bool
	next  uint32 // expected
	late  uint8  // datagrams in a row that were behind

	sent, lost, restarts uint64
}

const (
	// maxGap is the longest gap that counts as loss. Longer ones, and steps back
	// of more, are an exporter that began anew.
	maxGap = 1 << 16
	// maxLate datagrams in a row behind the expected number are an exporter that
	// began anew, a little before where it was; fewer are out of order.
	maxLate = 8
)

// saw takes the sequence number of a datagram and the units in it. Datagrams
// out of order fill the gap that they left.
func (s *sequence) saw(seq, units uint32) {
	s.sent += uint64(units)
	gap := int64(int32(seq - s.next))
	switch {
	case !s.known || gap == 0:
	case gap > 0 && gap <= maxGap:
		s.lost += uint64(gap)
	case gap < 0 && gap >= -maxGap && s.late < maxLate:
		s.late++
		s.lost -= min(s.lost, uint64(units))
		return
	default:
		s.restarts++
	}
	s.known, s.next, s.late = true, seq+units, 0
}

// unsure takes a sequence number of a datagram with an unknown number of units:
// the next one cannot tell whether anything is missing between them.
func (s *sequence) unsure() { s.known = false }
