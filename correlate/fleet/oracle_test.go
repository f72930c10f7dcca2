package fleet

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/correlate/window"
	"vft/event"
)

// oracle keeps every event and evaluates each rule as it is defined, with the
// built-in values.
type oracle struct {
	events  []seen
	noticed map[string]int // seconds
}

// seen is one event of a test, seconds after base.
type seen struct {
	at             int
	source, client string
	port           uint16
}

// key is how the rules know a source: the last three are of two networks.
func (s seen) key() string { return strings.TrimSuffix(strings.TrimSuffix(s.source, ":1"), ":2") }

// windows calls visit with the events that match in each window of that many
// seconds that contains at and ends with one of them.
func (o *oracle) windows(at, seconds int, match func(seen) bool, visit func([]seen)) {
	for _, end := range o.events {
		if end.at < at || end.at > at+seconds || !match(end) {
			continue
		}
		var in []seen
		for _, e := range o.events {
			if e.at <= end.at && end.at-e.at <= seconds && match(e) {
				in = append(in, e)
			}
		}
		visit(in)
	}
}

// most is the largest number of distinct things in one such window.
func (o *oracle) most(at, seconds int, match func(seen) bool, thing func(seen) string) (most int) {
	o.windows(at, seconds, match, func(in []seen) {
		distinct := map[string]bool{}
		for _, e := range in {
			distinct[thing(e)] = true
		}
		most = max(most, len(distinct))
	})
	return most
}

// count is the largest number of events in one such window.
func (o *oracle) count(at, seconds int, match func(seen) bool) (most int) {
	o.windows(at, seconds, match, func(in []seen) { most = max(most, len(in)) })
	return most
}

// usual is the average number of events on a port in the windows that are past:
// they begin with its first event; each moves the average, at first 0, by a
// fiftieth.
func (o *oracle) usual(port uint16, seconds int) (average float64) {
	var counts []float64
	begin := -1
	for _, e := range o.events {
		if e.port != port {
			continue
		}
		if begin < 0 {
			begin = e.at
		}
		window := max(e.at-begin, 0) / seconds
		for len(counts) <= window {
			counts = append(counts, 0)
		}
		counts[window]++
	}
	for _, n := range counts[:len(counts)-1] {
		average += 0.02 * (n - average)
	}
	return average
}

// chance is P(X >= k) under a Poisson.
func chance(k int, mean float64) float64 {
	below, term := 0.0, math.Exp(-mean)
	for i := range k {
		below += term
		term *= mean / float64(i+1)
	}
	return 1 - below
}

// observe returns the value of each rule that holds for e.
func (o *oracle) observe(e seen) map[RuleID]float64 {
	o.events = append(o.events, e)
	ofSource := func(s seen) bool { return s.key() == e.key() }
	onHost := func(s seen) bool { return s.key() == e.key() && s.client == e.client }
	onPort := func(s seen) bool { return s.port == e.port }
	onClient := func(s seen) bool { return s.client == e.client }
	client := func(s seen) string { return s.client }
	port := func(s seen) string { return fmt.Sprint(s.port) }
	trap := func(s seen) string { return s.client + port(s) }
	source := func(s seen) string { return s.key() }

	holds := map[RuleID]float64{}
	atLeast := func(id RuleID, n, limit int) {
		if n >= limit {
			holds[id] = float64(n)
		}
	}
	if was, ok := o.noticed[e.key()]; !ok || e.at-was > 24*3600 {
		o.noticed[e.key()] = e.at
		holds[Touch] = 1
	}
	atLeast(SameSource, o.count(e.at, 300, ofSource), 3)
	atLeast(SamePort, o.count(e.at, 300, onPort), 3)
	atLeast(SameClient, o.count(e.at, 300, onClient), 3)
	atLeast(HostScan, o.most(e.at, 60, onHost, port), 3)
	atLeast(Sweep, o.most(e.at, 3600, ofSource, client), 2)
	atLeast(Victim, o.most(e.at, 3600, onClient, source), 5)
	if ratio := math.Pow(25, float64(o.most(e.at, 24*3600, ofSource, trap))); ratio >= 99 {
		holds[SlowScan] = ratio
	}
	n, usual := o.count(e.at, 600, onPort), max(o.usual(e.port, 600), 0.1/6)
	if o.most(e.at, 600, onPort, source) >= 2 && chance(n, usual) < 1e-4 {
		atLeast(PortCampaign, o.most(e.at, 600, onPort, client), 3)
	}
	return holds
}

var (
	someSources = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.7", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"}
	someSteps   = []int{0, 1, 10, 30, 59, 60, 61, 150, 299, 300, 301, 600, 601, 1800, 3599, 3600, 3601, 7200, 86399, 86400, 86401}
)

// draw returns events in the order of their times: a run of hits close
// together, with gaps at which the rules change their minds.
func draw(t *rapid.T, n int) (events []seen) {
	at := 0
	sources := rapid.IntRange(1, len(someSources)).Draw(t, "sources")
	for range rapid.IntRange(1, n).Draw(t, "events") {
		if rapid.IntRange(0, 3).Draw(t, "gap") == 0 {
			at += rapid.SampledFrom(someSteps).Draw(t, "step")
		} else {
			at += rapid.IntRange(0, 40).Draw(t, "near")
		}
		events = append(events, seen{at, rapid.SampledFrom(someSources[:sources]).Draw(t, "source"),
			rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "client"), rapid.Uint16Range(1, 3).Draw(t, "port")})
	}
	return events
}

func (s seen) event(ids *event.IDs) *event.Event {
	at := base.Add(time.Duration(s.at) * time.Second)
	return &event.Event{
		ID: ids.Next(at), Time: at, Dataset: event.DatasetTrap, Client: s.client, Evidence: event.E1, Transport: "tcp", Trap: &event.Trap{},
		Src: netip.AddrPortFrom(netip.MustParseAddr(s.source), 40000), Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), s.port),
	}
}

