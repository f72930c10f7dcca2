package filter

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// generate writes an identifier under its qualifiers.
func (n *identifier) generate(g *generator) fragment {
	switch n.subject {
	case port, portRange:
		return g.ports(n)
	case protocol:
		return g.protocol(n)
	}
	switch n.token.kind {
	case mac:
		return g.hardwareAddress(n)
	case ipv6:
		return g.address6(n)
	case ipv4, number:
		return g.address4(n)
	}
	return g.fail(n.token.column, "%q is a name; names are not looked up, write the address", n.token.text)
}

// towards writes a test for the source, for the destination or for both.
func towards(dir direction, test func(direction) fragment) fragment {
	switch dir {
	case either:
		return test(source).or(test(destination))
	case both:
		return test(source).and(test(destination))
	}
	return test(dir)
}

// address4 is an IPv4 host or net. Without a protocol it is looked for in IPv4,
// ARP and RARP.
func (g *generator) address4(n *identifier) fragment {
	addr, mask, failed := g.prefix4(n)
	if failed {
		return g.never()
	}
	switch n.proto {
	case noProto:
		found := g.carries4(n, etherIP, addr, mask)
		if g.labels == 0 {
			found = found.or(g.carries4(n, etherARP, addr, mask)).or(g.carries4(n, etherRARP, addr, mask))
		}
		return found
	case ip:
		return g.carries4(n, etherIP, addr, mask)
	case arp:
		return g.carries4(n, etherARP, addr, mask)
	case rarp:
		return g.carries4(n, etherRARP, addr, mask)
	}
	return g.fail(n.column, "an IPv4 address fits ip, arp and rarp, or no protocol at all")
}

// carries4 tests one protocol for the address.
func (g *generator) carries4(n *identifier, ether, addr, mask uint32) fragment {
	at := map[direction]uint32{source: 12, destination: 16}
	if ether != etherIP {
		at = map[direction]uint32{source: 14, destination: 24}
	}
	return towards(n.dir, func(dir direction) fragment {
		carried := g.etherType(ether, n.column)
		return carried.and(g.equalMasked(atPayload, at[dir], word, addr, mask))
	})
}

// prefix4 is the address and the mask that an identifier stands for.
func (g *generator) prefix4(n *identifier) (addr, mask uint32, failed bool) {
	addr, bits, ok := shortIPv4(n.token)
	switch {
	case !ok:
		g.fail(n.token.column, "%q is not an IPv4 address", n.token.text)
		return 0, 0, true
	case n.token.kind == number && n.subject == net:
		addr, mask = promote(addr)
		return addr, mask, false
	case n.bits == nil && n.mask == nil:
		return addr, maskOf(bits), false
	case n.subject != net:
		g.fail(n.token.column, `an address with a mask needs "net" before it`)
		return 0, 0, true
	case n.bits != nil && n.bits.value > 32:
		g.fail(n.bits.column, "an IPv4 address has 32 bits")
		return 0, 0, true
	case n.bits != nil:
		mask = maskOf(n.bits.value)
	default:
		if mask, _, ok = shortIPv4(*n.mask); !ok {
			g.fail(n.mask.column, "%q is not a mask", n.mask.text)
			return 0, 0, true
		}
	}
	if addr&^mask != 0 {
		g.fail(n.token.column, "%q has bits outside the mask", n.token.text)
	}
	return addr, mask, g.err != nil
}

// shortIPv4 is an address of two to four parts, moved to the left, and how many
// bits it gives. A number is taken as it is.
func shortIPv4(t token) (addr, bits uint32, ok bool) {
	if t.kind == number {
		return t.value, 32, true
	}
	for part := range strings.SplitSeq(t.text, ".") {
		value, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return 0, 0, false
		}
		addr, bits = addr<<8|uint32(value), bits+8
	}
	return addr << (32 - bits), bits, true
}

// promote moves a short net number to the left: "net 10" is 10.0.0.0/8.
func promote(number uint32) (addr, mask uint32) {
	mask = 0xffffffff
	for number != 0 && number&0xff000000 == 0 {
		number <<= 8
		mask <<= 8
	}
	return number, mask
}

func maskOf(bits uint32) uint32 { return ^uint32(0) << (32 - bits) }

// address6 is an IPv6 host or net.
func (g *generator) address6(n *identifier) fragment {
	if n.proto != noProto && n.proto != ip6 {
		return g.fail(n.column, "an IPv6 address fits ip6, or no protocol at all")
	}
	prefix := netip.PrefixFrom(netip.MustParseAddr(n.token.text), 128)
	if n.bits != nil {
		if n.bits.value > 128 {
			return g.fail(n.bits.column, "an IPv6 address has 128 bits")
		}
		prefix = netip.PrefixFrom(prefix.Addr(), int(n.bits.value))
		if n.subject != net && n.bits.value != 128 {
			return g.fail(n.token.column, `an address with a mask needs "net" before it`)
		}
		if prefix.Masked().Addr() != prefix.Addr() {
			return g.fail(n.token.column, "%q has bits outside the mask", n.token.text)
		}
	}
	return towards(n.dir, func(dir direction) fragment {
		at := map[direction]uint32{source: 8, destination: 24}[dir]
		return g.carries6(prefix, at, n.column)
	})
}

// carries6 tests for IPv6 and the four words of an address.
func (g *generator) carries6(prefix netip.Prefix, at uint32, column int) fragment {
	found := g.etherType(etherIP6, column)
	addr := prefix.Addr().As16()
	for i := range uint32(4) {
		bits := uint32(min(max(prefix.Bits()-32*int(i), 0), 32))
		found = found.and(g.equalMasked(atPayload, at+4*i, word, binary.BigEndian.Uint32(addr[4*i:]), maskOf(bits)))
	}
	return found
}

// hardwareAddress is "ether host 00:11:22:33:44:55".
func (g *generator) hardwareAddress(n *identifier) fragment {
	switch {
	case n.proto != link || n.subject != host && n.subject != noSubject:
		return g.fail(n.token.column, `a hardware address needs "ether host", "ether src" or "ether dst" before it`)
	case g.link != LinkEthernet:
		return g.fail(n.token.column, "only Ethernet packets have hardware addresses")
	}
	return towards(n.dir, func(dir direction) fragment { return g.hardware(macBytes(n.token.text), dir) })
}

// hardware tests one address of an Ethernet header, the last four bytes first.
func (g *generator) hardware(addr [6]byte, dir direction) fragment {
	at := map[direction]uint32{source: 6, destination: 0}[dir]
	last := g.equal(atHeader, at+2, word, binary.BigEndian.Uint32(addr[2:]))
	return last.and(g.equal(atHeader, at, half, uint32(binary.BigEndian.Uint16(addr[:]))))
}

// macBytes reads a hardware address, in any of the forms that the lexer takes.
func macBytes(text string) (addr [6]byte) {
	groups := strings.FieldsFunc(text, func(c rune) bool { return c == ':' || c == '-' || c == '.' })
	digits := ""
	for _, group := range groups {
		if len(group) == 1 {
			digits += "0"
		}
		digits += group
	}
	value, _ := strconv.ParseUint(digits, 16, 64)
	var eight [8]byte
	binary.BigEndian.PutUint64(eight[:], value)
	return [6]byte(eight[2:])
}
