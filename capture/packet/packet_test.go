package packet

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// want is the part of a Parsed that a row looks at.
type want struct {
	network   Network
	transport Transport
	src       string
	sport     uint16
	dport     uint16
	flags     Flags
	payload   int
	vlans     uint8
	fault     Fault
}

var tcp4 = want{network: IPv4, transport: TCP, src: "192.0.2.1", sport: 40000, dport: 443, flags: SYN, payload: 3}

// with changes one row of the common result.
func (w want) with(change func(*want)) want {
	change(&w)
	return w
}

func decodeCases() []decodeCase {
	syn4 := ip4(6, tcp(2, "abc"))
	syn6 := ip6(6, tcp(2, "abc"))
	tcp6 := tcp4.with(func(w *want) { w.network, w.src = IPv6, "2001:db8::1" })
	le := binary.LittleEndian
	llcSnap := []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}
	sll := func(proto uint16) []byte {
		return be.AppendUint16([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, proto)
	}
	none := func(f Fault) want { return want{fault: f} }
	return []decodeCase{
		{"Ethernet and IPv4", LinkEthernet, join(eth(etherIPv4), syn4), tcp4},
		{"Ethernet and IPv6", LinkEthernet, join(eth(etherIPv6), syn6), tcp6},
		{"padding behind the total length is no payload", LinkEthernet, join(eth(etherIPv4), syn4, make([]byte, 9)), tcp4},
		{"one VLAN tag", LinkEthernet, join(eth(etherVLAN), tag(5, etherIPv4), syn4), tcp4.with(func(w *want) { w.vlans = 1 })},
		{"QinQ", LinkEthernet, join(eth(etherQinQ), tag(5, etherVLAN), tag(6, etherIPv4), syn4), tcp4.with(func(w *want) { w.vlans = 2 })},
		{"a VLAN tag cut in half", LinkEthernet, join(eth(etherVLAN), []byte{0, 5}), none(ShortLink)},
		{"two MPLS labels", LinkEthernet, join(eth(etherMPLS), label(0), label(1), syn4), tcp4},
		{"MPLS without a bottom label ends with the bytes", LinkEthernet, join(eth(etherMPLS), label(0), label(0)), none(ShortLink)},
		{"MPLS pseudowire with a control word", LinkEthernet, join(eth(etherMPLS), label(1), make([]byte, 4), eth(etherIPv4), syn4), tcp4},
		{"PPPoE", LinkEthernet, join(eth(etherPPPoE), []byte{0x11, 0, 0, 1, 0, 45, 0, 0x21}, syn4), tcp4},
		{"PPPoE with IPv6", LinkEthernet, join(eth(etherPPPoE), []byte{0x11, 0, 0, 1, 0, 65, 0, 0x57}, syn6), tcp6},
		{"LLC and SNAP", LinkEthernet, join(eth(60), llcSnap, syn4), tcp4},
		{"LLC alone, IP by its access point", LinkEthernet, join(eth(50), []byte{6, 6, 3}, syn4), tcp4},
		{"the same as an answer with the final bit", LinkEthernet, join(eth(50), []byte{6, 7, 0x13}, syn4), tcp4},
		{"a provider backbone carries Ethernet behind a service id", LinkEthernet, join(eth(etherPBB), []byte{0, 0, 0, 1}, eth(etherIPv4), syn4), tcp4},
		{"Cisco's time stamp stands before the type", LinkEthernet, join(eth(etherTTag), []byte{0, 0, 0, 0, 0, 0}, be.AppendUint16(nil, etherIPv4), syn4), tcp4},
		{"IEC 62439-3 redundancy tag", LinkEthernet, join(eth(etherHSR), []byte{0, 52, 0, 1}, be.AppendUint16(nil, etherIPv4), syn4), tcp4},
		{"TRILL carries Ethernet", LinkEthernet, join(eth(etherTRILL), []byte{0, 1, 0, 1, 0, 2}, eth(etherIPv4), syn4), tcp4},
		{"TRILL cut short", LinkEthernet, join(eth(etherTRILL), []byte{0, 1}), none(ShortLink)},
		{"6LoWPAN: addresses of the frame, compressed UDP", LinkWPAN, join([]byte{0x41, 0x88, 1, 0xcd, 0xab, 2, 0, 1, 0, 0x7d, 0x33, 0xf0, 0x9c, 0x40, 1, 0xbb, 0, 0}, []byte("abc")),
			want{network: IPv6, transport: UDP, src: "fe80::ff:fe00:1", sport: 40000, dport: 443, payload: 3}},
		{"Juniper Ethernet", LinkJuniperEthernet, join([]byte{0x4d, 0x47, 0x43, 0}, eth(etherIPv4), syn4), tcp4},
		{"Juniper Ethernet with extensions", LinkJuniperEthernet, join([]byte{0x4d, 0x47, 0x43, 0x80, 0, 2, 9, 9}, eth(etherIPv4), syn4), tcp4},
		{"Juniper without its magic number", LinkJuniperEthernet, join([]byte{1, 2, 3, 0}, eth(etherIPv4), syn4), none(UnknownNetwork)},
		{"Juniper Ethernet cut short", LinkJuniperEthernet, []byte{0x4d, 0x47}, none(ShortLink)},
		{"Juniper, IP alone where the link header was", LinkJuniperEthernet, join([]byte{0x4d, 0x47, 0x43, 2, 0, 0, 0, 2}, syn4), tcp4},
		{"spanning tree is no IP", LinkEthernet, join(eth(38), []byte{0x42, 0x42, 3, 0, 0}), none(UnknownNetwork)},
		{"Linux cooked", LinkSLL, join(sll(etherIPv4), syn4), tcp4},
		{"Linux cooked 2", LinkSLL2, join([]byte{8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, syn4), tcp4},
		{"null loopback of a little-endian host", LinkNull, join(le.AppendUint32(nil, 2), syn4), tcp4},
		{"null loopback of a big-endian host", LinkNull, join(be.AppendUint32(nil, 2), syn4), tcp4},
		{"IPv6 of Darwin on loopback", LinkNull, join(le.AppendUint32(nil, 30), syn6), tcp6},
		{"OpenBSD loop, IPv6", LinkLoop, join(be.AppendUint32(nil, 24), syn6), tcp6},
		{"raw IPv4", LinkRaw, syn4, tcp4},
		{"raw IPv6", LinkRaw, syn6, tcp6},
		{"raw with another version", LinkRaw, []byte{0x50, 0}, none(UnknownNetwork)},
		{"PPP with HDLC framing", LinkPPP, join([]byte{0xff, 3, 0, 0x21}, syn4), tcp4},
		{"PPP with a compressed protocol", LinkPPP, join([]byte{0x21}, syn4), tcp4},
		{"Cisco HDLC", LinkCHDLC, join([]byte{0x0f, 0, 8, 0}, syn4), tcp4},
		{"frame relay", LinkFrelay, join([]byte{0x18, 0x41, 3, 0xcc}, syn4), tcp4},
		{"radiotap and a data frame", LinkRadiotap, join([]byte{0, 0, 8, 0, 0, 0, 0, 0}, wifi(8, 1), llcSnap, syn4), tcp4},
		{"radiotap says the body is padded", LinkRadiotap,
			join([]byte{0, 0, 9, 0, 2, 0, 0, 0, 0x20}, wifi(0x88, 1), make([]byte, 4), llcSnap, syn4), tcp4},
		{"QoS data", LinkWiFi, join(wifi(0x88, 2), make([]byte, 2), llcSnap, syn4), tcp4},
		{"an encrypted frame stays closed", LinkWiFi, join(wifi(8, 0x41), llcSnap, syn4), none(UnknownNetwork)},
		{"a beacon", LinkWiFi, wifi(0x80, 0), none(UnknownNetwork)},
		{"a radiotap header longer than the frame", LinkRadiotap, []byte{0, 0, 200, 0, 0, 0, 0, 0}, none(ShortLink)},
		{"IPv4 options", LinkRaw, ip4(6, tcp(2, "abc"), 1, 1, 1, 0), tcp4},
		{"IPv4 total length 0: segmentation offload", LinkRaw, func() []byte { b := ip4(6, tcp(2, "abc")); b[2], b[3] = 0, 0; return b }(), tcp4},
		{"a later fragment has no ports", LinkRaw, frag4(64, false, ip4(6, tcp(2, "abc"))), want{network: IPv4, src: "192.0.2.1", payload: 23}},
		{"a first fragment of eight bytes hides the flags", LinkRaw, frag4(0, true, ip4(6, tcp(2, "")[:8])),
			want{network: IPv4, transport: TCP, src: "192.0.2.1", sport: 40000, dport: 443}},
		{"IPv6 extension headers", LinkRaw, ip6(0, join([]byte{43, 0, 0, 0, 0, 0, 0, 0}, []byte{60, 0, 0, 0, 0, 0, 0, 0}, []byte{6, 0, 0, 0, 0, 0, 0, 0}, tcp(2, "abc"))), tcp6},
		{"IPv6 authentication header", LinkRaw, ip6(51, join([]byte{6, 4}, make([]byte, 22), tcp(2, "abc"))), tcp6},
		{"an IPv6 fragment", LinkRaw, ip6(44, join([]byte{6, 0, 0, 8, 0, 0, 0, 9}, tcp(2, "abc"))), want{network: IPv6, src: "2001:db8::1", payload: 23}},
		{"an extension header longer than the packet", LinkRaw, ip6(0, []byte{6, 200, 0, 0, 0, 0, 0, 0}), want{network: IPv6, src: "2001:db8::1", fault: BadNetwork}},
		{"UDP", LinkRaw, ip4(17, udp(53, []byte("abcd"))), want{network: IPv4, transport: UDP, src: "192.0.2.1", sport: 5000, dport: 53, payload: 4}},
		{"SCTP", LinkRaw, ip4(132, make([]byte, 16)), want{network: IPv4, transport: SCTP, src: "192.0.2.1", payload: 4}},
		{"ICMP", LinkRaw, ip4(1, []byte{8, 0, 0, 0, 0, 1, 0, 1, 'x'}), want{network: IPv4, transport: ICMP, src: "192.0.2.1", payload: 1}},
		{"ICMPv6", LinkRaw, ip6(58, []byte{128, 0, 0, 0, 0, 1, 0, 1, 'x'}), want{network: IPv6, transport: ICMPv6, src: "2001:db8::1", payload: 1}},
		{"a protocol without a decoder", LinkRaw, ip4(89, make([]byte, 6)), want{network: IPv4, transport: OtherTransport, src: "192.0.2.1", payload: 6}},
		{"GRE: the outer header counts", LinkRaw, ip4(47, join([]byte{0, 0, 8, 0}, syn4)), want{network: IPv4, transport: OtherTransport, src: "192.0.2.1", payload: len(syn4) + 4}},
		{"ARP", LinkEthernet, join(eth(etherARP), arp(1)), want{network: ARP, src: "192.0.2.1"}},
		{"a VN-Tag", LinkEthernet, join(eth(etherVNTag), make([]byte, 4), []byte{8, 0}, syn4), tcp4},
		{"Cisco metadata", LinkEthernet, join(eth(etherCMD), make([]byte, 6), []byte{8, 0}, syn4), tcp4},
		{"plain MACsec with an explicit channel", LinkEthernet, join(eth(etherMACsec), []byte{0x20}, make([]byte, 13), []byte{8, 0}, syn4), tcp4},
		{"encrypted MACsec", LinkEthernet, join(eth(etherMACsec), []byte{0x0c}, make([]byte, 30)), none(UnknownNetwork)},
		{"FabricPath", LinkEthernet, join(eth(etherFabric), make([]byte, 2), eth(etherIPv4), syn4), tcp4},
		{"a network service header", LinkEthernet, join(eth(etherNSH), []byte{0, 2, 1, 1, 0, 0, 0, 0}, syn4), tcp4},
		{"FDDI", LinkFDDI, join(make([]byte, 13), llcSnap, syn4), tcp4},
		{"NFLOG: the payload among other values", LinkNFLog, join(make([]byte, 4), []byte{5, 0, 1, 0, 7, 0, 0, 0}, []byte{44, 0, 9, 0}, syn4), tcp4},
		{"NFLOG with a value of no length", LinkNFLog, join(make([]byte, 4), []byte{0, 0, 1, 0, 7, 0, 0, 0}), none(ShortLink)},
		{"PPI", LinkPPI, join([]byte{0, 0, 8, 0, 1, 0, 0, 0}, eth(etherIPv4), syn4), tcp4},
		{"PPI in PPI has an end", LinkPPI, []byte{0, 0, 8, 0, 192, 0, 0, 0, 0, 0, 8, 0, 192, 0, 0, 0}, none(UnknownLink)},
		{"PKTAP", LinkPKTAP, join([]byte{12, 0, 0, 0, 1, 0, 0, 0, 101, 0, 0, 0}, syn4), tcp4},
		{"ARCnet of RFC 1051", LinkARCnet, join([]byte{1, 2, 0, 0, 0xf0}, syn4), tcp4},
		{"classical IP over ATM", LinkATMCLIP, syn4, tcp4},
		{"an IPv4 header of another version is still IPv4, without fields", LinkEthernet, join(eth(etherIPv4), []byte{0x25}, syn4[1:]), want{network: IPv4, src: "::", fault: BadNetwork}},
		{"an IPv4 header that is too short for itself", LinkEthernet, join(eth(etherIPv4), []byte{0x44}, syn4[1:]), want{network: IPv4, src: "::", fault: BadNetwork}},
		{"an IPv4 total length shorter than the header", LinkRaw, func() []byte { b := ip4(6, nil); b[3] = 12; return b }(), want{network: IPv4, src: "::", fault: BadNetwork}},
		{"an IPv6 header of another version is no IPv6", LinkEthernet, join(eth(etherIPv6), []byte{0x50}, syn6[1:]), none(BadNetwork)},
		{"a TCP header shorter than itself has no flags", LinkRaw, ip4(6, func() []byte { b := tcp(2, "abc"); b[12] = 4 << 4; return b }()),
			want{network: IPv4, transport: TCP, src: "192.0.2.1", sport: 40000, dport: 443, fault: BadTransport}},
		{"a protocol number and nothing more", LinkRaw, ip4(6, nil), want{network: IPv4, transport: OtherTransport, src: "192.0.2.1"}},
		{"an unknown link type", LinkUser0, syn4, none(UnknownLink)},
		{"an empty frame", LinkEthernet, nil, none(ShortLink)},
	}
}

type decodeCase struct {
	why  string
	link LinkType
	data []byte
	want want
}

func TestDecode(t *testing.T) {
	var p Parsed
	for _, c := range decodeCases() {
		p.Decode(c.link, c.data, len(c.data))
		if got := view(&p); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.why, got, c.want)
		}
	}
}

