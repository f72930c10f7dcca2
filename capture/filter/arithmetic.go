package filter

// computed is a value at work: the statements that leave it in a scratch
// register, and the tests that must hold before it may be loaded.
type computed struct {
	stmts    []stmt
	register uint32
	checks   *fragment
}

// allocate finds a free scratch register, going on where the last one was found.
func (g *generator) allocate() uint32 {
	for range g.registers {
		if !g.registers[g.register] {
			g.registers[g.register] = true
			return uint32(g.register)
		}
		g.register = (g.register + 1) % len(g.registers)
	}
	g.fail(1, "a comparison is too long: there are %d registers", len(g.registers))
	return 0
}

func (g *generator) release(register uint32) { g.registers[register] = false }

// also adds a check in front of a value, behind the checks that it has.
func (c *computed) also(check fragment) {
	if c.checks != nil {
		check = c.checks.and(check)
	}
	c.checks = &check
}

func (v literal) compute(g *generator) computed {
	r := g.allocate()
	return computed{stmts: []stmt{{ldImm, v.number}, {st, r}}, register: r}
}

func (v wireLength) compute(g *generator) computed {
	r := g.allocate()
	return computed{stmts: []stmt{{ldLen, 0}, {st, r}}, register: r}
}

func (v *negative) compute(g *generator) computed {
	c := v.of.compute(g)
	c.stmts = append(c.stmts, stmt{ldMem, c.register}, stmt{classAlu | neg, 0}, stmt{st, c.register})
	return c
}

// compute drops the checks of the right operand, as libpcap does: "len + tcp[0]"
// looks at the byte where TCP would have it in a packet of any kind.
func (v *operation) compute(g *generator) computed {
	a, b := v.left.compute(g), v.right.compute(g)
	a.stmts = append(append(a.stmts, b.stmts...),
		stmt{ldxMem, b.register}, stmt{ldMem, a.register}, stmt{classAlu | operators[v.op] | operandX, 0})
	g.release(a.register)
	g.release(b.register)
	a.register = g.allocate()
	a.stmts = append(a.stmts, stmt{st, a.register})
	return a
}

func (v *bytesAt) compute(g *generator) computed {
	c := v.index.compute(g)
	r := g.allocate()
	load := classLd | ind | sizeCode(v.size)
	network := g.payload + g.labels
	switch v.proto {
	case link:
		c.stmts = append(c.stmts, stmt{ldxMem, c.register}, stmt{load, g.header})
	case ip, arp, rarp, ip6:
		c.stmts = append(c.stmts, stmt{ldxMem, c.register}, stmt{load, network})
		c.also(g.presence(v.proto, v.column))
	case icmp6:
		c.also(g.presence(ip6, v.column))
		c.also(g.equal(atPayload, 6, octet, transports[icmp6].number))
		c.stmts = append(c.stmts, stmt{ldxMem, c.register}, stmt{load, network + 40})
	case tcp, udp, sctp, icmp, igmp, igrp, pim, vrrp, carp:
		c.stmts = append(c.stmts, stmt{ldxMsh, network}, stmt{ldMem, c.register}, stmt{classAlu | add | operandX, 0},
			stmt{tax, 0}, stmt{load, network})
		c.checks = g.transport4(v.proto, c.checks, v.column)
	default:
		g.fail(v.column, "there are no bytes of this protocol; expected ether, ip, ip6, arp, tcp, udp, sctp, icmp, icmp6 or igmp")
	}
	g.release(c.register)
	c.register = r
	c.stmts = append(c.stmts, stmt{st, r})
	return c
}

// transport4 holds where the transport header is there to be indexed: IPv4, what
// the index needs, the protocol, and no later fragment.
func (g *generator) transport4(p proto, index *fragment, column int) *fragment {
	f := g.presence(p, column).and(g.firstFragment())
	if index != nil {
		f = index.and(f)
	}
	f = g.presence(ip, column).and(f)
	return &f
}

// generate compares by subtraction for equality, and directly for order.
func (n *relation) generate(g *generator) fragment {
	a, b := n.left.compute(g), n.right.compute(g)
	stmts := append(append(a.stmts, b.stmts...), stmt{ldxMem, b.register}, stmt{ldMem, a.register})
	var f fragment
	switch n.op {
	case "=", "!=":
		f = g.test(append(stmts, stmt{classAlu | sub | operandX, 0}), jeq, 0)
	case ">", "<=":
		f = g.test(stmts, jgt|operandX, 0)
	default:
		f = g.test(stmts, jge|operandX, 0)
	}
	if n.op == "!=" || n.op == "<=" || n.op == "<" {
		f = f.not()
	}
	g.release(a.register)
	g.release(b.register)
	for _, checks := range []*fragment{b.checks, a.checks} {
		if checks != nil {
			f = checks.and(f)
		}
	}
	return f
}
