package detect

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"vft/correlate/known"
)

// from gives a frame another source MAC.
func from(mac [6]byte, frame []byte) []byte {
	copy(frame[6:], mac[:])
	return frame
}

func mac(last byte) [6]byte { return [6]byte{2, 0, 0, 0, 0, last} }

// icmp4 is an ICMP message with four bytes behind its checksum.
func icmp4(src, dst string, kind, code byte, word uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind, code, 0, 0}, word)
	return ip4(src, dst, 1, append(b, payload...))
}

// icmp6 is an ICMPv6 message.
func icmp6(src, dst string, message []byte) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, 58, 255
	binary.BigEndian.PutUint16(h[4:], uint16(len(message)))
	a, b := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	copy(h[8:], a[:])
	copy(h[24:], b[:])
	return ethernet(2, 1, 0x86dd, append(h, message...))
}

// advertises is a router advertisement with one prefix.
func advertises(router, prefix string, flags byte) []byte {
	b := []byte{134, 0, 0, 0, 64, flags, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}
	if prefix != "" {
		option := make([]byte, 32)
		option[0], option[1], option[2] = 3, 4, 64
		p := netip.MustParseAddr(prefix).As16()
		copy(option[16:], p[:])
		b = append(b, option...)
	}
	return icmp6(router, "ff02::1", b)
}

func TestRogueRA(t *testing.T) {
	first := func(w *wire) { w.send(from(mac(1), advertises("fe80::1", "2001:db8:1::", 0)), second) }
	for _, c := range []struct {
		why      string
		known    string
		play     func(w *wire)
		severity int // 0: nothing
	}{
		{"the first is learned", "", first, 0},
		{"it goes on", "", func(w *wire) { first(w); first(w) }, 0},
		{"an unknown router with a prefix of its own", "", func(w *wire) { first(w); w.send(from(mac(6), advertises("fe80::66", "2001:db8:66::", 0)), second) }, severityRogueRA},
		{"one that asks to be preferred", "", func(w *wire) { first(w); w.send(from(mac(6), advertises("fe80::66", "2001:db8:1::", 8)), second) }, severityRogueRA},
		{"the second router of the link", "", func(w *wire) { first(w); w.send(from(mac(2), advertises("fe80::2", "2001:db8:1::", 0)), second) }, severitySecondRA},
		{"the known router's address from another MAC", "", func(w *wire) { first(w); w.send(from(mac(6), advertises("fe80::1", "", 0)), second) }, severityRogueRA},
		{"a virtual router moves", "", func(w *wire) {
			w.send(from([6]byte{0, 0, 0x5e, 0, 2, 1}, advertises("fe80::1", "2001:db8:1::", 0)), second)
			w.send(from(mac(3), advertises("fe80::1", "2001:db8:1::", 0)), second)
		}, 0},
		{"the first router after hours without one", "", func(w *wire) {
			w.send(udp("10.0.0.1", 1, "10.0.0.2", 2, nil), 0)
			w.now += 2 * routersHeardAfter
			first(w)
		}, severityRogueRA},
		{"the router is known, and this is none", "fe80::1", func(w *wire) { w.send(from(mac(6), advertises("fe80::66", "2001:db8:66::", 0)), second) }, severityRogueRA},
		{"both are known", "fe80::/64", func(w *wire) { first(w); w.send(from(mac(6), advertises("fe80::66", "2001:db8:66::", 8)), second) }, 0},
	} {
		w := newWire(Config{Known: gatewaysKnown(c.known)})
		c.play(w)
		got := w.fired(t, "rogue_ra")
		if (len(got) > 0) != (c.severity > 0) || len(got) > 0 && got[0].Threat.Severity != c.severity {
			t.Errorf("%s: %d fired, severity %d wanted: %+v", c.why, len(got), c.severity, got)
		}
	}
}

func gatewaysKnown(s string) *known.Lists {
	l := &known.Lists{}
	if s == "" {
		return l
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		l.Add(known.Gateway, p)
	} else {
		a := netip.MustParseAddr(s)
		l.Add(known.Gateway, netip.PrefixFrom(a, a.BitLen()))
	}
	return l
}

