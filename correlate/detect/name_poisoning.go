package detect

import (
	"bytes"
	"time"

	"vft/capture/packet"
	"vft/event"
)

// Name poisoning: one host answers for whatever name is asked by LLMNR (RFC 4795),
// NetBIOS (RFC 1002) or multicast DNS (RFC 6762), to be sent the passwords that are
// meant for others (Responder, Inveigh). A host answers for its own name, by NetBIOS
// also for its groups, by multicast DNS for some aliases. A WINS server tells other
// addresses than its own. Nobody is rightly called wpad by these.
const (
	poisonedNames    = 2 // distinct, by LLMNR
	poisonedNetBIOS  = 3
	poisonedMDNS     = 12
	poisonWindow     = 10 * time.Minute
	maxResponders    = 1 << 10
	severityPoison   = 70
	poisonQuiet      = 300 * second
	portNBNS         = 137
	portMDNS         = 5353
	portLLMNR        = 5355
	typeA            = 1
	typeAAAA         = 28
	typeNB           = 32
	netBIOSName      = 15 // characters of a name; the 16th says what it is for
	netBIOSGroup     = 0x8000
	maxPoisonAnswers = 16 // records of one answer that are read
)

// responder is a host that answers for names.
type responder struct {
	begin int64
	names [3]sketchTiny // by LLMNR, NetBIOS and multicast DNS
}

// sketchTiny is up to poisonedMDNS hashes.
type sketchTiny struct {
	n    uint8
	list [poisonedMDNS]uint32
}

func (s *sketchTiny) add(hash uint32) int {
	for _, h := range s.list[:s.n] {
		if h == hash {
			return int(s.n)
		}
	}
	if int(s.n) < len(s.list) {
		s.list[s.n] = hash
		s.n++
	}
	return int(s.n)
}

type namePoisoning struct {
	hash       hasher
	episodes   *episodes
	responders *cache[responder]
	buffer     [maxName + 1]byte
}

func newNamePoisoning(h hasher, e *episodes) *namePoisoning {
	return &namePoisoning{hash: h, episodes: e, responders: newCache[responder](maxResponders)}
}

// poisonSpec is what a protocol allows.
var poisonSpecs = [...]struct {
	scan  string
	names int
}{{"llmnr", poisonedNames}, {"nbns", poisonedNetBIOS}, {"mdns", poisonedMDNS}}

// packet takes a datagram from a port of one of the protocols.
func (n *namePoisoning) packet(p *packet.Parsed, now int64) {
	protocol := 0
	switch p.SrcPort {
	case portNBNS:
		protocol = 1
	case portMDNS:
		protocol = 2
	}
	b := p.Payload()
	const response, answers = 0x80, 6
	if len(b) < dnsHeader || b[2]&response == 0 || b[3]&15 != 0 || be16(b[answers:]) == 0 {
		return
	}
	records := records{message: b, at: dnsHeader, questions: int(be16(b[4:])), left: min(int(be16(b[answers:])), maxPoisonAnswers)}
	for {
		name, kind, data, ok := records.next(n.buffer[:])
		if !ok {
			return
		}
		if tellsSender(kind, data, p.Src) {
			n.answered(p, protocol, name, now)
		}
	}
}

// tellsSender reports whether a record tells the address of its sender.
func tellsSender(kind uint16, data []byte, src packet.Addr) bool {
	switch {
	case kind == typeA && len(data) == 4:
		return packet.Addr4(be32(data)) == src
	case kind == typeAAAA && len(data) == 16:
		return addr6(data) == src
	case kind == typeNB && len(data) >= 6:
		return be16(data)&netBIOSGroup == 0 && packet.Addr4(be32(data[2:])) == src
	}
	return false
}

