package ipproto

import (
	"regexp"
	"testing"
)

// Each name leads back to its number, and can stand in a file name.
func TestNamesAndNumbers(t *testing.T) {
	plain := regexp.MustCompile(`^[a-z0-9-]+$`)
	for n := range 256 {
		name := Name(uint8(n))
		if name == "" {
			continue
		}
		if back, ok := Number(name); !ok || int(back) != n {
			t.Errorf("%d is %q, which is %d, %v", n, name, back, ok)
		}
		if !plain.MatchString(name) {
			t.Errorf("%d is %q, which is no plain word", n, name)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		why, name string
		number    uint8
		ok        bool
	}{
		{"IANA's keyword of ICMPv6", "ipv6-icmp", ICMPv6, true},
		{"what people write", "ICMPv6", ICMPv6, true},
		{"what tcpdump writes", "icmp6", ICMPv6, true},
		{"the registry has ospfigp", "ospf", OSPF, true},
		{"letters of any case", "Tcp", TCP, true},
		{"no name is no protocol", "", 0, false},
		{"a number is no name", "6", 0, false},
	} {
		if n, ok := Number(c.name); n != c.number || ok != c.ok {
			t.Errorf("%s: %d, %v", c.why, n, ok)
		}
	}
}

func TestOver(t *testing.T) {
	for _, c := range []struct {
		why, name string
		v4        bool
		want      string
	}{
		{"ICMP over IPv6", "icmp", false, "ipv6-icmp"},
		{"ICMP over IPv4", "icmp", true, "icmp"},
		{"TCP is the same over both", "tcp", false, "tcp"},
		{"nothing stays nothing", "", false, ""},
	} {
		if got := Over(c.name, c.v4); got != c.want {
			t.Errorf("%s: %q", c.why, got)
		}
	}
	if Name(0) != "" || Name(255) != "" {
		t.Error("0 and 255 have a name")
	}
}
