package detect

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/correlate/beacon"
	"vft/correlate/window"
	"vft/event"
)

const (
	flowEpoch = int64(1_700_000_000) * second
	hour      = 3600 * second
)

func address(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// visit is a TCP connection of one second that was answered.
func visit(src, dst string, port uint16, start int64, bytes uint64) flow.Record {
	return flow.Record{
		Key: flow.Key{Src: address(src), Dst: address(dst), SrcPort: uint16(start/second%50000) + 1024, DstPort: port, Proto: protoTCP, Ports: true},
		Fwd: flow.Side{Packets: 5, Bytes: bytes, Flags: packet.SYN | packet.ACK | packet.FIN},
		Rev: flow.Side{Packets: 5, Bytes: 500, Flags: packet.SYN | packet.ACK | packet.FIN},
		End: flow.Idle, First: start, Last: start + second,
	}
}

// calls are contacts at flowEpoch plus each of the seconds.
func calls(dst string, at []int64) (all []flow.Record) {
	for _, s := range at {
		all = append(all, visit("10.0.0.5", dst, 443, flowEpoch+s*second, 640))
	}
	return all
}

func every(interval, jitter int64, n int) (at []int64) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range int64(n) {
		at = append(at, i*interval+random.Int64N(2*jitter+1))
	}
	return at
}

func TestBeacon(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	exponential := []int64{}
	for s := int64(0); s < 86000; s += 1 + int64(random.ExpFloat64()*300) {
		exponential = append(exponential, s)
	}
	burst := append(every(4, 0, 80), 6000)
	mid := calls("203.0.113.7", every(300, 0, 280))
	for i := range mid {
		mid[i].Fwd.Flags = packet.ACK
	}
	ntp := calls("203.0.113.7", every(64, 0, 1000))
	dns := calls("203.0.113.7", every(64, 0, 1000))
	for i := range ntp {
		ntp[i].Proto, ntp[i].DstPort, ntp[i].Fwd = protoUDP, portNTP, flow.Side{Packets: 1, Bytes: 90, Payload: ntpMessage}
		dns[i].Proto, dns[i].DstPort = protoUDP, 53
	}
	for _, c := range []struct {
		why      string
		flows    []flow.Record
		severity int // 0: nothing is told
	}{
		{"every 5 minutes of a day", calls("203.0.113.7", every(300, 0, 288)), 38},
		{"with 30 % jitter", calls("203.0.113.7", every(300, 90, 288)), 38},
		{"every 5 minutes of eight hours: few hours are filled", calls("203.0.113.7", every(300, 0, 96)), 30},
		{"19 calls, one an hour: one too few", calls("203.0.113.7", every(3600, 0, 19)), 0},
		{"20 calls, one an hour", calls("203.0.113.7", every(3600, 0, 20)), 38},
		{"at random: no more regular than chance", calls("203.0.113.7", exponential), 0},
		{"early: 60 calls in 10 minutes", calls("203.0.113.7", append(every(10, 0, 60), 600)), 30},
		{"early: 10 minutes are not full", calls("203.0.113.7", every(9, 0, 64)), 0},
		{"early: 59 calls", calls("203.0.113.7", every(11, 0, 59)), 0},
		{"early: a burst and one call later do not fill the time", calls("203.0.113.7", burst), 0},
		{"a neighbour is polled", calls("10.0.0.9", every(300, 0, 288)), 0},
		{"a group is announced to", calls("239.1.2.3", every(300, 0, 288)), 0},
		{"the time is asked for", ntp, 0},
		{"names are asked for", dns, 0},
		{"connections whose beginning was not seen", mid, 0},
	} {
		records := []event.Event{}
		d := New(Config{Emit: func(e event.Event) { records = append(records, e) }})
		for i := range c.flows {
			d.Advance(c.flows[i].Last)
			d.Flow(&c.flows[i])
		}
		d.Close()
		wellFormed(t, c.why, records)
		fired := (&run{records: records}).fired()
		if c.severity == 0 {
			if len(fired) != 0 {
				t.Errorf("%s: %s", c.why, line(&fired[0]))
			}
			continue
		}
		if len(fired) != 1 {
			t.Errorf("%s: %d episodes", c.why, len(fired))
			continue
		}
		last := records[len(records)-1]
		if last.Threat.Severity != c.severity || last.Threat.Type != "beacon" || last.Src.Addr() != netip.MustParseAddr("10.0.0.5") || last.Dst.String() != "203.0.113.7:443" || last.Evidence != event.E1 {
			t.Errorf("%s: severity %d, %+v", c.why, last.Threat.Severity, last)
		}
	}
}

