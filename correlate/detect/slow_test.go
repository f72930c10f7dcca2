package detect

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"vft/capture/packet"
)

const minute = 60 * second

// knock is a SYN that is refused.
func knock(w *wire, from, to string, port uint16, wait int64) {
	w.send(tcp(from, 40000, to, port, packet.SYN, 1000, 0, ""), wait)
	w.send(tcp(to, port, from, 40000, packet.RST|packet.ACK, 0, 1001, ""), second/1000)
}

func TestSlowScan(t *testing.T) {
	const from, to = "203.0.113.9", "10.0.0.5"
	host := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/200, i%200+1) }
	far := func(i int) string { return fmt.Sprintf("198.51.%d.%d", i/200, i%200+1) }
	visits := func(w *wire, from string, n int, name func(int) string) {
		for i := range n {
			session(w, from, uint16(20000+i), name(i), 443, []string{"hello", "hello"}, second/100)
		}
	}
	for _, c := range []struct {
		why    string
		run    func(w *wire)
		window time.Duration // 0: nothing is told
		by     string        // offender; "" where many are
	}{
		{"one port of one host an hour over a day", func(w *wire) {
			for i := range 24 {
				knock(w, from, to, uint16(1000+i), 3600*second)
			}
		}, 7 * 24 * time.Hour, from},
		{"one host an hour over a day", func(w *wire) {
			for i := range 24 {
				knock(w, from, host(i), 22, 3600*second)
			}
		}, 7 * 24 * time.Hour, from},
		{"any host and port, one in seven hours: a week holds 24", func(w *wire) {
			for i := range 26 {
				knock(w, from, host(i), uint16(22+i%7), 7*3600*second)
			}
		}, 7 * 24 * time.Hour, from},
		{"hosts that give no answer", func(w *wire) {
			for i := range 24 {
				w.send(tcp(from, 40000, host(i), 22, packet.SYN, 1000, 0, ""), 3600*second)
				w.Advance(w.now + 5*second)
			}
		}, 7 * 24 * time.Hour, from},
		{"one in 12 hours: the fourth tells", func(w *wire) {
			for i := range 40 {
				knock(w, from, host(i), 22, 12*3600*second)
			}
		}, 7 * 24 * time.Hour, from},
		{"the same three dead hosts every hour of a week", func(w *wire) {
			for i := range 168 {
				knock(w, from, host(i%3), 22, 3600*second)
			}
		}, 0, ""},
		{"a browser reaches hundreds of hosts, and some are dead", func(w *wire) {
			visits(w, to, 300, far)
			for i := range 60 {
				knock(w, to, far(400+i), 443, 1800*second)
			}
		}, 0, ""},
		{"the same host also looks around inside", func(w *wire) {
			visits(w, to, 300, far)
			for i := range 24 {
				knock(w, to, host(100+i), 445, 3600*second)
			}
		}, 7 * 24 * time.Hour, to},
		{"the network is cut off: what was reached is not any more", func(w *wire) {
			visits(w, to, 120, far)
			w.now += 3600 * second // they are first contacts again
			for i := range 100 {
				w.send(tcp(to, 40000, far(i), 443, packet.SYN, 1000, 0, ""), second/10)
			}
			w.Advance(w.now + 5*second)
		}, 0, ""},
		{"60 sources at one port in half a minute", func(w *wire) {
			for i := range 60 {
				knock(w, far(i), to, 3389, second/2)
			}
		}, time.Minute, ""},
		{"120 sources at one port in ten minutes", func(w *wire) {
			for i := range 120 {
				knock(w, far(i), to, 3389, 5*second)
			}
		}, 15 * time.Minute, ""},
		{"60 sources in an hour: the internet knocks", func(w *wire) {
			for i := range 60 {
				knock(w, far(i), to, 3389, minute)
			}
		}, 0, ""},
		{"a server goes down under its clients", func(w *wire) {
			for i := range 120 {
				session(w, far(i), 30000, to, 443, []string{"hello", "hello"}, second/10)
			}
			w.now += 3600 * second
			for i := range 120 {
				knock(w, far(i), to, 443, second/4)
			}
		}, 0, ""},
	} {
		w := newWire(Config{})
		c.run(w)
		fired := w.fired(t, "slow_scan")
		if c.window == 0 {
			if len(fired) != 0 {
				t.Errorf("%s: %s", c.why, line(&fired[0]))
			}
			continue
		}
		if len(fired) != 1 || fired[0].Threat.Offender != c.by || fired[0].Threat.Details["window_s"] != c.window.Seconds() {
			t.Errorf("%s: %d fired %v", c.why, len(fired), fired)
			continue
		}
		d := fired[0].Threat.Details
		if n, ok := d["distinct_sources"]; c.by == "" && (!ok || n.(int) < 50 || len(d["sources"].([]string)) != reachExact) {
			t.Errorf("%s: %v", c.why, d)
		}
		if n, ok := d["distinct_destinations"]; c.by != "" && (!ok || n.(int) < strangeTargets || len(d["ports"].([]uint16)) == 0) {
			t.Errorf("%s: %v", c.why, d)
		}
	}
}