func TestICMPRedirect(t *testing.T) {
	redirects := func(src string, m [6]byte) func(w *wire) {
		return func(w *wire) {
			w.send(from(m, icmp4(src, "10.0.0.9", redirect, 1, 0x0a000042, make([]byte, 28))), second)
		}
	}
	routes := func(w *wire) { // the router with MAC 1 brings packets of hosts outside
		for i := range 8 {
			w.send(from(mac(1), udp(fmt.Sprintf("198.51.100.%d", 10*i), 53, "10.0.0.9", 4000, nil)), second)
		}
	}
	for _, c := range []struct {
		why, known, offender string
		play                 []func(w *wire)
		want                 int
	}{
		{"a router sends it", "", "", []func(*wire){routes, redirects("10.0.0.1", mac(1))}, 0},
		{"a host sends it", "", "10.0.0.66", []func(*wire){routes, redirects("10.0.0.66", mac(6))}, 1},
		{"a host that writes the router's address", "10.0.0.1", mac6Text, []func(*wire){routes, redirects("10.0.0.1", mac(6))}, 1},
		{"the host of that MAC is known", "", "10.0.0.66", []func(*wire){routes, func(w *wire) {
			w.send(arp(request, 6, "10.0.0.66", 0, "10.0.0.1", all), second)
		}, redirects("10.0.0.1", mac(6))}, 1},
		{"a known gateway", "10.0.0.1", "", []func(*wire){redirects("10.0.0.1", mac(1))}, 0},
		{"who is none of the known gateways", "10.0.0.1", "10.0.0.66", []func(*wire){redirects("10.0.0.66", mac(6))}, 1},
		{"nothing is known: the first is learned", "", "", []func(*wire){redirects("10.0.0.1", mac(1)), redirects("10.0.0.1", mac(1))}, 0},
		{"nothing is known: the second is not", "", "10.0.0.66", []func(*wire){redirects("10.0.0.1", mac(1)), redirects("10.0.0.66", mac(6))}, 1},
	} {
		w := newWire(Config{Known: gatewaysKnown(c.known)})
		for _, play := range c.play {
			play(w)
		}
		got := w.fired(t, "icmp_redirect")
		if len(got) != c.want || c.want > 0 && got[0].Threat.Offender != c.offender {
			t.Errorf("%s: %d fired, want %d by %s: %+v", c.why, len(got), c.want, c.offender, got)
		}
	}
}

const mac6Text = "02:00:00:00:00:06"

