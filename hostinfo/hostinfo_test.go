package hostinfo

import (
	"net/netip"
	"testing"
)

func TestIs(t *testing.T) {
	for _, c := range []struct {
		why, host string
		want      bool
	}{
		{"by name", "localhost", true},
		{"by its own name", Name(), true},
		{"loopback", "127.0.0.9", true},
		{"loopback of IPv6", "::1", true},
		{"all addresses are also its own", "0.0.0.0", true},
		{"an address of the documentation", "192.0.2.1", false},
		{"the name of another", "elsewhere.example", false},
	} {
		if got := Is(c.host); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	for _, p := range Addresses() {
		if p.Addr().Zone() == "" && !Is(p.Addr().String()) {
			t.Errorf("%s is an address of this host", p)
		}
	}
}

func TestReachable(t *testing.T) {
	if got := Reachable(netip.MustParseAddr("::ffff:192.0.2.1")); got != "192.0.2.1" {
		t.Errorf("what is bound to one address is reached there, not at %s", got)
	}
	if got := Reachable(netip.IPv6Unspecified()); got == "::" || got == "" {
		t.Errorf("nobody reaches %q", got)
	}
}