func view(p *Parsed) want {
	w := want{network: p.Network, transport: p.Transport, sport: p.SrcPort, dport: p.DstPort,
		flags: p.Flags, payload: p.PayloadLen, vlans: p.VLANs, fault: p.Fault}
	if p.Network != NonIP {
		w.src = p.Src.String()
	}
	return w
}

func TestDecodeInner(t *testing.T) {
	syn4, syn6 := ip4(6, tcp(2, "abc")), ip6(6, tcp(2, "abc"))
	inner6 := tcp4.with(func(w *want) { w.network, w.src = IPv6, "2001:db8::1" })
	p := Parsed{Inner: true}
	for _, c := range []struct {
		why  string
		data []byte
		want want
	}{
		{"IP in IP", ip4(4, syn4), tcp4},
		{"IPv6 in IPv4", ip4(41, syn6), inner6},
		{"GRE with a key", ip4(47, join([]byte{0x20, 0, 8, 0, 0, 0, 0, 1}, syn4)), tcp4},
		{"GRE with Ethernet", ip4(47, join([]byte{0, 0, 0x65, 0x58}, eth(etherIPv6), syn6)), inner6},
		{"VXLAN", ip4(17, udp(portVXLAN, join([]byte{8, 0, 0, 0, 0, 0, 1, 0}, eth(etherIPv4), syn4))), tcp4},
		{"Geneve", ip4(17, udp(portGeneve, join([]byte{0, 0, 0x65, 0x58, 0, 0, 1, 0}, eth(etherIPv4), syn4))), tcp4},
		{"GTP-U", ip4(17, udp(portGTPU, join([]byte{0x30, 0xff, 0, 0, 0, 0, 0, 1}, syn4))), tcp4},
		{"two tunnels", ip4(4, ip4(47, join([]byte{0, 0, 8, 0}, syn4))), tcp4},
		{"a tunnel with nothing readable inside stays what it is", ip4(47, []byte{0, 0, 1, 1, 0x45}),
			want{network: IPv4, transport: OtherTransport, src: "192.0.2.1", payload: 5}},
		{"a broken header inside is the innermost one", ip4(47, []byte{0, 0, 8, 0, 0x45}),
			want{network: IPv4, src: "::", fault: BadNetwork}},
	} {
		p.Decode(LinkRaw, c.data, len(c.data))
		if got := view(&p); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.why, got, c.want)
		}
	}
}

