package packets

import (
	"vft/capture"
	"vft/capture/flow"
	"vft/capture/stat"
	"vft/event"
)

// The analyzers do not know each other. Of what they find at one moment, this is
// the order in which it is delivered.
const (
	statisticsAnalyzer = iota
	transfersAnalyzer
	detectionsAnalyzer
	flowsAnalyzer
	analyzers
)

// stepKind is what happens between two packets.
type stepKind uint8

const (
	stepView     stepKind = iota // a live flow is shown as it is now
	stepEnded                    // a flow ended
	stepMeasure                  // the transfers may close their intervals
	stepSamples                  // the statistics of an interval
	stepInterval                 // an interval ended
	stepClose                    // the capture ended
)

// step is something that happens between two packets.
type step struct {
	kind     stepKind
	before   int // how many packets of the journal come first
	at       int64
	from, to int // of the samples
	record   flow.Record
}

// finding is what an analyzer found, and at which packet or step of the journal.
type finding struct {
	at    int
	event event.Event
}

// journal is a run of packets with what happened between them. Every analyzer
// reads it from beginning to end and adds what it finds; then that is delivered
// in the order of the journal, whichever analyzer was the first.
type journal struct {
	packets  *capture.Batch
	from, to int // of packets
	steps    []step
	samples  []stat.Sample
	found    [analyzers][]finding
}

// full reports whether no further step should be added: one that shows all flows
// of a busy interval takes many.
func (j *journal) full() bool {
	return len(j.steps) == cap(j.steps) || len(j.samples) >= journalSamples
}

func (j *journal) empty() bool { return j.from == j.to && len(j.steps) == 0 }

// reset empties the journal for the packets of b from a given one on.
func (j *journal) reset(b *capture.Batch, from int) {
	j.packets, j.from, j.to = b, from, from
	j.steps, j.samples = j.steps[:0], j.samples[:0]
	for i := range j.found {
		clear(j.found[i])
		j.found[i] = j.found[i][:0]
	}
}

// read calls packet (it may be nil) and take in the order in which things
// happened. Packets and steps are counted together.
func (j *journal) read(packet func(at, n int), take func(at int, s *step)) {
	n := j.from
	packets := func(end, k int) {
		for ; n < end; n++ {
			packet(n-j.from+k, n)
		}
	}
	for k := range j.steps {
		s := &j.steps[k]
		if packet != nil {
			packets(j.from+s.before, k)
		}
		take(s.before+k, s)
	}
	if packet != nil {
		packets(j.to, len(j.steps))
	}
}

// outlet puts what one analyzer finds into the journal that it reads.
type outlet struct {
	analyzer int
	journal  *journal
	at       int
}

func (o *outlet) emit(e event.Event) {
	o.journal.found[o.analyzer] = append(o.journal.found[o.analyzer], finding{o.at, e})
}
