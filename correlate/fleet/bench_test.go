package fleet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"vft/event"
)

// crowd is a Fleet with very many sources live, and the events that go on: one
// a second over 100 clients and the ports of a trap pool.
type crowd struct {
	*Fleet
	event  event.Event
	random uint64
	live   uint32
	loyal  bool // each source stays with one trap, as what goes on all day does
	names  []string
	alerts int
	second time.Time
}

func newCrowd(live uint32, loyal bool) *crowd {
	c := &crowd{random: 1, live: live, loyal: loyal}
	rules := DefaultRules()
	rules.Keys = int(live)
	c.Fleet = NewFleet(FleetConfig{Rules: rules}, func(event.Event) { c.alerts++ })
	for i := range 100 {
		c.names = append(c.names, fmt.Sprintf("client-%d", i))
	}
	c.event = event.Event{Time: base, Dataset: event.DatasetTrap, Evidence: event.E1, Transport: "tcp"}
	for i := range live {
		c.hit(i, 10*time.Microsecond)
	}
	return c
}

func (c *crowd) hit(source uint32, after time.Duration) {
	c.random = c.random*6364136223846793005 + 1442695040888963407
	var addr [4]byte
	binary.BigEndian.PutUint32(addr[:], 1<<24|source)
	c.event.Time = c.event.Time.Add(after)
	trap := uint32(c.random >> 33)
	if c.loyal {
		trap = source * 2654435761 >> 8
	}
	c.event.Client = c.names[trap%100]
	c.event.Src = netip.AddrPortFrom(netip.AddrFrom4(addr), 40000)
	c.event.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(1000+trap/100%40))
	c.Observe(&c.event)
}

func (c *crowd) next(after time.Duration) {
	c.hit(uint32(c.random>>44)%c.live, after)
	if now := c.event.Time.Truncate(time.Second); now.After(c.second) {
		c.second = now
		c.Advance(now)
	}
}

// BenchmarkFleet judges hits by all rules with 1 Mi sources live, over 100
// clients and 40 ports. Noise is of sources that stay with one trap each, 1,000
// hits a second; in a scan all touch all, 100,000 times a second: every rule holds
// for every event, and an incident for each of the sources is folded.
func BenchmarkFleet(b *testing.B) {
	for _, c := range []struct {
		name  string
		loyal bool
		after time.Duration
	}{{"noise", true, time.Millisecond}, {"scan", false, 10 * time.Microsecond}} {
		b.Run(c.name, func(b *testing.B) {
			const live = 1 << 20
			f := newCrowd(live, c.loyal)
			for range live {
				f.next(c.after)
			}
			perKey := float64(f.sources.Bytes()) / float64(f.sources.Len())
			pause := fullGC()
			b.ReportAllocs()
			begin := cpuTime()
			for b.Loop() {
				f.next(c.after)
			}
			b.ReportMetric(float64((cpuTime()-begin).Nanoseconds())/float64(b.N), "ns/event")
			b.ReportMetric(1500, "limit-ns/event")
			b.ReportMetric(perKey, "bytes/key")
			b.ReportMetric(200, "limit-bytes/key")
			b.ReportMetric(pause.Seconds()*1e3, "gc-ms")
			b.ReportMetric(10, "limit-gc-ms")
			runtime.KeepAlive(f)
		})
	}
}

// BenchmarkSources is the part of it that no rule can save: to find one of 1 Mi
// sources in memory.
func BenchmarkSources(b *testing.B) {
	const live = 1 << 20
	f := newCrowd(live, true)
	begin := cpuTime()
	for b.Loop() {
		f.random = f.random*6364136223846793005 + 1442695040888963407
		var addr [4]byte
		binary.BigEndian.PutUint32(addr[:], 1<<24|uint32(f.random>>44))
		s, _ := f.sources.Get(f.sourceKey(netip.AddrFrom4(addr)), true)
		s.untold++
	}
	b.ReportMetric(float64((cpuTime()-begin).Nanoseconds())/float64(b.N), "ns/event")
}

// fullGC returns the median time of a full collection.
func fullGC() time.Duration {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var all [5]time.Duration
	for i := range all {
		begin := time.Now()
		runtime.GC()
		all[i] = time.Since(begin)
	}
	for i := range all {
		for j := i; j > 0 && all[j] < all[j-1]; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all[len(all)/2]
}

// After the first events of a source, its events allocate nothing, whatever
// rules hold and whatever incident is open, but for the alerts that are written.
func TestNoAllocationPerEvent(t *testing.T) {
	for _, live := range []uint32{1, 3, 1 << 8} {
		f := newCrowd(live, false)
		f.rules.UpdateEvery, f.rules.Hold = time.Hour, time.Hour
		for range 1 << 15 {
			f.next(100 * time.Microsecond)
		}
		before := f.alerts
		const events = 1 << 12
		n := testing.AllocsPerRun(1, func() {
			for range events {
				f.next(100 * time.Microsecond)
			}
		})
		if n > 10*float64(f.alerts-before)+events/100 {
			t.Errorf("%d sources: %v allocations in %d events with %d alerts", live, n, events, f.alerts-before)
		}
	}
}

func TestBytesPerSource(t *testing.T) {
	f := newCrowd(1<<14, true)
	if n := float64(f.sources.Bytes()) / float64(f.sources.Len()); n > 200 {
		t.Errorf("%v bytes a source", n)
	}
}
