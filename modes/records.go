package modes

import (
	"sync/atomic"
	"time"

	"vft/alerting/amqp"
	rules "vft/correlate/fleet"
	"vft/correlate/known"
	"vft/counters"
	"vft/engine/fleet"
	"vft/event"
	"vft/hostinfo"
	"vft/siem"
	"vft/siem/ecs"
)

// recordWriter sends records to all destinations and to the broker.
type recordWriter struct {
	hostname, version string
	destinations      []*siem.Destination
	notify            *amqp.Notifier   // nil: no broker is told of threats
	created           func() time.Time // when a record is written; zero in a replay, whose records must repeat
	line              []byte
}

func newRecordWriter(build Build, destinations []*siem.Destination) *recordWriter {
	return &recordWriter{hostname: hostinfo.Name(), version: build.Version, destinations: destinations, created: time.Now}
}

// write sends one record to every destination. The Correlator calls it, one
// record at a time.
func (w *recordWriter) write(e *event.Event) {
	w.line = ecs.Append(w.line[:0], e, ecs.Observer{Hostname: w.hostname, Version: w.version, Created: w.created()})
	for _, out := range w.destinations {
		out.Send(w.line)
	}
	if w.notify != nil && e.Threat != nil {
		w.notify.Send(e)
	}
}

// addRuleCounters registers what the rules count, and what the lists of known
// hosts in them explained.
func addRuleCounters(all *counters.Registry, c *fleet.Correlator, r *atomic.Pointer[rules.Rules]) {
	all.Add("rules", c.Counts)
	all.Add("known hosts", func(yield func(name string, n uint64)) {
		lists := r.Load().Known
		if lists == nil {
			lists = &known.Lists{}
		}
		lists.Counts(yield)
	})
}

// newCorrelator returns what judges by these rules and writes to w. shared says that
// many clients report to it.
func newCorrelator(r rules.Rules, random [32]byte, shared bool, w *recordWriter) *fleet.Correlator {
	return fleet.NewCorrelator(fleet.CorrelatorSettings{Rules: r, Seed: random, Shared: shared, Record: w.write})
}