// judged runs one event through the rules, without the incidents.
func (b *bench) judged(s seen) map[RuleID]match {
	h := b.Fleet.hit(s.event(b.ids))
	b.matches = b.matches[:0]
	b.judgeSource(&h)
	port, _ := b.ports.Get(portKey(s.port), true)
	b.judgePort(&h, port)
	b.judgeClient(&h, &h.client.place)
	all := map[RuleID]match{}
	for _, m := range b.matches {
		all[m.rule] = m
	}
	return all
}

// What an event makes hold is what the definitions say, with the same value.
func TestRulesAreAsDefined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, o := newBench(t, nil), &oracle{noticed: map[string]int{}}
		for n, e := range draw(t, 40) {
			want, got := o.observe(e), b.judged(e)
			for id := range ruleCount {
				value, holds := want[id]
				m, found := got[id]
				if found && id == Victim && m.limit != 5 { // victim by its own average, which has its own test
					continue
				}
				if holds != found {
					t.Fatalf("event %d %+v: %s holds: %v, judged: %v", n, e, id, holds, found)
				}
				if found && math.Abs(m.value-min(value, m.value)) > 1e-6*value {
					t.Fatalf("event %d %+v: %s is %v, judged %v", n, e, id, value, m.value)
				}
				if found && m.value < value && value <= 8 {
					t.Fatalf("event %d %+v: %s is %v, judged %v", n, e, id, value, m.value)
				}
			}
		}
	})
}

// late moves events behind others that are up to 30 s newer.
func late(t *rapid.T, events []seen) {
	for i := range events {
		for j := i; j > 0 && events[j-1].at-events[j].at <= 0 && rapid.IntRange(0, 2).Draw(t, "late") == 0; j-- {
			newest := 0
			for _, e := range events[:j+1] {
				newest = max(newest, e.at)
			}
			if newest-events[j-1].at > 30 {
				break
			}
			events[j-1], events[j] = events[j], events[j-1]
		}
	}
}

// Events that come up to 30 s late make nothing hold that the definitions do
// not, and what counts events up to 5 misses nothing.
func TestLateEventsCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, o := newBench(t, nil), &oracle{noticed: map[string]int{}}
		events := draw(t, 40)
		late(t, events)
		for n, e := range events {
			want, got := o.observe(e), b.judged(e)
			for id, m := range got {
				value, holds := want[id]
				if id != Touch && id != PortCampaign && !(id == Victim && m.limit != 5) && (!holds || m.value > value*(1+1e-9)) {
					t.Fatalf("event %d %+v: %s is %v, judged %v", n, e, id, value, m.value)
				}
			}
			for _, id := range []RuleID{Touch, SameSource, SamePort, SameClient} {
				if _, holds := want[id]; holds {
					if _, found := got[id]; !found {
						t.Fatalf("event %d %+v: %s does not hold", n, e, id)
					}
				}
			}
		}
	})
}

// Contacts that are each made once are found in any order.
func TestFirstContactsInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, o := newBench(t, nil), &oracle{noticed: map[string]int{}}
		var events []seen
		at := 0
		for i := range 9 {
			at += rapid.SampledFrom(someSteps[:16]).Draw(t, "step")
			events = append(events, seen{at, "10.0.0.1", string(rune('a' + i/3)), uint16(i % 3)})
		}
		for n, e := range rapid.Permutation(events).Draw(t, "order") {
			want, got := o.observe(e), b.judged(e)
			for _, id := range []RuleID{HostScan, SlowScan, Sweep} {
				m, found := got[id]
				if value, holds := want[id]; holds != found || math.Abs(m.value-value) > 1e-6*value {
					t.Fatalf("event %d %+v: %s is %v, judged %v", n, e, id, value, m.value)
				}
			}
		}
	})
}

// A match at a port or client belongs to the source that has 90 % of its events.
func TestMatchesBelongToWhoMadeThem(t *testing.T) {
	for _, c := range []struct {
		why  string
		of   int // hits of the source in question, after those of others
		rest int
		want scope
	}{
		{"all hits are of one", 5, 0, ofSource},
		{"nine of ten", 9, 1, ofSource},
		{"eight of nine are less than 90 %", 8, 1, ofPort},
		{"half", 3, 3, ofPort},
		{"of the latest 16, one is of another", 40, 1, ofSource},
	} {
		b := newBench(t, nil)
		for i := range c.rest {
			b.judged(seen{i, fmt.Sprintf("10.0.1.%d", i), "a", 80})
		}
		var last map[RuleID]match
		for range c.of {
			last = b.judged(seen{c.rest, "10.0.0.1", "a", 80})
		}
		if got := last[SamePort].scope; got != c.want {
			t.Errorf("%s: scope %v", c.why, got)
		}
		other := b.judged(seen{c.rest, "10.0.0.9", "a", 80})
		if got := other[SamePort].scope; c.of >= 15 && got != ofOther {
			t.Errorf("%s: the hit of another is in scope %v", c.why, got)
		}
	}
}

func TestUnusualIsThePoissonTail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, usual := rapid.IntRange(0, 3000).Draw(t, "n"), rapid.Float64Range(1e-4, 1000).Draw(t, "usual")
		p := rapid.SampledFrom([]float64{1e-9, 1e-4, 1e-2, 0.05, 0.3, 1}).Draw(t, "probability")
		if got, want := unusual(n, usual, p), window.PoissonTail(n, usual) < p; got != want {
			t.Fatalf("%d where %v is usual: %v", n, usual, got)
		}
	})
}