func TestMACFlood(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	lots := func(int) (m [6]byte) {
		for i := range m {
			m[i] = byte(random.Uint32())
		}
		return m
	}
	makers := func(i int) [6]byte { return [6]byte{0, 0x1b, byte(i % 20), byte(i >> 8), byte(i), 1} }
	phones := func(i int) [6]byte {
		return [6]byte{2, byte(i * 7), byte(i * 13), byte(i % 350), byte(i % 350 >> 8), 9}
	}
	for _, c := range []struct {
		why  string
		mac  func(i int) [6]byte
		n    int
		wait int64
		want int
	}{
		{"MACs drawn by lot", lots, 1000, second / 200, 1},
		{"the hosts of a large network are of few makers", makers, 3000, second / 400, 0},
		{"phones with random MACs come again", func(i int) [6]byte { return phones(i % 350) }, 3500, second / 400, 0},
		{"hosts that come over the day", lots, 1000, 5 * second, 0},
	} {
		w := newWire(Config{})
		for i := range c.n {
			w.send(from(c.mac(i), udp(fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255), uint16(i), "10.9.9.9", 80, nil)), c.wait)
		}
		if got := w.fired(t, "mac_flood"); len(got) != c.want {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

// dhcpClient is a message of a client.
func dhcpClient(kind byte, client [6]byte, relay uint32) []byte {
	b := make([]byte, bootpHeader)
	b[0], b[1], b[2] = bootpRequest, 1, 6
	copy(b[dhcpHardware:], client[:])
	binary.BigEndian.PutUint32(b[dhcpRelay:], relay)
	b = binary.BigEndian.AppendUint32(b, dhcpMagic)
	b = append(b, dhcpMessageType, 1, kind, 255)
	return udp("0.0.0.0", portDHCPClient, "255.255.255.255", portDHCPServer, b)
}

func TestDHCPStarvation(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	lots := func() (m [6]byte) {
		for i := range m {
			m[i] = byte(random.Uint32())
		}
		return m
	}
	for _, c := range []struct {
		why           string
		n             int
		speaker       [6]byte // zero: each client for itself
		relay         uint32
		finish, makes bool // they take what they are offered; a few makers
		offender      string
		want          int
	}{
		{"made-up clients that never go on", 150, [6]byte{}, 0, false, false, "", 1},
		{"one machine speaks for all", 30, mac(6), 0, false, false, mac6Text, 1},
		{"made-up clients that take all addresses", 600, [6]byte{}, 0, true, false, "", 1},
		{"a lecture begins", 300, [6]byte{}, 0, true, false, "", 0},
		{"power comes back in a house of one maker", 700, [6]byte{}, 0, true, true, "", 0},
		{"a relay speaks for its network", 60, mac(6), 0x0a000001, true, false, "", 0},
		{"some hosts start", 50, [6]byte{}, 0, false, false, "", 0},
	} {
		w := newWire(Config{})
		for i := range c.n {
			client := lots()
			if c.makes {
				client = [6]byte{0, 0x1b, byte(i % 5), 0, byte(i >> 8), byte(i)}
			}
			sender := client
			if c.speaker != ([6]byte{}) {
				sender = c.speaker
			}
			w.send(from(sender, dhcpClient(dhcpDiscover, client, c.relay)), second/20)
			if c.finish {
				w.send(from(sender, dhcpClient(dhcpRequest, client, c.relay)), second/1000)
			}
		}
		got := w.fired(t, "dhcp_starvation")
		if len(got) != c.want || c.want > 0 && got[0].Threat.Offender != c.offender {
			t.Errorf("%s: %d fired, want %d: %+v", c.why, len(got), c.want, got)
		}
	}
}

// answers is an answer with one record for name, whose data are those of an address.
func answers(name string, kind uint16, address string, prefix ...byte) []byte {
	b := make([]byte, dnsHeader)
	b[2], b[7] = 0x84, 1
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 30)
	data := append(prefix, netip.MustParseAddr(address).AsSlice()...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// encoded is a NetBIOS name in the first-level encoding.
func encoded(name string) string {
	var out strings.Builder
	for _, c := range []byte(fmt.Sprintf("%-15s", strings.ToUpper(name)) + "\x00") {
		out.WriteByte('A' + c>>4)
		out.WriteByte('A' + c&15)
	}
	return out.String()
}

func TestNamePoisoning(t *testing.T) {
	llmnr := func(w *wire, name, address string) {
		w.send(udp("10.0.0.66", portLLMNR, "10.0.0.9", 50000, answers(name, typeA, address)), second)
	}
	nbns := func(w *wire, name, address string, flags byte) {
		w.send(udp("10.0.0.66", portNBNS, "10.0.0.9", portNBNS, answers(encoded(name), typeNB, address, flags, 0)), second)
	}
	mdns := func(w *wire, name string) {
		w.send(udp("10.0.0.66", portMDNS, "224.0.0.251", portMDNS, answers(name, typeA, "10.0.0.66")), second)
	}
	for _, c := range []struct {
		why  string
		play func(w *wire)
		want int
	}{
		{"two names by LLMNR", func(w *wire) { llmnr(w, "fileserv", "10.0.0.66"); llmnr(w, "prntr", "10.0.0.66") }, 1},
		{"its own name, again and again", func(w *wire) {
			for range 20 {
				llmnr(w, "ws-17", "10.0.0.66")
			}
		}, 0},
		{"its own name in other letters, and in full", func(w *wire) { llmnr(w, "ws-17", "10.0.0.66"); llmnr(w, "WS-17.corp", "10.0.0.66") }, 0},
		{"the name of the proxy that all look for", func(w *wire) { llmnr(w, "wpad", "10.0.0.66") }, 1},
		{"three names by NetBIOS", func(w *wire) {
			for _, n := range []string{"FILE", "PRINT", "SQL"} {
				nbns(w, n, "10.0.0.66", 0)
			}
		}, 1},
		{"a name and its groups by NetBIOS", func(w *wire) {
			nbns(w, "WS-17", "10.0.0.66", 0)
			nbns(w, "CORP", "10.0.0.66", 0x80)
			nbns(w, "LAB", "10.0.0.66", 0x80)
		}, 0},
		{"a WINS server tells addresses of others", func(w *wire) {
			for i := range 30 {
				nbns(w, fmt.Sprint("HOST", i), fmt.Sprintf("10.0.0.%d", 100+i), 0)
			}
		}, 0},
		{"some aliases by multicast DNS", func(w *wire) {
			for i := range 6 {
				mdns(w, fmt.Sprintf("service%d.local", i))
			}
		}, 0},
		{"any name by multicast DNS", func(w *wire) {
			for i := range 15 {
				mdns(w, fmt.Sprintf("anything%d.local", i))
			}
		}, 1},
	} {
		w := newWire(Config{})
		c.play(w)
		got := w.fired(t, "name_poisoning")
		if len(got) != c.want || c.want > 0 && got[0].Threat.Offender != "10.0.0.66" {
			t.Errorf("%s: %d fired, want %d: %+v", c.why, len(got), c.want, got)
		}
	}
}

// exchange of DNS: a question with a number, and its answers.
func dnsAsk(id byte) []byte {
	b := make([]byte, dnsHeader)
	b[1], b[2], b[5] = id, 1, 1
	return append(b, "\x03www\x07example\x00\x00\x01\x00\x01"...)
}

func dnsAnswer(id, code byte, addresses ...string) []byte {
	b := dnsAsk(id)
	b[2], b[3], b[7] = 0x81, code, byte(len(addresses))
	for _, a := range addresses {
		b = append(b, 0xc0, dnsHeader, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		b = append(b, netip.MustParseAddr(a).AsSlice()...)
	}
	return b
}

func TestDNSSpoof(t *testing.T) {
	ask := func(w *wire, id byte) { w.send(udp("10.0.0.9", 5000, "10.0.0.1", portDNS, dnsAsk(id)), second) }
	tell := func(w *wire, m [6]byte, b []byte) {
		w.send(from(m, udp("10.0.0.1", portDNS, "10.0.0.9", 5000, b)), second/100)
	}
	for _, c := range []struct {
		why, offender string
		play          func(w *wire)
		want          int
	}{
		{"two answers that differ; the first leads to a host inside", "10.0.0.66", func(w *wire) {
			ask(w, 1)
			tell(w, mac(1), dnsAnswer(1, 0, "10.0.0.66"))
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.1"))
		}, 1},
		{"the first comes from a MAC whose owner is known", "10.0.0.77", func(w *wire) {
			w.send(arp(request, 7, "10.0.0.77", 0, "10.0.0.1", all), second)
			ask(w, 1)
			tell(w, mac(7), dnsAnswer(1, 0, "203.0.113.5"))
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.1"))
		}, 1},
		{"no such name, and an address", "", func(w *wire) {
			ask(w, 1)
			tell(w, mac(1), dnsAnswer(1, 0, "203.0.113.5"))
			tell(w, mac(1), dnsAnswer(1, codeNonExistent))
		}, 1},
		{"the same twice, in another order", "", func(w *wire) {
			ask(w, 1)
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.1", "192.0.2.2"))
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.2", "192.0.2.1"))
		}, 0},
		{"a question that was sent twice", "", func(w *wire) {
			ask(w, 1)
			ask(w, 1)
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.1"))
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.2"))
		}, 0},
		{"two questions with other numbers", "", func(w *wire) {
			ask(w, 1)
			ask(w, 2)
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.1"))
			tell(w, mac(1), dnsAnswer(2, 0, "192.0.2.2"))
		}, 0},
		{"a server that is overloaded, then answers", "", func(w *wire) {
			ask(w, 1)
			tell(w, mac(1), dnsAnswer(1, 2))
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.2"))
		}, 0},
		{"answers that nobody asked for", "", func(w *wire) {
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.1"))
			tell(w, mac(1), dnsAnswer(1, 0, "192.0.2.2"))
		}, 0},
	} {
		w := newWire(Config{})
		c.play(w)
		got := w.fired(t, "dns_spoof")
		if len(got) != c.want || c.want > 0 && got[0].Threat.Offender != c.offender {
			t.Errorf("%s: %d fired, want %d by %q: %+v", c.why, len(got), c.want, c.offender, got)
		}
	}
}
