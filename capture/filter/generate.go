package filter

import "fmt"

// maxBlocks bounds the work of the optimiser, which is quadratic.
const maxBlocks = 8192

// generator writes the graph. It keeps where the layers of the packet begin,
// which "vlan", "mpls" and "pppoes" move for what follows them in the text.
type generator struct {
	text      string
	link      LinkType
	bigEndian bool
	// Offsets from the start of the packet.
	header, ethertype, payload uint32
	labels                     uint32 // bytes of MPLS labels before the network layer
	registers                  [16]bool
	register                   int // where the search for a free one begins
	blocks                     int
	err                        *Error
}

// generate is the graph of a tree, and its root.
func generate(text string, tree node, o Options) (*block, *Error) {
	g := &generator{text: text, link: o.Link, bigEndian: o.BigEndian}
	layout, known := layouts[o.Link]
	if !known {
		return nil, &Error{Text: text, Column: 1, Reason: fmt.Sprintf("link type %d has no filters; use the empty one", o.Link)}
	}
	g.ethertype, g.payload = layout.ethertype, layout.payload
	all := tree.generate(g)
	if g.err != nil {
		return nil, g.err
	}
	patch(all.yes, &block{stmt: stmt{ret, o.snaplen()}})
	patch(all.no, &block{stmt: stmt{ret, 0}})
	return all.head, nil
}

// fail keeps the first failure; what is generated after it is thrown away.
func (g *generator) fail(column int, format string, args ...any) fragment {
	if g.err == nil {
		g.err = &Error{Text: g.text, Column: column, Reason: fmt.Sprintf(format, args...)}
	}
	return g.never()
}

func (n *junction) generate(g *generator) fragment {
	left := n.left.generate(g)
	right := n.right.generate(g)
	if n.and {
		return left.and(right)
	}
	return left.or(right)
}

func (n *negation) generate(g *generator) fragment { return n.part.generate(g).not() }

func (n *presence) generate(g *generator) fragment { return g.presence(n.proto, n.column) }

// presence tests for a protocol.
func (g *generator) presence(p proto, column int) fragment {
	if t, ok := transports[p]; ok {
		switch {
		case t.v4 && t.v6:
			return g.overIP(t.number, column).or(g.overIP6(t.number, column))
		case t.v4:
			return g.overIP(t.number, column)
		}
		return g.overIP6(t.number, column)
	}
	switch p {
	case ip:
		return g.etherType(etherIP, column)
	case ip6:
		return g.etherType(etherIP6, column)
	case arp:
		return g.etherType(etherARP, column)
	case rarp:
		return g.etherType(etherRARP, column)
	case stp:
		return g.etherType(llcSTP, column)
	}
	return g.fail(column, `a link layer alone is no test; expected "host", "proto", "broadcast", "multicast" or "[" after it`)
}

// overIP tests for a protocol over IPv4.
func (g *generator) overIP(number uint32, column int) fragment {
	return g.etherType(etherIP, column).and(g.equal(atPayload, 9, octet, number))
}

// overIP6 tests for a protocol over IPv6, directly or as a fragment. Other
// extension headers are not followed.
func (g *generator) overIP6(number uint32, column int) fragment {
	direct := g.etherType(etherIP6, column)
	first := g.equal(atPayload, 6, octet, number)
	return direct.and(first.or(g.equal(atPayload, 6, octet, 44).and(g.equal(atPayload, 40, octet, number))))
}

func (n *primitive) generate(g *generator) fragment {
	switch n.word {
	case "less":
		return g.test([]stmt{{ldLen, 0}}, jgt, n.number.value).not()
	case "greater":
		return g.test([]stmt{{ldLen, 0}}, jge, n.number.value)
	case "broadcast":
		return g.broadcast(n)
	case "multicast":
		return g.multicast(n)
	case "vlan":
		return g.vlan(n)
	case "mpls":
		return g.mpls(n)
	case "pppoed":
		return g.etherType(etherPPPoED, n.column)
	}
	return g.pppoes(n)
}

// base is what an offset counts from.
type base uint8

const (
	atHeader     base = iota // link-layer header
	atPayload                // network layer
	atTransport4             // what IPv4 carries, behind its options
	atTransport6             // what IPv6 carries, without extension headers
)

// load brings bytes into the accumulator.
func (g *generator) load(from base, offset uint32, size uint16) []stmt {
	network := g.payload + g.labels
	switch from {
	case atHeader:
		return []stmt{{classLd | abs | size, g.header + offset}}
	case atPayload:
		return []stmt{{classLd | abs | size, network + offset}}
	case atTransport6:
		return []stmt{{classLd | abs | size, network + 40 + offset}}
	}
	return []stmt{{ldxMsh, network}, {classLd | ind | size, network + offset}}
}

// test is one block: statements, then a comparison of the accumulator with k.
func (g *generator) test(stmts []stmt, op uint16, k uint32) fragment {
	return g.block(&block{stmts: stmts, stmt: stmt{classJmp | op, k}})
}

func (g *generator) block(b *block) fragment {
	if g.blocks++; g.blocks > maxBlocks && g.err == nil {
		g.err = &Error{Text: g.text, Column: 1, Reason: fmt.Sprintf("needs more than %d tests", maxBlocks)}
	}
	b.yes.from, b.no.from = b, b
	return fragment{b, []*edge{&b.yes}, []*edge{&b.no}}
}

func (g *generator) equal(from base, offset uint32, size uint16, k uint32) fragment {
	return g.test(g.load(from, offset, size), jeq, k)
}

// equalMasked compares the bits of a mask.
func (g *generator) equalMasked(from base, offset uint32, size uint16, k, mask uint32) fragment {
	stmts := g.load(from, offset, size)
	if mask != 0xffffffff {
		stmts = append(stmts, stmt{classAlu | and, mask})
	}
	return g.test(stmts, jeq, k)
}

// always and never are tests of a constant, which the optimiser takes out.
func (g *generator) always() fragment { return g.test([]stmt{{ldImm, 0}}, jeq, 0) }
func (g *generator) never() fragment  { return g.test([]stmt{{ldImm, 1}}, jeq, 0) }
