package packets

import "vft/pipeline"

// stages are what a journal passes through. What reads the packets stands first,
// near to who fetched them.
func (e *Engine) stages() []pipeline.Stage[journal] {
	return []pipeline.Stage[journal]{
		{Run: e.judgePackets},
		{Run: e.judgeTransfers},
		{Run: e.judgeStatistics},
		{Run: e.judgeFlows},
		{Run: e.deliver, After: []int{0, 1, 2, 3}},
	}
}

func (e *Engine) judgeStatistics(j *journal) {
	out := &e.outlets[statisticsAnalyzer]
	out.journal = j
	j.read(nil, func(at int, s *step) {
		out.at = at
		switch s.kind {
		case stepSamples:
			e.stats.Samples(j.samples[s.from:s.to])
			if e.tallyDue(statisticsAnalyzer, s.at) {
				e.tallies.statistics.Take(e.stats.Counts)
			}
		case stepClose:
			e.stats.Flush()
		}
	})
}

func (e *Engine) judgeTransfers(j *journal) {
	if e.transfers == nil {
		return
	}
	out := &e.outlets[transfersAnalyzer]
	out.journal = j
	j.read(nil, func(at int, s *step) {
		out.at = at
		switch s.kind {
		case stepView, stepEnded:
			e.transfers.Flow(&s.record)
		case stepMeasure:
			e.transfers.Advance(s.at)
			if e.tallyDue(transfersAnalyzer, s.at) {
				e.tallies.transfers.Take(e.transfers.Counts)
			}
		case stepClose:
			e.transfers.Flush()
		}
	})
}

func (e *Engine) judgePackets(j *journal) {
	out := &e.outlets[detectionsAnalyzer]
	out.journal = j
	j.read(func(at, n int) {
		out.at = at
		e.detect.Packet(&j.packets.Parsed[n], j.packets.Touches[n], j.packets.Times[n])
	}, func(at int, s *step) {
		out.at = at
		switch s.kind {
		case stepEnded:
			e.detect.Flow(&s.record)
		case stepInterval:
			e.detect.Advance(s.at)
			if e.tallyDue(detectionsAnalyzer, s.at) {
				e.tallies.detections.Take(e.detect.Counts)
			}
		case stepClose:
			e.detect.Close()
		}
	})
}

// judgeFlows shows the sensors each flow that ended, and in a replay what
// exporters sent in its packets.
func (e *Engine) judgeFlows(j *journal) {
	out := &e.outlets[flowsAnalyzer]
	out.journal = j
	var datagrams func(at, n int)
	if e.replay {
		datagrams = func(at, n int) {
			out.at = at
			e.flows.Packet(&j.packets.Parsed[n], j.packets.Times[n])
		}
	}
	j.read(datagrams, func(at int, s *step) {
		out.at = at
		switch s.kind {
		case stepEnded:
			e.flows.Flow(&s.record)
		case stepInterval:
			e.flows.Advance(s.at)
			e.checkLoss(s.at)
		case stepClose:
			e.flows.Close()
		}
	})
}
