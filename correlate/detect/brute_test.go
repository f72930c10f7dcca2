package detect

import (
	"encoding/binary"
	"fmt"
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

// smbAnswer is the answer to a request for an SMB session.
func smbAnswer(status uint32) string {
	b := make([]byte, 80)
	copy(b[4:], "\xfeSMB")
	binary.LittleEndian.PutUint32(b[12:], status)
	b[16] = 1
	return string(b)
}

// Four guesses each from many addresses are told of the target.
func TestGuessesFromManyAddresses(t *testing.T) {
	w := newWire(Config{})
	for i := range 40 {
		session(w, fmt.Sprintf("198.51.100.%d", i+1), 30000, "10.0.0.5", 22, []string{strings.Repeat("x", 22), "SSH-2.0-x", strings.Repeat("x", 1500), strings.Repeat("x", 1100), "xx", strings.Repeat("x", 52)}, second)
	}
	fired := w.fired(t, "brute_force")
	if len(fired) != 1 || fired[0].Threat.Offender != "" || fired[0].Threat.Details["spoofed"] != true {
		t.Errorf("%v", fired)
	}
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
		{"SSH on another port, known by its banner, refused each time", 12, 902, func(int) []string {
			return []string{"SSH-2.0-client\r\n", "SSH-2.0-server\r\n", text(1200), text(1100), text(300), text(52), text(120), text(52)}
		}, second / 10, 0},
		{"and often", 25, 902, func(int) []string {
			return []string{"SSH-2.0-client\r\n", "SSH-2.0-server\r\n", text(1200), text(1100), text(300), text(52), text(120), text(52)}
		}, second / 10, 1},
		{"automation that is let in each time", 60, 22, func(int) []string {
			return []string{text(22), text(40), text(1500), text(1100), text(1000), text(500), text(700), text(600), text(300), text(400), text(100), text(120)}
		}, second / 100, 0},
		{"who only asks for the keys of a host", 60, 22, func(int) []string { return []string{text(22), text(40), text(1500), text(1100), text(700), text(1500)} }, second / 100, 0},
		{"one refused each 40 seconds", 25, 22, func(int) []string {
			return []string{text(22), text(40), text(1200), text(1100), text(300), text(52), text(120), text(52)}
		}, 5 * second, 1},
		{"SMB sessions that succeed", 40, 445, func(int) []string { return []string{text(100), smbAnswer(0)} }, second / 10, 0},
		{"SMB sessions that are refused", 25, 445, func(int) []string { return []string{text(100), smbAnswer(0xc000006d)} }, second / 10, 1},
		{"a stranger at a database", 25, 3306, func(int) []string { return []string{text(90), text(60)} }, second / 10, 1},
		{"FTP sessions that are let in", 25, 21, func(int) []string { return []string{"USER bob\r\n", "331 \r\n", "PASS x\r\n", "230 welcome\r\n"} }, second / 10, 0},
		{"a person who guesses takes longer", 3, 22, func(int) []string {
			return []string{text(20), text(1000), text(900), text(500), text(60), text(76), text(76), text(76), text(76), text(76)}
		}, second, 0},
	} {
		w := newWire(Config{})
		for i := range c.sessions {
			session(w, "203.0.113.9", uint16(30000+i), "10.0.0.5", c.service, c.says(i), c.wait)
		}
		if fired := w.fired(t, "brute_force"); len(fired) != c.want || c.want > 0 && fired[0].Threat.Offender != "203.0.113.9" {
			t.Errorf("%s: %d fired", c.why, len(fired))
		}
	}
}
