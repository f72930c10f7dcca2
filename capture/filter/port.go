package filter

import (
	"strconv"
	"strings"

	"vft/ipproto"
)

// portTest tests the port at an offset of a transport header.
type portTest func(at base, offset uint32) fragment

// ports is "port 80", "tcp src port 80" or "portrange 1-1023": IPv6 is looked at
// first, then IPv4, and without a protocol SCTP, TCP and UDP.
func (g *generator) ports(n *identifier) fragment {
	test, ok := g.portTest(n)
	if !ok {
		return g.never()
	}
	protos := []proto{sctp, tcp, udp}
	switch n.proto {
	case noProto:
	case tcp, udp, sctp:
		protos = []proto{n.proto}
	default:
		return g.fail(n.column, "ports belong to tcp, udp and sctp, or to no protocol at all")
	}
	found6 := g.etherType(etherIP6, n.column).and(g.anyOf(protos, func(number uint32) fragment {
		return g.equal(atPayload, 6, octet, number).and(portEnds(n.dir, atTransport6, test))
	}))
	found4 := g.etherType(etherIP, n.column).and(g.anyOf(protos, func(number uint32) fragment {
		header := g.equal(atPayload, 9, octet, number).and(g.firstFragment())
		return header.and(portEnds(n.dir, atTransport4, test))
	}))
	return found6.or(found4)
}

func (g *generator) anyOf(protos []proto, test func(number uint32) fragment) fragment {
	found := test(transports[protos[0]].number)
	for _, p := range protos[1:] {
		found = found.or(test(transports[p].number))
	}
	return found
}

func portEnds(dir direction, at base, test portTest) fragment {
	return towards(dir, func(dir direction) fragment {
		if dir == source {
			return test(at, 0)
		}
		return test(at, 2)
	})
}

// firstFragment holds where the packet is no later fragment, which has no ports.
func (g *generator) firstFragment() fragment {
	return g.test(g.load(atPayload, 6, half), jset, 0x1fff).not()
}

func (g *generator) portTest(n *identifier) (portTest, bool) {
	first, last, ok := g.portBounds(n)
	if n.subject == port {
		return func(at base, offset uint32) fragment { return g.equal(at, offset, half, first) }, ok
	}
	if first > last {
		first, last = last, first
	}
	return func(at base, offset uint32) fragment {
		low := g.test(g.load(at, offset, half), jge, first)
		return low.and(g.test(g.load(at, offset, half), jgt, last).not())
	}, ok
}

// portBounds are the first and the last port of an identifier.
func (g *generator) portBounds(n *identifier) (first, last uint32, ok bool) {
	t := n.token
	switch {
	case n.bits != nil || n.mask != nil || t.kind != number && t.kind != name:
		g.fail(t.column, "%q is not a port", t.text)
		return 0, 0, false
	case t.kind == number:
		if t.value > 65535 {
			g.fail(t.column, "a port is at most 65535")
		}
		return t.value, t.value, g.err == nil
	}
	low, high, ranged := strings.Cut(t.text, "-")
	if n.subject == portRange && ranged {
		a, errA := strconv.ParseUint(low, 10, 16)
		b, errB := strconv.ParseUint(high, 10, 16)
		if errA == nil && errB == nil {
			return uint32(a), uint32(b), true
		}
		g.fail(t.column, "%q is not a range of ports such as 1-1023", t.text)
		return 0, 0, false
	}
	known := ""
	if number, ok := services[t.text]; ok {
		known = " " + strconv.Itoa(number)
	}
	g.fail(t.column, "%q is a name; port names are not looked up, write the number%s", t.text, known)
	return 0, 0, false
}

// protocol is "ip proto 6", "proto \udp" or "ether proto 0x88cc".
func (g *generator) protocol(n *identifier) fragment {
	value, ok := n.token.value, n.token.kind == number
	switch {
	case n.token.kind == name && n.proto == link:
		value, ok = etherTypes[n.token.text]
	case n.token.kind == name:
		var proto uint8
		proto, ok = ipproto.Number(n.token.text)
		value = uint32(proto)
	}
	if !ok || n.bits != nil || n.mask != nil {
		return g.fail(n.token.column, "%q is not a protocol that is known here; write its number", n.token.text)
	}
	switch n.proto {
	case noProto:
		return g.overIP(value, n.column).or(g.overIP6(value, n.column))
	case ip:
		return g.overIP(value, n.column)
	case ip6:
		return g.overIP6(value, n.column)
	case link:
		return g.etherProto(n, value)
	}
	return g.fail(n.column, `"proto" follows ip, ip6, ether or nothing`)
}

func (g *generator) etherProto(n *identifier, number uint32) fragment {
	if name, is := special[number]; is {
		return g.fail(n.token.column, "%q stands for the encapsulations of %s, which are not supported", n.token.text, name)
	}
	if number > 0xffff {
		return g.fail(n.token.column, "an EtherType has 16 bits")
	}
	return g.etherType(number, n.column)
}