// What a scan was told of is not told again as a slow one, and a flood of spoofed
// sources is no distributed scan, nor is what is left of it.
func TestSlowScanOnlyWhatIsNew(t *testing.T) {
	fast := newWire(Config{})
	for i := range 1000 {
		knock(fast, "203.0.113.9", "10.0.0.5", uint16(1000+i), second/10)
	}
	if fired := fast.fired(t, "slow_scan"); len(fired) != 0 {
		t.Errorf("a fast scan: %v", fired)
	}
	flood := newWire(Config{})
	for i := range 20_000 {
		flood.send(tcp(fmt.Sprintf("203.%d.%d.%d", i/40000, i/200%200, i%200+1), 40000, "10.0.0.5", 443, packet.SYN, 1, 0, ""), second/1000)
	}
	for i := range 10 {
		knock(flood, fmt.Sprintf("198.51.100.%d", i+1), "10.0.0.5", 443, minute)
	}
	if fired := flood.fired(t, "slow_scan"); len(fired) != 0 {
		t.Errorf("a flood: %v", fired)
	}
}

// Sources that come once do not drive out one that is being counted, and what leaves
// is counted.
func TestSlowScanIsBounded(t *testing.T) {
	w := newWire(Config{})
	s := w.slow
	at := func(i int) packet.Addr { return packet.Addr4(0x0a000000 + uint32(i)) }
	scanner := packet.Addr4(0xcb007109)
	now := start
	for i := range 24 {
		now += 3600 * second
		s.contact(scanner, at(i+1), 22, true, now)
		for j := range 10_000 {
			s.contact(packet.Addr4(0x30000000+uint32(i*10_000+j)), packet.Addr4(0x0b000000+uint32(i*10_000+j)), 80, true, now)
		}
	}
	w.now = now
	if s.evicted == 0 || s.sources.Len() != maxReaches {
		t.Errorf("%d keys are kept, %d left", s.sources.Len(), s.evicted)
	}
	if bytes := s.sources.Bytes(); bytes > 450*maxReaches {
		t.Errorf("%d bytes a key", bytes/maxReaches)
	}
	if fired := w.fired(t, "slow_scan"); len(fired) != 1 || fired[0].Threat.Offender != "203.0.113.9" {
		t.Errorf("%v", fired)
	}
}

