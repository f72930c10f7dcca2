package detect

import (
	"bytes"
	"math"
	"time"

	"vft/capture/packet"
	"vft/event"
)

// DNS tunnelling: many distinct names below one registered domain asked by one
// source in a day, most of them random or asked for as TXT or NULL. Names with
// meaning, however many, are no tunnel, nor are names that do not exist: block lists
// answer so. Names of numbers are addresses, which nobody chooses.
const (
	tunnelNames     = 100 // distinct names below one domain
	tunnelFewer     = 30  // when nearly all are long and random and carry data
	tunnelCarriers  = 40  // when nearly all are of a type that carries data
	tunnelWindow    = 24 * time.Hour
	randomRun       = 16  // letters and digits without a mark between them: content networks use 14
	randomBits      = 3.0 // entropy of such a run in bits a character, more
	fewVowels       = 0.2
	leastMixed      = 3 // changes between letters and digits
	mostShare       = 0.5
	nearlyAll       = 0.8
	maxDomains      = 1 << 12
	sketchBits      = 1024 // of the sketch that counts distinct names
	severityTunnel  = 70
	tunnelQuiet     = 600 * second
	dnsHeader       = 12
	maxName         = 255
	typeTXT         = 16
	typeNULL        = 10
	codeNonExistent = 3
)

// domain is what one source asked below one registered domain.
type domain struct {
	begin    int64
	source   packet.Addr
	sketch   [sketchBits / 64]uint64
	asked    uint32
	random   uint32
	carriers uint32 // TXT and NULL questions
	missing  uint32 // answers that there is no such name
	bytes    uint32 // of names: what can be carried out
	name     [64]byte
	length   uint8
}

type dnsTunnel struct {
	hash     hasher
	episodes *episodes
	domains  *cache[domain]
	name     [maxName + 1]byte
}

func newDNSTunnel(h hasher, e *episodes) *dnsTunnel {
	return &dnsTunnel{hash: h, episodes: e, domains: newCache[domain](maxDomains)}
}

// packet takes a datagram to or from port 53 (RFC 1035 section 4).
func (t *dnsTunnel) packet(p *packet.Parsed, now int64) {
	b := p.Payload()
	if len(b) < dnsHeader || be16(b[4:]) != 1 || b[2]&0x78 != 0 { // one question, a standard query
		return
	}
	name, rest := t.read(b[dnsHeader:])
	if len(name) == 0 || len(rest) < 4 {
		return
	}
	if response := b[2]&0x80 != 0; !response && p.DstPort == portDNS {
		t.asks(p, name, be16(rest), now)
	} else if response && b[3]&15 == codeNonExistent && p.SrcPort == portDNS {
		if d := t.find(p.Dst, name, now); d != nil {
			d.missing++
		}
	}
}

// read copies the first name of a message, lower case and with dots, into the
// buffer of t.
func (t *dnsTunnel) read(b []byte) (name, rest []byte) {
	n := 0
	for len(b) > 0 && b[0] != 0 {
		size := int(b[0])
		if size > 63 || size+1 > len(b) || n+size+1 > maxName {
			return nil, nil
		}
		for _, c := range b[1 : 1+size] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			t.name[n] = c
			n++
		}
		t.name[n] = '.'
		n++
		b = b[1+size:]
	}
	if len(b) == 0 || n == 0 {
		return nil, nil
	}
	return t.name[:n-1], b[1:]
}

// registered returns where the registered domain in a name begins: its last two
// labels, or three when the last two look like "co.uk".
func registered(name []byte) int {
	last := bytes.LastIndexByte(name, '.')
	if last < 0 {
		return 0
	}
	second := bytes.LastIndexByte(name[:last], '.')
	if second >= 0 && len(name)-last == 3 && common(name[second+1:last]) {
		return bytes.LastIndexByte(name[:second], '.') + 1
	}
	return second + 1
}

// common reports whether below a country the label is one that many share.
func common(label []byte) bool {
	switch string(label) {
	case "ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org":
		return true
	}
	return false
}

