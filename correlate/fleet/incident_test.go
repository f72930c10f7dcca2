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

// When too many incidents are open, the weakest end; what is weaker than all is
// counted with others.
func TestTooManyOpen(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.MaxOpen = 3 })
	for i := range 3 {
		source := fmt.Sprintf("10.0.0.%d", i)
		b.hit(float64(i), source, fmt.Sprintf("c%d", i), uint16(1000+i))
		b.hit(float64(i), source, fmt.Sprintf("d%d", i), uint16(2000+i))
	}
	b.hit(5, "10.0.1.1", "e", 3000)
	if n := len(b.in(event.Resolved, event.BySource)); n != 0 {
		t.Errorf("a notice ended %d sweeps", n)
	}
	b.hit(6, "10.0.1.1", "f", 3001)
	ended := b.in(event.Resolved, event.BySource)
	if len(ended) != 1 || ended[0].Key != "10.0.0.0" || !strings.HasPrefix(ended[0].Reason, "evicted") || b.count("incidents_evicted") != 1 {
		t.Errorf("a fourth sweep: %q", b.story())
	}
	if n := len(b.Open()); n != 4 {
		t.Errorf("%d are open, not three and the one that counts", n)
	}
}

func TestLostClients(t *testing.T) {
	b := newBench(t, nil)
	at := func(s int) time.Time { return base.Add(time.Duration(s) * time.Second) }
	b.Lost("alpha", at(0), "no heartbeat for three intervals.")
	b.Lost("alpha", at(10), "its trap does not report")
	b.Advance(at(100000))
	b.Returned("beta", at(100001))
	b.Returned("alpha", at(100002))
	b.Returned("alpha", at(100003))
	want := []string{"firing sensor alpha sensor-lost 70", "resolved sensor alpha sensor-lost 70"}
	if got := b.story(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if m := b.alerts[0].Message; m != "client alpha is lost: no heartbeat for three intervals" {
		t.Errorf("message %q", m)
	}
	b.Lost("alpha", at(100004), "no heartbeat")
	if a := b.last(); a.State != event.Firing || a.ID == b.alerts[0].Alert.ID {
		t.Errorf("lost again: %+v", a)
	}
	rules := DefaultRules()
	rules.Rule[SensorLost].Off = true
	b.SetRules(rules)
	b.Lost("gamma", at(100005), "no heartbeat")
	if n := len(b.Open()); n != 1 {
		t.Errorf("%d are open with the rule off", n)
	}
}

// When the network of the server fails, all clients are lost at once.
func TestManyLostClientsAreOneIncident(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.RaisePerHour = 10 })
	for i := range 5000 {
		b.Lost(fmt.Sprint("client-", i), base, "no heartbeat")
	}
	b.advance(60)
	if n := len(b.Open()); n != 11 {
		t.Errorf("%d incidents", n)
	}
	if a := b.last(); a.Key != "lost-clients" || a.Count != 4990 || a.Severity != 70 {
		t.Errorf("%+v", a)
	}
	b.advance(7 * 86400)
	if n := len(b.Open()); n != 11 {
		t.Errorf("%d incidents after a week", n)
	}
	b.Returned("client-4999", base.Add(time.Hour))
	if n := len(b.Open()); n != 11 {
		t.Errorf("%d incidents after one of many came back", n)
	}
	for i := range 5000 {
		b.Returned(fmt.Sprint("client-", i), base.Add(time.Hour))
	}
	if n := len(b.Open()); n != 0 || b.count("incidents_raised") != 11 || b.count("incidents_resolved") != 11 {
		t.Errorf("%d incidents stay open", n)
	}
}

// A client may be called like anything that vft itself tells of.
func TestNamesOfClientsDoNotCollide(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.Rule[Touch].PerHour = 0 })
	b.hit(0, "10.0.0.1", "touch", 80)
	b.Lost("touch", base, "no heartbeat")
	b.Lost("80", base, "no heartbeat")
	if n := len(b.Open()); n != 3 {
		t.Errorf("%q", b.story())
	}
}

// A port whose hits were one source's becomes an incident of its own when
// others join.
func TestPortLeavesASource(t *testing.T) {
	b := newBench(t, nil)
	for i := range 5 {
		b.hit(float64(i), "10.0.0.1", "alpha", 80)
	}
	b.advance(5)
	if open := b.Open(); len(open) != 1 || open[0].Kind != event.BySource || !slices.Contains(ruleIDs(&open[0]), "same-port") {
		t.Fatalf("%+v", open)
	}
	for i := range 5 {
		b.hit(10+float64(i), fmt.Sprintf("10.0.1.%d", i), []string{"alpha", "beta"}[i%2], 80)
	}
	b.advance(20)
	kinds := map[event.AlertKind]int{}
	for _, a := range b.Open() {
		kinds[a.Kind]++
		if a.Kind == event.ByPort && (a.Key != "80" || len(a.Sources) != 6 || a.Count != 10) {
			t.Errorf("the port: %+v", a)
		}
	}
	if kinds[event.ByPort] != 1 || kinds[event.BySource] != 1 || len(kinds) != 2 {
		t.Errorf("%v\n%q", kinds, b.story())
	}
}

