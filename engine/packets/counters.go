package packets

import (
	"strings"
	"time"

	"vft/capture/flow"
	"vft/counters"
)

// tallyEvery is how often the goroutines of a live capture copy what they have
// counted; packet time. A replay does so in its end.
const tallyEvery = 10 * time.Second

// tallies are the counters of the parts that one goroutine owns.
type tallies struct {
	traffic, table, statistics, transfers, detections counters.Tally

	due [analyzers + 1]int64 // when each analyzer, and last the reader, copies again
}

// AddCounters registers the counters of all parts of the capture.
func (e *Engine) AddCounters(all *counters.Registry) {
	if e.live != nil {
		all.Add("capture", e.live.Counts)
	}
	if e.process != nil {
		all.Add("processes", e.process.Counts)
	}
	all.Add("traffic", e.tallies.traffic.Counts)
	all.Add("flow table", e.tallies.table.Counts)
	all.Add("statistics", e.tallies.statistics.Counts)
	if e.transfers != nil {
		all.Add("transfers", e.tallies.transfers.Counts)
	}
	all.Add("detections", e.tallies.detections.Counts)
	all.Add("sensors", e.flows.Counts)
	if e.packets != nil {
		all.Add("packet log", e.packets.Counts)
	}
}

// tallyDue reports whether one of those who keep tallies should copy them now.
func (e *Engine) tallyDue(who int, now int64) bool {
	if e.replay || now < e.tallies.due[who] {
		return false
	}
	e.tallies.due[who] = now + int64(tallyEvery)
	return true
}

// tallyReader copies what the reader counts.
func (e *Engine) tallyReader() {
	e.tallies.traffic.Take(e.trafficCounts)
	e.tallies.table.Take(e.tableCounts)
}

// tallyAll copies all counters, when no goroutine works any more.
func (e *Engine) tallyAll() {
	e.tallyReader()
	e.tallies.statistics.Take(e.stats.Counts)
	e.tallies.detections.Take(e.detect.Counts)
	if e.transfers != nil {
		e.tallies.transfers.Take(e.transfers.Counts)
	}
}

// trafficCounts yields what a vft.summary would say of the packets. Of what is
// distinct only exact counts are told, which live are those of little traffic.
func (e *Engine) trafficCounts(yield func(name string, n uint64)) {
	totals := e.shard.Totals()
	yield("packets", totals.Packets)
	yield("bytes", totals.Bytes)
	yield("flows", e.shard.Flows().Counters().Started)
	yield("filtered", e.filter.Dropped())
	for _, c := range totals.Summary() {
		if totals.Exact() || !strings.HasPrefix(c.Name, "unique_") {
			yield(c.Name, c.Value)
		}
	}
}

// endCounters are the names of how flows ended.
var endCounters = [...]string{flow.Idle: "flows_idle", flow.Active: "flows_active", flow.Evicted: "flows_evicted",
	flow.Overflow: "flows_overflow", flow.Finished: "flows_finished"}

// tableCounts yields what became of flows, fragments and intervals.
func (e *Engine) tableCounts(yield func(name string, n uint64)) {
	c := e.shard.Flows().Counters()
	yield("flows_started", c.Started)
	for end := flow.Idle; end <= flow.Finished; end++ {
		yield(endCounters[end], c.Ended[end])
	}
	yield("fragments_joined", c.FragmentsJoined)
	yield("fragments_alone", c.FragmentsAlone)
	yield("fragments_forgotten", c.FragmentsForgot)
	s := e.shard.Counters()
	yield("packets_late", s.Late)
	yield("intervals_empty", s.Empty)
	yield("intervals_skipped", s.Skipped)
}
