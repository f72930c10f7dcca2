package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vft/event"
)

func TestIgnore(t *testing.T) {
	for _, c := range []struct {
		why  string
		rule Ignore
		want Verdict
	}{
		{"the source", Ignore{Source: netip.MustParsePrefix("10.0.0.0/24")}, Ignored},
		{"another source", Ignore{Source: netip.MustParsePrefix("10.0.1.0/24")}, Counted},
		{"the port", Ignore{Port: 80}, Ignored},
		{"another port", Ignore{Port: 81}, Counted},
		{"the client", Ignore{Client: "alpha"}, Ignored},
		{"another client", Ignore{Client: "beta"}, Counted},
		{"the tool", Ignore{Tool: "nmap"}, Ignored},
		{"another tool", Ignore{Tool: "zmap"}, Counted},
		{"all of them", Ignore{Source: netip.MustParsePrefix("10.0.0.1/32"), Port: 80, Client: "alpha", Tool: "nmap", Until: base.Add(time.Hour)}, Ignored},
		{"all but one", Ignore{Source: netip.MustParsePrefix("10.0.0.1/32"), Port: 80, Client: "alpha", Tool: "zmap", Until: base.Add(time.Hour)}, Counted},
		{"a network of the source", Ignore{Network: netip.MustParsePrefix("10.0.0.0/24")}, Ignored},
		{"hits of traps", Ignore{Type: "trap_hit"}, Ignored},
		{"a finding of packets", Ignore{Type: "vertical_scan"}, Counted},
		{"until later", Ignore{Port: 80, Until: base.Add(time.Second)}, Ignored},
		{"until now", Ignore{Port: 80, Until: base}, Counted},
	} {
		b := newBench(t, func(r *Rules) { r.Ignore = []Ignore{{Port: 9999}, c.rule} })
		e := seen{0, "10.0.0.1", "alpha", 80}.event(b.ids)
		e.Trap.Tool = "nmap"
		got := b.Observe(e)
		hits := b.IgnoreHits()
		if got != c.want || hits[0] != 0 || (hits[1] == 1) != (c.want == Ignored) || (len(b.alerts) == 0) != (c.want == Ignored) {
			t.Errorf("%s: verdict %v, hits %v, %d alerts", c.why, got, hits, len(b.alerts))
		}
		if n := b.count("events_ignored"); (n == 1) != (c.want == Ignored) {
			t.Errorf("%s: %d events ignored", c.why, n)
		}
	}
}

func TestIgnoreEndsWhatIsOpen(t *testing.T) {
	for _, c := range []struct {
		why  string
		rule Ignore
		ends []string
	}{
		{"a source", Ignore{Source: netip.MustParsePrefix("10.0.0.1/32")}, []string{"10.0.0.1"}},
		{"a port", Ignore{Port: 80}, []string{"80"}},
		{"a client", Ignore{Client: "gamma"}, []string{"gamma"}},
		{"a source on another port", Ignore{Source: netip.MustParsePrefix("10.0.0.1/32"), Port: 99}, nil},
		{"everything, but it is over", Ignore{Source: netip.MustParsePrefix("0.0.0.0/0"), Until: base}, nil},
		{"a tool, which no incident tells of", Ignore{Tool: "nmap"}, nil},
		{"all sources", Ignore{Source: netip.MustParsePrefix("0.0.0.0/0")}, []string{"10.0.0.1", "80", "gamma"}},
	} {
		b := newBench(t, nil)
		b.hit(0, "10.0.0.1", "alpha", 21)
		b.hit(1, "10.0.0.1", "beta", 22)
		for i := range 4 {
			b.hit(2, fmt.Sprintf("10.0.1.%d", i), []string{"delta", "epsilon"}[i%2], 80)
			b.hit(3, fmt.Sprintf("10.0.2.%d", i), "gamma", uint16(1000+i))
		}
		b.advance(10)
		if n := len(b.Open()); n != 3 {
			t.Fatalf("%d incidents: %q", n, b.story())
		}
		rules := DefaultRules()
		rules.Ignore = []Ignore{c.rule}
		before := len(b.alerts)
		b.SetRules(rules)
		var ended []string
		for _, e := range b.alerts[before:] {
			if e.Alert.State != event.Resolved || e.Alert.Reason != "ignored" {
				t.Errorf("%s: %s, %s", c.why, e.Alert.State, e.Alert.Reason)
			}
			ended = append(ended, e.Alert.Key)
		}
		if slices.Sort(ended); !slices.Equal(ended, c.ends) {
			t.Errorf("%s ends %v, not %v", c.why, ended, c.ends)
		}
	}
}

