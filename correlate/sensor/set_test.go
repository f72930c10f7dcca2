package sensor

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

func TestReloadKeepsTheWindowsOfUnchangedSensors(t *testing.T) {
	half := func(l *listener, from, to int) {
		for i := from; i < to; i++ {
			l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, int64(i)*second))
		}
	}
	for _, c := range []struct {
		why, text string
		want      int
	}{
		{"nothing changed", "", 1},
		{"another sensor is new", "sensors: {mine: {window: {period: 60s}, report_if: count > 1000}}", 1},
		{"only the severity changed", "sensors: {spam: {filter: {dst_ports: [25, 465, 587, 993]}, key: source, window: {period: 60s}, report_if: count > 20, severity: 99}}", 1},
		{"the condition changed: it counts anew", "sensors: {spam: {filter: {dst_ports: [25, 465, 587, 993]}, key: source, window: {period: 60s}, report_if: count > 19}}", 0},
		{"the filter changed", "sensors: {spam: {filter: {dst_ports: [25]}, key: source, window: {period: 60s}, report_if: count > 20}}", 0},
		{"the key changed", "sensors: {spam: {filter: {dst_ports: [25, 465, 587, 993]}, key: observer, window: {period: 60s}, report_if: count > 20}}", 0},
		{"the window changed", "sensors: {spam: {filter: {dst_ports: [25, 465, 587, 993]}, key: source, window: {period: 61s}, report_if: count > 20}}", 0},
		{"it is off", "sensors: {spam: off}", 0},
	} {
		l := listen(t, parse(t, ""))
		half(l, 0, 10)
		l.Reload(parse(t, c.text))
		half(l, 10, 21)
		if n := len(l.fired()); n != c.want {
			t.Errorf("%s: %d threats, want %d", c.why, n, c.want)
		}
		if n := len(l.fired()); n == 1 && c.why == "only the severity changed" && l.fired()[0].Threat.Severity != 99 {
			t.Errorf("%s: severity %d", c.why, l.fired()[0].Threat.Severity)
		}
	}
}

func TestReloadResolvesWhatIsGone(t *testing.T) {
	l := listen(t, parse(t, ""))
	l.give(tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, 0))
	l.Reload(parse(t, "sensors: {winscan: off}"))
	if len(l.events) != 2 || l.events[1].Threat.State != event.Resolved {
		t.Errorf("%v", l.events)
	}
	l.give(tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, second))
	l.Close()
	if len(l.events) != 2 {
		t.Errorf("%v", l.events[2:])
	}
}

// A million forged sources in one window: memory stays, what had to leave is
// counted, and the scanner among them is found.
func TestAMillionSources(t *testing.T) {
	for _, c := range []struct {
		why   string
		apart int // forged flows between two of the scanner
	}{
		{"a scanner of 166 flows a second", 100},
		{"one of less than 2 flows a second: 101 in 60 s", 9900},
	} {
		l := listen(t, parse(t, ""))
		const sources, span = 1_000_000, 60 * second
		for i := range sources {
			at := int64(i) * span / sources
			r := tcp("10.0.0.9", "10.1.0.1", 23, 2, 60, at)
			if i%c.apart == 0 {
				l.give(r)
			}
			r.Src = stranger(i)
			l.give(r)
			if i%10000 == 0 {
				l.Advance(r.Last)
			}
		}
		if fired := l.fired(); len(fired) != 1 || fired[0].Threat.Offender != "10.0.0.9" {
			t.Errorf("%s: %d threats", c.why, len(fired))
		}
		if n := l.count("sensor_keys_evicted"); n < sources-liveKeys || n > sources {
			t.Errorf("%s: %d evicted", c.why, n)
		}
		if perKey := float64(l.Bytes()) / liveKeys; perKey > 200 {
			t.Errorf("%s: %.0f bytes a key", c.why, perKey)
		}
	}
}

// A key costs no more than the limit on the average, however many flows the
// windows hold: those with many take from those with few, and when nothing is
// left the weakest leaves.
func TestMemoryAtTheMaximum(t *testing.T) {
	for _, c := range []struct {
		why, text string
		limit     float64
	}{
		{"the built-in ones", "", 200},
		{"sums", "builtin: off\nsensors: {a: {window: {period: 60s}, report_if: sum(bytes) > 1000000000}}", 470},
		{"sums and distinct", "builtin: off\nsensors: {a: {window: {period: 60s}, report_if: sum(bytes) > 1000000000 and distinct(dst) > 10000}}", 470 + 350},
		{"two distinct", "builtin: off\nsensors: {a: {window: {period: 60s}, report_if: distinct(src_port) > 10000 and distinct(dst) > 10000}}", 470 + 2*350},
	} {
		before := heap()
		l := listen(t, parse(t, c.text))
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 20 * liveKeys {
			r := tcp4(i)
			r.Src = stranger(random.IntN(liveKeys))
			l.Flow(&r)
		}
		perKey, reported := float64(heap()-before)/liveKeys, float64(l.Bytes())/liveKeys
		t.Logf("%s: %.0f bytes a key", c.why, perKey)
		if l.count("sensor_keys_evicted") == 0 || reported > c.limit || perKey > c.limit+5 {
			t.Errorf("%s: %.0f bytes a key, %.0f by its own account, %d evicted; the limit is %.0f", c.why, perKey, reported, l.count("sensor_keys_evicted"), c.limit)
		}
		runtime.KeepAlive(l)
	}
}

