package export

import "iter"

// Gap is what an exporter sent and no record came of, since the last time that
// Gaps was asked.
type Gap struct {
	Exporter            // as it is now
	NewlyLost    uint64 // units that its sequence numbers say were sent and never came
	NewlySent    uint64 // units that came
	NewlyMissing uint64 // sets of data given up for want of their template
}

// Share returns the part of what was sent that did not come, 0 to 1.
func (l Gap) Share() float64 {
	if l.NewlyLost == 0 {
		return 0
	}
	return float64(l.NewlyLost) / float64(l.NewlyLost+l.NewlySent)
}

// Tolerated is the share of loss that Gaps does not report.
const Tolerated = 0.01

// Gaps yields the exporters of which more than Tolerated was lost since it was
// asked last, and more than one datagram can hold, and those of which data were
// given up for want of a template. Ask once a minute.
func (d *Decoder) Gaps() iter.Seq[Gap] {
	return func(yield func(Gap) bool) {
		for e := d.exporters.first; e != nil; e = e.next {
			l := e.gapSince()
			lost := l.Share() > Tolerated && l.NewlyLost > uint64(e.seq.sum().most)
			if (lost || l.NewlyMissing > 0) && !yield(l) {
				return
			}
		}
	}
}

// loss is what was reported of an exporter.
type loss struct{ lost, sent, missing uint64 }

// gapSince returns what was lost since the last call. Datagrams that come late
// take back what was reported as lost, but no report is negative.
func (e *exporter) gapSince() Gap {
	seq := e.seq.sum()
	now := loss{seq.before, seq.sent, e.missing}
	then := e.reported
	e.reported = now
	return Gap{
		Exporter:     e.view(),
		NewlyLost:    now.lost - min(now.lost, then.lost),
		NewlySent:    now.sent - then.sent,
		NewlyMissing: now.missing - then.missing,
	}
}
