package filter

import (
	_ "embed"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

//go:embed testdata/expressions.txt
var expressionList string

// expressions are those of the list, without its comments.
func expressions() []string {
	var list []string
	for line := range strings.Lines(expressionList) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}

// stricter reports whether an expression is one that is refused here on purpose
// while libpcap takes it.
func stricter(err error) bool {
	for _, reason := range []string{"changes nothing; leave it out", "stands for the encapsulations of",
		"no packet is that long", "is not a protocol that is known here"} {
		if strings.Contains(err.Error(), reason) {
			return true
		}
	}
	return false
}

// comparison counts what a comparison with tcpdump has found.
type comparison struct{ expressions, accepted, identical, refused, packets int }

// compare holds a compiled expression against the program of libpcap, over
// packets.
func (c *comparison) compare(t testing.TB, link LinkType, expression string, packets [][]byte) {
	t.Helper()
	c.expressions++
	theirs, complaint := tcpdump(t, Options{Link: link}, expression)
	ours, err := Compile(expression, link, 0)
	switch {
	case err != nil && theirs == nil:
		c.refused++
		return
	case err != nil && stricter(err):
		c.refused++
		return
	case err != nil:
		t.Errorf("%s: %v; tcpdump accepts it", reference[link], err)
		return
	case theirs == nil:
		t.Errorf("%s: %q is accepted; tcpdump says %q", reference[link], expression, complaint)
		return
	}
	c.accepted++
	if slices.Equal(ours.Raw(), theirs) {
		c.identical++
	}
	c.packets += len(packets)
	vm := machine(t, theirs, -1)
	for _, packet := range packets {
		if want := runs(t, vm, packet); ours.Match(packet, len(packet)) != want {
			t.Errorf("%s: %q: packet %x: match is %v, that of tcpdump %v", reference[link], expression, packet, !want, want)
			return
		}
	}
	vm = machine(t, theirs, 1514)
	for _, packet := range packets[:min(len(packets), 100)] {
		if want := runs(t, vm, packet); ours.Match(packet, 1514) != want {
			t.Errorf("%s: %q: packet %x of 1514 bytes: match is %v, that of tcpdump %v", reference[link], expression, packet, !want, want)
			return
		}
	}
}

func (c *comparison) log(t testing.TB) {
	t.Logf("%d expressions: %d accepted on both sides, %d of them the same program instruction for instruction, %d refused; %d packets compared",
		c.expressions, c.accepted, c.identical, c.refused, c.packets)
}

func TestListAgainstTcpdump(t *testing.T) {
	needTcpdump(t)
	sets := packets(t)
	var total comparison
	for _, expression := range expressions() {
		total.compare(t, LinkEthernet, expression, sets[LinkEthernet])
	}
	total.log(t)
	if total.accepted < 400 {
		t.Errorf("%d expressions were compared, not 400", total.accepted)
	}
}

func TestOtherLinkTypesAgainstTcpdump(t *testing.T) {
	needTcpdump(t)
	sets := packets(t)
	for link, name := range reference {
		if link == LinkEthernet {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var total comparison
			for i, expression := range expressions() {
				if (i+int(link))%5 == 0 {
					total.compare(t, link, expression, sets[link])
				}
			}
			total.log(t)
		})
	}
}

func TestGrammarAgainstTcpdump(t *testing.T) {
	needTcpdump(t)
	sets := packets(t)
	var links []LinkType
	for link := range reference {
		links = append(links, link)
	}
	slices.Sort(links)
	w := writer{rand.New(rand.NewPCG(3, 9))}
	var total comparison
	for i := range 600 {
		link := LinkEthernet
		if i%3 == 0 {
			link = links[i/3%len(links)]
		}
		expression := w.expression(2)
		if i%4 == 3 {
			expression = w.disturb(expression)
		}
		total.compare(t, link, expression, sets[link][:min(len(sets[link]), 1000)])
	}
	total.log(t)
	if total.accepted < 200 {
		t.Errorf("only %d of %d expressions were accepted", total.accepted, total.expressions)
	}
}