func (t *dnsTunnel) key(src packet.Addr, base []byte) uint64 {
	h := t.hash.a
	for _, c := range base {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return t.hash.of(source(src), packet.Addr{Lo: h}, 12<<32)
}

func (t *dnsTunnel) find(src packet.Addr, name []byte, now int64) *domain {
	return t.domains.find(t.key(src, name[registered(name):]), now)
}

func (t *dnsTunnel) asks(p *packet.Parsed, name []byte, kind uint16, now int64) {
	at := registered(name)
	if at == 0 {
		return // the domain itself
	}
	base, below := name[at:], name[:at-1]
	d, fresh := t.domains.get(t.key(p.Src, base), now)
	if fresh || now-d.begin > int64(tunnelWindow) {
		*d = domain{begin: now, source: p.Src, length: uint8(min(len(base), len(d.name)))}
		copy(d.name[:], base)
	}
	if numeric(below) || !d.add(t.hash, below) {
		return
	}
	d.asked++
	d.bytes += uint32(len(below))
	if random(below) {
		d.random++
	}
	if kind == typeTXT || kind == typeNULL {
		d.carriers++
	}
	if d.asked >= tunnelFewer {
		t.judge(p, d, now)
	}
}

// add notes a name and reports whether it is new. Beyond some thousands of names
// that is seldom, which is no matter by then.
func (d *domain) add(h hasher, below []byte) bool {
	x := h.b
	for _, c := range below {
		x = (x ^ uint64(c)) * 0x100000001b3
	}
	bit := fold(x^h.a, h.c) % sketchBits
	if d.sketch[bit/64]>>(bit%64)&1 == 1 {
		return false
	}
	d.sketch[bit/64] |= 1 << (bit % 64)
	return true
}

// numeric reports whether a name says an address or a number.
func numeric(below []byte) bool {
	for _, c := range below {
		if (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// random reports whether a name has a run of letters and digits that is longer than
// words are and looks drawn by lot: hardly a vowel, or digits among its letters.
func random(below []byte) bool {
	begin := 0
	for i := 0; i <= len(below); i++ {
		if i < len(below) && (isLetter(below[i]) || isDigit(below[i])) {
			continue
		}
		if run := below[begin:i]; len(run) >= randomRun && entropy(run) > randomBits && drawn(run) {
			return true
		}
		begin = i + 1
	}
	return false
}

// drawn reports whether a run has few vowels, or changes between letters and digits.
func drawn(run []byte) bool {
	vowels, changes := 0, 0
	for i, c := range run {
		switch c | 0x20 {
		case 'a', 'e', 'i', 'o', 'u', 'y':
			vowels++
		}
		if i > 0 && isDigit(c) != isDigit(run[i-1]) {
			changes++
		}
	}
	return float64(vowels) < fewVowels*float64(len(run)) || changes >= leastMixed
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// entropy is Shannon's, in bits a character.
func entropy(s []byte) (bits float64) {
	var count [256]uint8
	for _, c := range s {
		count[c]++
	}
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

func (t *dnsTunnel) judge(p *packet.Parsed, d *domain, now int64) {
	n := float64(d.asked)
	random, carriers, missing := float64(d.random)/n, float64(d.carriers)/n, min(float64(d.missing)/n, 1)
	threshold := 0
	switch {
	case d.asked >= tunnelNames && (random >= mostShare || carriers >= mostShare):
		threshold = tunnelNames
	case d.asked >= tunnelCarriers && carriers >= nearlyAll:
		threshold = tunnelCarriers
	case random >= nearlyAll && carriers >= mostShare:
		threshold = tunnelFewer
	default:
		return
	}
	t.episodes.note(&finding{
		kind: "dns_tunnel", sensor: "dns_tunnel", key: string(d.name[:d.length]), offender: p.Src, transport: "udp", severity: severityTunnel, evidence: event.E2,
		target: p.Dst, port: portDNS, hasPort: true, value: n, threshold: float64(threshold), window: tunnelWindow, memory: tunnelQuiet,
		more: []detail{{"domain", printable(d.name[:d.length])}, {"random_share", round(random)}, {"txt_share", round(carriers)}, {"nxdomain_share", round(missing)}, {"bytes_out", d.bytes}},
	}, now)
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// printable replaces what a name should not hold.
func printable(name []byte) string {
	out := make([]byte, len(name))
	for i, c := range name {
		if out[i] = c; c <= ' ' || c >= 127 {
			out[i] = '?'
		}
	}
	return string(out)
}

func (t *dnsTunnel) counts(yield func(string, uint64)) {
	yield("dns_domains_evicted", t.domains.evicted)
}
