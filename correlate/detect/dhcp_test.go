package detect

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func offerFrame(server, your string, id uint32) []byte {
	b := make([]byte, bootpHeader+4)
	b[0] = 2
	binary.BigEndian.PutUint32(b[4:], id)
	y, s := netip.MustParseAddr(your).As4(), netip.MustParseAddr(server).As4()
	copy(b[16:], y[:])
	binary.BigEndian.PutUint32(b[bootpHeader:], dhcpMagic)
	b = append(b, 53, 1, 2, 0, 54, 4)
	b = append(append(b, s[:]...), 1, 4, 255, 255, 255, 0, 255)
	return udp(server, portDHCPServer, "255.255.255.255", portDHCPClient, b)
}

func TestRogueDHCP(t *testing.T) {
	type offer struct {
		server, your string
		id           uint32
	}
	known := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	for _, c := range []struct {
		why    string
		given  []netip.Addr
		offers []offer
		want   string
	}{
		{"the first server is right", nil, []offer{{"10.0.0.1", "10.0.0.50", 1}, {"10.0.0.1", "10.0.0.51", 2}}, ""},
		{"each network has its own", nil, []offer{{"10.0.0.1", "10.0.0.50", 1}, {"10.0.1.1", "10.0.1.50", 2}}, ""},
		{"a second server of one network", nil, []offer{{"10.0.0.1", "10.0.0.50", 1}, {"10.0.0.66", "10.0.0.60", 2}}, "10.0.0.66"},
		{"a second answer, for another network", nil, []offer{{"10.0.0.1", "10.0.0.50", 1}, {"192.168.0.1", "192.168.0.9", 1}}, "192.168.0.1"},
		{"not one of those that were given", known, []offer{{"10.0.0.66", "10.0.0.60", 1}}, "10.0.0.66"},
		{"one of those that were given", known, []offer{{"10.0.0.1", "10.0.0.60", 1}}, ""},
	} {
		w := newWire(Config{DHCPServers: c.given})
		for _, o := range c.offers {
			w.send(offerFrame(o.server, o.your, o.id), second)
		}
		got := ""
		if fired := w.fired(t, "rogue_dhcp"); len(fired) > 0 {
			got = fired[0].Threat.Offender
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}
