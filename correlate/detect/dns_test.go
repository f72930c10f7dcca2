package detect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func query(name string, kind uint16, code byte, response bool) []byte {
	b := make([]byte, dnsHeader)
	b[2], b[5] = 1, 1
	if response {
		b[2], b[3] = 0x81, code
	}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0, byte(kind>>8), byte(kind), 0, 1)
}

func TestDNSTunnel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[random.IntN(36)]
		}
		return string(b)
	}
	for _, c := range []struct {
		why     string
		n       int
		name    func(i int) string
		kind    uint16
		missing bool
		domain  any
	}{
		{"an iodine tunnel asks NULL for long random names", 40, func(int) string { return noise(50) + ".t.example.com" }, typeNULL, false, "example.com"},
		{"random names in A questions take more", 150, func(int) string { return noise(40) + ".example.co.uk" }, 1, false, "example.co.uk"},
		{"not so many are seen at a content network", 60, func(int) string { return noise(40) + ".example.net" }, 1, false, nil},
		{"very many names with meaning", 500, func(i int) string { return fmt.Sprintf("host-%d.example.org", i) }, 1, false, nil},
		{"names that do not exist", 150, func(i int) string { return fmt.Sprintf("x%d.example.org", i) }, 1, true, nil},
		{"short labels drawn by lot", 120, func(int) string { return "q7" + noise(16) + "4x.example.com" }, 1, false, "example.com"},
		{"names of a content network", 300, func(int) string { return "d" + noise(13) + ".example.net" }, 1, false, nil},
		{"a block list is asked for addresses", 300, func(i int) string { return fmt.Sprintf("%d.2.0.192.list.example.org", i) }, 1, true, nil},
		{"text records carry data in short names", 45, func(i int) string { return noise(10) + ".t.example.com" }, typeTXT, false, "example.com"},
		{"one name again and again", 500, func(int) string { return "abcdefghijklmnopqrstuvwxyz012345.example.org" }, typeTXT, false, nil},
	} {
		w := newWire(Config{})
		for i := range c.n {
			name := c.name(i)
			w.send(udp("10.0.0.9", uint16(20000+i), "10.0.0.1", portDNS, query(name, c.kind, 0, false)), second/10)
			code := byte(0)
			if c.missing {
				code = codeNonExistent
			}
			w.send(udp("10.0.0.1", portDNS, "10.0.0.9", uint16(20000+i), query(name, c.kind, code, true)), second/100)
		}
		fired := w.fired(t, "dns_tunnel")
		if c.domain == nil && len(fired) == 0 {
			continue
		}
		if len(fired) != 1 || fired[0].Threat.Details["domain"] != c.domain || fired[0].Threat.Offender != "10.0.0.9" {
			t.Errorf("%s: %d fired %+v", c.why, len(fired), fired)
		}
	}
}

func TestRegisteredDomain(t *testing.T) {
	for name, want := range map[string]string{
		"a.b.example.com": "example.com", "example.com": "example.com", "com": "com", "www.bbc.co.uk": "bbc.co.uk", "a.example.de": "example.de", "x.t.co": "t.co",
	} {
		if got := name[registered([]byte(name)):]; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