func (n *namePoisoning) answered(p *packet.Parsed, protocol int, name []byte, now int64) {
	if protocol == 1 {
		name = netBIOS(name)
	}
	name, _, _ = bytes.Cut(name, []byte{'.'})
	if len(name) == 0 {
		return
	}
	r, fresh := n.responders.get(n.hash.of(p.Src, packet.Addr{}, 25<<32), now)
	if fresh || now-r.begin > int64(poisonWindow) {
		*r = responder{begin: now}
	}
	spec := poisonSpecs[protocol]
	count := r.names[protocol].add(uint32(n.hash.bytes(name) >> 32))
	if count < spec.names && string(name) != "wpad" {
		return
	}
	n.episodes.note(&finding{
		kind: "name_poisoning", sensor: "name_poisoning", offender: p.Src, scan: spec.scan, transport: "udp", severity: severityPoison, evidence: event.E2, target: victimOf(p), port: p.SrcPort, hasPort: true,
		value: float64(count), threshold: float64(spec.names), unit: "names", window: poisonWindow, memory: poisonQuiet, more: []detail{{"name", printable(name)}, {"mac", macText(p.SrcMAC)}},
	}, now)
}

// victimOf is the host that an answer goes to; none when it goes to all.
func victimOf(p *packet.Parsed) packet.Addr {
	if many(p.Dst) {
		return packet.Addr{}
	}
	return p.Dst
}

// netBIOS decodes a first-level encoded name (RFC 1001 section 14.1) in place, and
// leaves out its padding and what it is for.
func netBIOS(name []byte) []byte {
	if len(name) < 2*netBIOSName {
		return nil
	}
	for i := range netBIOSName {
		name[i] = (name[2*i]-'a')<<4 | (name[2*i+1]-'a')&15
		if 'A' <= name[i] && name[i] <= 'Z' {
			name[i] += 'a' - 'A'
		}
	}
	return bytes.TrimRight(name[:netBIOSName], " \x00")
}

// records walks through the answers of a DNS message.
type records struct {
	message   []byte
	at        int
	questions int
	left      int
}

// next returns the next record that can be read. name is in buffer, lower case.
func (r *records) next(buffer []byte) (name []byte, kind uint16, data []byte, ok bool) {
	for ; r.questions > 0; r.questions-- {
		_, at, ok := readName(r.message, r.at, buffer)
		if !ok || at+4 > len(r.message) {
			r.left = 0
			break
		}
		r.at = at + 4
	}
	if r.left <= 0 {
		return nil, 0, nil, false
	}
	r.left--
	const fixed, cacheFlush = 10, 0x8000
	name, at, ok := readName(r.message, r.at, buffer)
	if !ok || at+fixed > len(r.message) {
		return nil, 0, nil, false
	}
	size := int(be16(r.message[at+8:]))
	if at+fixed+size > len(r.message) {
		return nil, 0, nil, false
	}
	r.at = at + fixed + size
	return name, be16(r.message[at:]), r.message[at+fixed : r.at], true
}

// readName copies a name, lower case and with dots, into buffer and returns where it
// ends. Each pointer must point further to the front (RFC 1035 section 4.1.4).
func readName(message []byte, at int, buffer []byte) (name []byte, end int, ok bool) {
	n, limit := 0, at
	for at < len(message) {
		size := int(message[at])
		switch {
		case size == 0:
			if end == 0 {
				end = at + 1
			}
			return buffer[:max(n-1, 0)], end, true
		case size >= 0xc0:
			if at+2 > len(message) {
				return nil, 0, false
			}
			if end == 0 {
				end = at + 2
			}
			to := int(be16(message[at:])) & 0x3fff
			if to >= limit {
				return nil, 0, false
			}
			at, limit = to, to
			continue
		case size > 63 || at+1+size > len(message) || n+size+1 > len(buffer):
			return nil, 0, false
		}
		for _, c := range message[at+1 : at+1+size] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			buffer[n] = c
			n++
		}
		buffer[n] = '.'
		n++
		at += 1 + size
	}
	return nil, 0, false
}

func (n *namePoisoning) counts(yield func(string, uint64)) {
	yield("name_responders_evicted", n.responders.evicted)
}
