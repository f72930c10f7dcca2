package fleet

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// addressesFrom returns n addresses of 10.0.0.0/8 with networks of 30 bits.
func addressesFrom(at, n int) (all []netip.Prefix) {
	for i := at; i < at+n; i++ {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 14), byte(i >> 6), byte(i<<2) + 1}), 30))
	}
	return all
}

func (b *bench) isInside(addr string) bool { return b.inside.has(netip.MustParseAddr(addr), nil) }

func TestAddressesBelongToTheirClient(t *testing.T) {
	b := newBench(t, nil)
	shared := netip.MustParsePrefix("10.1.2.3/24")
	b.Member("web", []netip.Prefix{shared, netip.MustParsePrefix("203.0.113.5/24")})
	b.Member("db", []netip.Prefix{netip.MustParsePrefix("10.1.2.4/24")})
	b.Member("web", []netip.Prefix{netip.MustParsePrefix("192.168.7.1/24")})
	for _, c := range []struct {
		addr string
		want bool
		why  string
	}{
		{"192.168.7.9", true, "what a client said last holds"},
		{"203.0.113.5", false, "what it said before does not"},
		{"10.1.2.3", true, "another client stands on that network"},
	} {
		if got := b.isInside(c.addr); got != c.want {
			t.Errorf("%s: %s is inside: %v", c.why, c.addr, got)
		}
	}
	b.Leave("db")
	b.Leave("nobody")
	if b.isInside("10.1.2.3") || !b.isInside("192.168.7.9") {
		t.Error("who leaves takes what it alone said, and no more")
	}
	b.Leave("web")
	if n := b.count("inside"); n != 0 || len(b.inside.lengths) != 0 || len(b.inside.prefixes) != 0 {
		t.Errorf("%d entries, %v, are left of nobody", n, b.inside.lengths)
	}
}

// A client that says ever other addresses fills nothing, however often it comes.
func TestManyHellosOfOneClientFillNothing(t *testing.T) {
	b := newBench(t, nil)
	b.Member("quiet", []netip.Prefix{netip.MustParsePrefix("192.168.7.1/24")})
	for i := range 2100 {
		b.Member("noisy", addressesFrom(64*i, 64))
	}
	if n := b.count("inside"); n > insideOfClient+2 {
		t.Errorf("%d entries of two clients", n)
	}
	if n := b.count("inside_refused"); n != 2100*64 {
		t.Errorf("%d entries refused: an address and a network each, of which half fit", n)
	}
	if !b.isInside("192.168.7.9") {
		t.Error("the quiet client is forgotten")
	}
}

// When many clients fill the table, one that says little still counts.
func TestFullTableLeavesRoomForAQuietClient(t *testing.T) {
	b := newBench(t, nil)
	for i := range maxInside/insideOfClient + 100 {
		b.Member(fmt.Sprintf("noisy-%04d", i), addressesFrom(32*i, 32))
	}
	b.Member("quiet", []netip.Prefix{netip.MustParsePrefix("192.168.7.1/24")})
	if n := b.count("inside"); n > maxInside {
		t.Errorf("%d entries, more than %d", n, maxInside)
	}
	if !b.isInside("192.168.7.1") || !b.isInside("192.168.7.200") {
		t.Error("the quiet client is not inside")
	}
	if b.count("inside_refused") == 0 {
		t.Error("nothing was counted")
	}
}

// Whatever clients say in whatever order, what is kept is what they said last.
func TestInsideIsWhatClientsSaidLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFleet(FleetConfig{Rules: DefaultRules()}, nil)
		said := map[string][]netip.Prefix{}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			client := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "client")
			if rapid.IntRange(0, 3).Draw(t, "leaves") == 0 {
				f.Leave(client)
				delete(said, client)
				continue
			}
			said[client] = addressesFrom(rapid.IntRange(0, 5).Draw(t, "from"), rapid.IntRange(0, 4).Draw(t, "n"))
			f.Member(client, said[client])
		}
		entries, want := 0, map[netip.Prefix]int{}
		for _, own := range said {
			for _, p := range own {
				entries += 2
				want[netip.PrefixFrom(p.Addr(), 32)]++
				want[p.Masked()]++
			}
		}
		if f.inside.entries != entries || len(f.inside.prefixes) != len(want) {
			t.Fatalf("%d entries, %d prefixes, want %d and %d", f.inside.entries, len(f.inside.prefixes), entries, len(want))
		}
		for p, n := range want {
			if f.inside.prefixes[p] != n {
				t.Fatalf("%v is said by %d, want %d", p, f.inside.prefixes[p], n)
			}
		}
	})
}
