package main

import (
	"net"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The addresses are those of documentation (RFC 5737, RFC 3849).
var (
	scanner  = net.IP{203, 0, 113, 66}
	resolver = net.IP{192, 0, 2, 53}
)

func client(i int) net.IP { return net.IP{192, 0, 2, byte(10 + i)} }
func server(i int) net.IP { return net.IP{198, 51, 100, byte(20 + i)} }

func v6(last byte) net.IP {
	ip := net.ParseIP("2001:db8::")
	ip[15] = last
	return ip
}

// scan is a minute of ordinary traffic with a SYN scan of client 0 in its
// middle, as nmap -sS -F sends it.
func scan(c *capture) {
	ordinary(c, 60*time.Second, 4)
	synScan(c, 30*time.Second, scanner, client(0))
}

// mixed is ordinary traffic of either family with the odd packets that a
// decoder meets.
func mixed(c *capture) {
	ordinary(c, 30*time.Second, 10)
	for i := range 20 {
		at := time.Duration(i) * 1500 * time.Millisecond
		c.connection(at, v6(byte(10+i%5)), v6(200), 443, 4)
		c.arp(at, client(i%10), client((i+1)%10))
		c.fragments(at+time.Second, client(i%10), server(i%5))
	}
}

// transfers is forty seconds of four flows with about 100 bytes a second, each
// of which does one thing that it has not done before.
func transfers(c *capture) {
	for i, story := range []struct{ second, size int }{
		{35, 600}, // far more
		{8, 600},  // far more, early
		{35, 160}, // a little more
		{35, 10},  // far less
	} {
		for second := range 40 {
			size := 95 + c.random.IntN(11)
			if second == story.second {
				size = story.size
			}
			at := time.Duration(second)*time.Second + time.Duration(100+i)*time.Millisecond
			c.udp(at, client(0), server(i), 40000, 5001, make([]byte, size))
		}
	}
}

// ordinary is lookups, connections and pings of some clients.
func ordinary(c *capture, length time.Duration, clients int) {
	for at := time.Duration(0); at < length; at += 500 * time.Millisecond {
		who := client(c.random.IntN(clients))
		whom := server(c.random.IntN(8))
		c.lookup(at, who)
		c.connection(at+50*time.Millisecond, who, whom, []uint16{80, 443, 443, 443}[c.random.IntN(4)], 1+c.random.IntN(6))
		if c.random.IntN(5) == 0 {
			c.ping(at+100*time.Millisecond, who, whom, uint16(at/time.Millisecond))
		}
	}
}

// lookup is a DNS question and its answer: only their lengths are like DNS.
func (c *capture) lookup(at time.Duration, who net.IP) {
	port := uint16(1024 + c.random.IntN(60000))
	question := make([]byte, 30+c.random.IntN(20))
	question[0], question[1], question[5] = byte(port>>8), byte(port), 1
	answer := append(append([]byte(nil), question...), make([]byte, 16)...)
	answer[2], answer[7] = 0x80, 1
	c.udp(at, who, resolver, port, 53, question)
	c.udp(at+8*time.Millisecond, resolver, who, 53, port, answer)
}

// connection is a whole TCP connection with some exchanges of data.
func (c *capture) connection(at time.Duration, who, whom net.IP, port uint16, exchanges int) {
	src, dst := layers.TCPPort(1024+c.random.IntN(60000)), layers.TCPPort(port)
	seq, ack := c.random.Uint32(), c.random.Uint32()
	mss := []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}}
	step := func(wait time.Duration) time.Duration { at += wait; return at }
	c.tcp(step(0), who, whom, layers.TCP{SrcPort: src, DstPort: dst, Seq: seq, SYN: true, Window: 64240, Options: mss}, nil)
	c.tcp(step(20*time.Millisecond), whom, who, layers.TCP{SrcPort: dst, DstPort: src, Seq: ack, Ack: seq + 1, SYN: true, ACK: true, Window: 65160, Options: mss}, nil)
	seq, ack = seq+1, ack+1
	c.tcp(step(time.Millisecond), who, whom, layers.TCP{SrcPort: src, DstPort: dst, Seq: seq, Ack: ack, ACK: true, Window: 502}, nil)
	for range exchanges {
		question, answer := make([]byte, 40+c.random.IntN(60)), make([]byte, 60+c.random.IntN(180))
		c.tcp(step(2*time.Millisecond), who, whom, layers.TCP{SrcPort: src, DstPort: dst, Seq: seq, Ack: ack, ACK: true, PSH: true, Window: 502}, question)
		seq += uint32(len(question))
		c.tcp(step(20*time.Millisecond), whom, who, layers.TCP{SrcPort: dst, DstPort: src, Seq: ack, Ack: seq, ACK: true, PSH: true, Window: 501}, answer)
		ack += uint32(len(answer))
	}
	c.tcp(step(time.Millisecond), who, whom, layers.TCP{SrcPort: src, DstPort: dst, Seq: seq, Ack: ack, ACK: true, FIN: true, Window: 502}, nil)
	c.tcp(step(20*time.Millisecond), whom, who, layers.TCP{SrcPort: dst, DstPort: src, Seq: ack, Ack: seq + 1, ACK: true, FIN: true, Window: 501}, nil)
	c.tcp(step(time.Millisecond), who, whom, layers.TCP{SrcPort: src, DstPort: dst, Seq: seq + 1, Ack: ack + 1, ACK: true, Window: 502}, nil)
}

