package hostinfo

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestReadGateways(t *testing.T) {
	if !hostIsLittleEndian() {
		t.Log("the text below is as a little-endian kernel writes it")
		return
	}
	const heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	for _, c := range []struct {
		why, text string
		want      []netip.Addr
	}{
		{"a default route", heading + "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", []netip.Addr{netip.MustParseAddr("192.168.0.1")}},
		{"two of them over one router", heading + "eth0\t00000000\t0100A8C0\t0003\n" + "eth1\t00000000\t0100A8C0\t0003\n", []netip.Addr{netip.MustParseAddr("192.168.0.1")}},
		{"a network has no gateway", heading + "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", nil},
		{"a point-to-point default has none", heading + "tun0\t00000000\t00000000\t0001\n", nil},
		{"not such a file", "eth0 00000000 nonsense\n\n\x00", nil},
	} {
		if got := readGateways(strings.NewReader(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
}
