package flow

import (
	"net/netip"
	"testing"

	"vft/capture/packet"
)

func pair(src, dst string) Key {
	return Key{Src: packet.AddrFrom(netip.MustParseAddr(src)), Dst: packet.AddrFrom(netip.MustParseAddr(dst)), SrcPort: 1000, DstPort: 80, Ports: true}
}

func TestNetworkBytes(t *testing.T) {
	v4, v6 := pair("10.0.0.1", "10.0.0.2"), pair("2001:db8::1", "2001:db8::2")
	for _, c := range []struct {
		why   string
		key   Key
		proto uint8
		link  uint8
		side  Side
		want  uint64
	}{
		{"NetFlow counts from the IP header on", v4, 6, 0, Side{Packets: 2, Bytes: 88}, 88},
		{"a SYN in an Ethernet frame", v4, 6, 14, Side{Packets: 1, Bytes: 60}, 46},
		{"an empty UDP packet is padded to 60 bytes", v4, 17, 14, Side{Packets: 1, Bytes: 60}, 28},
		{"the same over IPv6", v6, 17, 14, Side{Packets: 1, Bytes: 62}, 48},
		{"frames that are shorter than their link headers", v4, 6, 14, Side{Packets: 5, Bytes: 60}, 60},
		{"no packet", v4, 17, 14, Side{}, 0},
	} {
		r := Record{Key: c.key, LinkHeader: c.link}
		r.Proto = c.proto
		if got := r.NetworkBytes(&c.side); got != c.want {
			t.Errorf("%s: %d, not %d", c.why, got, c.want)
		}
	}
}

func TestVersionNames(t *testing.T) {
	for v, want := range map[Version]string{Captured: "", NetFlow1: "netflow1", SFlow5: "sflow5", SFlow5 + 1: "unknown"} {
		if v.String() != want {
			t.Errorf("%d is %q, not %q", v, v, want)
		}
	}
}
