package detect

import (
	"time"

	"vft/capture/packet"
)

// Amplification: replies from services that answer with more than they were
// asked, at a host that did not ask. Either the host sent no requests to speak
// of, or the replies are very many and ten times the size of its requests.
const (
	maxReflected     = 1 << 11
	reflectedBytes   = 50_000    // a second, without requests
	reflectedMore    = 1_000_000 // a second, with requests
	reflectedRatio   = 10
	severityReflect  = 70
	reflectedThrough = 64 // packets between two looks
)

// reflects reports whether the service on a port is known to amplify.
func reflects(port uint16) bool {
	switch port {
	case 17, 19, 53, 111, 123, 137, 161, 389, 1900, 3702, 5353, 10001, 11211:
		return true
	}
	return false
}

// reflected is what one host got from one service in one second.
type reflected struct {
	second          int64
	bytes, asked    uint64
	packets, orders uint32
	last            packet.Addr
	distinct        bool
}

type amplification struct {
	hash     hasher
	episodes *episodes
	victims  *cache[reflected]
}

func newAmplification(h hasher, e *episodes) *amplification {
	return &amplification{hash: h, episodes: e, victims: newCache[reflected](maxReflected)}
}

// packet counts a UDP packet that comes from such a service or goes to one.
func (a *amplification) packet(p *packet.Parsed, now int64) {
	from, to := reflects(p.SrcPort), reflects(p.DstPort)
	switch {
	case from && !to && !many(p.Dst):
		r := a.victim(p.Dst, p.SrcPort, now)
		if r.packets > 0 && r.last != p.Src {
			r.distinct = true
		}
		r.bytes += uint64(p.Wire)
		r.packets++
		r.last = p.Src
		if r.bytes >= reflectedBytes && r.packets%reflectedThrough == 0 {
			a.judge(p, r, now)
		}
	case to && !from:
		r := a.victim(p.Src, p.DstPort, now)
		r.asked += uint64(p.Wire)
		r.orders++
	}
}

func (a *amplification) victim(host packet.Addr, port uint16, now int64) *reflected {
	r, _ := a.victims.get(a.hash.of(host, packet.Addr{}, 6<<32|uint64(port)), now)
	if sec := now / second; r.second != sec {
		*r = reflected{second: sec}
	}
	return r
}

func (a *amplification) judge(p *packet.Parsed, r *reflected, now int64) {
	ratio := float64(r.bytes) / float64(max(r.asked, 1))
	unasked := r.packets > reflectedRatio*r.orders
	if ratio <= reflectedRatio || !unasked && r.bytes < reflectedMore {
		return
	}
	a.episodes.note(&finding{
		kind: "amplification", sensor: "amplification", key: p.Dst.String(), anyone: true, offender: p.Src, spoofed: r.distinct, scan: "udp", transport: "udp", severity: severityReflect,
		target: p.Dst, port: p.SrcPort, hasPort: true, count: reflectedThrough, value: min(ratio, 1e6), threshold: reflectedRatio, window: time.Second, memory: floodQuiet,
		more: []detail{{"bytes", r.bytes}, {"requests", r.orders}, {"source_port", p.SrcPort}},
	}, now)
}

// amplified is what the episode of a host is known by.
func amplified(host packet.Addr) *finding {
	return &finding{kind: "amplification", key: host.String(), anyone: true}
}

func (a *amplification) counts(yield func(string, uint64)) {
	yield("amplification_hosts_evicted", a.victims.evicted)
}
