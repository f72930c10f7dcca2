package packet

// juniper decodes what Junos captures: a header of its own, on most cards a
// cookie, then the frame. It reports whether link is such a type.
func (p *Parsed) juniper(link LinkType, b []byte) bool {
	next, cookie := (*Parsed).rawIP, 0
	switch link {
	case LinkJuniperEthernet, LinkJuniperPPPoE:
		next = (*Parsed).ethernet
	case LinkJuniperPPP:
		next = (*Parsed).ppp
	case LinkJuniperFrelay:
		next = (*Parsed).frameRelay
	case LinkJuniperCHDLC:
		next = (*Parsed).ciscoHDLC
	case LinkJuniperPPPoEATM:
		next = (*Parsed).typed
	case LinkJuniperMLPPP:
		next, cookie = (*Parsed).juniperPPP, 2
	case LinkJuniperATM1:
		next, cookie = (*Parsed).juniperATM, 4
	case LinkJuniperATM2:
		next, cookie = (*Parsed).juniperATM, 8
	case LinkJuniperGGSN, LinkJuniperServices, LinkJuniperMonitor:
		cookie = 8
	default:
		return false
	}
	if b, bare, ok := p.juniperHeader(b); bare {
		p.rawIP(b)
	} else if ok {
		p.after(b, juniperCookie(b, cookie), next)
	}
	return true
}

// juniperHeader removes the magic number, the flags and what extends them. bare
// says that IP follows, whatever the link type.
func (p *Parsed) juniperHeader(b []byte) (rest []byte, bare, ok bool) {
	const (
		magic         = 0x4d4743
		noLink        = 0x02
		extended      = 0x80
		unexplained   = 4 // bytes where the link header was
		header, field = 4, 2
	)
	if len(b) < header {
		p.short(ShortLink)
		return nil, false, false
	}
	if be.Uint32(b)>>8 != magic {
		p.fault(UnknownNetwork)
		return nil, false, false
	}
	flags, size := b[3], header
	if flags&extended != 0 {
		if len(b) < header+field {
			p.short(ShortLink)
			return nil, false, false
		}
		size += field + int(be.Uint16(b[header:]))
	}
	if bare = flags&noLink != 0; bare {
		size += unexplained
	}
	if len(b) < size {
		p.short(ShortLink)
		return nil, false, false
	}
	return b[size:], bare, true
}

// juniperCookie is the length of the cookie that b begins with, usual being what
// the card has of its own: link services and adaptive services write theirs.
func juniperCookie(b []byte, usual int) int {
	const linkServices, adaptiveServices = 0x54, 0x47
	switch {
	case usual == 0 || len(b) == 0:
		return usual
	case b[0] == linkServices:
		return usual + 2
	case b[0] == adaptiveServices:
		return 8
	}
	return usual
}

// juniperPPP decodes PPP, or IP where the cookie said so.
func (p *Parsed) juniperPPP(b []byte) {
	if beginsIP(b) {
		p.rawIP(b)
		return
	}
	p.ppp(b)
}

// juniperATM decodes LLC, frame relay's protocol identifier as Cisco has it, or
// IP alone.
func (p *Parsed) juniperATM(b []byte) {
	switch {
	case beginsIP(b):
		p.rawIP(b)
	case len(b) > 0 && b[0] == 3:
		p.nlpid(b[1:])
	default:
		p.llc(b)
	}
}

// beginsIP reports whether the first byte is one of an IPv4 or IPv6 header.
func beginsIP(b []byte) bool { return len(b) > 0 && (b[0]>>4 == 6 || b[0]>>4 == 4 && b[0]&15 >= 5) }

// typed decodes an EtherType and what it says.
func (p *Parsed) typed(b []byte) {
	if len(b) < 2 {
		p.short(ShortLink)
		return
	}
	p.etherType(be.Uint16(b), b[2:])
}