func TestTenSourcesOnOnePort(t *testing.T) {
	for _, every := range []float64{0.01, 1, 20} {
		b := newBench(t, nil)
		for i := range 10 {
			b.hit(float64(i)*every, fmt.Sprintf("10.0.0.%d", i), []string{"a", "b", "c"}[i%3], 8080)
			b.advance(float64(i) * every)
		}
		b.advance(10*every + 5)
		open := b.Open()
		if len(open) != 1 || open[0].Key != "8080" || open[0].Count != 10 || len(open[0].Sources) != 10 || len(b.in(event.Firing, event.BySource)) > 10 {
			t.Errorf("every %v s: %q", every, b.story())
		}
	}
}

// A notice is absorbed only by an incident that names its source.
func TestAbsorbedSourcesAreNamed(t *testing.T) {
	b := newBench(t, nil)
	for i := range 150 {
		b.hit(float64(i)/10, fmt.Sprintf("10.0.0.%d", i), fmt.Sprintf("c%d", i%20), 8080)
		b.advance(float64(i) / 10)
	}
	b.advance(60)
	named := map[string]bool{}
	for _, e := range b.alerts {
		for _, a := range e.Alert.Sources {
			named[a.String()] = true
		}
	}
	if len(named) != 150 {
		t.Errorf("%d of 150 sources are named", len(named))
	}
	// Forged ones leave room for the real.
	b = newBench(t, func(r *Rules) { r.Rule[Touch].PerHour = 10000 })
	for i := range 300 {
		b.probe(float64(i)/100, fmt.Sprintf("10.0.%d.%d", i/100, i%100), fmt.Sprintf("c%d", i%20), 8080)
	}
	b.advance(10)
	b.hit(11, "203.0.113.7", "c1", 8080)
	b.advance(30)
	if !slices.ContainsFunc(b.Open(), func(a event.Alert) bool {
		return a.Kind == event.ByPort && slices.Contains(a.Sources, netip.MustParseAddr("203.0.113.7"))
	}) {
		t.Error("the real source is not named")
	}
}

// A source that is known by a mere notice joins the incident of a port that it
// hits later.
func TestNoticeJoinsWhatIsOpen(t *testing.T) {
	b := newBench(t, nil)
	b.hit(0, "203.0.113.7", "gamma", 22)
	for i := range 3 {
		b.hit(float64(i), fmt.Sprintf("10.0.0.%d", i), []string{"alpha", "beta"}[i%2], 8080)
	}
	b.advance(10)
	if n := len(b.Open()); n != 2 {
		t.Fatalf("%q", b.story())
	}
	b.SetRules(func() Rules { r := DefaultRules(); r.Rule[SlowScan].Off, r.Rule[Sweep].Off = true, true; return r }())
	b.hit(20, "203.0.113.7", "alpha", 8080)
	b.advance(40)
	if open := b.Open(); len(open) != 1 || open[0].Key != "8080" || open[0].Count != 4 {
		t.Errorf("%q", b.story())
	}
}

// The hits of an incident that ended are spent: they raise nothing again.
func TestEndedPortIsSpent(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.QuietMax = 10 * time.Second })
	for i := range 3 {
		b.hit(float64(i), fmt.Sprintf("10.0.0.%d", i), []string{"alpha", "beta"}[i%2], 8080)
	}
	b.advance(5)
	b.advance(30)
	b.hit(31, "10.0.0.9", "alpha", 8080)
	b.hit(32, "10.0.0.8", "beta", 8080)
	b.advance(36)
	if n := len(b.in(event.Firing, event.ByPort)); n != 1 {
		t.Errorf("two more hits: %d incidents of the port", n)
	}
	b.hit(37, "10.0.0.7", "beta", 8080)
	b.advance(40)
	if n := len(b.in(event.Firing, event.ByPort)); n != 2 || b.Open()[0].Count != 3 {
		t.Errorf("a third: %d incidents of the port, %+v", n, b.Open())
	}
}

