package detect

import (
	"time"

	"vft/capture/packet"
	"vft/event"
)

// MAC flood: frames of many source MACs, to fill the table of a switch until it sends
// everything everywhere (macof, yersinia). Such MACs are drawn by lot: they come
// once, and hardly two are of one maker. The hosts of a large network are of few
// makers, or come again.
const (
	floodMACs        = 256  // distinct ones
	floodAtOnce      = 1024 // so many are told before the window is over
	macWindow        = 10 * time.Second
	macAgain         = 5       // of so many, at most one comes with a second flow
	macMakers        = 2       // of so many, at least one is of another maker than all before it
	macBits          = 1 << 14 // of each sketch
	severityMACFlood = 60
	macFloodQuiet    = 60 * second
)

// sketch is a set of hashes that forgets which they were.
type sketch [macBits / 64]uint64

// add reports whether a hash is new.
func (s *sketch) add(hash uint64) bool {
	bit := hash % macBits
	if s[bit/64]>>(bit%64)&1 == 1 {
		return false
	}
	s[bit/64] |= 1 << (bit % 64)
	return true
}

type macFlood struct {
	hash     hasher
	episodes *episodes
	begin    int64
	macs     sketch
	again    sketch
	makers   sketch
	distinct int
	repeated int
	oui      int
	latest   [6]byte // most flows begin with the MAC of the one before
}

func newMACFlood(h hasher, e *episodes) *macFlood { return &macFlood{hash: h, episodes: e} }

// frame takes a frame that begins something: a flow, or one without flows.
func (m *macFlood) frame(p *packet.Parsed, now int64) {
	if p.SrcMAC == m.latest && now-m.begin < int64(macWindow) {
		return
	}
	if p.Transport == packet.UDP && (p.DstPort == portDHCPServer || p.DstPort == portDHCPClient) {
		return // many clients of DHCP are an attack of its own
	}
	if now-m.begin >= int64(macWindow) {
		m.judge(now, floodMACs)
		m.begin, m.distinct, m.repeated, m.oui = now, 0, 0, 0
		m.macs, m.again, m.makers = sketch{}, sketch{}, sketch{}
	}
	m.latest = p.SrcMAC
	number := macNumber(p.SrcMAC)
	x := fold(number^m.hash.a, m.hash.b)
	if !m.macs.add(x) {
		if m.again.add(x) {
			m.repeated++
		}
		return
	}
	m.distinct++
	if m.makers.add(fold(number>>24^m.hash.b, m.hash.c)) {
		m.oui++
	}
	if m.distinct%floodAtOnce == 0 {
		m.judge(now, floodAtOnce)
	}
}

// close judges the window that was not over.
func (m *macFlood) close(now int64) { m.judge(now, floodMACs) }

// judge tells of the window that runs when it has so many MACs, and few of them again.
func (m *macFlood) judge(now int64, least int) {
	if m.distinct < least || m.distinct < macAgain*m.repeated || macMakers*m.oui < m.distinct {
		return
	}
	m.episodes.note(&finding{
		kind: "mac_flood", sensor: "mac_flood", anyone: true, spoofed: true, severity: severityMACFlood, evidence: event.E2,
		value: float64(m.distinct), threshold: floodMACs, unit: "MACs", window: macWindow, memory: macFloodQuiet, more: []detail{{"latest", macText(m.latest)}, {"makers", m.oui}},
	}, now)
}