func TestDecodeFields(t *testing.T) {
	var p Parsed
	frame := join(eth(etherVLAN), tag(5, etherIPv4), ip4(6, tcp(0x12, "hello")))
	p.Decode(LinkEthernet, frame, len(frame)+100)
	if p.Seq != 1000 || p.Ack != 2000 || p.Window != 512 || p.TTL != 63 || p.ID != 7 || p.VLAN[0] != 5 || p.NetLen != 45 {
		t.Errorf("TCP over a VLAN gave %+v", p)
	}
	if string(p.Payload()) != "hello" || p.Wire != len(frame)+100 || p.NetOff != 18 || p.TransOff != 38 {
		t.Errorf("payload %q of %d bytes, network at %d, transport at %d", p.Payload(), p.Wire, p.NetOff, p.TransOff)
	}
	p.Decode(LinkEthernet, join(eth(etherARP), arp(2)), 42)
	if p.ARPOp != 2 || !p.HasARP || p.ARPSender != [6]byte{2, 0, 0, 0, 0, 1} || p.Dst.String() != "192.0.2.9" {
		t.Errorf("ARP gave %+v", p)
	}
}

// Every prefix of every frame must decode without a panic, and a frame that the
// capture cut is never called malformed.
func TestDecodeCutShort(t *testing.T) {
	for _, inner := range []bool{false, true} {
		p := Parsed{Inner: inner}
		for _, c := range decodeCases() {
			for n := range c.data {
				p.Decode(c.link, c.data[:n:n], len(c.data))
				if p.Fault.Malformed() && !c.want.fault.Malformed() {
					t.Errorf("%s: the first %d bytes are called %v", c.why, n, p.Fault)
				}
				_ = p.Payload()
			}
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	p, cases := Parsed{Inner: true}, decodeCases()
	if n := testing.AllocsPerRun(100, func() {
		for _, c := range cases {
			p.Decode(c.link, c.data, len(c.data))
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d frames", n, len(cases))
	}
}

func TestAddr(t *testing.T) {
	for _, text := range []string{"192.0.2.1", "2001:db8::1", "::", "255.255.255.255", "::1"} {
		a := netip.MustParseAddr(text)
		if got := AddrFrom(a); got.Netip() != a || got.Is4() != a.Is4() {
			t.Errorf("%s became %v", text, got)
		}
	}
	if a := AddrFrom(netip.MustParseAddr("::ffff:192.0.2.1")); a != Addr4(0xc0000201) {
		t.Errorf("a 4-in-6 address is another host: %v", a)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range decodeCases() {
		f.Add(uint32(c.link), c.data, len(c.data))
	}
	f.Fuzz(func(t *testing.T, link uint32, data []byte, wire int) {
		for _, inner := range []bool{false, true} {
			p := Parsed{Inner: inner}
			p.Decode(LinkType(link), data, wire)
			if got := len(p.Payload()); p.IP() && got > len(data) {
				t.Errorf("payload of %d bytes in a frame of %d", got, len(data))
			}
			if p.PayloadLen < 0 || p.NetOff > len(data) || p.TransOff > len(data) {
				t.Errorf("impossible lengths: %+v", p)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var p Parsed
	frame := join(eth(etherIPv4), ip4(6, tcp(2, "abc")))
	b.ReportAllocs()
	for b.Loop() {
		p.Decode(LinkEthernet, frame, len(frame))
	}
}
