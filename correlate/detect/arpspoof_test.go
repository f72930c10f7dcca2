package detect

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestARPSpoof(t *testing.T) {
	const gateway, victim, rogue = 1, 10, 66
	ask := func(w *wire) { w.send(arp(request, victim, "10.0.0.10", 0, "10.0.0.1", all), second) }
	answer := func(w *wire, mac byte) { w.send(arp(reply, mac, "10.0.0.1", victim, "10.0.0.10", victim), second/100) }
	for _, c := range []struct {
		why   string
		cfg   Config
		run   func(w *wire)
		cause any // nil: nothing may fire
	}{
		{"answers that were asked for", Config{}, func(w *wire) {
			for range 10 {
				ask(w)
				answer(w, gateway)
			}
		}, nil},
		{"a host that moved announces itself to all", Config{}, func(w *wire) {
			ask(w)
			answer(w, gateway)
			for range 3 {
				w.send(arp(reply, 99, "10.0.0.1", 99, "10.0.0.1", all), second)
			}
		}, nil},
		{"a host that answers from two cards", Config{}, func(w *wire) {
			for i := range 10 {
				ask(w)
				answer(w, gateway+byte(i%2))
			}
		}, nil},
		{"an unasked reply that changes the MAC", Config{}, func(w *wire) {
			ask(w)
			answer(w, gateway)
			w.send(arp(reply, rogue, "10.0.0.1", victim, "10.0.0.10", victim), 20*second)
		}, "changed"},
		{"unasked replies, the true one unknown", Config{}, func(w *wire) {
			for range 4 {
				w.send(arp(reply, rogue, "10.0.0.1", victim, "10.0.0.10", victim), second)
			}
		}, "unasked_replies"},
		{"two MACs for the gateway", Config{Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, func(w *wire) {
			ask(w)
			answer(w, gateway)
			ask(w)
			answer(w, rogue)
		}, "two_macs"},
	} {
		w := newWire(c.cfg)
		w.send(arp(request, rogue, "10.0.0.66", 0, "10.0.0.10", all), second) // the attacker has an address of its own
		c.run(w)
		fired := w.fired(t, "arp_spoof")
		if c.cause == nil {
			if len(fired) != 0 {
				t.Errorf("%s: %v", c.why, fired[0].Threat.Details)
			}
			continue
		}
		if len(fired) != 1 || fired[0].Threat.Details["reason"] != c.cause || fired[0].Threat.Offender != "10.0.0.66" {
			t.Errorf("%s: %d fired: %+v", c.why, len(fired), fired)
		}
	}
}

func TestARPScan(t *testing.T) {
	for _, c := range []struct {
		why     string
		answers bool
		hosts   int
		want    int
	}{
		{"absent hosts show nothing but requests", false, 30, 1},
		{"hosts that answer are no scan", true, 30, 0},
		{"a few absent hosts are ordinary", false, 15, 0},
	} {
		w := newWire(Config{})
		for i := range c.hosts {
			host := fmt.Sprintf("10.0.0.%d", 100+i)
			w.send(arp(request, 66, "10.0.0.66", 0, host, all), second/1000)
			if c.answers {
				w.send(arp(reply, byte(100+i), host, 66, "10.0.0.66", 66), second/1000)
			}
		}
		if fired := w.fired(t, "host_discovery"); len(fired) != c.want || c.want == 1 && fired[0].Threat.Offender != "10.0.0.66" {
			t.Errorf("%s: %d fired", c.why, len(fired))
		}
	}
}
