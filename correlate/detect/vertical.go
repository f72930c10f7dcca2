package detect

import "time"

// Vertical scan: distinct ports that one source tried on one host without use.
// Those that wait for an answer count too, since a whole scan takes no longer
// than a few of the answers; they no longer count once they are used.
const (
	verticalPorts  = 15
	verticalWindow = 5 * time.Minute

	// A scan that is slower than that: ports that failed for sure, within the
	// memory of first contacts, while nothing succeeded. Fewer are enough when
	// the packets carry the mark of a scanner.
	slowPorts   = 6
	markedPorts = 3
	insidePorts = 10 // the same of a source inside without a mark: one host that is down may have so many services
	noisyPorts  = verticalPorts
)

func (s *scans) verticalOf(c *contact) *finding {
	return &finding{kind: "vertical_scan", offender: c.src}
}

func (s *scans) vertical(c *contact, pr *pair, value, threshold float64, window time.Duration, now int64) {
	f := s.finding("vertical_scan", c, pr, value, threshold, window)
	f.severity = severityScan
	f.pastPorts = pr.ports[:pr.listed]
	s.scanned.get(s.scannedKey(c.dst), now)
	s.episodes.note(f, now)
}

// slow counts a port that failed for sure.
func (s *scans) slow(c *contact, pr *pair, w *walk, now int64) {
	if c.end == idle && c.by == noTool || c.how == ipProtocol {
		return
	}
	pr.failed = bump(pr.failed)
	if c.by != noTool || c.how == finProbe || c.how == nullProbe || c.how == xmasProbe { // no stack sends these
		pr.marked = bump(pr.marked)
	}
	marked, ports := uint8(markedPorts), uint8(slowPorts)
	switch {
	case c.inside:
		ports = insidePorts
	case (pr.failed >= slowPorts || pr.marked >= markedPorts) && s.slowly.noisy(c.dst, now):
		marked, ports = noisyPorts, noisyPorts
	}
	switch {
	case pr.marked >= marked:
		s.vertical(c, pr, float64(pr.marked), float64(marked), time.Duration(forgetTime), now)
	case pr.failed >= ports && pr.connects == 0:
		s.vertical(c, pr, float64(pr.failed), float64(ports), time.Duration(forgetTime), now)
	}
}