func TestSlowScanAllocates(t *testing.T) {
	s := newWire(Config{}).slow
	now, i := start, uint32(0)
	one := func() {
		i++
		s.contact(packet.Addr4(0xcb007109), packet.Addr4(0x0a000000+i%14), 22, true, now)
		s.contact(packet.Addr4(0xcb007100+i%8), packet.Addr4(0x0a000000+i%7), 80, false, now)
	}
	for range 100 {
		one()
	}
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An episode of a source ends after a day of quiet, and no more begin in a day than may.
func TestSlowScanEpisodes(t *testing.T) {
	w := newWire(Config{})
	for s := range slowLimit + 10 {
		now := start
		for i := range 24 {
			w.slow.contact(packet.Addr4(0xcb000000+uint32(s)), packet.Addr4(0x0a000001+uint32(i)), 22, true, now+int64(i)*60*minute)
		}
	}
	if w.slow.untold == 0 {
		t.Error("all of them begin in one day")
	}
	w.Advance(start + 20*3600*second)
	before := len(w.records)
	w.Advance(start + 50*3600*second)
	if resolved := len(w.records) - before; resolved != slowLimit {
		t.Errorf("%d of %d are resolved", resolved, slowLimit)
	}
}

// restarted returns a capture that goes on, with other hashes, where w was saved.
func restarted(t *testing.T, w *wire) *wire {
	t.Helper()
	text, err := json.Marshal(w.Save())
	if err != nil {
		t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	next := newWire(Config{Seed: [32]byte{9}})
	next.now = w.now
	if err := next.Restore(s); err != nil {
		t.Fatal(err)
	}
	return next
}

// A scan of one port in four hours, told although the host starts anew each day.
func TestSlowScanOutlivesRestarts(t *testing.T) {
	w := newWire(Config{})
	for i := range 24 {
		if i%6 == 5 {
			w = restarted(t, w)
		}
		knock(w, "203.0.113.9", "10.0.0.5", uint16(1000+i), 4*3600*second)
	}
	if fired := w.fired(t, "slow_scan"); len(fired) != 1 || fired[0].Threat.Offender != "203.0.113.9" {
		t.Errorf("%d fired %v", len(fired), fired)
	}
}

// What was counted comes back as it was: members, vectors and successes.
func TestSlowScanState(t *testing.T) {
	w := newWire(Config{})
	for i := range 40 {
		session(w, "10.0.0.5", uint16(20000+i), fmt.Sprintf("198.51.100.%d", i+1), 443, []string{"a", "b"}, second)
		w.slow.contact(address("10.0.0.5"), packet.Addr4(0xcb007100+uint32(i)), 443, true, w.now)
		w.slow.contact(packet.Addr4(0xcb007100+uint32(i%9)), address("10.0.0.5"), 22, true, w.now)
	}
	next := restarted(t, w)
	if before, after := w.slow.save(), next.slow.save(); len(before.Keys) != 4 || !reflect.DeepEqual(before, after) {
		t.Errorf("%d keys before, %d after, or not the same", len(before.Keys), len(after.Keys))
	}
	if next.slow.vectors.Len() != 1 {
		t.Errorf("%d vectors", next.slow.vectors.Len())
	}
}

// A saved state has a maximum, and what failed most is in it.
func TestSlowScanStateIsBounded(t *testing.T) {
	w := newWire(Config{})
	for i := range uint32(20) {
		w.slow.contact(address("203.0.113.9"), packet.Addr4(0x0a000001+i), 22, true, start)
	}
	for i := range uint32(2 * maxSavedReaches) {
		for j := range uint32(savedMembers) {
			w.slow.contact(packet.Addr4(0x30000000+i), packet.Addr4(0x0a000001+j), 22, true, start)
		}
	}
	s := w.slow.save()
	if len(s.Keys) != maxSavedReaches || s.valid() != nil {
		t.Errorf("%d keys, %v", len(s.Keys), s.valid())
	}
	found := false
	for i := range s.Keys {
		found = found || s.Keys[i].Host == netip.MustParseAddr("203.0.113.9")
	}
	if !found {
		t.Error("the scanner is not among them")
	}
}

func TestDamagedSlowScanState(t *testing.T) {
	host := netip.MustParseAddr("203.0.113.9")
	whole := func() ReachState {
		return ReachState{Host: host, Counts: "inside", Members: []MemberState{{host, 22, 1}}}
	}
	for _, c := range []struct {
		why    string
		damage func(s *SlowState)
		says   string
	}{
		{"no seed", func(s *SlowState) { s.Seed = nil }, "seed"},
		{"too many keys", func(s *SlowState) { s.Keys = make([]ReachState, maxSavedReaches+1) }, "keys"},
		{"no host", func(s *SlowState) { s.Keys[0].Host = netip.Addr{} }, "no address"},
		{"counts nothing known", func(s *SlowState) { s.Keys[0].Counts = "x" }, "counts"},
		{"no members", func(s *SlowState) { s.Keys[0].Members = nil }, "0 members"},
		{"more members than fit", func(s *SlowState) { s.Keys[0].Members = make([]MemberState, reachExact+1) }, "17 members"},
		{"a member without address", func(s *SlowState) { s.Keys[0].Members[0].Address = netip.Addr{} }, "without address"},
		{"half a vector", func(s *SlowState) { s.Keys[0].Vector = make([]byte, 100) }, "vector"},
		{"a time before 1970", func(s *SlowState) { s.Keys[0].HalfWeek = -1 }, "half week"},
	} {
		slow := &SlowState{Seed: make([]byte, 32), Keys: []ReachState{whole()}}
		state := State{Version: stateVersion, Learning: 1, Slow: slow}
		if err := New(Config{}).Restore(state); err != nil {
			t.Fatalf("whole: %v", err)
		}
		c.damage(slow)
		d := New(Config{})
		if err := d.Restore(state); err == nil || !strings.Contains(err.Error(), c.says) || d.slow.sources.Len() != 0 {
			t.Errorf("%s: %v, %d keys are taken", c.why, err, d.slow.sources.Len())
		}
	}
}