// What two attackers do together on one port makes the incidents of both graver.
func TestSharedRuleEscalatesItsOwners(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.Rule[Sweep].Off, r.Rule[SlowScan].Off = true, true })
	for i := range 12 {
		b.hit(float64(i)/10, []string{"10.0.0.1", "10.0.0.2"}[i%2], []string{"a", "b", "c"}[i%3], 8080)
	}
	b.advance(10)
	open := b.Open()
	if len(open) != 2 || open[0].Rule != "port-campaign" || open[0].Severity != 60 || open[1].Rule != "port-campaign" {
		t.Errorf("%+v %q", open, b.story())
	}
}

func TestThreeSourcesOnOneClient(t *testing.T) {
	b := newBench(t, nil)
	for i := range 3 {
		b.hit(float64(i), fmt.Sprintf("10.0.0.%d", i), "alpha", uint16(80+i))
	}
	b.advance(10)
	open := b.Open()
	if len(open) != 1 || open[0].Kind != event.ByClient || open[0].Key != "alpha" || open[0].Rule != "same-client" || len(open[0].Ports) != 3 || len(open[0].Sources) != 3 {
		t.Errorf("%q", b.story())
	}
}

// Two attackers at the same time, however their hits interleave, are two
// incidents and never a third.
func TestTwoAttackersAreNeverThree(t *testing.T) {
	for _, c := range []struct {
		why   string
		apart float64 // between their hits
		hits  int
	}{{"at once", 0.001, 15}, {"a second apart", 1, 15}, {"slowly", 20, 15}, {"many hits", 0.01, 300}} {
		b := newBench(t, nil)
		for i := range c.hits {
			at := float64(i) * c.apart * 2
			client := []string{"a", "b", "c"}[i%3]
			b.hit(at, "10.0.0.1", client, uint16(1000+i%15))
			b.hit(at+c.apart, "10.0.0.2", client, uint16(1000+i%15))
			b.advance(at + c.apart)
		}
		b.advance(float64(c.hits)*c.apart*2 + 10)
		firing := b.count("incidents_raised")
		if len(b.in(event.Firing, event.BySource)) != 2 || firing != 2 {
			t.Errorf("%s: %d incidents: %q", c.why, firing, b.story())
		}
	}
}

