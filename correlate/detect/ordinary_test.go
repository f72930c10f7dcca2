package detect

import (
	"fmt"
	"testing"

	"vft/capture/packet"
)

// syn6 is a SYN over IPv6.
func syn6(src string, sport uint16, dst string, dport uint16) []byte {
	return ip6(src, dst, 6, tcp("10.0.0.1", sport, "10.0.0.2", dport, packet.SYN, 1000, 0, "")[34:])
}

// refusal is the ICMP error that host sends for a frame that it got.
func refusal(host, to string, code byte, frame []byte) []byte {
	return ip4(host, to, 1, append([]byte{3, code, 0, 0, 0, 0, 0, 0}, frame[14:14+28]...))
}

// asks sends a SYN; refused, the host answers with a RST.
func asks(w *wire, src string, sport uint16, dst string, dport uint16, refused bool, wait int64) {
	w.send(tcp(src, sport, dst, dport, packet.SYN, 1000, 0, ""), wait)
	if refused {
		w.send(tcp(dst, dport, src, sport, packet.RST|packet.ACK, 0, 1001, ""), second/1000)
	}
}

// speaksFirst is a connection in which the server alone sends, after so long.
func speaksFirst(w *wire, src string, sport uint16, dst string, dport uint16, after int64) {
	w.send(tcp(src, sport, dst, dport, packet.SYN, 1000, 0, ""), second/100)
	w.send(tcp(dst, dport, src, sport, packet.SYN|packet.ACK, 5000, 1001, ""), second/1000)
	w.send(tcp(src, sport, dst, dport, packet.ACK, 1001, 5001, ""), second/1000)
	w.send(tcp(dst, dport, src, sport, packet.ACK|packet.PSH, 5001, 1001, "220 hello"), after)
	w.send(tcp(dst, dport, src, sport, packet.FIN|packet.ACK, 5010, 1001, ""), second/100)
	w.send(tcp(src, sport, dst, dport, packet.FIN|packet.ACK, 1001, 5011, ""), second/100)
}

func scansOf(t *testing.T, w *wire) (out []string) {
	t.Helper()
	w.fired(t, "")
	for _, e := range w.records {
		switch e.Threat.Type {
		case "vertical_scan", "horizontal_scan", "slow_scan", "host_discovery":
			if e.Threat.State == "firing" {
				out = append(out, e.Threat.Type)
			}
		}
	}
	return out
}

