//go:build unix

package flows

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"vft/correlate/sensor"
	"vft/e2e/exporter"
	"vft/event"
)

// exporters are busy routers that send to a worker in this process.
type exporters struct {
	all   []*exporter.Exporter
	from  []netip.AddrPort
	turn  int
	batch [64][]byte
}

func newExporters(v exporter.Version, now time.Time) *exporters {
	x := &exporters{}
	const routers = 4
	for i := range routers {
		x.all = append(x.all, exporter.New(v, i, routers, now))
		x.from = append(x.from, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 2055))
	}
	return x
}

// fill makes a batch of datagrams as one router sent them.
func (x *exporters) fill(now time.Time) (from netip.AddrPort) {
	x.turn = (x.turn + 1) % len(x.all)
	for i := range x.batch {
		x.batch[i] = x.all[x.turn].Datagram(x.batch[i][:0], now)
	}
	return x.from[x.turn]
}

func workerOf(tb testing.TB, sensorsOnly bool) *worker {
	tb.Helper()
	definitions, err := sensor.Parse("sensors.yaml", sensor.BuiltIn())
	if err != nil {
		tb.Fatal(err)
	}
	s := &Settings{LearnPeers: 24 * time.Hour}
	a, err := NewAnalyzer(Config{Settings: s, Sensors: Sensors{Exported: definitions}, Random: [32]byte{1}, SensorsOnly: sensorsOnly, Emit: func(event.Event) {}})
	if err != nil {
		tb.Fatal(err)
	}
	return newWorker(s, a)
}

// The exporters are understood in all that they send, and no record costs an
// allocation; what they show now and then does.
func TestBusyExporters(t *testing.T) {
	for _, v := range []exporter.Version{5, 9, 10} {
		now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		w, from := workerOf(t, false), newExporters(v, now)
		records := uint64(0)
		batch := func() {
			addr := from.fill(now)
			for _, payload := range from.batch {
				w.datagram(addr, payload, now.UnixNano())
			}
			w.tick(now.UnixNano())
			now = now.Add(time.Millisecond)
			records += uint64(len(from.batch) * exporter.RecordsPerDatagram)
		}
		for range 300 {
			batch()
		}
		allocated := testing.AllocsPerRun(100, batch)
		if perRecord := allocated / float64(len(from.batch)*exporter.RecordsPerDatagram); perRecord > 0.01 {
			t.Errorf("version %d: %v allocations for a record", v, perRecord)
		}
		counts := map[string]uint64{}
		w.decoder.Counts(func(name string, n uint64) { counts[name] = n })
		w.to.Counts(func(name string, n uint64) { counts[name] = n })
		if counts["records"] != records || counts["sensor_flows"] != records || counts["sequence_lost"] != 0 {
			t.Errorf("version %d: of %d records: %v", v, records, counts)
		}
	}
}

// BenchmarkCollected is what each exported record costs from the datagram on: decoded,
// judged by sensors alone, and by all.
func BenchmarkCollected(b *testing.B) {
	for _, v := range []struct {
		name    string
		version exporter.Version
	}{{"netflow5", 5}, {"netflow9", 9}, {"ipfix", 10}} {
		for _, part := range []string{"decode", "sensors", "all"} {
			b.Run(v.name+"/"+part, func(b *testing.B) { benchmarkCollected(b, v.version, part) })
		}
	}
}

func benchmarkCollected(b *testing.B, v exporter.Version, part string) {
	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	w, from := workerOf(b, part == "sensors"), newExporters(v, now)
	batch := func() time.Duration {
		addr := from.fill(now)
		now = now.Add(time.Duration(len(from.batch)*exporter.RecordsPerDatagram) * time.Microsecond)
		begin, at := usedTime(b), now.UnixNano()
		for _, payload := range from.batch {
			if part == "decode" {
				w.records = w.decoder.Datagram(addr, payload, at, w.records)[:0]
			} else {
				w.datagram(addr, payload, at)
			}
		}
		w.tick(at)
		return usedTime(b) - begin
	}
	const rounds, records = 250, len(from.batch) * exporter.RecordsPerDatagram
	for range 4 * rounds { // fills the tables
		batch()
	}
	best := 1e9
	for b.Loop() {
		spent := time.Duration(0)
		for range rounds {
			spent += batch()
		}
		best = min(best, float64(spent)/rounds/float64(records))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(best, "ns/record")
	b.ReportMetric(300, "limit-ns/record")
}

func usedTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