// tcp4 is a probe that differs from others in all that can differ.
func tcp4(i int) flow.Record {
	r := probe
	r.Dst, r.SrcPort, r.First, r.Last = packet.Addr4(0x0a010000+uint32(i)), uint16(i), epoch+int64(i), epoch+int64(i)
	return r
}

var probe = tcp("10.0.0.9", "10.1.0.1", 23, 2, 60, 0)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestFlowsDoNotAllocate(t *testing.T) {
	for _, c := range []struct{ why, text string }{
		{"the built-in ones", ""},
		{"all metrics", "builtin: off\nsensors: {a: {window: {period: 1s}, report_if: count > 1000 and distinct(dst) > 1 and distinct(src) > 1 and distinct(src_port) > 1 and distinct(dst_port) > 1 and sum(bytes) > 1 and sum(packets) > 1}}"},
		{"arithmetic", "builtin: off\nsensors: {a: {window: {period: 1s}, report_if: sum(bytes) / count > 1000000 or distinct(dst) * 2 > 100000}}"},
		{"the last flows", "builtin: off\nsensors: {a: {window: {count: 100}, report_if: count > 100}}"},
	} {
		l := listen(t, parse(t, c.text), func(cfg *Config) { cfg.MaxKeys = 1000 })
		flows := newStream()
		for range 100000 {
			l.Flow(flows.next())
		}
		if n := testing.AllocsPerRun(10000, func() { l.Flow(flows.next()) }); n != 0 {
			t.Errorf("%s: %v allocations a flow", c.why, n)
		}
	}
}

// Flows of an episode that goes on allocate nothing either, records apart.
func TestEpisodesDoNotAllocateByTheFlow(t *testing.T) {
	l := listen(t, parse(t, ""))
	r := tcp("10.0.0.9", "10.1.0.1", 445, 2, 60, 0)
	l.Flow(&r)
	if n := testing.AllocsPerRun(1000, func() { r.Last += 1e6; l.Flow(&r) }); n != 0 {
		t.Errorf("%v allocations a flow", n)
	}
}

// The table of keys finds what is in it and nothing else, whatever leaves.
func TestKeysAgainstAMap(t *testing.T) {
	k := newKeys(500, false)
	h := newHasher([32]byte{5})
	random := rand.New(rand.NewPCG(3, 4))
	known := map[uint64]bool{}
	for range 20000 {
		hash := h.add(1, packet.Addr4(uint32(random.IntN(800)))) | 1
		slot := k.find(hash)
		if (slot >= 0) != known[hash] || slot >= 0 && k.slots[slot].hash != hash {
			t.Fatalf("%x is in slot %d, known %v", hash, slot, known[hash])
		}
		switch {
		case slot >= 0 && random.IntN(2) == 0:
			k.remove(slot)
			delete(known, hash)
		case slot < 0 && len(known) < 500:
			k.insert(hash)
			known[hash] = true
		}
		if k.count != len(known) {
			t.Fatalf("%d keys, want %d", k.count, len(known))
		}
	}
}

// What came before the first Advance is not forgotten by it.
func TestFlowsBeforeTheTimeIsKnown(t *testing.T) {
	l := listen(t, parse(t, ""))
	for i := range 21 {
		l.give(tcp("10.0.0.9", "10.1.0.1", 25, 27, 100, int64(i)*second))
		if i == 10 {
			l.Advance(epoch + 10*second)
		}
	}
	if len(l.fired()) != 1 {
		t.Errorf("%d threats", len(l.fired()))
	}
}

// Keys leave when their window is over for half a minute, and their notes with
// them.
func TestQuietKeysLeave(t *testing.T) {
	for _, c := range []struct {
		why   string
		after int64
		want  int
	}{
		{"the window and half a minute", 90, 3000},
		{"a second more", 91, 0},
	} {
		l := listen(t, parse(t, ""))
		l.Advance(epoch)
		l.fill(3000)
		for range 10 {
			l.Advance(epoch + c.after*second)
			l.watchers[0].expire(1000)
		}
		if w := l.watchers[0]; w.keys.count != c.want {
			t.Errorf("%s: %d keys, want %d", c.why, w.keys.count, c.want)
		}
	}
}

func TestCountersAreNamedOnce(t *testing.T) {
	l := listen(t, parse(t, ""))
	var names []string
	l.Counts(func(name string, _ uint64) { names = append(names, name) })
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) || !slices.Contains(names, "sensor_spam_fired") {
		t.Error(names)
	}
}
