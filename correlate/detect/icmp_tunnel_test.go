package detect

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

func TestICMPTunnel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	count := func(n, stamp int) []byte { // as the ping of Linux: a time stamp, then the numbers from 0x10 on
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		copy(b, noise(stamp))
		return b
	}
	same := func(b []byte) []byte { return b }
	for _, c := range []struct {
		why      string
		n        int
		wait     int64
		request  func(i int) []byte
		reply    func(b []byte) []byte // nil: none comes
		severity int
	}{
		{"data both ways", 150, second, func(int) []byte { return noise(100) }, func([]byte) []byte { return noise(400) }, severityBothWays},
		{"a file that is carried out, replies repeat it", 100, second, func(int) []byte { return noise(1000) }, same, severityICMPTunnel},
		{"small messages, no replies", 250, second, func(int) []byte { return noise(48) }, nil, severityICMPTunnel},
		{"a file of text", 100, second, func(i int) []byte { return []byte(fmt.Sprintf("%1000x", noise(500))) }, same, severityICMPTunnel},
		{"an hour of pings", 3600, second, func(int) []byte { return count(56, 8) }, same, 0},
		{"pings with a stamp and a counter", 1000, second, func(i int) []byte { return binary.BigEndian.AppendUint32(count(64, 16), uint32(i)) }, same, 0},
		{"large pings of constant bytes", 1000, second, func(int) []byte { return make([]byte, 1400) }, same, 0},
		{"pings of growing size look for the largest packet", 1000, second / 10, func(i int) []byte { return count(56+i, 8) }, same, 0},
		{"two programs ping one host", 1000, second, func(i int) []byte {
			return [][]byte{count(56, 8), []byte("abcdefghijklmnopqrstuvwabcdefghiMonitoring!")}[i%2]
		}, same, 0},
		{"data once a minute is no tunnel yet", 120, 60 * second, func(int) []byte { return noise(56) }, same, 0},
	} {
		w := newWire(Config{})
		for i := range c.n {
			b := c.request(i)
			w.send(icmp4("10.0.0.9", "203.0.113.9", echoRequest, 0, uint32(7<<16|i&0xffff), b), c.wait)
			if c.reply != nil {
				w.send(icmp4("203.0.113.9", "10.0.0.9", echoReply, 0, uint32(7<<16|i&0xffff), c.reply(b)), second/100)
			}
		}
		got := w.fired(t, "icmp_tunnel")
		highest := 0
		for _, e := range w.records {
			if e.Threat.Type == "icmp_tunnel" {
				highest = max(highest, e.Threat.Severity)
			}
		}
		if (len(got) > 0) != (c.severity > 0) || highest != c.severity || len(got) > 0 && got[0].Threat.Offender != "10.0.0.9" {
			t.Errorf("%s: %d fired, severity %d, want %d", c.why, len(got), highest, c.severity)
		}
	}
}

// Echo requests that carry data at regular times are calls; those of a ping are none.
func TestICMPBeacon(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		why  string
		data bool
		want int
	}{
		{"random data each minute for half a day", true, 1},
		{"a monitor pings each minute", false, 0},
	} {
		w := newWire(Config{})
		for range 12 * 60 {
			b := make([]byte, 56)
			for i := range b {
				if b[i] = byte(i); c.data {
					b[i] = byte(random.Uint32())
				}
			}
			w.send(icmp4("10.0.0.9", "203.0.113.9", echoRequest, 0, 7, b), 58*second+int64(random.IntN(4))*second)
		}
		if got := w.fired(t, "beacon"); len(got) < c.want || c.want == 0 && len(got) > 0 {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

func TestLongConnection(t *testing.T) {
	long := func(src, dst string, hours int64, end flow.End) flow.Record {
		r := visit(src, dst, 443, start/second, 1000)
		r.Last, r.End = r.First+hours*3600*second, end
		return r
	}
	part := func(hour int64) flow.Record { // of one flow that is cut each hour; only the first has the SYN
		r := visit("10.0.0.9", "203.0.113.9", 443, start/second, 1000)
		r.SrcPort = 4000
		r.First, r.Last, r.End = r.First+hour*3600*second, r.First+(hour+1)*3600*second-second, flow.Active
		if hour > 0 {
			r.Fwd.Flags = packet.ACK
		}
		return r
	}
	for _, c := range []struct {
		why  string
		all  []flow.Record
		want int
	}{
		{"five hours to a host that nobody else talks to", []flow.Record{long("10.0.0.9", "203.0.113.9", 5, flow.Finished)}, 1},
		{"the parts of a flow that is cut each hour", []flow.Record{part(0), part(1), part(2), part(3), part(4)}, 1},
		{"three hours", []flow.Record{long("10.0.0.9", "203.0.113.9", 3, flow.Finished)}, 0},
		{"a host that others talk to too", []flow.Record{visit("10.0.0.8", "203.0.113.9", 443, start/second, 500), long("10.0.0.9", "203.0.113.9", 5, flow.Finished), long("10.0.0.8", "203.0.113.9", 5, flow.Finished)}, 0},
		{"a host inside", []flow.Record{long("10.0.0.9", "10.0.0.7", 5, flow.Finished)}, 0},
	} {
		w := newWire(Config{})
		feed(w.Detections, c.all)
		got := w.fired(t, "long_connection")
		if len(got) != c.want || c.want > 0 && got[0].Threat.Severity >= 40 {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

// Whatever is in a payload: no detection of these kinds panics, and nothing is read
// beyond its end.
func FuzzKinds(f *testing.F) {
	f.Add(uint8(0), []byte("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add(uint8(1), []byte("HTTP/1.1 404 Not Found\r\n\r\n"))
	f.Add(uint8(2), answers("wpad", typeA, "10.0.0.66"))
	f.Add(uint8(3), dnsAnswer(1, 0, "192.0.2.1"))
	f.Add(uint8(4), dhcpClient(dhcpDiscover, mac(6), 0)[42:])
	f.Add(uint8(5), advertises("fe80::1", "2001:db8::", 8)[54:])
	f.Add(uint8(6), make([]byte, 64))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		w := newWire(Config{})
		b = b[:min(len(b), 1400)]
		for range 3 {
			switch which % 7 {
			case 0:
				w.send(tcp("203.0.113.9", 4000, "10.0.0.80", 80, packet.ACK, 1, 1, string(b)), int64(time.Second))
			case 1:
				w.send(tcp("203.0.113.9", 4000, "10.0.0.80", 80, packet.ACK, 1, 1, "GET / HTTP/1.1\r\n\r\n"), int64(time.Second))
				w.send(tcp("10.0.0.80", 80, "203.0.113.9", 4000, packet.ACK, 1, 1, string(b)), int64(time.Second))
			case 2:
				w.send(udp("10.0.0.66", []uint16{portLLMNR, portNBNS, portMDNS}[len(b)%3], "10.0.0.9", 5000, b), int64(time.Second))
			case 3:
				w.send(udp("10.0.0.9", 5000, "10.0.0.1", portDNS, dnsAsk(1)), int64(time.Second))
				w.send(udp("10.0.0.1", portDNS, "10.0.0.9", 5000, b), int64(time.Second))
			case 4:
				w.send(udp("0.0.0.0", portDHCPClient, "255.255.255.255", portDHCPServer, b), int64(time.Second))
			case 5:
				w.send(icmp6("fe80::66", "ff02::1", append([]byte{134}, b...)), int64(time.Second))
			case 6:
				w.send(icmp4("10.0.0.9", "203.0.113.9", []byte{echoRequest, redirect}[which>>7], 0, 7, b), int64(time.Second))
			}
		}
		w.Close()
	})
}
