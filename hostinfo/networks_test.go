package hostinfo

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestInside(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, s := range texts {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	for _, c := range []struct {
		why              string
		given, own, want []netip.Prefix
	}{
		{"a private address is inside already", nil, prefixes("10.1.2.0/24"), prefixes(privateNetworks...)},
		{"a public one is not", nil, prefixes("203.0.113.0/24"), append(prefixes(privateNetworks...), netip.MustParsePrefix("203.0.113.0/24"))},
		{"what is given takes the place of the private networks", prefixes("198.51.100.0/24"), prefixes("10.1.2.0/24"), prefixes("198.51.100.0/24", "10.1.2.0/24")},
		{"an address within what is given", prefixes("203.0.113.0/24"), prefixes("203.0.113.7/32"), prefixes("203.0.113.0/24")},
	} {
		if got := Inside(c.given, c.own); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

func TestOwnNetwork(t *testing.T) {
	for _, c := range [][2]string{
		{"192.0.2.7/24", "192.0.2.0/24"},
		{"192.0.2.7/8", "192.0.2.7/32"}, // larger than a site
		{"192.0.2.7/32", "192.0.2.7/32"},
		{"2001:db8::5/64", "2001:db8::/64"},
		{"2001:db8::5/32", "2001:db8::5/128"},
	} {
		if got := ownNetwork(netip.MustParsePrefix(c[0])); got.String() != c[1] {
			t.Errorf("%s is %v, want %s", c[0], got, c[1])
		}
	}
	for _, p := range Networks() {
		if !p.IsValid() || p != p.Masked() {
			t.Errorf("own network %v", p)
		}
	}
}
