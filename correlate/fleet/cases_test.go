package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/event"
)

// probe is a packet to a port, whose source may be forged.
func (b *bench) probe(seconds float64, source, client string, port uint16) Verdict {
	at := base.Add(time.Duration(seconds * float64(time.Second)))
	return b.Observe(&event.Event{
		ID: b.ids.Next(at), Time: at, Dataset: event.DatasetProbe, Probe: &event.Probe{Scan: "syn"}, Client: client, Transport: "tcp",
		Src: netip.AddrPortFrom(netip.MustParseAddr(source), 40000), Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
	})
}

// count reads one counter.
func (b *bench) count(name string) (n uint64) {
	b.Counts(func(one string, v uint64) {
		if one == name {
			n = v
		}
	})
	return n
}

// in returns the alerts in a state, of a kind.
func (b *bench) in(state event.AlertState, kind event.AlertKind) (all []*event.Alert) {
	for _, e := range b.alerts {
		if e.Alert.State == state && e.Alert.Kind == kind {
			all = append(all, e.Alert)
		}
	}
	return all
}

// Two clients were cut off and tell what they kept one after the other, hours
// later: it is one attacker still.
func TestOutageHidesNoSweep(t *testing.T) {
	for _, c := range []struct {
		why  string
		gap  float64 // between the two clients coming back
		rule string
	}{
		{"both come back together", 1, "sweep"},
		{"the second comes back after the incident was resolved", 2 * 3600, "sweep"},
	} {
		b := newBench(t, nil)
		b.advance(10 * 3600) // the outage is long over for everybody else
		for i := range 20 {
			if v := b.hit(float64(i), "10.0.0.9", "alpha", uint16(1000+i)); v != Late {
				t.Fatalf("%s: verdict %v", c.why, v)
			}
		}
		for s := 1.0; s <= c.gap; s++ {
			b.advance(10*3600 + s)
		}
		for i := range 20 {
			b.hit(600+float64(i), "10.0.0.9", "beta", uint16(1000+i))
		}
		if got := b.last(); got.Rule != c.rule || got.Severity != 80 || got.Key != "10.0.0.9" {
			t.Errorf("%s: %q", c.why, b.story())
		}
		if n := b.count("events_late"); n != 40 {
			t.Errorf("%s: %d events are late", c.why, n)
		}
	}
}

func TestOutageHidesNoSlowScan(t *testing.T) {
	b := newBench(t, nil)
	b.advance(20 * 3600)
	b.hit(0, "10.0.0.9", "alpha", 22)
	b.advance(23 * 3600)
	b.hit(2*3600, "10.0.0.9", "beta", 22)
	if got := b.last(); got.Rule != "slow-scan" || got.Count != 2 || len(got.Clients) != 2 || got.Evidence != event.E3 {
		t.Errorf("%+v\n%q", got, b.story())
	}
}

func TestManyNoticesFold(t *testing.T) {
	b := newBench(t, nil)
	for i := range 1000 {
		b.hit(float64(i), fmt.Sprintf("198.51.%d.%d", i/250, i%250), fmt.Sprintf("client-%d", i%40), uint16(1000+i%37))
	}
	// Ports and clients with so many sources are incidents of their own; what is
	// counted here are the notices.
	b.advance(1020)
	b.advance(1040)
	folded := false
	for _, a := range b.Open() {
		if a.Key == "touch" {
			folded = a.Count > 10 && len(a.Sources) > 10 && a.Severity == 20
		}
	}
	if n := len(b.in(event.Firing, event.BySource)); n != 20 || !folded {
		t.Errorf("%d notices were raised, the rest folded: %v", n, folded)
	}
	if n := b.count("notices_folded") + b.count("notices_absorbed") + 20; n < 1000 {
		t.Errorf("of 1000 notices %d are accounted for", n)
	}
	b.advance(1040 + 3601)
	if open := b.Open(); len(open) > 0 {
		t.Errorf("open after an hour: %+v", open)
	}
}