// A pair that calls for three days is one episode, told anew each day.
func TestBeaconGoesOn(t *testing.T) {
	records := []event.Event{}
	d := New(Config{Emit: func(e event.Event) { records = append(records, e) }})
	all := calls("203.0.113.7", every(300, 0, 3*288))
	for i := range all {
		d.Advance(all[i].Last)
		d.Flow(&all[i])
	}
	for h := range int64(25) {
		d.Advance(all[len(all)-1].Last + h*hour)
	}
	states := map[event.AlertState]int{}
	for _, e := range records {
		states[e.Threat.State]++
	}
	if states[event.Firing] != 1 || states[event.Resolved] != 1 || states[event.Updated] > 9 {
		t.Errorf("%v, want 1 firing, 1 resolved and at most three bands a day", states)
	}
}

func TestModifier(t *testing.T) {
	const day = 86400
	for _, c := range []struct {
		why          string
		first, since int64 // days before the call
		want         float64
	}{
		{"all is new: nothing is known", 0, 0, 0},
		{"new after a week that was watched", 1, 8, beaconModifier},
		{"of a week, exactly", 7, 8, beaconModifier},
		{"neither new nor old", 8, 20, 0},
		{"of 30 days", 30, 31, -beaconModifier},
	} {
		b := &beacons{since: 100*day - c.since*day}
		p := beacon.Pair{}
		p.Add(100*day, 1)
		if got := b.modifier(&caller{pair: p, first: 100*day - c.first*day}); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

// A flow that was cut counts once, whichever way its next packet went.
func TestCutFlowsCountOnce(t *testing.T) {
	r := visit("10.0.0.5", "203.0.113.7", 443, flowEpoch, 640)
	r.Proto = protoUDP
	cut, reverse, later := r, r, r
	cut.End = flow.Active
	reverse.Key = r.Key.Reverse()
	reverse.First, reverse.Last, reverse.End = r.Last+second, r.Last+2*second, flow.Overflow
	later.First, later.Last = reverse.Last+cutBelong+second, reverse.Last+cutBelong+2*second
	f := New(Config{}).flows
	for _, c := range []struct {
		why  string
		r    flow.Record
		want bool
	}{
		{"the first part", cut, false},
		{"the answer after the cut, cut again", reverse, true},
		{"the same ports, long after", later, false},
		{"and again", later, false},
	} {
		if got := f.belongs(&c.r).parts > 0; got != c.want {
			t.Errorf("%s: continues %v", c.why, got)
		}
	}
}

func TestNewPeer(t *testing.T) {
	start := flowEpoch + 25*hour
	half := visit("10.0.0.5", "10.0.0.9", 22, start, 640)
	half.Rev.Flags = packet.RST
	for _, c := range []struct {
		why    string
		during []flow.Record // while peers are learned
		after  []flow.Record
		want   int // hosts in the one episode; 0: none
	}{
		{"known", []flow.Record{visit("10.0.0.5", "10.0.0.9", 22, flowEpoch, 640)}, []flow.Record{visit("10.0.0.5", "10.0.0.9", 22, start, 640)}, 0},
		{"never seen", nil, []flow.Record{visit("10.0.0.5", "10.0.0.9", 22, start, 640)}, 1},
		{"known for another service", []flow.Record{visit("10.0.0.5", "10.0.0.9", 22, flowEpoch, 640)}, []flow.Record{visit("10.0.0.5", "10.0.0.9", 3389, start, 640)}, 1},
		{"known the other way", []flow.Record{visit("10.0.0.9", "10.0.0.5", 445, flowEpoch, 640)}, []flow.Record{visit("10.0.0.5", "10.0.0.9", 445, start, 640)}, 1},
		{"two hosts of one source are one episode", nil, []flow.Record{visit("10.0.0.5", "10.0.0.9", 5985, start, 640), visit("10.0.0.5", "10.0.0.8", 135, start, 640)}, 2},
		{"no service of administrators", nil, []flow.Record{visit("10.0.0.5", "10.0.0.9", 443, start, 640)}, 0},
		{"refused", nil, []flow.Record{half}, 0},
		{"from outside", nil, []flow.Record{visit("203.0.113.7", "10.0.0.9", 22, start, 640)}, 0},
	} {
		records := []event.Event{}
		d := New(Config{Emit: func(e event.Event) { records = append(records, e) }})
		feed(d, c.during)
		for s := range int64(25 * 60) {
			d.Advance(flowEpoch + s*60*second)
		}
		if watched, period := d.Learning(); watched != period {
			t.Fatalf("learned %v of %v", watched, period)
		}
		feed(d, c.after)
		d.Close()
		wellFormed(t, c.why, records)
		hosts := 0
		if len(records) > 0 {
			hosts = records[len(records)-1].Threat.Details["hosts"].(int)
		}
		if fired := (&run{records: records}).fired(); hosts != c.want || len(fired) != min(c.want, 1) {
			t.Errorf("%s: %d episodes, %d hosts, want %d", c.why, len(fired), hosts, c.want)
		}
	}
}

func feed(d *Detections, all []flow.Record) {
	for i := range all {
		d.Flow(&all[i])
	}
}

// Learning counts what was watched, survives a restart and can begin anew.
func TestLearning(t *testing.T) {
	fired := 0
	cfg := Config{Emit: func(e event.Event) {
		if e.Threat.State == event.Firing {
			fired++
		}
	}}
	d := New(cfg)
	d.Learn(2 * time.Hour)
	at := flowEpoch
	pass := func(d *Detections, minutes int64) {
		for range minutes {
			at += 60 * second
			d.Advance(at)
		}
	}
	d.Advance(at)
	pass(d, 119)
	at += 48 * hour // nothing was watched
	d.Advance(at)
	feed(d, []flow.Record{visit("10.0.0.5", "10.0.0.9", 22, at, 640)})
	if watched, period := d.Learning(); watched != 119*time.Minute || period != 2*time.Hour {
		t.Fatalf("learned %v of %v", watched, period)
	}

	state, err := json.Marshal(d.Save())
	if err != nil {
		t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(state, &s); err != nil {
		t.Fatal(err)
	}
	d = New(Config{Seed: [32]byte{1}, Emit: cfg.Emit}) // keys of other hashes
	if err := d.Restore(s); err != nil {
		t.Fatal(err)
	}
	d.Advance(at)
	pass(d, 1)
	feed(d, []flow.Record{visit("10.0.0.5", "10.0.0.9", 22, at, 640)})
	if fired != 0 {
		t.Error("a peer that was learned before the restart is new")
	}
	feed(d, []flow.Record{visit("10.0.0.5", "10.0.0.8", 22, at, 640)})
	if fired != 1 {
		t.Error("a new peer after the restart is not told")
	}
	d.Learn(0)
	feed(d, []flow.Record{visit("10.0.0.5", "10.0.0.7", 22, at, 640)})
	if watched, period := d.Learning(); fired != 1 || watched != 0 || period != LearningPeriod {
		t.Errorf("after a reset %v of %v are learned, %d fired", watched, period, fired)
	}
}

// The first contact of a pair outlives a restart.
func TestPairsAreRestored(t *testing.T) {
	d := New(Config{})
	feed(d, calls("203.0.113.7", every(300, 0, 10)))
	s := d.Save()
	d = New(Config{Seed: [32]byte{1}})
	if err := d.Restore(s); err != nil {
		t.Fatal(err)
	}
	later := visit("10.0.0.5", "203.0.113.7", 443, flowEpoch+40*24*hour, 640)
	d.Flow(&later)
	c := d.flows.beacons.callers.Find(d.flows.beacons.key(later.Src, later.Dst))
	if c == nil || c.first != seconds(flowEpoch) || c.pair.Connections() != 1 {
		t.Fatalf("%+v", c)
	}
	if got := d.flows.beacons.modifier(c); got != -beaconModifier {
		t.Errorf("a pair of 40 days has the modifier %v", got)
	}
}

// A beacon that calls for a day is told and has the same score, whether the day had a
// restart in every hour or none.
func TestBeaconOutlivesRestarts(t *testing.T) {
	run := func(restart bool) (c caller, fired int) {
		emit := func(e event.Event) {
			if e.Threat.State == event.Firing {
				fired++
			}
		}
		d := New(Config{Emit: emit})
		all := calls("203.0.113.7", every(300, 20, 288))
		for i := range all {
			if restart && i%12 == 5 && i < 240 {
				text, err := json.Marshal(d.Save())
				if err != nil {
					t.Fatal(err)
				}
				var s State
				if err := json.Unmarshal(text, &s); err != nil {
					t.Fatal(err)
				}
				d = New(Config{Seed: [32]byte{byte(i)}, Emit: emit})
				if err := d.Restore(s); err != nil {
					t.Fatal(err)
				}
			}
			d.Advance(all[i].Last)
			d.Flow(&all[i])
		}
		d.Close()
		return *d.flows.beacons.callers.Find(d.flows.beacons.key(all[0].Src, all[0].Dst)), fired
	}
	whole, n := run(false)
	parts, m := run(true)
	if n != 1 || m < 1 || m > len(beaconBands) { // a higher band is told as an update, after a restart anew
		t.Errorf("%d and %d fired", n, m)
	}
	if parts != whole {
		t.Errorf("%d calls, with restarts %d, or not the same", whole.pair.Connections(), parts.pair.Connections())
	}
}

// A saved state has a maximum: the calls of the newest pairs are in it.
func TestSavedCallsAreBounded(t *testing.T) {
	d := New(Config{})
	b := d.flows.beacons
	for i := range uint32(maxSavedCalls/beacon.Kept + 10) {
		dst := packet.Addr4(0x08000002 + i)
		c, _ := b.callers.Get(b.key(address("10.0.0.5"), dst), false)
		c.src, c.dst = address("10.0.0.5"), dst
		for s := range int64(beacon.Kept) {
			c.pair.Add(1000+s, 1)
		}
	}
	with := 0
	s := d.Save()
	for i, p := range s.Pairs {
		if p.Calls != nil {
			with++
		} else if i >= 10 {
			t.Fatalf("pair %d of %d is without its calls", i, len(s.Pairs))
		}
	}
	if with != maxSavedCalls/beacon.Kept {
		t.Errorf("%d pairs with calls", with)
	}
}

func TestDamagedState(t *testing.T) {
	good := PeerState{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.9"), 22, 1, true}
	for _, c := range []struct {
		why   string
		state State
		says  string
	}{
		{"of another version", State{Version: stateVersion + 1, Learning: 1}, "version"},
		{"empty", State{}, "version"},
		{"without a period", State{Version: stateVersion}, "cannot have been learned"},
		{"with a negative time", State{Version: stateVersion, Learning: 1, Watched: -1}, "cannot have been learned"},
		{"a peer without address", State{Version: stateVersion, Learning: 1, Peers: []PeerState{good, {}}}, "no address"},
		{"a pair without address", State{Version: stateVersion, Learning: 1, Peers: []PeerState{good}, Pairs: []PairState{{}}}, "no address"},
		{"calls without times", State{Version: stateVersion, Learning: 1, Peers: []PeerState{good}, Pairs: []PairState{{good.Source, good.Destination, 1, &CallsState{State: beacon.State{Connections: 3}}}}}, "of 3 connections"},
		{"told of a band that is none", State{Version: stateVersion, Learning: 1, Peers: []PeerState{good}, Pairs: []PairState{{good.Source, good.Destination, 1, &CallsState{Told: 9}}}}, "band 9"},
	} {
		d := New(Config{})
		if err := d.Restore(c.state); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
		if n := d.flows.peers.known.Len(); n != 0 {
			t.Errorf("%s: %d peers were taken", c.why, n)
		}
	}
}

// The first contacts make the same caller in whatever order their flows end.
func TestCallersAreAdmittedInOrder(t *testing.T) {
	for _, order := range [][]int64{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}} {
		d := New(Config{})
		for _, i := range order {
			r := visit("10.0.0.5", "203.0.113.7", 443, flowEpoch+i*60*second, 640+uint64(i))
			d.Flow(&r)
		}
		b := d.flows.beacons
		var c *caller
		b.callers.Each(func(_ window.Key, v *caller, _ bool) { c = v })
		if c == nil {
			t.Fatalf("%v: no caller", order)
		}
		var want beacon.Pair
		for i := range int64(beacon.MinConnections) {
			want.Add(seconds(flowEpoch)+i*60, 640+uint64(i))
		}
		if c.first != seconds(flowEpoch) || c.judged != c.first || c.pair != want {
			t.Errorf("%v: first %d, judged %d, %+v; want %+v", order, c.first, c.judged, c.pair, want)
		}
	}
}

// Nobody can grow a table beyond its maximum, and what leaves is counted.
func TestFlowTablesAreBounded(t *testing.T) {
	d := New(Config{})
	r := visit("10.0.0.5", "203.0.113.7", 22, flowEpoch, 640)
	strong := r
	for range beacon.MinConnections {
		d.Flow(&strong)
	}
	d.flows.beacons.callers.Get(d.flows.beacons.key(strong.Src, strong.Dst), true)
	for i := range uint32(maxPeers + 100) {
		r.Dst = packet.Addr4(0x08000002 + i*2) // never a broadcast address
		d.Flow(&r)
		for range beacon.MinConnections - 1 {
			if i < maxCallers+100 {
				d.Flow(&r)
			}
		}
	}
	b := d.flows.beacons
	if b.callers.Len() > maxCallers || d.flows.peers.known.Len() > maxPeers {
		t.Errorf("%d callers, %d peers", b.callers.Len(), d.flows.peers.known.Len())
	}
	if b.callers.Find(b.key(strong.Src, strong.Dst)) == nil {
		t.Error("a beacon that was told left for weak pairs")
	}
	counts := map[string]uint64{}
	d.Counts(func(name string, v uint64) { counts[name] += v })
	if counts["beacon_pairs_evicted"] != 101 || counts["new_peer_evicted"] != 101 {
		t.Errorf("%v", counts)
	}
}

func TestFlowDoesNotAllocate(t *testing.T) {
	d := New(Config{})
	all := []flow.Record{
		visit("10.0.0.5", "203.0.113.7", 22, flowEpoch, 640), visit("10.0.0.5", "203.0.113.7", 443, flowEpoch, 640),
		visit("fd00::5", "2001:db8::7", 443, flowEpoch, 640), visit("203.0.113.7", "10.0.0.5", 443, flowEpoch, 640),
	}
	for range 10 {
		feed(d, all)
	}
	if n := testing.AllocsPerRun(1000, func() { feed(d, all) }); n != 0 {
		t.Errorf("%v allocations for %d flows", n, len(all))
	}
}

// BenchmarkFlow is a flow of one of 1,000 pairs that all call each minute, what
// judging them costs included.
func BenchmarkFlow(b *testing.B) {
	d := New(Config{})
	r := visit("10.0.0.5", "203.0.113.7", 443, flowEpoch, 640)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		r.Dst = packet.Addr4(0x08000002 + uint32(n%1000)*2)
		r.First = flowEpoch + int64(n/1000)*60*second
		r.Last = r.First + second
		d.Flow(&r)
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/flow")
	b.ReportMetric(1000, "limit-ns/flow")
}