// What ordinary programs do is no scan, and what scans do is one however much it looks
// like that.
func TestOrdinary(t *testing.T) {
	const client, outside = "10.0.0.7", "198.51.100.7"
	host := func(i int) string { return fmt.Sprintf("10.0.%d.%d", 1+i/200, i%200+1) }
	stranger := func(i int) string { return fmt.Sprintf("203.0.%d.%d", 100+i/200, i%200+1) }
	checks := func(w *wire, hosts, rounds int, every int64, refused bool) {
		for r := range rounds {
			begin := w.now
			for i := range hosts {
				asks(w, client, uint16(20000+100*r+i), host(i), 8080, refused, second/50)
			}
			w.now = begin + every
		}
	}
	for _, c := range []struct {
		why  string
		want string
		run  func(w *wire)
	}{
		{"files in passive mode, each over a port of its own, in which only the server sends", "", func(w *wire) {
			for i := range 40 {
				speaksFirst(w, client, uint16(30000+i), outside, uint16(40000+7*i), second/100)
				w.now += second
			}
		}},
		{"servers that greet late", "", func(w *wire) {
			for i := range 8 {
				speaksFirst(w, outside, uint16(30000+i), host(i), 25, 6*second)
			}
		}},
		{"connections that a browser opens before it needs them", "", func(w *wire) {
			for i := range 40 {
				session(w, client, uint16(30000+i), stranger(i), 443, nil, second/100)
				session(w, client, uint16(31000+i), stranger(i), 443, []string{"hello", "hello"}, second/100)
			}
		}},
		{"twelve backends that refuse, checked each two seconds", "", func(w *wire) { checks(w, 12, 40, 2*second, true) }},
		{"twelve backends that are silent, checked each five seconds", "", func(w *wire) { checks(w, 12, 20, 5*second, false) }},
		{"twelve backends that refuse, checked each quarter of a minute", "", func(w *wire) { checks(w, 12, 10, 15*second, true) }},
		{"sixty services are connected to each ten seconds, and nothing is said", "", func(w *wire) {
			for r := range 12 {
				begin := w.now
				for i := range 60 {
					session(w, client, uint16(20000+100*r+i), host(i), 8080, nil, second/100)
				}
				w.now = begin + 10*second
			}
		}},
		{"a sweep of twelve hosts from inside, twice each", "[horizontal_scan]", func(w *wire) { checks(w, 12, 2, second, false) }},
		{"a sweep of twelve hosts from inside that refuse", "[horizontal_scan]", func(w *wire) {
			checks(w, 12, 1, second, true)
			w.Advance(w.now + 70*second)
		}},
		{"peers that are gone, each on a port of its own", "", func(w *wire) {
			for i := range 120 {
				if i%3 == 0 {
					session(w, client, uint16(30000+i), stranger(i), uint16(10000+37*i), []string{"hello", "hello"}, second/10)
				} else {
					asks(w, client, uint16(30000+i), stranger(i), uint16(10000+37*i), i%3 == 1, second)
				}
			}
		}},
		{"from one moment on nothing outside answers", "", func(w *wire) {
			for i := range 10 {
				session(w, client, uint16(30000+i), stranger(i), 443, []string{"hello", "hello"}, second)
			}
			for i := range 40 {
				asks(w, client, uint16(31000+i), stranger(100+i), 443, false, 5*second)
			}
		}},
		{"from then on the routers say that there is no way", "", func(w *wire) {
			for i := range 40 {
				f := tcp(client, uint16(31000+i), stranger(100+i), 443, packet.SYN, 1000, 0, "")
				w.send(f, 5*second)
				w.send(refusal("10.0.0.1", client, 0, f), second/1000)
			}
		}},
		{"IPv6 leads nowhere, and IPv4 is used in its place", "", func(w *wire) {
			for i := range 40 {
				w.send(syn6("fd00::7", uint16(30000+i), fmt.Sprintf("2001:db8:%x::80", i), 443), second)
				session(w, client, uint16(30000+i), stranger(i), 443, []string{"hello", "hello"}, second/10)
			}
			w.Advance(w.now + 10*second)
		}},
		{"a sweep over IPv6, while IPv4 is quiet", "[horizontal_scan]", func(w *wire) {
			for i := range 40 {
				w.send(syn6("fd00::7", uint16(30000+i), fmt.Sprintf("2001:db8:%x::80", i), 443), second)
			}
		}},
		{"a sweep of silent hosts while others are answered", "[horizontal_scan]", func(w *wire) {
			for i := range 40 {
				session(w, "10.0.0.8", uint16(30000+i), stranger(i), 443, []string{"hello", "hello"}, second/10)
				asks(w, client, uint16(31000+i), stranger(100+i), 25, false, second)
			}
		}},
		{"streams of media, one way, each to a port of its own", "", func(w *wire) {
			for n := range 20 * 12 {
				w.send(udp(client, uint16(20000+n/12), "10.0.0.9", uint16(30000+2*(n/12)), make([]byte, 172)), second/50)
			}
		}},
		{"one datagram to each of as many ports", "[vertical_scan]", func(w *wire) {
			for n := range 20 {
				w.send(udp(client, uint16(20000+n), "10.0.0.9", uint16(30000+2*n), make([]byte, 172)), second/50)
			}
		}},
		{"datagrams from port 53 that are refused", "[vertical_scan]", func(w *wire) {
			for n := range 30 {
				f := udp(outside, 53, "10.0.0.9", uint16(1024+n), []byte("0123456789ab"))
				w.send(f, second/50)
				w.send(refusal("10.0.0.9", outside, 3, f), second/1000)
			}
		}},
		{"empty datagrams from port 123", "[vertical_scan]", func(w *wire) {
			for n := range 30 {
				w.send(udp(outside, 123, "10.0.0.9", uint16(1024+n), nil), second/50)
			}
		}},
		{"late answers of a name server, whose client is gone", "", func(w *wire) {
			for n := range 30 {
				f := udp(outside, 53, "10.0.0.9", uint16(1024+n), []byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"))
				w.send(f, second)
				w.send(refusal("10.0.0.9", outside, 3, f), second/1000)
			}
		}},
		{"a poller asks eighty devices each minute, ten of them silent", "", func(w *wire) {
			for r := range 5 {
				begin := w.now
				for i := range 80 {
					w.send(udp(client, uint16(20000+100*r+i), host(i), 161, []byte("get")), second/100)
					if i%8 != 0 {
						w.send(udp(host(i), 161, client, uint16(20000+100*r+i), []byte("value")), second/1000)
					}
				}
				w.now = begin + 60*second
			}
		}},
		{"hosts of one network inside, over IPv6, each with one failure", "", func(w *wire) {
			for i := range 20 {
				w.send(syn6(fmt.Sprintf("fd00::%x", 0x100+i), 30000, fmt.Sprintf("fd00::1:%x", i), 22), second)
			}
			w.Advance(w.now + 10*second)
		}},
	} {
		w := newWire(Config{})
		c.run(w)
		got := ""
		if kinds := scansOf(t, w); kinds != nil {
			got = fmt.Sprint(kinds)
		}
		if got != c.want {
			t.Errorf("%s: %q fired, want %q", c.why, got, c.want)
		}
	}
}

// An outage is told once, whoever it hits.
func TestOutage(t *testing.T) {
	w := newWire(Config{})
	for i := range 10 {
		session(w, "10.0.0.7", uint16(30000+i), fmt.Sprintf("203.0.113.%d", i+9), 443, []string{"hello", "hello"}, second)
	}
	for i := range 200 {
		asks(w, fmt.Sprintf("10.0.0.%d", i%20+1), uint16(31000+i), fmt.Sprintf("203.0.112.%d", i+1), 443, false, second)
	}
	if fired := w.fired(t, "outage"); len(fired) != 1 || fired[0].Threat.Severity >= 40 {
		t.Errorf("%d told: %v", len(fired), fired)
	}
	for _, e := range w.records {
		if e.Threat.Type == "horizontal_scan" || e.Threat.Type == "slow_scan" {
			t.Errorf("a scan: %s", e.Message)
		}
	}
}

// What is checked each hour is told once at most, and not again for days, also while
// others scan.
func TestScheduleIsRemembered(t *testing.T) {
	w := newWire(Config{})
	told := 0
	for hour := range 72 {
		begin := w.now
		for i := range 12 {
			asks(w, "10.0.0.7", uint16(20000+100*hour+i), fmt.Sprintf("10.0.1.%d", i+1), 8080, true, second/50)
		}
		for i := range 2000 {
			asks(w, fmt.Sprintf("203.0.%d.%d", hour, i%200+1), 40000, "10.0.0.5", uint16(i), false, second/1000)
		}
		w.Advance(begin + 100*second)
		w.now = begin + 3600*second
	}
	w.fired(t, "")
	for _, e := range w.records {
		if e.Threat.State == "firing" && e.Threat.Offender == "10.0.0.7" {
			told++
		}
	}
	if told > 3 {
		t.Errorf("told %d times", told)
	}
}
