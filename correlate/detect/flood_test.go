package detect

import (
	"fmt"
	"testing"

	"vft/capture/packet"
)

func TestFloods(t *testing.T) {
	const from, to = "203.0.113.9", "10.0.0.5"
	for _, c := range []struct {
		why, kind string
		run       func(w *wire)
		want      int
	}{
		{"a busy server completes what it accepts", "syn_flood", func(w *wire) {
			for i := range 2000 {
				session(w, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1), 40000, to, 443, []string{"a", "b"}, second/10000)
			}
		}, 0},
		{"half-open connections", "syn_flood", func(w *wire) {
			for i := range 2000 {
				w.send(tcp(fmt.Sprintf("203.1.%d.%d", i/250, i%250+1), 40000, to, 443, packet.SYN, 1, 0, ""), second/1000)
			}
		}, 1},
		{"a video stream is one way, and one flow", "udp_flood", func(w *wire) {
			for range 5000 {
				w.send(udp(from, 5000, to, 6000, make([]byte, 1000)), second/1000)
			}
		}, 0},
		{"one flow of very many packets", "udp_flood", func(w *wire) {
			for range 100000 {
				w.send(udp(from, 5000, to, 6000, make([]byte, 10)), second/50000)
			}
		}, 1},
		{"a busy resolver answers", "udp_flood", func(w *wire) {
			for i := range 5000 {
				w.send(udp(fmt.Sprintf("10.1.%d.%d", i/250, i%250+1), 40000, to, portDNS, make([]byte, 30)), second/5000)
				w.send(udp(to, portDNS, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1), 40000, make([]byte, 60)), 10)
			}
		}, 0},
		{"one flow of ACK segments to nobody", "tcp_flood", func(w *wire) {
			for range 100000 {
				w.send(tcp(from, 40000, to, 80, packet.ACK, 1, 1, ""), second/50000)
			}
		}, 1},
		{"replies that were not asked for", "amplification", func(w *wire) {
			for i := range 1000 {
				w.send(udp(fmt.Sprintf("8.8.%d.%d", i/250, i%250+1), 123, to, 80, make([]byte, 468)), second/1000)
			}
		}, 1},
		{"large answers to one's own questions", "amplification", func(w *wire) {
			for i := range 1000 {
				w.send(udp(to, uint16(20000+i), "8.8.8.8", portDNS, make([]byte, 40)), second/2000)
				w.send(udp("8.8.8.8", portDNS, to, uint16(20000+i), make([]byte, 800)), second/2000)
			}
		}, 0},
		{"multicast is for many", "udp_flood", func(w *wire) {
			for range 100000 {
				w.send(udp(from, 5000, "239.1.1.1", 6000, make([]byte, 10)), second/50000)
			}
		}, 0},
	} {
		w := newWire(Config{})
		c.run(w)
		if fired := w.fired(t, c.kind); len(fired) != c.want || c.want == 1 && fired[0].Threat.Details["attacked_hosts"].([]string)[0] != to {
			t.Errorf("%s: %d fired %v", c.why, len(fired), fired)
		}
	}
}
