package stat

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vft/capture/packet"
)

// tcp4 and the like are packets as a decoder leaves them.
func tcpPacket(src, dst uint32, flags packet.Flags) *packet.Parsed {
	return &packet.Parsed{Network: packet.IPv4, HasAddrs: true, Src: packet.Addr4(src), Dst: packet.Addr4(dst), NetLen: 40, Wire: 60, Proto: 6,
		Transport: packet.TCP, HasPorts: true, SrcPort: uint16(src), DstPort: uint16(dst), HasFlags: true, Flags: flags}
}

func interval(packets ...*packet.Parsed) *Interval {
	iv := NewInterval()
	iv.Reset(0, 2e9)
	for _, p := range packets {
		iv.Add(p)
		if p.IP() {
			iv.AddEnds(p)
		}
	}
	return iv
}

func TestStatistics(t *testing.T) {
	six := tcpPacket(3, 4, packet.SYN)
	six.Network, six.Src.Hi, six.NetLen = packet.IPv6, 1<<56, 60
	arp := &packet.Parsed{Network: packet.ARP, Wire: 42}
	iv := interval(
		tcpPacket(1, 80, packet.SYN), tcpPacket(1, 81, packet.SYN), tcpPacket(80, 1, packet.SYN|packet.ACK),
		&packet.Parsed{Network: packet.IPv4, HasAddrs: true, Src: packet.Addr4(1), Dst: packet.Addr4(5), NetLen: 80, Wire: 94, Transport: packet.ICMP},
		six, arp)
	for _, c := range []struct {
		name string
		want float64
		why  string
	}{
		{"PKTS", 6, "all packets"},
		{"IP", 4, "IPv4 alone, as in netspot"},
		{"IP_ALL", 5, "both families"},
		{"IP_BYTES", 200, "total lengths of IPv4"},
		{"BYTES", 4*60 + 94 + 42, "on the wire"},
		{"SYN", 3, "IPv4, SYN+ACK too"},
		{"SYN_ALL", 4, "both families"},
		{"SYN_ONLY", 3, "without SYN+ACK"},
		{"SYNACK", 1, ""},
		{"ACK", 1, ""},
		{"NB_UNIQ_SRC_ADDR", 2, "1 and 80"},
		{"NB_UNIQ_SRC_ADDR_ALL", 3, "and one of IPv6"},
		{"NB_UNIQ_DST_PORT", 3, "80, 81, 1"},
		{"NB_UNIQ_DST_PORT_ALL", 4, "and 4 of IPv6"},
		{"NB_UNIQ_PAIRS", 5, "by direction"},
		{"R_SYN", 0.75, "3 of 4"},
		{"R_ICMP", 0.25, "1 of 4"},
		{"R_ARP", 1. / 6, "of all packets"},
		{"R_IP", 4. / 6, "of all packets"},
		{"R_DST_SRC", 2, "80, 81, 1, 5 over 1, 80"},
		{"R_DST_SRC_PORT", 1.5, "80, 81, 1 over 1, 80"},
		{"AVG_PKT_SIZE", 50, "200 over 4"},
		{"TRAFFIC", 3, "6 in two seconds"},
		{"R_RST", 0, "an empty numerator is 0"},
	} {
		if got, ok := value(t, c.name, iv); !ok || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s is %v (%v), want %v: %s", c.name, got, ok, c.want, c.why)
		}
	}
}

func value(t *testing.T, name string, iv *Interval) (float64, bool) {
	t.Helper()
	chosen, err := Select([]string{name})
	if err != nil || len(chosen) != 1 {
		t.Fatalf("%s: %v", name, err)
	}
	return chosen[0].Value(iv)
}

// No statistic of an empty interval is NaN or infinite: it is 0, or it is not
// there.
func TestEmptyInterval(t *testing.T) {
	for _, iv := range []*Interval{interval(), NewInterval()} {
		for _, s := range AppendSamples(nil, iv, All()) {
			if s.Value != 0 {
				t.Errorf("%s of nothing is %v", s.Name, s.Value)
			}
			if _, ratio := value(t, s.Name, iv); ratio != s.OK {
				t.Errorf("%s: sample and value disagree", s.Name)
			}
		}
	}
	for _, name := range []string{"R_SYN", "R_ARP", "AVG_PKT_SIZE", "R_DST_SRC"} {
		if _, ok := value(t, name, interval()); ok {
			t.Errorf("%s has a value without packets", name)
		}
	}
}

func TestSelect(t *testing.T) {
	all, err := Select([]string{"all"})
	if err != nil || len(all) < 15 {
		t.Fatalf("all are %d: %v", len(all), err)
	}
	for _, s := range all {
		if !s.Monitored || s.Name == "PERF" {
			t.Errorf("all contains %s", s.Name)
		}
	}
	if two, err := Select([]string{" r_syn", "PKTS"}); err != nil || len(two) != 2 || two[0].Name != "PKTS" {
		t.Errorf("two names gave %v, %v", two, err)
	}
	if _, err := Select([]string{"R_SYN", "R_NONE"}); err == nil || !strings.Contains(err.Error(), `"R_NONE"`) || !strings.Contains(err.Error(), "AVG_PKT_SIZE") {
		t.Errorf("a name that does not exist gave: %v", err)
	}
	names := Names()
	slices.Sort(names)
	if len(slices.Compact(names)) != len(All()) {
		t.Error("two statistics have one name")
	}
	for _, s := range All() {
		if s.Description == "" || s.Grain < 1 {
			t.Errorf("%s has no description, or no grain", s.Name)
		}
		if s.Twin != "" && !slices.ContainsFunc(All(), func(of Statistic) bool { return of.Name == s.Twin && of.Scale == s.Scale && of.Bulk == s.Bulk }) {
			t.Errorf("%s is the twin of %s, which is none", s.Name, s.Twin)
		}
	}
}

