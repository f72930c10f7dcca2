package detect

import (
	"slices"

	"vft/capture/packet"
	"vft/event"
)

// Rogue router advertisement (RFC 6104): a host that says it is an IPv6 router. Known
// gateways are right, and the first router that is heard within an hour, since
// routers advertise at least every half hour (RFC 4861 section 6.2.1). A further one
// that advertises nothing new, and does not ask to be preferred, is most likely the
// second router of the link: a lead. The address of a known router with another MAC
// is an attack, unless a virtual router moved (RFC 5798).
const (
	maxAdvertisers    = 64
	maxRAPrefixes     = 8 // of one
	severityRogueRA   = 70
	severitySecondRA  = 30
	rogueRAQuiet      = 1800 * second
	routersHeardAfter = 3600 * second // later, a first router is unknown too
)

// advertiser is a router that is taken for right.
type advertiser struct {
	addr     packet.Addr
	mac      [6]byte
	prefixes []packet.Addr
}

type rogueRA struct {
	episodes *episodes
	routers  *routers
	spoof    *arpSpoof
	right    []advertiser
	full     uint64
}

func newRogueRA(e *episodes, r *routers, s *arpSpoof) *rogueRA {
	return &rogueRA{episodes: e, routers: r, spoof: s}
}

// advertisement is what one says.
type advertisement struct {
	lifetime  uint16
	preferred bool
	prefixes  []packet.Addr
}

// packet takes a router advertisement; since is when the first packet of all was seen.
func (r *rogueRA) packet(p *packet.Parsed, since, now int64) {
	ad, ok := readAdvertisement(p)
	if !ok {
		return
	}
	severity, why := severityRogueRA, "unknown_router"
	at := slices.IndexFunc(r.right, func(a advertiser) bool { return a.addr == p.Src })
	switch {
	case at >= 0:
		one := &r.right[at]
		if !p.HasMAC || one.mac == p.SrcMAC || virtualMAC(p.SrcMAC) || virtualMAC(one.mac) {
			one.learn(ad.prefixes)
			return
		}
		why = "other_mac"
	case r.routers.told(p.Src), len(r.right) == 0 && !r.routers.given() && now-since < routersHeardAfter:
		r.accept(p, &ad)
		return
	case !ad.preferred && r.covers(ad.prefixes):
		severity, why = severitySecondRA, "second_router"
	}
	f := &finding{
		kind: "rogue_ra", sensor: "rogue_ra", key: why, offender: p.Src, transport: "ipv6-icmp", severity: severity, evidence: event.E2, value: 1, threshold: 1, unit: "routers", memory: rogueRAQuiet,
		more: []detail{{"reason", why}, {"lifetime_s", ad.lifetime}, {"prefixes", addressTexts(ad.prefixes)}},
	}
	if p.HasMAC {
		f.more = append(f.more, detail{"mac", macText(p.SrcMAC)})
		if why == "other_mac" {
			f.offender, f.name = packet.Addr{}, macText(p.SrcMAC)
			f.target = p.Src
		}
	}
	r.episodes.note(f, now)
}

func (r *rogueRA) accept(p *packet.Parsed, ad *advertisement) {
	if len(r.right) >= maxAdvertisers {
		r.full++
		return
	}
	one := advertiser{addr: p.Src, mac: p.SrcMAC}
	one.learn(ad.prefixes)
	r.right = append(r.right, one)
}

func (a *advertiser) learn(prefixes []packet.Addr) {
	for _, n := range prefixes {
		if !slices.Contains(a.prefixes, n) && len(a.prefixes) < maxRAPrefixes {
			a.prefixes = append(a.prefixes, n)
		}
	}
}

// covers reports whether known routers advertise all of the prefixes.
func (r *rogueRA) covers(prefixes []packet.Addr) bool {
	for _, n := range prefixes {
		if !slices.ContainsFunc(r.right, func(a advertiser) bool { return slices.Contains(a.prefixes, n) }) {
			return false
		}
	}
	return len(prefixes) > 0
}

// virtualMAC reports whether routers hand a MAC on to each other: VRRP (RFC 5798
// section 7.3), HSRP and GLBP for IPv6.
func virtualMAC(m [6]byte) bool {
	return m[0] == 0 && (m[1] == 0 && m[2] == 0x5e && m[3] == 0 && (m[4] == 1 || m[4] == 2) ||
		m[1] == 0x05 && m[2] == 0x73 && m[3] == 0xa0 || m[1] == 0x07 && m[2] == 0xb4 || m[1] == 0 && m[2] == 0x0c && m[3] == 0x9f)
}

// readAdvertisement reads a router advertisement (RFC 4861 section 4.2, RFC 4191).
func readAdvertisement(p *packet.Parsed) (ad advertisement, ok bool) {
	const header, prefixInformation, prefixSize, high = 16, 3, 32, 1
	b := p.Data[p.TransOff:]
	if len(b) < header {
		return ad, false
	}
	ad = advertisement{lifetime: be16(b[6:]), preferred: b[5]>>3&3 == high}
	for b = b[header:]; len(b) >= 2; {
		size := int(b[1]) * 8
		if size == 0 || size > len(b) {
			break
		}
		if b[0] == prefixInformation && size >= prefixSize && len(ad.prefixes) < maxRAPrefixes {
			ad.prefixes = append(ad.prefixes, addr6(b[16:]))
		}
		b = b[size:]
	}
	return ad, true
}

func addressTexts(all []packet.Addr) []string {
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return out
}

func (r *rogueRA) counts(yield func(string, uint64)) { yield("ipv6_routers_unlearned", r.full) }
