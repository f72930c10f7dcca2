package detect

import (
	"time"

	"vft/capture/packet"
	"vft/event"
)

// DHCP starvation: questions of many made-up clients, until the server has no
// address left (Yersinia, dhcpstarv, gobbler). Real clients that come at once, after
// an outage or in a lecture, take what they are offered; made-up ones ask and are
// gone, or one machine speaks for all of them.
const (
	starveClients     = 100 // distinct ones, fewer than half of which go on to ask for what was offered
	starveOneMachine  = 20  // distinct ones that one machine speaks for
	starveFinishing   = 500 // distinct ones of as many makers, though they take what they are offered
	starveWindow      = 60 * time.Second
	severityStarve    = 60
	starveQuiet       = 60 * second
	dhcpHardware      = 28 // offset of the client's hardware address in a message (RFC 2131 section 2)
	dhcpRelay         = 24 // of the relay's address
	dhcpMessageType   = 53
	dhcpDiscover      = 1
	dhcpRequest       = 3
	bootpRequest      = 1
	maxStarveMachines = 256
)

// machine is a MAC that speaks for other clients.
type machine struct {
	mac     [6]byte
	clients sketchSmall
	n       int
}

// sketchSmall tells some hundred hashes apart.
type sketchSmall [16]uint64

func (s *sketchSmall) add(hash uint64) bool {
	bit := hash % (16 * 64)
	if s[bit/64]>>(bit%64)&1 == 1 {
		return false
	}
	s[bit/64] |= 1 << (bit % 64)
	return true
}

type dhcpStarvation struct {
	hash      hasher
	episodes  *episodes
	begin     int64
	asked     sketch
	requested sketch
	makers    sketch
	clients   int
	finished  int
	oui       int
	machines  *cache[machine]
}

func newDHCPStarvation(h hasher, e *episodes) *dhcpStarvation {
	return &dhcpStarvation{hash: h, episodes: e, machines: newCache[machine](maxStarveMachines)}
}

// packet takes a datagram of a DHCP client.
func (s *dhcpStarvation) packet(p *packet.Parsed, now int64) {
	b := p.Payload()
	kind := clientMessage(b)
	if kind != dhcpDiscover && kind != dhcpRequest {
		return
	}
	if now-s.begin >= int64(starveWindow) {
		s.begin, s.clients, s.finished, s.oui = now, 0, 0, 0
		s.asked, s.requested, s.makers = sketch{}, sketch{}, sketch{}
	}
	mac := [6]byte(b[dhcpHardware:])
	x := fold(macNumber(mac)^s.hash.a, s.hash.c)
	if kind == dhcpRequest {
		if s.requested.add(x) {
			s.finished++
		}
		return
	}
	if s.asked.add(x) {
		s.clients++
		if s.makers.add(fold(macNumber(mac)>>24^s.hash.b, s.hash.a)) {
			s.oui++
		}
	}
	if p.HasMAC && p.SrcMAC != mac && be32(b[dhcpRelay:]) == 0 {
		s.forOther(p, x, now)
	}
	switch {
	case s.clients >= starveClients && 2*s.finished < s.clients:
		s.report(p, s.clients, starveClients, [6]byte{}, now)
	case s.clients >= starveFinishing && 2*s.oui >= s.clients:
		s.report(p, s.clients, starveFinishing, [6]byte{}, now)
	}
}

// clientMessage returns the kind of a client's message, 0 when b is none.
func clientMessage(b []byte) uint8 {
	if len(b) < bootpHeader+4 || b[0] != bootpRequest || be32(b[bootpHeader:]) != dhcpMagic {
		return 0
	}
	for b = b[bootpHeader+4:]; len(b) >= 2 && b[0] != 255; {
		if b[0] == 0 { // padding
			b = b[1:]
			continue
		}
		size := int(b[1])
		if size+2 > len(b) {
			return 0
		}
		if b[0] == dhcpMessageType && size == 1 {
			return b[2]
		}
		b = b[2+size:]
	}
	return 0
}

// forOther takes a question of a machine for a client with another MAC, which is no
// relay's.
func (s *dhcpStarvation) forOther(p *packet.Parsed, client uint64, now int64) {
	m, fresh := s.machines.get(s.hash.of(packet.Addr{Lo: macNumber(p.SrcMAC)}, packet.Addr{}, 24<<32|uint64(s.begin/second)&0xffff), now)
	if fresh {
		*m = machine{mac: p.SrcMAC}
	}
	if m.clients.add(client) {
		m.n++
	}
	if m.n >= starveOneMachine {
		s.report(p, m.n, starveOneMachine, m.mac, now)
	}
}

func (s *dhcpStarvation) report(p *packet.Parsed, n, threshold int, mac [6]byte, now int64) {
	f := &finding{
		kind: "dhcp_starvation", sensor: "dhcp_starvation", anyone: true, spoofed: true, transport: "udp", severity: severityStarve, evidence: event.E2, port: portDHCPServer, hasPort: true,
		value: float64(n), threshold: float64(threshold), unit: "clients", window: starveWindow, memory: starveQuiet, more: []detail{{"finished", s.finished}},
	}
	if mac != ([6]byte{}) {
		f.anyone, f.spoofed, f.name = false, false, macText(mac)
	}
	s.episodes.note(f, now)
}

func (s *dhcpStarvation) counts(yield func(string, uint64)) {
	yield("dhcp_machines_evicted", s.machines.evicted)
}
