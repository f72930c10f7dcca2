package flows

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vft/counters"
	"vft/e2e/exporter"
	"vft/event"
)

// patience is how long a test waits for what does not come.
const patience = 10 * time.Second

// running is a collector on loopback and what came of its flows.
type running struct {
	t         *testing.T
	collector *Collector
	flows     chan event.Event
	to        netip.AddrPort
	stop      func() error
}

func collect(t *testing.T, state string) *running {
	t.Helper()
	r := &running{t: t, flows: make(chan event.Event, 1<<12)}
	var err error
	r.collector, err = NewCollector(Config{
		Settings: &Settings{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 2, WriteFlows: true, LearnPeers: time.Hour},
		Emit: func(e event.Event) {
			if e.Dataset == event.DatasetFlow {
				r.flows <- e
			}
		},
	}, state)
	if err == nil {
		err = r.collector.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.to = r.collector.Addrs()[0]
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var ended error
	wg.Go(func() { ended = r.collector.Run(ctx) })
	r.stop = func() error { cancel(); wg.Wait(); return ended }
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// send sends a datagram and waits for the records in it.
func (r *running) send(datagram []byte, records int) {
	r.t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.to))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(datagram); err != nil {
		r.t.Fatal(err)
	}
	limit := time.After(patience)
	for n := range records {
		select {
		case e := <-r.flows:
			if e.Flow.Exporter != "127.0.0.1" || e.ID.IsZero() {
				r.t.Fatalf("a flow of %q with id %s", e.Flow.Exporter, e.ID)
			}
		case <-limit:
			r.t.Fatalf("%d of %d records came", n, records)
		}
	}
}

func (r *running) counts() map[string]uint64 {
	var all counters.Registry
	r.collector.AddCounters(&all)
	counts := map[string]uint64{}
	for _, part := range all.Parts() {
		part.Counts(func(name string, n uint64) { counts[name] += n })
	}
	return counts
}

// What exporters send over the network is decoded and judged; the templates of
// one run are known to the next, which need not wait for them.
func TestCollectorKnowsTheTemplatesOfAnEarlierRun(t *testing.T) {
	state := filepath.Join(t.TempDir(), "exporters.json")
	router, now := exporter.New(9, 0, 1, time.Now()), time.Now()
	first := collect(t, state)
	for range 3 {
		first.send(router.Datagram(nil, now), exporter.RecordsPerDatagram)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	counts := first.counts()
	if counts["export_records"] != 3*exporter.RecordsPerDatagram || counts["collector_received"] != 3 || counts["sensor_flows"] != counts["export_records"] {
		t.Errorf("%v", counts)
	}
	second := collect(t, state)
	second.send(router.Datagram(nil, now), exporter.RecordsPerDatagram)
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	if counts := second.counts(); counts["export_pending_kept"] != 0 || counts["export_records"] != exporter.RecordsPerDatagram {
		t.Errorf("the data waited for a template that was known: %v", counts)
	}
}

// Without a template the data wait, and are not lost.
func TestCollectorKeepsDataForTheirTemplate(t *testing.T) {
	router, now := exporter.New(10, 0, 1, time.Now()), time.Now()
	template, data := router.Datagram(nil, now), router.Datagram(nil, now)
	c := collect(t, filepath.Join(t.TempDir(), "exporters.json"))
	c.send(data, 0)
	c.send(template, 2*exporter.RecordsPerDatagram)
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if counts := c.counts(); counts["export_pending_kept"] != 1 || counts["export_pending_decoded"] != 1 {
		t.Errorf("the data did not wait: %v", counts)
	}
}
