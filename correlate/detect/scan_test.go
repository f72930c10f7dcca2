package detect

import (
	"fmt"
	"testing"

	"vft/capture/packet"
	"vft/event"
)

func TestScans(t *testing.T) {
	const from, to = "203.0.113.9", "10.0.0.5"
	host := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/200, i%200+1) }
	refuse := func(w *wire, host string, port uint16) {
		w.send(tcp(from, 40000, host, port, packet.SYN, 1000, 0, ""), second/100)
		w.send(tcp(host, port, from, 40000, packet.RST|packet.ACK, 0, 1001, ""), second/1000)
	}
	for _, c := range []struct {
		why, kind string
		run       func(w *wire)
		want      int
	}{
		{"four hosts that refuse", "horizontal_scan", func(w *wire) {
			for i := range 4 {
				refuse(w, host(i), 22)
			}
		}, 1},
		{"three hosts that refuse", "horizontal_scan", func(w *wire) {
			for i := range 3 {
				refuse(w, host(i), 22)
			}
		}, 0},
		{"one host that refuses four times", "horizontal_scan", func(w *wire) {
			for range 4 {
				refuse(w, to, 22)
			}
		}, 0},
		{"five hosts that refuse, over a day", "horizontal_scan", func(w *wire) {
			for i := range 5 {
				refuse(w, host(i), 22)
				w.now += 3600 * second
			}
		}, 0},
		{"a crawler meets some hosts that refuse", "horizontal_scan", func(w *wire) {
			for i := range 40 {
				session(w, from, uint16(20000+i), host(i), 443, []string{"hello", "hello"}, second/100)
				if i%5 == 4 {
					refuse(w, host(300+i), 443)
				}
			}
		}, 0},
		{"a balancer checks its ten hosts", "horizontal_scan", func(w *wire) {
			for range 5 {
				for i := range 10 {
					session(w, from, 20000, host(i), 443, nil, second/100)
				}
			}
		}, 0},
		{"hosts that do not answer", "horizontal_scan", func(w *wire) {
			for i := range 4 {
				w.send(tcp(from, 40000, host(i), 22, packet.SYN, 1000, 0, ""), second/10)
			}
			w.Advance(w.now + 5*second)
		}, 1},
		{"accepted and broken off", "horizontal_scan", func(w *wire) {
			for i := range 4 {
				w.send(tcp(from, 40000, host(i), 22, packet.SYN, 1000, 0, ""), second/100)
				w.send(tcp(host(i), 22, from, 40000, packet.SYN|packet.ACK, 9, 1001, ""), second/1000)
				w.send(tcp(from, 40000, host(i), 22, packet.RST, 1001, 0, ""), second/1000)
			}
		}, 1},
		{"fifteen ports at once", "vertical_scan", func(w *wire) {
			for i := range 15 {
				w.send(tcp(from, 40000, to, uint16(100+i), packet.SYN, 1000, 0, ""), second/100000)
			}
		}, 1},
		{"fifteen ports that are used", "vertical_scan", func(w *wire) {
			for i := range 15 {
				session(w, from, 40000, to, uint16(100+i), []string{"a", "b"}, second/100)
			}
		}, 0},
		{"traceroute", "vertical_scan", func(w *wire) {
			for i := range 60 {
				f := udp(from, 40000, to, uint16(33434+i), nil)
				f[14+8] = byte(i/3 + 1)
				w.send(f, second/10)
			}
		}, 0},
		{"answers whose questions were not seen", "vertical_scan", func(w *wire) {
			for i := range 60 {
				w.send(udp(from, 443, to, uint16(40000+i), make([]byte, 50)), second/10)
			}
		}, 0},
	} {
		w := newWire(Config{})
		c.run(w)
		if fired := w.fired(t, c.kind); len(fired) != c.want || c.want == 1 && fired[0].Threat.Offender != from {
			t.Errorf("%s: %d fired", c.why, len(fired))
			for i := range fired {
				t.Log(line(&fired[i]))
			}
		}
	}
}

func TestEpisode(t *testing.T) {
	w := newWire(Config{Off: []string{"flood"}})
	for i := range 600 { // a minute of scanning, then two of silence
		w.send(tcp("203.0.113.9", 40000, "10.0.0.5", uint16(i), packet.SYN, 1000, 0, ""), second/10)
	}
	w.Advance(w.now + 120*second)
	var states []string
	for _, e := range w.records {
		if e.Threat.Type == "vertical_scan" {
			states = append(states, string(e.Threat.State))
		}
	}
	if got, want := fmt.Sprint(states), "[firing updated updated updated updated updated resolved]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	last := w.records[len(w.records)-1]
	if d := last.Threat.Details; d["distinct_ports"] != 600 || len(d["ports"].([]uint16)) != maxPorts || last.Threat.End.Sub(last.Threat.Start).Round(1e9) < 50e9 {
		t.Errorf("%+v", last.Threat)
	}
	counts := map[string]uint64{}
	w.Counts(func(name string, v uint64) { counts[name] += v })
	if counts["threats_fired"] != 1 || counts["threats_updated"] != 5 {
		t.Errorf("%v", counts)
	}
}

// Very many offenders at once are told as one, and counted.
func TestTooManyEpisodes(t *testing.T) {
	w := newWire(Config{})
	for host := range maxEpisodes + 500 {
		for port := range verticalPorts {
			w.send(tcp(fmt.Sprintf("10.1.%d.%d", host/250, host%250+1), 40000, "10.0.0.5", uint16(port+1), packet.SYN, 1, 0, ""), 1000)
		}
	}
	fired := w.fired(t, "vertical_scan")
	if len(fired) < maxEpisodes-5 || len(fired) > maxEpisodes+1 || fired[len(fired)-1].Threat.Offender != "" {
		t.Errorf("%d fired, the last by %q", len(fired), fired[len(fired)-1].Threat.Offender)
	}
	for _, e := range w.records {
		if e.Threat.State == event.Resolved && e.Threat.Offender == "" && e.Threat.Details["count"].(uint64) < 400 {
			t.Errorf("%v", e.Threat.Details)
		}
	}
}
