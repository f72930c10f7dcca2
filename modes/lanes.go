package modes

import (
	"math"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/stat"
	"vft/event"
	"vft/pipeline"
)

// What judges the traffic stands in lanes that do not know each other. Of what
// they find at one moment, this is the order in which it is told.
const (
	laneStatistics = iota
	laneTransfers
	laneDetections
	laneFlows
	lanes
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

// finding is what a lane found, and at which packet or step of the journal.
type finding struct {
	at    int
	event event.Event
}

// journal is a run of packets with what happened between them. Every lane reads
// it from beginning to end and adds what it finds; then that is told in the
// order of the journal, whichever lane was the first.
type journal struct {
	packets  *capture.Batch
	from, to int // of packets
	steps    []step
	samples  []stat.Sample
	found    [lanes][]finding
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

// lane is where one kind of judgement works.
type lane struct {
	number  int
	journal *journal
	at      int
}

func (l *lane) emit(e event.Event) {
	l.journal.found[l.number] = append(l.journal.found[l.number], finding{l.at, e})
}

// stages are what a journal passes through. What reads the packets stands first,
// near to who fetched them.
func (w *watcher) stages() []pipeline.Stage[journal] {
	return []pipeline.Stage[journal]{
		{Run: w.judgePackets},
		{Run: w.judgeTransfers},
		{Run: w.judgeStatistics},
		{Run: w.judgeFlows},
		{Run: w.tell, After: []int{0, 1, 2, 3}},
	}
}

func (w *watcher) judgeStatistics(j *journal) {
	l := &w.lanes[laneStatistics]
	l.journal = j
	j.read(nil, func(at int, s *step) {
		l.at = at
		switch s.kind {
		case stepSamples:
			w.stats.Samples(j.samples[s.from:s.to])
		case stepClose:
			if w.live == nil { // else an episode goes on in the next run, with what was learned
				w.stats.Flush()
			}
		}
	})
}

func (w *watcher) judgeTransfers(j *journal) {
	if w.transfers == nil {
		return
	}
	l := &w.lanes[laneTransfers]
	l.journal = j
	j.read(nil, func(at int, s *step) {
		l.at = at
		switch s.kind {
		case stepView, stepEnded:
			w.transfers.recent.Flow(&s.record)
		case stepMeasure:
			w.transfers.advance(s.at)
		case stepClose:
			w.transfers.recent.Flush()
			if w.live == nil { // else an episode of the week goes on in the next run
				w.transfers.hours.Flush()
			}
		}
	})
}

func (w *watcher) judgePackets(j *journal) {
	l := &w.lanes[laneDetections]
	l.journal = j
	j.read(func(at, n int) {
		l.at = at
		w.detect.Packet(&j.packets.Parsed[n], j.packets.Touches[n], j.packets.Times[n])
	}, func(at int, s *step) {
		l.at = at
		switch s.kind {
		case stepEnded:
			w.detect.Flow(&s.record)
		case stepInterval:
			w.detect.Advance(s.at)
		case stepClose:
			w.detect.Close()
		}
	})
}

// judgeFlows shows the sensors each flow that ended, and in a replay what
// exporters sent in its packets.
func (w *watcher) judgeFlows(j *journal) {
	l := &w.lanes[laneFlows]
	l.journal = j
	var datagrams func(at, n int)
	if w.exports.in != nil {
		datagrams = func(at, n int) {
			l.at = at
			w.exports.in.packet(&w.exports.which, &j.packets.Parsed[n], j.packets.Times[n])
		}
	}
	j.read(datagrams, func(at int, s *step) {
		l.at = at
		switch s.kind {
		case stepEnded:
			w.exports.judge.own(&s.record)
		case stepInterval:
			w.exports.judge.advance(s.at)
			w.lookForLoss(s.at)
		case stepClose:
			w.exports.judge.close()
		}
	})
}

// tell writes what was found, the flows that ended, and the packets.
func (w *watcher) tell(j *journal) {
	var told [lanes]int
	var log func(at, n int)
	if w.packets != nil { // a packet is kept before a finding may ask for it
		log = func(at, n int) {
			w.logPacket(&j.packets.Parsed[n], j.packets.Times[n])
			w.tellUntil(j, &told, at)
		}
	}
	j.read(log, func(at int, s *step) {
		w.tellUntil(j, &told, at)
		switch s.kind {
		case stepEnded:
			w.tellFlow(&s.record)
		case stepInterval:
			if w.packets != nil {
				w.packets.Advance(s.at)
			}
		}
	})
	w.tellUntil(j, &told, math.MaxInt)
}

// tellUntil writes the findings up to a place of the journal.
func (w *watcher) tellUntil(j *journal, told *[lanes]int, until int) {
	for {
		first, at := -1, math.MaxInt
		for l := range lanes {
			if rest := j.found[l][told[l]:]; len(rest) > 0 && rest[0].at < at {
				first, at = l, rest[0].at
			}
		}
		if first < 0 || at > until {
			return
		}
		w.finding(j.found[first][told[first]].event)
		told[first]++
	}
}