// Every statistic is what its parts are, and a share is no more than all.
func TestSamplesAgreeWithTheirParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		iv := interval()
		for range rapid.IntRange(0, 100).Draw(t, "packets") {
			p := tcpPacket(rapid.Uint32Range(0, 20).Draw(t, "src"), rapid.Uint32Range(0, 20).Draw(t, "dst"), packet.Flags(rapid.Byte().Draw(t, "flags")))
			if rapid.Bool().Draw(t, "v6") {
				p.Network, p.Src.Hi, p.Dst.Hi = packet.IPv6, 1<<56, 1<<56
			}
			iv.Add(p)
			iv.AddEnds(p)
			iv.FlowsStarted++
		}
		samples := AppendSamples(nil, iv, All())
		for i, known := range All() {
			if s := samples[i]; known.Scale == Share && s.Above > s.Below || s.OK && s.Value != s.Above/s.Below {
				t.Fatalf("%s is %v, %v of %v", s.Name, s.Value, s.Above, s.Below)
			}
		}
	})
}

func TestSetIsExactUntilFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, oracle := NewSet(256), map[uint64]bool{}
		n := rapid.IntRange(0, 400).Draw(t, "hashes")
		for range n {
			h := mix(rapid.Uint64Range(0, 190).Draw(t, "thing"))
			s.Add(h)
			oracle[h] = true
		}
		if !s.Exact() || s.Count() != uint64(len(oracle)) {
			t.Fatalf("%d, exact %v, want %d", s.Count(), s.Exact(), len(oracle))
		}
	})
}

func TestSetEstimatesWhenFull(t *testing.T) {
	const places, things = 1 << 12, 200_000
	whole := NewSet(places)
	for i := range uint64(things) {
		whole.Add(mix(i))
	}
	if off := math.Abs(float64(whole.Count())/things - 1); off > 0.1 || whole.Exact() {
		t.Errorf("%d of %d things, exact %v", whole.Count(), things, whole.Exact())
	}
	if len(whole.places) > places {
		t.Errorf("%d places", len(whole.places))
	}
	whole.Reset()
	if whole.Count() != 0 || !whole.Exact() {
		t.Errorf("%d are left", whole.Count())
	}
}

// Hashes that all end in zeros cannot make the set grow or hang.
func TestSetSurvivesBadHashes(t *testing.T) {
	s := NewSet(64)
	for i := range uint64(100000) {
		s.Add(i << 40)
	}
	if s.Count() == 0 || len(s.places) > 64 {
		t.Errorf("%d in %d places", s.Count(), len(s.places))
	}
}

func TestPorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b Ports
		all, first := map[uint16]bool{}, map[uint16]bool{}
		for range rapid.IntRange(0, 200).Draw(t, "ports") {
			port := rapid.Uint16().Draw(t, "port")
			all[port] = true
			if rapid.Bool().Draw(t, "first") {
				a.Add(port)
				first[port] = true
			} else {
				b.Add(port)
			}
		}
		if a.Count() != uint64(len(first)) || a.CountWith(&b) != uint64(len(all)) {
			t.Fatalf("%d of %d, %d of %d", a.Count(), len(first), a.CountWith(&b), len(all))
		}
		a.Reset()
		if a.bits != (Ports{}).bits || a.Count() != 0 {
			t.Fatal("not empty after Reset")
		}
	})
}

func TestSummaryHasTheNamesOfTheInterface(t *testing.T) {
	totals := NewTotals(0)
	totals.Add(tcpPacket(1, 2, packet.FIN|packet.PSH|packet.URG))
	totals.Add(tcpPacket(1, 2, 0))
	totals.AddEnds(tcpPacket(1, 2, 0))
	got := map[string]uint64{}
	for _, c := range totals.Summary() {
		got[c.Name] = c.Value
	}
	for _, name := range strings.Fields("bytes_wire ipv4 ipv6 arp tcp udp icmp icmpv6 sctp ip_fragment_noninitial tcp_syn_only tcp_synack tcp_rst tcp_fin tcp_null tcp_xmas unique_src_ip unique_dst_ip unique_5tuple_bidirectional") {
		if _, there := got[name]; !there {
			t.Errorf("no counter %s", name)
		}
	}
	if got["tcp_xmas"] != 1 || got["tcp_null"] != 1 || got["tcp_fin"] != 1 || got["tcp"] != 2 || got["unique_src_ip"] != 1 || !totals.Exact() {
		t.Errorf("summary %v", got)
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	iv, p := NewInterval(), tcpPacket(1, 2, packet.SYN)
	chosen, samples := All(), make([]Sample, 0, 100)
	step := func() {
		for i := range uint32(1000) {
			p.Src = packet.Addr4(i)
			iv.Add(p)
			iv.AddEnds(p)
		}
		samples = AppendSamples(samples[:0], iv, chosen)
		iv.Reset(0, 1)
	}
	step()
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations in an interval of 1000 packets", n)
	}
}