func TestTwoClientsThatAgreeAreE3(t *testing.T) {
	for _, c := range []struct {
		why    string
		second func(b *bench)
		want   event.Evidence
	}{
		{"two clients", func(b *bench) { b.hit(1, "10.0.0.1", "beta", 80) }, event.E3},
		{"one client", func(b *bench) { b.hit(1, "10.0.0.1", "alpha", 80) }, event.E1},
		{"a second client that saw a packet", func(b *bench) { b.probe(1, "10.0.0.1", "beta", 80) }, event.E1},
		{"a second client after the notice ended", func(b *bench) { b.advance(4000); b.hit(4001, "10.0.0.1", "beta", 80) }, event.E3},
	} {
		b := newBench(t, nil)
		b.hit(0, "10.0.0.1", "alpha", 80)
		c.second(b)
		b.advance(5000 - 1)
		if got := b.last().Evidence; got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

// A client that is hit ten times as often as usual is told of only once a day
// has shown what is usual.
func TestVictimByItsOwnAverage(t *testing.T) {
	for _, c := range []struct {
		why   string
		hours int
		want  bool
	}{{"after two days", 48, true}, {"after 23 hours", 23, false}} {
		b := newBench(t, nil)
		for hour := range c.hours {
			for i := range 2 {
				b.judged(seen{hour*3600 + i*1000, "10.0.0.1", "alpha", 80})
			}
		}
		found := -1
		for i := range 60 {
			if m, ok := b.judged(seen{c.hours*3600 + i, "10.0.0.1", "alpha", 80})[Victim]; ok && found < 0 {
				found = i + 1
				if m.limit < 19 || m.limit > 21 || m.value < m.limit {
					t.Errorf("%s: %+v", c.why, m)
				}
			}
		}
		if (found > 0) != c.want {
			t.Errorf("%s: found at hit %d", c.why, found)
		}
	}
}

// A clock that is a year ahead harms nobody else.
func TestEventOfTheFuture(t *testing.T) {
	b := newBench(t, nil)
	b.advance(0)
	b.hit(365*86400, "10.0.0.1", "alpha", 80)
	b.hit(100*86400, "10.0.0.4", "alpha", 80)
	b.hit(1, "10.0.0.2", "alpha", 81)
	if v := b.hit(2, "10.0.0.2", "beta", 82); v != Counted || b.last().Key != "10.0.0.2" || b.last().Rule != "sweep" {
		t.Errorf("verdict %v, %q", v, b.story())
	}
	for s := 0.0; s < 8*86400; s += 3600 {
		b.advance(s)
	}
	if n := len(b.Open()); n != 0 || b.sources.Len() != 0 {
		t.Errorf("%d incidents and %d sources stay", n, b.sources.Len())
	}
	b.hit(-30*365*86400, "10.0.0.3", "alpha", 80)
	b.Observe(&event.Event{Dataset: event.DatasetTrap})
	b.Advance(time.Time{})
	b.Advance(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
}

// Hosts whose clocks are wrong wrap no counter: the limit of notices holds, and
// a campaign is seen.
func TestWrongClocksBlindNoRule(t *testing.T) {
	const day = 86400
	for _, c := range []struct {
		why  string
		days float64
		want Verdict
	}{
		{"a host without a clock chip", -20000, Late},
		{"a spool of 300 days ago", -300, Late},
		{"a clock that is 300 days ahead", 300, Ahead},
	} {
		b := newBench(t, nil)
		b.advance(0)
		for i := range 10 {
			if v := b.hit(c.days*day+float64(i), fmt.Sprintf("198.51.100.%d", i), "noisy", 7000); v != c.want {
				t.Errorf("%s: verdict %v", c.why, v)
			}
		}
		if n := b.count("events_late") + b.count("events_ahead"); n != 10 || b.count("sources") != 0 || len(b.alerts) != 0 {
			t.Errorf("%s: %d counted, %d sources, %q", c.why, n, b.count("sources"), b.story())
		}
		for i := range 30 {
			b.hit(10+float64(i), fmt.Sprintf("203.0.113.%d", i), fmt.Sprintf("client-%d", i), uint16(1000+i))
		}
		if n := b.count("notices_folded"); n != 10 {
			t.Errorf("%s: %d notices of 30 are folded, 20 in an hour are told", c.why, n)
		}
		for i, client := range []string{"alpha", "beta", "gamma"} {
			b.hit(100+float64(i), fmt.Sprintf("192.0.2.%d", i), client, 7000)
		}
		b.advance(130)
		campaign := func(a event.Alert) bool {
			return a.Key == "7000" && a.Count == 3 && slices.ContainsFunc(a.Rules, func(m event.Match) bool { return m.ID == "port-campaign" })
		}
		if !slices.ContainsFunc(b.Open(), campaign) {
			t.Errorf("%s: the campaign is not seen: %q", c.why, b.story())
		}
	}
}

// Ticks wrap after 497 days; what was quiet for so long counts anew.
func TestPlacesQuietForMonths(t *testing.T) {
	const day = 86400
	b := newBench(t, nil)
	for i := range 30 {
		b.hit(float64(i)*100, "10.0.0.1", "alpha", 80)
	}
	for d := 1; d <= 300; d++ {
		b.advance(float64(d * day))
	}
	before := len(b.alerts)
	for i := range 3 {
		b.hit(300*day+float64(i), fmt.Sprintf("10.0.1.%d", i), "alpha", 80)
	}
	b.advance(300*day + 10)
	if a := b.last(); len(b.alerts) == before || a.Kind != event.ByPort || a.Key != "80" || a.Count != 3 {
		t.Errorf("%+v", a)
	}
}

func TestIPv6SourceIsItsNetwork(t *testing.T) {
	b := newBench(t, nil)
	for i := range 5 {
		b.hit(float64(i), fmt.Sprintf("2001:db8::%x", i+1), "alpha", 80)
	}
	b.hit(6, "2001:db8:0:1::1", "alpha", 81)
	if n := len(b.in(event.Firing, event.BySource)); n != 2 {
		t.Errorf("%q", b.story())
	}
	a := b.Open()[0]
	if a.Key != "2001:db8::/64" || len(a.Sources) != 5 || a.Sources[4] != netip.MustParseAddr("2001:db8::5") {
		t.Errorf("%+v", a)
	}
	b = newBench(t, func(r *Rules) { r.IPv6Prefix = 128 })
	b.hit(0, "2001:db8::1", "alpha", 80)
	b.hit(1, "2001:db8::2", "alpha", 81)
	if n := len(b.Open()); n != 2 || b.Open()[0].Key != "2001:db8::1" {
		t.Errorf("with a prefix of 128: %q", b.story())
	}
}

func TestClientsAreBounded(t *testing.T) {
	b := newBench(t, nil)
	for i := range maxClients + 10 {
		b.client(fmt.Sprint(i))
	}
	if b.count("clients") > maxClients+1 || b.count("clients_folded") != 10 || b.client("new") != b.client("newer") {
		t.Errorf("%d clients, %d folded", b.count("clients"), b.count("clients_folded"))
	}
}

func TestOtherEventsPassOver(t *testing.T) {
	b := newBench(t, nil)
	if v := b.Observe(&event.Event{Dataset: event.DatasetClient, Time: base}); v != Counted || b.count("events") != 0 {
		t.Errorf("verdict %v, %d events", v, b.count("events"))
	}
}
