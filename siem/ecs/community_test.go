package ecs

import (
	"net/netip"
	"testing"
)

// TestCommunityID holds the reference values of the specification
// (github.com/corelight/community-id-spec, baseline, seed 0).
func TestCommunityID(t *testing.T) {
	for _, c := range []struct {
		why         string
		protocol    byte
		source      string
		destination string
		want        string
	}{
		{"TCP", 6, "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"TCP, the way back", 6, "66.35.250.204:80", "128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"TCP over IPv6", 6, "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "[2607:f8b0:400c:c03::1a]:25", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
		{"UDP", 17, "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"SCTP, equal ports", 132, "192.168.170.56:7", "192.168.170.8:7", "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="},
		{"a protocol without ports", 46, "10.1.12.1:0", "10.1.12.2:0", "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw="},
		{"echo request", 1, "192.168.0.89:8", "192.168.0.1:0", "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"echo reply", 1, "192.168.0.1:0", "192.168.0.89:0", "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"time exceeded has no answer", 1, "10.0.0.1:11", "10.0.0.2:0", "1:YHxtAirCG//0OzkcVAukqKQN9xM="},
		{"neighbour solicitation", 58, "[fe80::200:86ff:fe05:80da]:135", "[fe80::260:97ff:fe07:69ea]:0", "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
		{"neighbour advertisement", 58, "[fe80::260:97ff:fe07:69ea]:136", "[fe80::200:86ff:fe05:80da]:0", "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
		{"router solicitation", 58, "[fe80::200:86ff:fe05:80da]:133", "[ff02::2]:0", "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0="},
		{"echo over IPv6", 58, "[3ffe:507:0:1:200:86ff:fe05:80da]:128", "[3ffe:501:0:1001::2]:0", "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="},
		{"a flow of ICMPv6 of which no type is told is taken for an echo", 58, "[3ffe:507:0:1:200:86ff:fe05:80da]:0", "[3ffe:501:0:1001::2]:0", "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="},
		{"an error of ICMPv6 has no answer", 58, "[3ffe:501:1800:2345::2]:3", "[3ffe:507:0:1:200:86ff:fe05:80da]:0", "1:2ObVBgIn28oZvibYZhZMBgh7WdQ="},
		{"its code counts", 58, "[3ffe:501:410:0:2c0:dfff:fe47:33e]:1", "[3ffe:507:0:1:200:86ff:fe05:80da]:4", "1:hLZd0XGWojozrvxqE0dWB1iM6R0="},
	} {
		got := record(nil).communityID(c.protocol, netip.MustParseAddrPort(c.source), netip.MustParseAddrPort(c.destination))
		if string(got) != `"`+c.want+`"` {
			t.Errorf("%s: %s, want %q", c.why, got, c.want)
		}
	}
}
