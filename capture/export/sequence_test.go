package export

import (
	"testing"

	"pgregory.net/rapid"

	"vft/capture/flow"
)

func TestSequence(t *testing.T) {
	type step struct{ seq, units uint32 }
	cases := []struct {
		steps          []step
		lost, restarts uint64
		why            string
	}{
		{[]step{{100, 10}, {110, 10}, {120, 1}}, 0, 0, "all came"},
		{[]step{{100, 10}, {120, 10}}, 10, 0, "one did not come"},
		{[]step{{100, 10}, {120, 10}, {110, 10}}, 0, 0, "it came later"},
		{[]step{{100, 10}, {120, 10}, {130, 10}, {110, 10}, {150, 10}}, 10, 0, "it came, another did not"},
		{[]step{{1<<32 - 5, 10}, {5, 10}}, 0, 0, "the number wrapped around"},
		{[]step{{1<<32 - 5, 10}, {15, 10}}, 10, 0, "the number wrapped around in a gap"},
		{[]step{{4_000_000, 10}, {0, 10}, {10, 10}}, 0, 1, "the exporter began anew"},
		{[]step{{100, 10}, {120, 10}, {4_000_000, 10}, {4_000_020, 10}}, 20, 1, "what was lost before it began anew stays lost"},
		{[]step{{30, 30}, {60, 30}, {0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {8, 1}, {9, 1}, {20, 1}}, 10, 1, "it began anew a little before"},
		{[]step{{100, 10}, {100, 10}, {110, 10}}, 0, 0, "one came twice"},
		{[]step{{10, 10}, {30, 20}, {31, 1}, {51, 20}, {53, 2}}, 8, 0, "numbers that include their own datagram: at most one seems to be missing"},
		{[]step{{100, 0}, {100, 0}, {100, 10}, {110, 0}, {120, 10}}, 10, 0, "templates alone"},
		{[]step{{0, 1}, {1, 1}, {3, 1}}, 1, 0, "datagrams"},
	}
	for _, c := range cases {
		var s sequence
		for _, step := range c.steps {
			s.saw(step.seq, step.units)
		}
		if s.lost() != c.lost || s.restarts != c.restarts {
			t.Errorf("%v: lost %d, began anew %d times; want %d, %d (%s)", c.steps, s.lost(), s.restarts, c.lost, c.restarts, c.why)
		}
	}
}

// What is lost is what was left out, however datagrams overtake each other.
func TestSequenceCountsWhatIsMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seq := rapid.Uint32().Draw(t, "first")
		units := rapid.SliceOfN(rapid.Uint32Range(1, 30), 20, 100).Draw(t, "units")
		type datagram struct{ seq, units uint32 }
		var arrived []datagram
		var missing uint64
		for i, n := range units {
			if i > 0 && i < len(units)-1 && rapid.IntRange(0, 9).Draw(t, "lose") == 0 {
				missing += uint64(n)
			} else {
				arrived = append(arrived, datagram{seq, n})
			}
			seq += n
		}
		for i := 2; i < len(arrived)-2; i += 2 { // the first and the last stay
			if rapid.Bool().Draw(t, "swap") {
				arrived[i], arrived[i-1] = arrived[i-1], arrived[i]
			}
		}
		var s sequence
		for _, d := range arrived {
			s.saw(d.seq, d.units)
		}
		if s.lost() != missing {
			t.Fatalf("lost %d, %d were left out", s.lost(), missing)
		}
	})
}
func TestLostOfAnExporter(t *testing.T) {
	d := NewDecoder(Config{})
	seq := uint32(0)
	send := func(datagrams int) {
		for range datagrams {
			d.Datagram(router, fixedDatagram(flow.NetFlow5, 30, seq), sentAt.UnixNano(), nil)
			seq += 30
		}
	}
	for _, c := range []struct {
		why        string
		skip       uint32 // units left out before
		datagrams  int
		lost, sent uint64
	}{
		{"nothing lost", 0, 100, 0, 3000},
		{"sixty of them", 60, 200, 60, 9000},
		{"sixty more", 60, 100, 120, 12000},
	} {
		seq += c.skip
		send(c.datagrams)
		for e := range d.Exporters() {
			if e.Lost != c.lost || e.Sent != c.sent || e.Address != addr("192.0.2.1") {
				t.Errorf("%s: %d lost and %d sent by %s", c.why, e.Lost, e.Sent, e.Address.Netip())
			}
		}
	}
	d.Datagram(router, ipfixOf(3, 0, set(2, templateOf(256, modern...)), set(256, modernRecord())), 0, nil)
	d.Datagram(router, ipfixOf(3, 1, set(400, modernRecord())), 0, nil)
	d.Datagram(router, ipfixOf(3, 5, set(256, modernRecord())), 0, nil)
	for e := range d.Exporters() {
		if e.Version == flow.IPFIX && (e.Lost != 0 || e.Sent != 2 || e.Templates != 1 || e.Datagrams != 3) {
			t.Errorf("records that could not be counted: %+v", e)
		}
	}
}