func TestStrangersDoNotFoldTheNoticesOfOwnHosts(t *testing.T) {
	b := newBench(t, nil)
	b.Member("client-0", []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("203.0.113.5/24")})
	for i := range 200 {
		b.hit(float64(i), fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("client-%d", i), uint16(1000+i))
	}
	for _, c := range []struct {
		source string
		want   int
		why    string
	}{
		{"10.1.2.3", 40, "a client"},
		{"10.1.2.77", 40, "on the private network of a client"},
		{"203.0.113.5", 40, "a client with a public address"},
	} {
		b.hit(300, c.source, "client-1", 9)
		if a := b.last(); a.Key != c.source || a.Severity != c.want {
			t.Errorf("%s: %s %s, severity %d", c.why, a.State, a.Key, a.Severity)
		}
	}
	b.hit(301, "203.0.113.6", "client-1", 9)
	if a := b.last(); a.Key == "203.0.113.6" {
		t.Error("the public network of a client is not the fleet's own")
	}
}

func TestNobodyMakesTheInternetHisOwn(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")} })
	for _, p := range []string{"10.0.0.1/1", "192.168.0.1/8", "172.16.0.1/8", "127.0.0.1/8", "8.8.8.8/0", "2001:db8::1/3", "fd00::1/2"} {
		b.Member(p, []netip.Prefix{netip.MustParsePrefix(p)})
	}
	b.Member("client-0", []netip.Prefix{{}, netip.MustParsePrefix("10.200.0.1/8"), netip.MustParsePrefix("fd00::1/64")})
	for _, c := range []struct {
		addr string
		want bool
	}{
		{"1.2.3.4", false}, {"192.1.2.3", false}, {"172.200.0.1", false}, {"127.0.0.2", false}, {"2001:db9::1", false}, {"fd01::1", false},
		{"10.0.0.1", true}, {"10.99.99.99", true}, {"fd00::7", true}, {"8.8.8.8", true}, {"198.51.100.9", true}, {"::ffff:10.0.0.1", true},
	} {
		if got := b.inside.has(netip.MustParseAddr(c.addr), b.rules.Networks); got != c.want {
			t.Errorf("%s is inside: %v", c.addr, got)
		}
	}
}

// A flood of forged sources, many times what is kept, fills no memory, raises no
// storm, and hides nobody.
func TestSpoofedFlood(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.Keys = 1024 })
	b.hit(0, "203.0.113.7", "alpha", 1001) // the real one, slowly
	forged := func(i int) string { return fmt.Sprintf("100.%d.%d.%d", 64+i>>16, i>>8&255, i&255) }
	const flood = 1 << 17
	for i := range flood {
		b.probe(1+float64(i)/100, forged(i), []string{"alpha", "beta"}[i%2], uint16(1+i%5000))
		if i%4096 == 0 {
			b.advance(1 + float64(i)/100)
		}
	}
	end := 1 + float64(flood)/100
	raised := b.count("incidents_raised")
	b.hit(end, "203.0.113.7", "beta", 1002)
	a := b.last()
	if a.Key != "203.0.113.7" || a.Severity < 70 || !slices.Contains(ruleIDs(a), "slow-scan") {
		t.Errorf("the real source: %+v", a)
	}
	if b.sources.Len() > 1024 || b.ports.Len() > maxPorts || len(b.incidents) > 4096 {
		t.Errorf("%d sources, %d ports, %d incidents", b.sources.Len(), b.ports.Len(), len(b.incidents))
	}
	hours := uint64(end/3600) + 1
	if raised > 60*hours {
		t.Errorf("%d alerts were raised in %d hours", raised, hours)
	}
	var forgedAlert *event.Alert
	for _, e := range b.alerts {
		if e.Alert.Key == "spoofable-sources" {
			forgedAlert = e.Alert
			if want := fmt.Sprintf("%d sources that may be forged", e.Alert.Count); !strings.Contains(e.Message, want) || e.Alert.Severity > 40 {
				t.Fatalf("severity %d: %s", e.Alert.Severity, e.Message)
			}
		}
	}
	if forgedAlert == nil || b.count("sources_spoofable_evicted") < uint64(flood)-1100 || b.count("sources_evicted") != b.count("sources_spoofable_evicted") {
		t.Errorf("%+v; %d sources evicted, %d spoofable", forgedAlert, b.count("sources_evicted"), b.count("sources_spoofable_evicted"))
	}
}

