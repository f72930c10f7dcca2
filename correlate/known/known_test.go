package known

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"vft/event"
)

var noon = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func network(s string) netip.Prefix {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.MustParsePrefix(s)
}

func scan() *event.Finding {
	return &event.Finding{Type: "vertical_scan", Time: noon, Offender: addr("10.0.0.5"), Victims: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, Ports: []uint16{22}, Client: "web", Tool: "nmap"}
}

func TestIgnoreFinding(t *testing.T) {
	many := scan()
	many.Offender, many.Sources, many.Many = netip.Addr{}, []netip.Addr{addr("10.0.0.5"), addr("10.0.0.6")}, true
	noPorts, twoPorts := scan(), scan()
	noPorts.Ports, twoPorts.Ports = nil, []uint16{22, 80}
	for _, c := range []struct {
		why   string
		entry Ignore
		f     *event.Finding
		want  bool
	}{
		{"its address", Ignore{Source: network("10.0.0.5")}, scan(), true},
		{"its network", Ignore{Source: network("10.0.0.0/8")}, scan(), true},
		{"another address", Ignore{Source: network("10.0.0.6")}, scan(), false},
		{"the victims are no source", Ignore{Source: network("192.0.2.0/24")}, scan(), false},
		{"all of many sources", Ignore{Source: network("10.0.0.0/24")}, many, true},
		{"one of many sources", Ignore{Source: network("10.0.0.5")}, many, false},
		{"the network of the offender", Ignore{Network: network("10.0.0.0/24")}, scan(), true},
		{"the network of all victims", Ignore{Network: network("192.0.2.0/24")}, scan(), true},
		{"the network of one victim", Ignore{Network: network("192.0.2.1")}, scan(), false},
		{"its only port", Ignore{Port: 22}, scan(), true},
		{"one of its ports", Ignore{Port: 22}, twoPorts, false},
		{"a finding without ports", Ignore{Port: 22}, noPorts, false},
		{"its client", Ignore{Client: "web"}, scan(), true},
		{"another client", Ignore{Client: "db"}, scan(), false},
		{"its type", Ignore{Type: "vertical_scan"}, scan(), true},
		{"another type", Ignore{Type: "beacon"}, scan(), false},
		{"its tool", Ignore{Tool: "nmap"}, scan(), true},
		{"another tool", Ignore{Tool: "masscan"}, scan(), false},
		{"all that is given must match", Ignore{Source: network("10.0.0.5"), Type: "beacon"}, scan(), false},
		{"the entry still holds", Ignore{Type: "vertical_scan", Until: noon.Add(time.Second)}, scan(), true},
		{"the entry ended", Ignore{Type: "vertical_scan", Until: noon}, scan(), false},
	} {
		l := NewIgnores([]Ignore{{Source: network("203.0.113.1")}, c.entry})
		if got := l.Matches(c.f); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
		if _, hits := l.Entries(); hits[0] != 0 || (hits[1] == 1) != c.want {
			t.Errorf("%s: hits %v", c.why, hits)
		}
	}
}