// fragments is a datagram in two parts.
func (c *capture) fragments(at time.Duration, src, dst net.IP) {
	id := uint16(c.random.Uint32())
	datagram := make([]byte, 64)
	datagram[0], datagram[1], datagram[3], datagram[5] = 0x20, 0x00, 123, 64 // ports 8192 and 123, length 64
	for offset := 0; offset < len(datagram); offset += 32 {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src, DstIP: dst, Id: id, FragOffset: uint16(offset / 8)}
		if offset+32 < len(datagram) {
			ip.Flags = layers.IPv4MoreFragments
		}
		c.add(at+time.Duration(offset)*time.Microsecond, layers.EthernetTypeIPv4, mac(src), mac(dst), ip, gopacket.Payload(datagram[offset:offset+32]))
	}
}

// synScan tries a hundred ports of one host within 13 ms. One source port and
// one sequence number, window 1024 and the MSS alone are the marks of nmap.
func synScan(c *capture, at time.Duration, from, to net.IP) {
	const port, window = 51234, 1024
	seq := c.random.Uint32()
	open := map[int]bool{22: true, 80: true, 443: true}
	mss := []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}}
	for i, dst := range scanPorts(c) {
		t := at + time.Duration(i)*130*time.Microsecond
		c.tcp(t, from, to, layers.TCP{SrcPort: port, DstPort: layers.TCPPort(dst), Seq: seq, SYN: true, Window: window, Options: mss}, nil)
		t += 40 * time.Microsecond
		if !open[dst] {
			c.tcp(t, to, from, layers.TCP{SrcPort: layers.TCPPort(dst), DstPort: port, Ack: seq + 1, RST: true, ACK: true}, nil)
			continue
		}
		c.tcp(t, to, from, layers.TCP{SrcPort: layers.TCPPort(dst), DstPort: port, Seq: c.random.Uint32(), Ack: seq + 1, SYN: true, ACK: true, Window: 64240, Options: mss}, nil)
		c.tcp(t+20*time.Microsecond, from, to, layers.TCP{SrcPort: port, DstPort: layers.TCPPort(dst), Seq: seq + 1, RST: true}, nil)
	}
}

// scanPorts are a hundred ports in the shuffled order of a scan.
func scanPorts(c *capture) []int {
	ports := []int{21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 993, 995, 1433, 1521, 1723, 2049, 3306, 3389, 5432, 5900, 6379, 8080, 8443, 9200, 27017}
	for p := 10000; len(ports) < 100; p += 137 {
		ports = append(ports, p)
	}
	c.random.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
	return ports
}
