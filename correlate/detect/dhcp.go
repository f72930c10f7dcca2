package detect

import (
	"net/netip"
	"slices"

	"vft/capture/packet"
	"vft/event"
)

// Rogue DHCP: an OFFER or ACK from a server that is not known. Servers are
// given, or learned: the first on a network is right. A network is what the
// offered address and its mask say; a second server that answers the same
// question is on the same network whatever it offers.
const (
	maxServers    = 256
	maxQuestions  = 64 // of late, with who answered first
	severityDHCP  = 70
	dhcpQuiet     = 600 * second
	bootpHeader   = 236
	dhcpMagic     = 0x63825363
	questionsLive = 60 * second
)

type dhcpServer struct {
	network packet.Addr
	server  packet.Addr
	says    uint64 // of routers and name servers, hashed
}

type question struct {
	id     uint32
	at     int64
	server packet.Addr
}

type rogueDHCP struct {
	episodes  *episodes
	given     []packet.Addr
	known     []dhcpServer
	questions [maxQuestions]question
	next      int
	full      uint64
}

func newRogueDHCP(e *episodes, servers []netip.Addr) *rogueDHCP {
	r := &rogueDHCP{episodes: e}
	for _, s := range servers {
		r.given = append(r.given, packet.AddrFrom(s))
	}
	return r
}

// offer is what an OFFER or ACK says.
type offer struct {
	kind         uint8
	id           uint32
	your, server packet.Addr
	mask         uint32
	says         uint64 // of routers, name servers and domain, hashed
}

// packet takes a datagram of a DHCP server (RFC 2131).
func (r *rogueDHCP) packet(p *packet.Parsed, now int64) {
	const offered, acknowledged = 2, 5
	o, ok := readOffer(p.Payload())
	if !ok || o.kind != offered && o.kind != acknowledged || o.your == packet.Addr4(0) {
		return
	}
	if o.server == packet.Addr4(0) {
		o.server = p.Src
	}
	if !r.trusts(&o, now) {
		r.episodes.note(&finding{
			kind: "rogue_dhcp", sensor: "rogue_dhcp", offender: o.server, transport: "udp", severity: severityDHCP, evidence: event.E2, target: o.your, value: 1, threshold: 1, memory: dhcpQuiet,
			more: []detail{{"server", o.server.String()}, {"offered", o.your.String()}, {"mac", macText(p.SrcMAC)}},
		}, now)
	}
}

// trusts reports whether the server of an offer is right, and learns it when it
// is the first.
func (r *rogueDHCP) trusts(o *offer, now int64) bool {
	if len(r.given) > 0 {
		return slices.Contains(r.given, o.server)
	}
	network := packet.Addr4(o.your.V4() & o.mask)
	rival := r.rival(o, now)
	for _, k := range r.known {
		if k.server == o.server && k.network == network {
			return true
		}
	}
	other := slices.IndexFunc(r.known, func(k dhcpServer) bool { return k.network == network })
	// Two servers of one operator say the same of the network (failover, RFC 2131
	// section 2.2 leaves it to them who answers).
	pair := other >= 0 && o.says != 0 && r.known[other].says == o.says
	if (other >= 0 || rival) && !pair {
		return false
	}
	if len(r.known) >= maxServers {
		r.full++
		return true
	}
	r.known = append(r.known, dhcpServer{network, o.server, o.says})
	return true
}

// rival reports whether another server answered the same question.
func (r *rogueDHCP) rival(o *offer, now int64) bool {
	for i := range r.questions {
		q := &r.questions[i]
		if q.at != 0 && q.id == o.id && now-q.at < questionsLive {
			return q.server != o.server
		}
	}
	r.questions[r.next] = question{o.id, now, o.server}
	r.next = (r.next + 1) % len(r.questions)
	return false
}

// readOffer reads a BOOTP reply and the options that matter.
func readOffer(b []byte) (o offer, ok bool) {
	const reply = 2
	if len(b) < bootpHeader+4 || b[0] != reply || be32(b[bootpHeader:]) != dhcpMagic {
		return o, false
	}
	o = offer{id: be32(b[4:]), your: packet.Addr4(be32(b[16:])), server: packet.Addr4(0), mask: 0xffffff00}
	for b = b[bootpHeader+4:]; len(b) >= 2 && b[0] != 255; {
		if b[0] == 0 { // padding
			b = b[1:]
			continue
		}
		size := int(b[1])
		if size+2 > len(b) {
			break
		}
		o.option(b[0], b[2:2+size])
		b = b[2+size:]
	}
	return o, true
}

func (o *offer) option(code uint8, v []byte) {
	const mask, router, nameServer, domain, kind, server = 1, 3, 6, 15, 53, 54
	switch {
	case code == mask && len(v) == 4:
		o.mask = be32(v)
	case code == router || code == nameServer || code == domain:
		for _, c := range v {
			o.says = (o.says ^ uint64(c) ^ uint64(code)<<8) * 0x100000001b3
		}
	case code == kind && len(v) == 1:
		o.kind = v[0]
	case code == server && len(v) == 4:
		o.server = packet.Addr4(be32(v))
	}
}

func (r *rogueDHCP) counts(yield func(string, uint64)) { yield("dhcp_servers_unlearned", r.full) }