// Whoever forges packets of a source does not make it look proven, and packets
// to closed ports push out no trap.
func TestForgedPacketsFrameAndHideNobody(t *testing.T) {
	b := newBench(t, nil)
	b.hit(0, "203.0.113.7", "alpha", 1001)
	for i := range 100 {
		b.probe(1+float64(i)/10, "203.0.113.7", []string{"alpha", "beta", "gamma"}[i%3], uint16(2000+i))
	}
	b.advance(60)
	if a := b.last(); a.Severity > 40 {
		t.Errorf("one real hit and forged packets weigh %d by %s", a.Severity, a.Rule)
	}
	b = newBench(t, nil)
	b.hit(0, "203.0.113.7", "alpha", 1001)
	for i := range 100 {
		b.probe(1+float64(i)/10, "203.0.113.7", "alpha", uint16(2000+i))
	}
	b.hit(70, "203.0.113.7", "alpha", 1002)
	if a := b.last(); a.Rule != "slow-scan" {
		t.Errorf("the first trap was pushed out: %+v", a)
	}
}

// However many ports of one client a source touches, the client that it touched
// before, and that tells of it later, is not forgotten.
func TestManyPortsHideNoClient(t *testing.T) {
	b := newBench(t, nil)
	for i := range 50 {
		b.hit(600+float64(i), "203.0.113.7", "beta", uint16(1000+i))
	}
	b.hit(0, "203.0.113.7", "alpha", 22)
	if a := b.last(); a.Rule != "sweep" {
		t.Errorf("%+v", a)
	}
	for i := range 50 {
		b.hit(700+float64(i), "203.0.113.7", "beta", uint16(3000+i))
	}
	if got := b.judged(seen{760, "203.0.113.7", "gamma", 22})[Sweep]; got.value != 3 {
		t.Errorf("%v clients are known", got.value)
	}
}

func TestForgedNoticesFoldOnlyForged(t *testing.T) {
	b := newBench(t, nil)
	for i := range 100 {
		b.probe(float64(i), fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("client-%d", i), uint16(1000+i))
	}
	b.hit(200, "203.0.113.7", "alpha", 22)
	if a := b.last(); a.Key != "203.0.113.7" || a.State != event.Firing {
		t.Errorf("the real source: %+v", a)
	}
	if n := b.count("incidents_raised"); n != 22 {
		t.Errorf("%d alerts: 20 notices, one that counts, one that is real", n)
	}
	if open := b.Open(); open[20].Key != "spoofable-sources" || open[20].Count != 80 {
		t.Errorf("%+v", open[20])
	}
}

// What was told of a slow scan is new again once it is forgotten.
func TestSlowScanComesBack(t *testing.T) {
	b := newBench(t, nil)
	for _, day := range []float64{0, 3} {
		for i := range 2 {
			at := day*86400 + float64(i)*5400
			b.hit(at, "203.0.113.7", "alpha", uint16(1000+i))
			b.advance(at + 3600)
		}
		if n := len(b.alerts); b.last().Rule != "slow-scan" {
			t.Errorf("day %v: %d alerts: %q", day, n, b.story())
		}
	}
}

// What goes on and on is told of ever more seldom.
func TestUpdatesGetSeldom(t *testing.T) {
	b := newBench(t, nil)
	for i := range 4 * 3600 {
		b.hit(float64(i), "203.0.113.7", "alpha", 22)
		b.advance(float64(i))
	}
	if n := len(b.alerts); n < 24 || n > 40 {
		t.Errorf("a hit every second for four hours gave %d alerts", n)
	}
}

func TestWatchedPorts(t *testing.T) {
	for _, c := range []struct {
		why  string
		n    int
		want bool
	}{{"ten closed ports", 10, true}, {"nine", 9, false}} {
		b := newBench(t, nil)
		for i := range c.n {
			b.probe(float64(i)*60/9, "203.0.113.7", "alpha", uint16(2000+i))
		}
		if got := slices.Contains(ruleIDs(b.last()), "host-scan"); got != c.want {
			t.Errorf("%s in 60 s: host-scan %v", c.why, got)
		}
		if slices.Contains(ruleIDs(b.last()), "slow-scan") {
			t.Errorf("%s: a closed port is no trap", c.why)
		}
	}
}

