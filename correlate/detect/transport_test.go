package detect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

func ip6(src, dst string, proto byte, payload []byte) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	a, b := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	copy(h[8:], a[:])
	copy(h[24:], b[:])
	return ethernet(2, 1, 0x86dd, append(h, payload...))
}

// A detection names the protocol that it saw: ICMP over IPv6 is ipv6-icmp.
func TestTransportOfPings(t *testing.T) {
	for _, c := range []struct {
		why, want string
		ping      func(i int) []byte
	}{
		{"echo requests over IPv4", "icmp", func(i int) []byte {
			return ip4("198.51.100.66", fmt.Sprintf("192.0.2.%d", i+1), 1, []byte{8, 0, 0, 0, 0, 1, 0, 1})
		}},
		{"echo requests over IPv6", "ipv6-icmp", func(i int) []byte {
			return ip6("2001:db8:66::1", fmt.Sprintf("2001:db8::%x", i+1), 58, []byte{128, 0, 0, 0, 0, 1, 0, 1})
		}},
	} {
		w := newWire(Config{})
		for i := range 200 {
			w.send(c.ping(i), second/10)
		}
		fired := w.fired(t, "host_discovery")
		if len(fired) == 0 || fired[0].Transport != c.want {
			t.Errorf("%s: %d findings, %+v", c.why, len(fired), fired)
		}
	}
}
