package detect

import (
	"strings"
	"testing"

	"vft/capture/packet"
)

// session is one TCP connection: handshake, what both say in turn, and the end.
func session(w *wire, client string, port uint16, server string, service uint16, says []string, wait int64) {
	const ack, psh = packet.ACK, packet.PSH | packet.ACK
	c, s := uint32(1000), uint32(5000)
	w.send(tcp(client, port, server, service, packet.SYN, c, 0, ""), wait)
	w.send(tcp(server, service, client, port, packet.SYN|ack, s, c+1, ""), wait)
	c, s = c+1, s+1
	w.send(tcp(client, port, server, service, ack, c, s, ""), wait)
	for i, text := range says {
		if i%2 == 0 {
			w.send(tcp(client, port, server, service, psh, c, s, text), wait)
			c += uint32(len(text))
		} else {
			w.send(tcp(server, service, client, port, psh, s, c, text), wait)
			s += uint32(len(text))
		}
	}
	w.send(tcp(client, port, server, service, packet.FIN|ack, c, s, ""), wait)
	w.send(tcp(server, service, client, port, packet.FIN|ack, s, c+1, ""), wait)
}

func TestBruteForce(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	guess := []string{text(20), text(100), text(60), text(30)}
	for _, c := range []struct {
		why      string
		sessions int
		service  uint16
		says     func(i int) []string
		wait     int64
		want     int
	}{
		{"25 short sessions that are alike", 25, 3389, func(int) []string { return guess }, second / 10, 1},
		{"19 are too few", 19, 3389, func(int) []string { return guess }, second / 10, 0},
		{"another service", 40, 443, func(int) []string { return guess }, second / 10, 0},
		{"sessions that have nothing in common", 40, 445, func(i int) []string { return []string{text(10 << (i % 9)), text(1)} }, second / 10, 0},
		{"long sessions", 40, 22, func(int) []string { return []string{text(1400), text(1400), text(1400), text(8000)} }, second / 10, 0},
		{"three SSH sessions with six passwords each, at once", 3, 22, func(int) []string {
			return []string{text(20), text(1000), text(900), text(500), text(60), text(76), text(76), text(76), text(76), text(76), text(76), text(76), text(76), text(76)}
		}, second / 1000, 1},
		{"a person who guesses takes longer", 3, 22, func(int) []string {
			return []string{text(20), text(1000), text(900), text(500), text(60), text(76), text(76), text(76), text(76), text(76)}
		}, second, 0},
	} {
		w := newWire(Config{})
		for i := range c.sessions {
			session(w, "203.0.113.9", uint16(30000+i), "10.0.0.5", c.service, c.says(i), c.wait)
		}
		if fired := w.fired(t, "brute_force"); len(fired) != c.want || c.want == 1 && fired[0].Threat.Offender != "203.0.113.9" {
			t.Errorf("%s: %d fired", c.why, len(fired))
		}
	}
}
