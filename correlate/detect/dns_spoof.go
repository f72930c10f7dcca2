package detect

import (
	"time"

	"vft/capture/packet"
	"vft/event"
)

// DNS spoofing: two answers to one question that tell other addresses. Who forges an
// answer cannot keep the real one from coming too. A question that was sent twice may
// be answered twice, and differently: by servers that deal their addresses in turn.
const (
	maxQueries       = 1 << 12
	spoofDNSWindow   = 10 * time.Second
	severityDNSSpoof = 70
	dnsSpoofQuiet    = 300 * second
	maxAnswerRecords = 32
)

// dnsQuery is a question and its first answer.
type dnsQuery struct {
	at      int64
	sum     uint64      // of the addresses in the first answer, in any order
	first   packet.Addr // of them, the first
	mac     [6]byte     // of the frame that brought it
	asked   uint8
	answers uint8
	code    uint8
	ttl     uint8
}

type dnsSpoof struct {
	hash     hasher
	episodes *episodes
	home     home
	spoof    *arpSpoof
	queries  *cache[dnsQuery]
	buffer   [maxName + 1]byte
}

func newDNSSpoof(h hasher, e *episodes, inside home, s *arpSpoof) *dnsSpoof {
	return &dnsSpoof{hash: h, episodes: e, home: inside, spoof: s, queries: newCache[dnsQuery](maxQueries)}
}

// packet takes a datagram to or from port 53.
func (s *dnsSpoof) packet(p *packet.Parsed, now int64) {
	b := p.Payload()
	if len(b) < dnsHeader || be16(b[4:]) != 1 || b[2]&0x78 != 0 {
		return
	}
	const response, truncated = 0x80, 2
	if b[2]&response == 0 {
		if p.DstPort == portDNS {
			s.asked(p, b, now)
		}
		return
	}
	if code := b[3] & 15; p.SrcPort == portDNS && b[2]&truncated == 0 && (code == 0 || code == codeNonExistent) {
		s.answered(p, b, code, now)
	}
}

// key names a question: who asks whom, from which port, with which number.
func (s *dnsSpoof) key(client, server packet.Addr, port uint16, b []byte) uint64 {
	return s.hash.of(client, server, 26<<32|uint64(port)<<16|uint64(be16(b)))
}

func (s *dnsSpoof) asked(p *packet.Parsed, b []byte, now int64) {
	q, fresh := s.queries.get(s.key(p.Src, p.Dst, p.SrcPort, b), now)
	if fresh || now-q.at > int64(spoofDNSWindow) {
		*q = dnsQuery{}
	}
	q.at = now
	q.asked = bump(q.asked)
}

func (s *dnsSpoof) answered(p *packet.Parsed, b []byte, code uint8, now int64) {
	q := s.queries.find(s.key(p.Dst, p.Src, p.DstPort, b), now)
	if q == nil || q.asked != 1 || now-q.at > int64(spoofDNSWindow) {
		return
	}
	sum, first := s.addresses(b)
	if q.answers = bump(q.answers); q.answers == 1 {
		q.sum, q.first, q.mac, q.code, q.ttl = sum, first, p.SrcMAC, code, p.TTL
		return
	}
	if q.sum == sum && q.code == code || q.sum == 0 && sum == 0 || q.code == 0 && q.sum == 0 || code == 0 && sum == 0 {
		return // the same, or one of them tells no address
	}
	s.report(p, q, first, b, now)
}

// addresses returns the sum of the hashes of all addresses in an answer, 0 when
// there are none, and the first of them.
func (s *dnsSpoof) addresses(b []byte) (sum uint64, first packet.Addr) {
	r := records{message: b, at: dnsHeader, questions: 1, left: min(int(be16(b[6:])), maxAnswerRecords)}
	for {
		_, kind, data, ok := r.next(s.buffer[:])
		if !ok {
			return sum, first
		}
		if kind == typeA && len(data) == 4 || kind == typeAAAA && len(data) == 16 {
			if sum == 0 && len(data) == 4 {
				first = packet.Addr4(be32(data))
			} else if sum == 0 {
				first = addr6(data)
			}
			sum += s.hash.bytes(data)
		}
	}
}

func (s *dnsSpoof) report(p *packet.Parsed, q *dnsQuery, second packet.Addr, b []byte, now int64) {
	name, _, _ := readName(b, dnsHeader, s.buffer[:])
	f := &finding{
		kind: "dns_spoof", sensor: "dns_spoof", anyone: true, spoofed: true, transport: "udp", severity: severityDNSSpoof, evidence: event.E2, key: p.Dst.String(), target: p.Dst, port: portDNS, hasPort: true,
		value: 2, threshold: 2, unit: "answers", window: spoofDNSWindow, memory: dnsSpoofQuiet,
		more: []detail{{"name", printable(name)}, {"server", p.Src.String()}, {"first_answer", addressText(q.first)}, {"second_answer", addressText(second)}, {"ttls", []int{int(q.ttl), int(p.TTL)}}},
	}
	if offender, ok := s.forger(p, q, now); ok {
		f.offender, f.anyone, f.spoofed = offender, false, false
	}
	s.episodes.note(f, now)
}

func addressText(a packet.Addr) string {
	if a == (packet.Addr{}) {
		return "none"
	}
	return a.String()
}

// forger returns who sent the forged answer, which is the first: one that comes second
// is not heard. It is the holder of the MAC that the answer came from, if that is not
// the other's; else the host inside to which the answer leads.
func (s *dnsSpoof) forger(p *packet.Parsed, q *dnsQuery, now int64) (packet.Addr, bool) {
	if p.HasMAC && q.mac != p.SrcMAC {
		if owner, ok := s.spoof.owner(q.mac, now); ok && owner != p.Src && owner != p.Dst {
			return owner, true
		}
	}
	if q.first != (packet.Addr{}) && q.first != p.Dst && q.first != p.Src && s.home.has(q.first) {
		return q.first, true
	}
	return packet.Addr{}, false
}

func (s *dnsSpoof) counts(yield func(string, uint64)) {
	yield("dns_queries_evicted", s.queries.evicted)
}
