package packet

import "strconv"

// LinkType is the link layer of a capture, a LINKTYPE_ value of
// https://www.tcpdump.org/linktypes.html.
type LinkType uint32

// The link types with a decoder.
const (
	LinkNull            LinkType = 0   // BSD loopback: address family in the byte order of the writer
	LinkEthernet        LinkType = 1   //
	LinkPPP             LinkType = 9   // PPP, with or without HDLC framing
	LinkFDDI            LinkType = 10  // FDDI: LLC after 13 bytes
	LinkRawBSD          LinkType = 12  // raw IP, DLT value of most systems
	LinkRawOBSD         LinkType = 14  // raw IP, DLT value of OpenBSD
	LinkPPPHDLC         LinkType = 50  // PPP in HDLC framing
	LinkPPPoE           LinkType = 51  // a PPPoE header first
	LinkATM1483         LinkType = 100 // LLC over AAL5
	LinkRaw             LinkType = 101 // raw IP, either version
	LinkCHDLC           LinkType = 104 // Cisco HDLC
	LinkWiFi            LinkType = 105 // IEEE 802.11
	LinkFrelay          LinkType = 107 // frame relay
	LinkLoop            LinkType = 108 // OpenBSD loopback: address family in network order
	LinkSLL             LinkType = 113 // Linux cooked
	LinkPrism           LinkType = 119 // IEEE 802.11 after a Prism header
	LinkRadiotap        LinkType = 127 // IEEE 802.11 after a radiotap header
	LinkARCnet          LinkType = 129 // ARCnet as Linux gives it
	LinkPPPPPPD         LinkType = 166 // PPP after a direction byte
	LinkPPI             LinkType = 192 // per-packet information, then the frame of its DLT
	LinkPPPDir          LinkType = 204 // PPP after a direction byte
	LinkIPNet           LinkType = 226 // Solaris ipnet
	LinkIPv4            LinkType = 228 // raw IPv4
	LinkIPv6            LinkType = 229 // raw IPv6
	LinkNFLog           LinkType = 239 // Linux NFLOG messages
	LinkIPoIB           LinkType = 242 // IP over InfiniBand
	LinkPKTAP           LinkType = 258 // Apple PKTAP, then the frame of its DLT
	LinkSLL2            LinkType = 276 // Linux cooked, version 2
	LinkATMCLIP         LinkType = 106 // Linux classical IP over ATM: LLC, or IP alone
	LinkJuniperMLPPP    LinkType = 130 // Juniper: a header with a magic number, a cookie, then PPP
	LinkJuniperGGSN     LinkType = 133 // of a GGSN, IP alone
	LinkJuniperATM2     LinkType = 135 // ATM2
	LinkJuniperServices LinkType = 136 // of an adaptive service, IP alone
	LinkJuniperATM1     LinkType = 137 // ATM1
	LinkJuniperMonitor  LinkType = 164 // of a monitor, IP alone
	LinkJuniperPPPoE    LinkType = 167 // PPPoE: Ethernet
	LinkJuniperPPPoEATM LinkType = 168 // PPPoE over ATM: an EtherType
	LinkJuniperEthernet LinkType = 178 // Ethernet
	LinkJuniperPPP      LinkType = 179 // PPP
	LinkJuniperFrelay   LinkType = 180 // frame relay
	LinkJuniperCHDLC    LinkType = 181 // Cisco HDLC
	LinkWPANFCS         LinkType = 195 // IEEE 802.15.4 with its checksum
	LinkWPANPHY         LinkType = 215 // the same behind preamble, delimiter and length
	LinkWPAN            LinkType = 230 // IEEE 802.15.4 without a checksum
	LinkWPANTAP         LinkType = 283 // IEEE 802.15.4 behind a TAP header
	LinkUser0           LinkType = 147 // first of the 16 private types, not decoded
	linkPKTAPUser       LinkType = 149 // PKTAP as Apple wrote it before it had a number
)

// String returns the name that tcpdump uses, or the number.
func (l LinkType) String() string {
	switch l {
	case LinkNull:
		return "null"
	case LinkEthernet:
		return "ethernet"
	case LinkPPP, LinkPPPHDLC, LinkPPPPPPD, LinkPPPDir:
		return "ppp"
	case LinkRaw, LinkRawBSD, LinkRawOBSD:
		return "raw"
	case LinkWiFi:
		return "802.11"
	case LinkLoop:
		return "loop"
	case LinkSLL:
		return "linux-sll"
	case LinkRadiotap:
		return "802.11-radiotap"
	case LinkIPv4:
		return "ipv4"
	case LinkIPv6:
		return "ipv6"
	case LinkSLL2:
		return "linux-sll2"
	}
	return "link type " + strconv.FormatUint(uint64(l), 10)
}

// decodeLink starts at the link header of type link.
func (p *Parsed) decodeLink(link LinkType, b []byte) {
	switch link {
	case LinkEthernet:
		p.ethernet(b)
	case LinkRaw, LinkRawBSD, LinkRawOBSD:
		p.rawIP(b)
	case LinkIPv4:
		p.ipv4(b)
	case LinkIPv6:
		p.ipv6(b)
	case LinkNull, LinkLoop:
		p.loopback(b)
	case LinkSLL:
		p.sll(b)
	case LinkSLL2:
		p.sll2(b)
	case LinkPPP, LinkPPPHDLC:
		p.ppp(b)
	case LinkPPPPPPD, LinkPPPDir:
		p.after(b, 1, (*Parsed).ppp)
	case LinkPPPoE:
		p.pppoe(b)
	case LinkRadiotap:
		p.radiotap(b)
	case LinkWiFi:
		p.wifi(b, false)
	case LinkPrism:
		p.prism(b)
	default:
		p.rareLink(link, b)
	}
}

// after skips n bytes and goes on with next.
func (p *Parsed) after(b []byte, n int, next func(*Parsed, []byte)) {
	if len(b) < n {
		p.short(ShortLink)
		return
	}
	next(p, b[n:])
}
