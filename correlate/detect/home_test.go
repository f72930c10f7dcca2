package detect

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"vft/capture/packet"
)

func TestHome(t *testing.T) {
	for _, c := range []struct {
		why, address string
		inside       []netip.Prefix
		want         bool
	}{
		{"private by default", "172.31.255.255", nil, true},
		{"just beyond", "172.32.0.0", nil, false},
		{"unique local by default", "fd00::1", nil, true},
		{"a public one", "2001:db8::1", nil, false},
		{"all of IPv4 is not IPv6", "2001:db8::1", networks("0.0.0.0/0"), false},
		{"all of IPv4", "198.51.100.1", networks("0.0.0.0/0"), true},
		{"all of IPv6 is not IPv4", "198.51.100.1", networks("::/0"), false},
		{"one host", "2001:db8::1", networks("2001:db8::1/128"), true},
		{"its neighbour", "2001:db8::2", networks("2001:db8::1/128"), false},
		{"the host bits do not matter", "192.0.2.200", networks("192.0.2.77/24"), true},
	} {
		if got := newHome(c.inside).has(address(c.address)); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

// It says what netip says.
func TestHomeIsNetip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := packet.Addr{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
		if rapid.Bool().Draw(t, "v4") {
			from = packet.Addr4(uint32(from.Lo))
		}
		bits := rapid.IntRange(0, from.Netip().BitLen()).Draw(t, "bits")
		p := netip.PrefixFrom(from.Netip(), bits)
		a := from
		a.Lo ^= 1 << rapid.IntRange(0, 31).Draw(t, "flip")
		if h := newHome([]netip.Prefix{p}); h.has(a) != p.Contains(a.Netip()) || h.has(from) != p.Contains(from.Netip()) {
			t.Fatalf("%v and %v: %v", p, a, h.has(a))
		}
	})
}