// What was counted survives a change of other rules, and of the number of keys.
func TestSetRulesKeepsWhatItCan(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*Rules)
		keeps  bool // that two hits were counted
		known  bool // that the source was seen
	}{
		{"nothing changed", func(*Rules) {}, true, true},
		{"other windows", func(r *Rules) { r.Rule[HostScan].Window = time.Hour; r.Rule[Victim].Window = time.Minute }, true, true},
		{"more keys", func(r *Rules) { r.Keys *= 2 }, true, true},
		{"fewer keys", func(r *Rules) { r.Keys = 1024 }, true, true},
		{"its window", func(r *Rules) { r.Rule[SameSource].Window = time.Minute }, false, true},
		{"what keys a source", func(r *Rules) { r.IPv6Prefix = 48 }, false, false},
	} {
		b := newBench(t, nil)
		b.hit(0, "10.0.0.1", "alpha", 80)
		b.hit(1, "10.0.0.1", "alpha", 80)
		rules := DefaultRules()
		c.change(&rules)
		b.SetRules(rules)
		got := b.judged(seen{2, "10.0.0.1", "alpha", 80})
		_, kept := got[SameSource]
		_, touched := got[Touch]
		if kept != c.keeps || touched == c.known {
			t.Errorf("%s: the hits before count: %v; a first touch: %v", c.why, kept, touched)
		}
		if _, port := got[SamePort]; !port {
			t.Errorf("%s: the port counts anew", c.why)
		}
	}
}

// A smaller table drops what may be forged first.
func TestFewerKeysKeepTheProven(t *testing.T) {
	b := newBench(t, nil)
	b.hit(0, "203.0.113.7", "alpha", 80)
	for i := range 2000 {
		b.probe(1, fmt.Sprintf("10.0.%d.%d", i>>8, i&255), "alpha", 81)
	}
	rules := DefaultRules()
	rules.Keys = 1024
	b.SetRules(rules)
	for i := range 2000 {
		b.probe(1, fmt.Sprintf("10.1.%d.%d", i>>8, i&255), "alpha", 81)
	}
	if _, fresh := b.judged(seen{2, "203.0.113.7", "alpha", 80})[Touch]; fresh || b.sources.Len() != 1024 {
		t.Errorf("the proven source was forgotten: %v; %d are kept", fresh, b.sources.Len())
	}
}

func TestSetRulesCountsPlacesAnew(t *testing.T) {
	b := newBench(t, nil)
	for i := range 2 {
		b.hit(float64(i), fmt.Sprintf("10.0.0.%d", i), "alpha", 80)
	}
	rules := DefaultRules()
	rules.Rule[SamePort].Window, rules.Rule[SameClient].Window = time.Minute, 2*time.Minute
	rules.Rule[PortCampaign].Window, rules.Rule[Victim].Window = time.Hour, 2*time.Hour
	b.SetRules(rules)
	got := b.judged(seen{2, "10.0.0.3", "alpha", 80})
	if _, same := got[SamePort]; same || len(got) != 1 {
		t.Errorf("%v holds", got)
	}
}

func TestIgnoreHitsSurviveSetRules(t *testing.T) {
	b := newBench(t, func(r *Rules) { r.Ignore = []Ignore{{Port: 80}, {Port: 81}} })
	b.hit(0, "10.0.0.1", "alpha", 80)
	rules := DefaultRules()
	rules.Ignore = []Ignore{{Port: 82}, {Port: 80}}
	b.SetRules(rules)
	if hits := b.IgnoreHits(); !slices.Equal(hits, []uint64{0, 1}) {
		t.Errorf("hits %v", hits)
	}
}

// Of what an incident could not list nobody knows whether it is ignored.
func TestIgnoreCoversOnlyWhatIsListed(t *testing.T) {
	b := newBench(t, nil)
	for i := range 120 {
		b.hit(float64(i)/100, fmt.Sprintf("10.0.0.%d", i), fmt.Sprintf("c%d", i%20), 8080)
	}
	b.advance(10)
	rules := DefaultRules()
	rules.Ignore = []Ignore{{Source: netip.MustParsePrefix("10.0.0.0/24")}}
	b.SetRules(rules)
	if !slices.ContainsFunc(b.Open(), func(a event.Alert) bool { return a.Key == "8080" && len(a.Sources) == 100 }) {
		t.Errorf("%q", b.story())
	}
}