func TestIgnoreHit(t *testing.T) {
	hit := func() *event.Event {
		return &event.Event{Time: noon, Src: netip.AddrPortFrom(addr("::ffff:10.0.0.5"), 1), Dst: netip.AddrPortFrom(addr("192.0.2.1"), 8080), Client: "web", Trap: &event.Trap{Tool: "nmap"}}
	}
	for _, c := range []struct {
		why   string
		entry Ignore
		want  bool
	}{
		{"a mapped address is the same host", Ignore{Source: network("10.0.0.5")}, true},
		{"its port", Ignore{Port: 8080}, true},
		{"another port", Ignore{Port: 80}, false},
		{"the network of the trap", Ignore{Network: network("192.0.2.0/24")}, true},
		{"hits of traps as a type", Ignore{Type: "trap_hit"}, true},
		{"a type of finding", Ignore{Type: "vertical_scan"}, false},
		{"its tool", Ignore{Tool: "nmap"}, true},
		{"its client", Ignore{Client: "web"}, true},
		{"another client", Ignore{Client: "db"}, false},
	} {
		if got := NewIgnores([]Ignore{c.entry}).MatchesHit(hit()); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

// An entry that stays keeps its count, wherever it stands in the new list.
func TestReplaceKeepsHits(t *testing.T) {
	stays := Ignore{Source: network("10.0.0.5")}
	l := NewIgnores([]Ignore{stays, {Port: 1}})
	l.Matches(scan())
	l.Replace([]Ignore{{Port: 2}, stays})
	entries, hits := l.Entries()
	if len(entries) != 2 || hits[0] != 0 || hits[1] != 1 {
		t.Errorf("%v %v", entries, hits)
	}
	var total uint64
	l.Counts(func(_ string, n uint64) { total += n })
	if total != 1 {
		t.Errorf("%d ignored in all", total)
	}
}

func TestNothingKnown(t *testing.T) {
	var ignores *Ignores
	var lists *Lists
	if ignores.Matches(scan()) || ignores.MatchesHit(&event.Event{}) || lists.Explains(scan()) || lists.Has(Scanner, addr("10.0.0.5")) || lists.Networks(Gateway) != nil {
		t.Error("who knows nothing ignores nothing")
	}
	lists.Hit(Gateway)
	lists.Counts(func(string, uint64) { t.Error("nothing is counted") })
}

func TestExplains(t *testing.T) {
	l := &Lists{}
	for r, networks := range map[Role][]string{
		Scanner: {"10.0.0.0/28", "2001:db8::5"}, Monitor: {"10.0.1.1"}, DHCPServer: {"10.0.2.1"}, Gateway: {"10.0.3.1"}, Resolver: {"10.0.4.1"}, MailServer: {"10.0.5.1"}, VirtualAddress: {"10.0.6.1"},
	} {
		for _, n := range networks {
			if !l.Add(r, network(n)) {
				t.Fatalf("%s is refused", n)
			}
		}
	}
	for _, c := range []struct {
		why      string
		kind     string
		offender string
		victim   string
		want     bool
	}{
		{"a scanner scans", "vertical_scan", "10.0.0.5", "10.9.9.9", true},
		{"a scanner of IPv6", "horizontal_scan", "2001:db8::5", "10.9.9.9", true},
		{"a scanner that floods was taken over", "syn_flood", "10.0.0.5", "10.9.9.9", false},
		{"another host scans", "vertical_scan", "10.0.0.16", "10.9.9.9", false},
		{"who scans a scanner", "vertical_scan", "10.9.9.9", "10.0.0.5", false},
		{"a monitor asks many hosts", "horizontal_scan", "10.0.1.1", "10.9.9.9", true},
		{"a monitor that guesses passwords", "brute_force", "10.0.1.1", "10.9.9.9", false},
		{"a DHCP server offers", "rogue_dhcp", "10.0.2.1", "10.9.9.9", true},
		{"a gateway redirects", "icmp_redirect", "10.0.3.1", "10.9.9.9", true},
		{"a resolver asks for the names of others", "dns_tunnel", "10.0.4.1", "10.9.9.9", true},
		{"a mail server delivers", "spam", "10.0.5.1", "10.9.9.9", true},
		{"a virtual address moves", "arp_spoof", "10.9.9.9", "10.0.6.1", true},
		{"an address that is not virtual moves", "arp_spoof", "10.9.9.9", "10.0.6.2", false},
	} {
		f := &event.Finding{Type: c.kind, Offender: addr(c.offender), Victims: []netip.Addr{addr(c.victim)}}
		if got := l.Explains(f); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
	counts := map[string]uint64{}
	l.Counts(func(name string, n uint64) { counts[name] = n })
	if counts["known_scanners"] != 2 || counts["known_virtual_addresses"] != 1 {
		t.Errorf("%v", counts)
	}
}

func TestListsAreBounded(t *testing.T) {
	l := &Lists{}
	a := addr("10.0.0.0")
	for range maxListed {
		if !l.Add(Scanner, netip.PrefixFrom(a, 32)) {
			t.Fatal("refused too early")
		}
		a = a.Next()
	}
	if l.Add(Scanner, netip.PrefixFrom(a, 32)) || !l.Add(Monitor, netip.PrefixFrom(a, 32)) {
		t.Error("the limit is that of a role")
	}
}

// Matching and replacing from several goroutines is safe; the race detector watches.
func TestIgnoresConcurrently(t *testing.T) {
	l := NewIgnores([]Ignore{{Source: network("10.0.0.5")}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				l.Matches(scan())
				l.Replace([]Ignore{{Source: network("10.0.0.5")}})
			}
		})
	}
	wg.Wait()
	if _, hits := l.Entries(); hits[0] == 0 {
		t.Error("no hit was kept")
	}
}

func BenchmarkMatches(b *testing.B) {
	entries := make([]Ignore, 1000)
	a := addr("10.0.0.0")
	for i := range entries {
		entries[i] = Ignore{Source: netip.PrefixFrom(a, 32)}
		a = a.Next()
	}
	l, f := NewIgnores(entries), scan()
	f.Offender = addr("192.0.2.77")
	b.ReportAllocs()
	for b.Loop() {
		l.Matches(f)
	}
}