func TestEmptyMatchesAll(t *testing.T) {
	for _, text := range []string{"", "  \t\n"} {
		f, err := Compile(text, 147, 96)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Match(nil, 0) || !f.Match([]byte{1, 2, 3}, 3) {
			t.Errorf("%q does not match every packet", text)
		}
		if want := []bpf.RawInstruction{{Op: 6, K: 96}}; !slices.Equal(f.Raw(), want) {
			t.Errorf("%q is %v, not %v", text, f.Raw(), want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		why, text string
		link      LinkType
		column    int
		reason    string
	}{
		{"a word that is no keyword", "tcp prot 80", 1, 5, `"prot" is not known; expected "and", "or" or the end`},
		{"the same in front", "prot 80", 1, 1, `"prot" is not known; expected a protocol`},
		{"names need a resolver", "host example.com", 1, 6, `"example.com" is a name; names are not looked up`},
		{"port names depend on the machine", "tcp port http", 1, 10, `"http" is a name; port names are not looked up, write the number 80`},
		{"an unknown port name", "port foo", 1, 6, `port names are not looked up, write the number`},
		{"gateway needs a resolver", "gateway foo", 1, 1, `"gateway" is not supported`},
		{"words of other link types", "ip and wlan host 1:2:3:4:5:6", 1, 8, `"wlan" is not supported`},
		{"an address without a word", "10.0.0.1", 1, 1, `"10.0.0.1" needs a word before it, as in "host 10.0.0.1"`},
		{"an identifier after a term without qualifiers", "tcp or 80", 1, 8, `"80" needs a word before it`},
		{"qualifiers do not come out of parentheses", "(port 80) or 90", 1, 14, `"90" needs a word before it`},
		{"the end comes too early", "tcp and", 1, 8, "the expression ends here"},
		{"an open parenthesis", "(tcp", 1, 5, `the expression ends here; expected ")"`},
		{"a closed one", "tcp)", 1, 4, `")" does not fit here`},
		{"port beyond 16 bits", "port 65536", 1, 6, "a port is at most 65535"},
		{"a range of names", "portrange a-b", 1, 11, "is not a range of ports"},
		{"host bits in a net", "net 10.0.0.1/8", 1, 5, "has bits outside the mask"},
		{"host bits in an IPv6 net", "net fe80::1/10", 1, 5, "has bits outside the mask"},
		{"a mask on a host", "host 10.0.0.0/8", 1, 6, `an address with a mask needs "net" before it`},
		{"too many bits", "net 10.0.0.0/33", 1, 14, "an IPv4 address has 32 bits"},
		{"too many IPv6 bits", "net fe80::/129", 1, 12, "an IPv6 address has 128 bits"},
		{"no such address", "host 10.0.0.256", 1, 6, "is not an IPv4 address"},
		{"wrong family", "ip6 host 10.0.0.1", 1, 1, "an IPv4 address fits ip, arp and rarp"},
		{"wrong family", "ip host ::1", 1, 1, "an IPv6 address fits ip6"},
		{"addresses have no port", "tcp host 10.0.0.1", 1, 1, "an IPv4 address fits"},
		{"ports need a transport", "ip port 80", 1, 1, "ports belong to tcp, udp and sctp"},
		{"a keyword as a protocol name", "ip proto tcp", 1, 10, `write \tcp or its number`},
		{"an unknown protocol name", `ip proto \foo`, 1, 10, "is not a protocol that is known here"},
		{"a protocol has no direction", "src proto 6", 1, 5, "a protocol has no direction"},
		{"hardware addresses need ether", "host 1:2:3:4:5:6", 1, 6, `needs "ether host"`},
		{"no hardware addresses on raw IP", "ether host 1:2:3:4:5:6", 101, 12, "only Ethernet packets have hardware addresses"},
		{"no vlan on raw IP", "vlan", 101, 1, "only Ethernet carries vlan tags"},
		{"a vlan has 12 bits", "vlan 4096", 1, 6, "a vlan is at most 4095"},
		{"a label has 20 bits", "mpls 1048576", 1, 6, "a label is at most 1048575"},
		{"arp cannot be told after mpls", "mpls and arp", 1, 10, "after mpls only ip and ip6 can be told"},
		{"the net mask is not known", "ip broadcast", 1, 1, "the mask of the network is not known"},
		{"odd sizes", "ip[0:3] = 1", 1, 6, "3 bytes are not possible; expected 1, 2 or 4"},
		{"no bytes of esp", "esp[0] = 1", 1, 1, "there are no bytes of this protocol"},
		{"a value alone", "tcp[13] & 2", 1, 12, "expected a comparison"},
		{"division by zero", "ip[0] / 0 = 1", 1, 7, "division by zero"},
		{"the same, computed", "ip[0] % (2 - 2) = 1", 1, 7, "division by zero"},
		{"a shift too far", "ip[0] << 32 = 1", 1, 7, "shift by at most 31"},
		{"libpcap takes this mask for always true", "ip[0:4] & 0xffffffff != 0", 1, 9, "changes nothing; leave it out"},
		{"offsets that a kernel takes for its own data", "ether[0xfffff030] = 1", 1, 1, "no packet is that long"},
		{"a number too long", "len = 4294967296", 1, 7, "is not a number of at most 32 bits"},
		{"octal", "len = 089", 1, 7, "a leading 0 means octal"},
		{"a byte that means nothing", "tcp # udp", 1, 5, "'#' has no meaning here"},
		{"tcp-syn alone is a number", "tcp-syn", 1, 8, "expected a comparison"},
		{"encapsulations of old protocols", "ether proto 0x809b", 1, 13, "encapsulations of atalk"},
		{"an unknown link type", "ip", 147, 1, "link type 147 has no filters"},
		{"ether alone", "ether", 1, 1, "a link layer alone is no test"},
		{"too deep", strings.Repeat("(", 1000) + "ip", 1, 201, "nested more than 200 deep"},
		{"too long", strings.Repeat("ip or ", 20000), 1, 65537, "at most 65536 bytes"},
		{"too many tests", "port 1" + strings.Repeat(" or 2", 1000), 1, 1, "needs more than 8192 tests"},
	} {
		_, err := Compile(test.text, test.link, 0)
		failure, ok := err.(*Error)
		if !ok {
			t.Errorf("%s: %.60q is not refused", test.why, test.text)
			continue
		}
		if failure.Column != test.column || !strings.Contains(failure.Reason, test.reason) {
			t.Errorf("%s: %.60q: column %d: %s; want column %d: %s", test.why, test.text, failure.Column, failure.Reason, test.column, test.reason)
		}
		if strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: the error has more than one line: %v", test.why, err)
		}
	}
}

func TestErrorText(t *testing.T) {
	_, err := Compile("tcp prot\n80", LinkEthernet, 0)
	want := `filter "tcp prot\n80": column 5: "prot" is not known; expected "and", "or" or the end`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNever(t *testing.T) {
	for _, test := range []struct {
		why, text string
		link      LinkType
	}{
		{"two EtherTypes", "ip and arp", LinkEthernet},
		{"nothing but IP on raw IP", "arp", LinkRaw},
		{"IPv6 only", "ip", LinkIPv6},
	} {
		_, err := Compile(test.text, test.link, 0)
		if failure, ok := err.(*Error); !ok || !failure.Never {
			t.Errorf("%s: %q: %v, not an error with Never", test.why, test.text, err)
		}
	}
}

func TestBigEndianLoopback(t *testing.T) {
	little := []byte{2, 0, 0, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}
	big := slices.Clone(little)
	slices.Reverse(big[:4])
	for _, test := range []struct {
		bigEndian bool
		packet    []byte
		want      bool
	}{{false, little, true}, {false, big, false}, {true, big, true}, {true, little, false}} {
		f, err := Options{Link: LinkNull, BigEndian: test.bigEndian}.Compile("tcp")
		if err != nil {
			t.Fatal(err)
		}
		if f.Match(test.packet, len(test.packet)) != test.want {
			t.Errorf("big-endian %v, packet %x: not %v", test.bigEndian, test.packet[:4], test.want)
		}
	}
}

func TestLoopbackAgainstTcpdump(t *testing.T) {
	needTcpdump(t)
	for _, o := range []Options{{Link: LinkNull}, {Link: LinkNull, BigEndian: true}, {Link: LinkLoop}, {Link: LinkLoop, BigEndian: true}} {
		for _, text := range []string{"tcp", "ip6", "port 80", "host 127.0.0.1", "not udp", "host ::1"} {
			f, err := o.Compile(text)
			if err != nil {
				t.Fatal(err)
			}
			if theirs, complaint := tcpdump(t, o, text); !slices.Equal(f.Raw(), theirs) {
				t.Errorf("%+v: %q: %v, not %v %s", o, text, f.Raw(), theirs, complaint)
			}
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	f, err := Compile("tcp port 80 and tcp[13] & 2 != 0 and not net 10.0.0.0/8", LinkEthernet, 0)
	if err != nil {
		t.Fatal(err)
	}
	packet := sample()
	if n := testing.AllocsPerRun(100, func() { f.Match(packet, len(packet)) }); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
}

// sample is a SYN from 192.168.1.2:40000 to 192.168.1.1:80.
func sample() []byte {
	return []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 0, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0,
		192, 168, 1, 2, 192, 168, 1, 1, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 16, 0, 0, 0, 0, 0}
}

func FuzzCompile(f *testing.F) {
	packet := sample()
	for i, expression := range expressions() {
		if i%20 == 0 {
			f.Add(expression, uint16(LinkEthernet), packet)
		}
	}
	f.Fuzz(func(t *testing.T, text string, link uint16, packet []byte) {
		filter, err := Compile(text, LinkType(link), 0)
		if err != nil {
			if failure, ok := err.(*Error); !ok || failure.Column < 1 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q: a strange error: %v", text, err)
			}
			return
		}
		want := runs(t, machine(t, filter.Raw(), -1), packet)
		if got := filter.Match(packet, len(packet)); got != want {
			t.Fatalf("%q: match is %v, the virtual machine of x/net says %v", text, got, want)
		}
	})
}

func FuzzGrammar(f *testing.F) {
	needTcpdump(f)
	for seed := range uint64(20) {
		f.Add(seed, uint16(LinkEthernet), sample())
	}
	f.Fuzz(func(t *testing.T, seed uint64, link uint16, packet []byte) {
		if reference[LinkType(link)] == "" {
			link = uint16(LinkEthernet)
		}
		w := writer{rand.New(rand.NewPCG(seed, 0))}
		made := madeUp(w.Rand, [][]byte{packet, sample()}, 50)
		var total comparison
		expression := w.expression(2)
		if seed%4 == 3 {
			expression = w.disturb(expression)
		}
		total.compare(t, LinkType(link), expression, append(made, packet))
	})
}

// BenchmarkMatch runs filters over the packets of the corpus, beside the virtual
// machine of golang.org/x/net/bpf with the same program.
func BenchmarkMatch(b *testing.B) {
	all := packets(b)[LinkEthernet]
	for _, text := range []string{"tcp", "host 10.0.0.1", "port 80", "tcp port 80 and not net 10.0.0.0/8",
		"tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn", "net 10.0.0.0/8 or 192.168.0.0/16 or 172.16.0.0/12"} {
		b.Run(text, func(b *testing.B) {
			f, err := Compile(text, LinkEthernet, 0)
			if err != nil {
				b.Fatal(err)
			}
			vm := machine(b, f.Raw(), -1)
			start := time.Now()
			for _, packet := range all {
				runs(b, vm, packet)
			}
			peer := float64(time.Since(start).Nanoseconds()) / float64(len(all))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				packet := all[i%len(all)]
				f.Match(packet, len(packet))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
			b.ReportMetric(peer, "x-net-bpf-ns/packet")
			b.ReportMetric(50, "limit-ns/packet")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile("tcp port 80 and host 10.0.0.1 and not port 22", LinkEthernet, 0); err != nil {
			b.Fatal(err)
		}
	}
}
