package detect

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"vft/capture/packet"
)

// ARP spoofing: replies that nobody asked for, sent again and again to one
// host; an address that changes its MAC that way; two MACs for the gateway. A
// host that moves announces itself to all, which is no attack, unless the old
// one still speaks. A host that answers from two cards is none either.
const (
	maxBindings   = 1 << 12
	spoofReplies  = 3 // replies to one host that it did not ask for
	spoofWindow   = 60 * time.Second
	severitySpoof = 80
	spoofQuiet    = 120 * second
)

// binding is who holds an address.
type binding struct {
	mac, before [6]byte
	since       int64 // of mac
	forced      bool  // mac, or before, came with a reply that nobody asked for
	unasked     uint8 // such replies in a row
	first       int64 // of these
}

type arpSpoof struct {
	episodes  *episodes
	discovery *discovery
	gateways  []packet.Addr
	bindings  *cache[binding]
	holders   *cache[packet.Addr] // by MAC: an address it held rightly
}

func newARPSpoof(e *episodes, d *discovery, gateways []netip.Addr) *arpSpoof {
	a := &arpSpoof{episodes: e, discovery: d, bindings: newCache[binding](maxBindings), holders: newCache[packet.Addr](maxBindings)}
	for _, g := range gateways {
		a.gateways = append(a.gateways, packet.AddrFrom(g))
	}
	return a
}

func macNumber(m [6]byte) uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

func macText(m [6]byte) string { return net.HardwareAddr(m[:]).String() }

func (a *arpSpoof) holderKey(m [6]byte) uint64 {
	return a.discovery.hash.of(packet.Addr{Lo: macNumber(m)}, packet.Addr{}, 9<<32)
}

// packet takes an ARP packet after discovery took it.
func (a *arpSpoof) packet(p *packet.Parsed, now int64) {
	if p.Src == packet.Addr4(0) || p.ARPSender == [6]byte{} {
		return
	}
	b, fresh := a.bindings.get(a.discovery.hash.of(p.Src, packet.Addr{}, 10<<32), now)
	const reply = 2
	unasked := p.ARPOp == reply && !a.discovery.solicited(p, now)
	directed := p.HasMAC && p.DstMAC[0]&1 == 0 && p.Src != p.Dst
	changed := !fresh && b.mac != p.ARPSender
	returned := changed && b.before == p.ARPSender && now-b.since < int64(spoofWindow)
	forced := unasked || b.forced && returned
	if fresh || changed {
		b.before, b.mac, b.since, b.forced = b.mac, p.ARPSender, now, unasked
	}
	switch {
	case changed && (returned && forced || slices.Contains(a.gateways, p.Src)):
		a.report(p, b, "two_macs", 2, 2, now)
	case changed && unasked && directed:
		a.report(p, b, "changed", 1, 1, now)
	case unasked && directed:
		a.repeated(p, b, now)
	case !unasked:
		b.unasked = 0
		if p.ARPOp != reply {
			h, _ := a.holders.get(a.holderKey(p.ARPSender), now)
			*h = p.Src
		}
	}
}

// repeated counts a reply that nobody asked for.
func (a *arpSpoof) repeated(p *packet.Parsed, b *binding, now int64) {
	if b.unasked == 0 || now-b.first > int64(spoofWindow) {
		b.unasked, b.first = 0, now
	}
	b.unasked = bump(b.unasked)
	if b.unasked >= spoofReplies {
		a.report(p, b, "unasked_replies", float64(b.unasked), spoofReplies, now)
	}
}

func (a *arpSpoof) report(p *packet.Parsed, b *binding, why string, value, threshold float64, now int64) {
	mac := p.ARPSender
	if p.HasMAC && p.SrcMAC != mac { // an attacker who sets right what it did speaks for another
		mac = p.SrcMAC
	}
	f := &finding{
		kind: "arp_spoof", sensor: "arp_spoof", key: p.Src.String(), name: macText(mac), severity: severitySpoof, target: p.Dst, value: value, threshold: threshold,
		window: spoofWindow, memory: spoofQuiet,
		more: []detail{{"reason", why}, {"address", p.Src.String()}, {"mac", macText(mac)}},
	}
	if b.before != ([6]byte{}) {
		f.more = append(f.more, detail{"macs", []string{macText(b.before), macText(b.mac)}})
	}
	if h := a.holders.find(a.holderKey(mac), now); h != nil && *h != p.Src {
		f.offender, f.name = *h, ""
	}
	a.episodes.note(f, now)
}

func (a *arpSpoof) counts(yield func(string, uint64)) {
	yield("arp_bindings_evicted", a.bindings.evicted+a.holders.evicted)
}
