package detect

import (
	"fmt"
	"strings"
	"testing"

	"vft/capture/packet"
)

const (
	visitorHost = "203.0.113.9"
	webHost     = "10.0.0.80"
)

// opens makes a connection and returns what sends on it, client or server, after a wait.
func (w *wire) opens(client string, port uint16, server string) (send func(fromClient bool, wait int64, payload string)) {
	seq, ack := uint32(1000), uint32(5000)
	w.send(tcp(client, port, server, 80, packet.SYN, seq, 0, ""), second/1000)
	w.send(tcp(server, 80, client, port, packet.SYN|packet.ACK, ack, seq+1, ""), second/1000)
	seq, ack = seq+1, ack+1
	w.send(tcp(client, port, server, 80, packet.ACK, seq, ack, ""), second/1000)
	return func(fromClient bool, wait int64, payload string) {
		if fromClient {
			w.send(tcp(client, port, server, 80, packet.ACK|packet.PSH, seq, ack, payload), wait)
			seq += uint32(len(payload))
			return
		}
		w.send(tcp(server, 80, client, port, packet.ACK|packet.PSH, ack, seq, payload), wait)
		ack += uint32(len(payload))
	}
}

func TestWebScan(t *testing.T) {
	for _, c := range []struct {
		why    string
		path   func(i int) string
		status func(i int) int
		n      int
		want   int
	}{
		{"a list of paths that are not there", func(i int) string { return fmt.Sprint("/admin", i) }, func(int) int { return 404 }, 60, 1},
		{"paths that are forbidden, some are there", func(i int) string { return fmt.Sprint("/cgi-bin/", i) }, func(i int) int { return 403 - 203*(i%4/3) }, 80, 1},
		{"fewer than the limit", func(i int) string { return fmt.Sprint("/a", i) }, func(int) int { return 404 }, 45, 0},
		{"one path that fails again and again, as a client polls", func(i int) string { return fmt.Sprint("/api/job?try=", i) }, func(int) int { return 404 }, 200, 0},
		{"a crawler: most pages are there", func(i int) string { return fmt.Sprint("/page", i) }, func(i int) int { return 200 + 204*(i%4/3) }, 300, 0},
		{"a crawler while the server is down", func(i int) string { return fmt.Sprint("/page", i) }, func(int) int { return 503 }, 200, 0},
		{"a client whose token ran out", func(i int) string { return fmt.Sprint("/v1/item/", i) }, func(int) int { return 401 }, 200, 0},
		{"a client that is told to slow down", func(i int) string { return fmt.Sprint("/v1/item/", i) }, func(int) int { return 429 }, 200, 0},
	} {
		w := newWire(Config{})
		send := w.opens(visitorHost, 40000, webHost)
		for i := range c.n {
			send(true, second/10, "GET "+c.path(i)+" HTTP/1.1\r\nHost: a\r\n\r\n")
			send(false, second/100, fmt.Sprintf("HTTP/1.1 %d Text\r\nContent-Length: 0\r\n\r\n", c.status(i)))
		}
		got := w.fired(t, "web_scan")
		if len(got) != c.want || c.want > 0 && got[0].Threat.Offender != visitorHost {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

// held opens n connections of one client each and lets drip act on all of them in
// turn, again and again for some seconds.
func held(w *wire, n int, client func(i int) string, request string, rounds int, wait int64, drip func(send func(bool, int64, string), round int)) {
	var sends []func(bool, int64, string)
	for i := range n {
		send := w.opens(client(i), uint16(40000+i), webHost)
		send(true, second/1000, request)
		sends = append(sends, send)
	}
	for round := range rounds {
		w.now += wait
		for _, send := range sends {
			drip(send, round)
		}
	}
}

func TestSlowHTTP(t *testing.T) {
	one := func(int) string { return visitorHost }
	many := func(i int) string { return fmt.Sprintf("203.0.%d.%d", 113+i/200, 1+i%200) }
	half := "GET / HTTP/1.1\r\nHost: a\r\n"
	post := "POST /form HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"
	header := func(send func(bool, int64, string), round int) { send(true, 1000, fmt.Sprintf("X-%d: b\r\n", round)) }
	for _, c := range []struct {
		why     string
		n       int
		client  func(int) string
		request string
		drip    func(send func(bool, int64, string), round int)
		want    int
	}{
		{"headers that never end", 60, one, half, header, 1},
		{"a body that never ends", 60, one, post, func(send func(bool, int64, string), _ int) { send(true, 1000, "abcdefgh=1&") }, 1},
		{"fewer than the limit", 40, one, half, header, 0},
		{"as many devices that each stream a little", 60, many, post, header, 0},
		{"so many of them that it is an attack", 260, many, half, header, 1},
		{"who waits for an answer sends nothing", 200, one, half + "\r\n", func(func(bool, int64, string), int) {}, 0},
		{"a server that answers each part", 60, one, half + "\r\n", func(send func(bool, int64, string), round int) {
			if round == 0 {
				send(false, 1000, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			}
			send(true, 1000, "a websocket's keepalive")
		}, 0},
		{"uploads over a bad line", 60, one, post, func(send func(bool, int64, string), _ int) {
			for range 10 {
				send(true, 1000, strings.Repeat("d", 1300))
			}
		}, 0},
	} {
		w := newWire(Config{})
		held(w, c.n, c.client, c.request, 6, 5*second, c.drip)
		got := w.fired(t, "slow_http")
		if len(got) != c.want || c.want > 0 && c.n < 200 && got[0].Threat.Offender != visitorHost {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

// A client that keeps its window shut, and one that only pauses.
func TestSlowRead(t *testing.T) {
	for _, c := range []struct {
		why   string
		reads uint32 // bytes between two words of a shut window
		want  int
	}{
		{"it takes next to nothing", 20, 1},
		{"it takes a film with pauses", 400_000, 0},
	} {
		w := newWire(Config{})
		for i := range 60 {
			send := w.opens(visitorHost, uint16(40000+i), webHost)
			send(true, second/1000, "GET /film HTTP/1.1\r\nHost: a\r\n\r\n")
			send(false, second/1000, "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
		}
		for round := range uint32(5) {
			w.now += 5 * second
			for i := range 60 {
				b := tcp(visitorHost, uint16(40000+i), webHost, 80, packet.ACK, 1031, 5100+round*c.reads, "")
				b[14+20+14], b[14+20+15] = 0, 0 // window
				w.send(b, 1000)
			}
		}
		if got := w.fired(t, "slow_http"); len(got) != c.want {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

func TestHTTPFlood(t *testing.T) {
	type load struct {
		seconds, rate int
		client, path  func(i int) string
		reuse         bool // one connection for each client that was there before
	}
	same := func(s string) func(int) string { return func(int) string { return s } }
	spread := func(i int) string { return fmt.Sprintf("198.51.100.%d", 1+i%100) }
	paths := func(i int) string { return fmt.Sprint("/", i%97) }
	for _, c := range []struct {
		why   string
		loads []load
		want  int
	}{
		{"one client asks for one thing 400 times a second", []load{{8, 400, same(visitorHost), same("/"), false}}, 1},
		{"far beyond the usual of the server, from many", []load{{90, 10, spread, paths, false}, {5, 400, spread, paths, false}}, 1},
		{"a busy server", []load{{30, 400, spread, paths, false}}, 0},
		{"a proxy in front of a server asks for many things", []load{{30, 400, same("10.0.0.3"), paths, false}}, 0},
		{"a proxy that was there before the capture", []load{{30, 400, same("10.0.0.3"), same("/api"), true}}, 0},
		{"a page of many parts", []load{{1, 250, same(visitorHost), paths, false}}, 0},
		{"traffic that grows over the day", []load{{70, 50, spread, paths, false}, {60, 120, spread, paths, false}, {60, 220, spread, paths, false}}, 0},
	} {
		w, n := newWire(Config{}), 0
		for _, l := range c.loads {
			for range l.seconds * l.rate {
				n++
				if !l.reuse {
					w.send(tcp(l.client(n), uint16(20000+n%20000), webHost, 80, packet.SYN, uint32(n), 0, ""), 1)
				}
				w.send(tcp(l.client(n), uint16(20000+n%20000), webHost, 80, packet.ACK|packet.PSH, uint32(n)+1, 1, "GET "+l.path(n)+" HTTP/1.1\r\n\r\n"), second/int64(l.rate))
			}
		}
		if got := w.fired(t, "http_flood"); len(got) != c.want {
			t.Errorf("%s: %d fired, want %d", c.why, len(got), c.want)
		}
	}
}

// What is no HTTP, or what nothing is found in, allocates nothing.
func TestWebAllocatesNothing(t *testing.T) {
	d := New(Config{})
	w := &wire{Detections: d}
	frames := [][]byte{
		tcp(visitorHost, 1, webHost, 80, packet.ACK, 1, 1, "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"),
		tcp(webHost, 80, visitorHost, 1, packet.ACK, 1, 1, "HTTP/1.1 404 Not Found\r\n\r\n"),
		tcp(visitorHost, 2, webHost, 443, packet.ACK, 1, 1, strings.Repeat("x", 1000)),
	}
	now := start
	allocs := testing.AllocsPerRun(1000, func() {
		for _, f := range frames {
			now += second / 1000
			w.p.Decode(packet.LinkEthernet, f, len(f))
			d.Packet(&w.p, 0, now)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