// A stranger with a large IPv6 network has as many real sources as he likes.
func TestManyRealSourcesRaiseNoStorm(t *testing.T) {
	b := newBench(t, nil)
	for i := range 20000 {
		for hit := range 3 {
			b.hit(float64(i)/10+float64(hit)/100, fmt.Sprintf("2001:db8:%x::1", i), fmt.Sprintf("c%d", hit), uint16(1+i%40))
		}
		if i%10 == 0 {
			b.advance(float64(i) / 10)
		}
	}
	if n := b.count("incidents_raised"); n > 1000 {
		t.Errorf("60,000 hits of 20,000 sources in 2,000 s raised %d alerts", n)
	}
	if n := len(b.alerts); n > 30000 {
		t.Errorf("%d alerts in all", n)
	}
	folded := slices.ContainsFunc(b.Open(), func(a event.Alert) bool { return a.Key == "incidents" && a.Severity == 80 && a.Rule == "sweep" })
	if !folded {
		t.Error("nothing tells of the rest")
	}
	// The fleet's own hosts are told of all the same.
	b.Member("client-0", []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24")})
	b.hit(2001, "10.1.2.9", "c0", 1)
	b.hit(2001, "10.1.2.9", "c1", 1)
	if a := b.last(); a.Key != "10.1.2.9" || a.Rule != "sweep" {
		t.Errorf("the own host: %+v", a)
	}
}

// Who keeps an old incident open does not hide what he does later.
func TestOldIncidentTellsWhatIsNew(t *testing.T) {
	b := newBench(t, nil)
	at := 0.0
	for ; at < 3*86400; at += 3000 {
		b.hit(at, "203.0.113.7", "alpha", 1001)
		b.advance(at + 1)
	}
	if n := len(b.alerts); n > 250 {
		t.Errorf("a hit every 50 minutes gave %d alerts in three days", n)
	}
	b.hit(at, "203.0.113.7", "beta", 1001)
	if a := b.last(); a.Rule != "sweep" || a.State != event.Updated {
		t.Errorf("a second client: %+v", a)
	}
	b.hit(at+1, "203.0.113.7", "gamma", 1001)
	b.advance(at + 11)
	if a := b.last(); len(a.Clients) != 3 {
		t.Errorf("a third client is not told within 10 s: %+v", a)
	}
}

// The slowest scanner: one trap an hour, for days.
func TestHourlyScanner(t *testing.T) {
	for _, c := range []struct {
		why   string
		every float64
		most  int // alerts a day, of all states
	}{
		{"every 59 minutes: one incident that stays open", 59 * 60, 30},
		{"every 61 minutes: each incident ends before the next hit", 61 * 60, 36},
	} {
		b := newBench(t, nil)
		const days = 5
		n := 0
		for at := 0.0; at < days*86400; at += c.every {
			b.hit(at, "203.0.113.7", fmt.Sprintf("client-%d", n%7), uint16(1000+n))
			for s := 0.0; s < c.every; s += 30 {
				b.advance(at + s)
			}
			n++
		}
		flagged := slices.ContainsFunc(b.alerts, func(e event.Event) bool { return e.Alert.Rule == "slow-scan" || e.Alert.Rule == "sweep" })
		if perDay := len(b.alerts) / days; !flagged || perDay > c.most {
			t.Errorf("%s: found %v, %d alerts a day", c.why, flagged, perDay)
		} else {
			t.Logf("%s: %d alerts a day", c.why, perDay)
		}
	}
}

// Hits that raise nothing by themselves are counted in the next incident.
func TestNothingIsLostBetweenIncidents(t *testing.T) {
	b := newBench(t, nil)
	b.hit(0, "203.0.113.7", "alpha", 1)
	b.hit(1, "203.0.113.7", "alpha", 2)
	b.advance(3700)
	if a := b.last(); a.State != event.Resolved || a.Count != 2 {
		t.Fatalf("%+v", a)
	}
	b.hit(4000, "203.0.113.7", "alpha", 3)
	if n := len(b.Open()); n != 0 {
		t.Errorf("one more hit opened %d incidents", n)
	}
	b.advance(9000)
	b.hit(9000, "203.0.113.7", "alpha", 4)
	if a := b.last(); a.State != event.Firing || a.Rule != "slow-scan" || a.Count != 2 || !slices.Contains(a.Ports, 3) {
		t.Errorf("%+v", a)
	}
}
