package filter

// value is an arithmetic expression over 32-bit numbers.
type value interface {
	// compute writes the statements that leave the value in a register.
	compute(g *generator) computed
	// constant is the value where it does not depend on the packet.
	constant() (uint32, bool)
}

type (
	literal    struct{ number uint32 }
	wireLength struct{}
	negative   struct{ of value }
	// bytesAt are size bytes of a protocol at an index: tcp[12:2].
	bytesAt struct {
		proto  proto
		index  value
		size   uint32
		column int
	}
	operation struct {
		op          string
		left, right value
		column      int
	}
)

// relation compares two values.
type relation struct {
	op          string
	left, right value
	column      int
}

// binds is how tight an operator binds. The grammar of pcap-filter gives % and ^
// no place in that order, so that everything after them is their right operand.
var binds = map[string]int{"|": 1, "&": 2, "<<": 3, ">>": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 0, "^": 0}

const bindsUnary = 6

func (p *parser) relation() node {
	r := &relation{column: p.peek().column, left: p.value(0)}
	t := p.peek()
	switch {
	case t.is(">"), t.is(">="), t.is("="), t.is("<="), t.is("<"), t.is("!="):
		r.op = p.next().text
	default:
		p.unexpected(t, "expected a comparison (= != < <= > >=) or an operator")
	}
	r.right = p.value(0)
	return r
}

// value reads operators that bind tighter than the one to the left.
func (p *parser) value(tighter int) value {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek().column, "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	left := p.unary()
	for {
		t := p.peek()
		bind, operator := binds[t.text]
		if t.kind != symbol || !operator || bind != 0 && bind <= tighter {
			return left
		}
		p.next()
		left = p.binary(t, left, p.value(bind))
	}
}

// binary refuses what has no value or what the simplification of the program
// would get wrong.
func (p *parser) binary(t token, left, right value) value {
	k, known := right.constant()
	switch {
	case !known:
	case k == 0 && (t.text == "/" || t.text == "%"):
		p.fail(t.column, "division by zero")
	case k > 31 && (t.text == "<<" || t.text == ">>"):
		p.fail(t.column, "a number has 32 bits; shift by at most 31")
	case k == 0xffffffff && t.text == "&":
		p.fail(t.column, "& 0xffffffff changes nothing; leave it out")
	}
	return &operation{op: t.text, left: left, right: right, column: t.column}
}

func (p *parser) unary() value {
	t := p.next()
	switch {
	case t.kind == number:
		return literal{t.value}
	case t.is("len"):
		return wireLength{}
	case t.is("-"):
		return &negative{p.value(bindsUnary)}
	case t.is("("):
		inner := p.value(0)
		p.expect(")")
		return inner
	case protoOf(t) != noProto:
		return p.bytesAt(t)
	}
	p.unexpected(t, `expected a value: a number, "len" or bytes such as tcp[13]`)
	return literal{}
}

func (p *parser) bytesAt(t token) value {
	p.expect("[")
	b := &bytesAt{proto: protoOf(t), index: p.value(0), size: 1, column: t.column}
	if k, known := b.index.constant(); known && k > MaxSnapLen {
		// A kernel takes the highest offsets for data of its own.
		p.fail(b.column, "no packet is that long")
	}
	if p.accept(":") {
		size := p.operandOf(number, "1, 2 or 4 bytes")
		if b.size = size.value; p.err == nil && b.size != 1 && b.size != 2 && b.size != 4 {
			p.fail(size.column, "%s bytes are not possible; expected 1, 2 or 4", size.text)
		}
	}
	p.expect("]")
	return b
}

func (v literal) constant() (uint32, bool)    { return v.number, true }
func (v wireLength) constant() (uint32, bool) { return 0, false }
func (v *bytesAt) constant() (uint32, bool)   { return 0, false }

func (v *negative) constant() (uint32, bool) {
	k, known := v.of.constant()
	return -k, known
}

func (v *operation) constant() (uint32, bool) {
	a, known := v.left.constant()
	b, also := v.right.constant()
	if !known || !also {
		return 0, false
	}
	return fold(operators[v.op], a, b), true
}

// fold computes one operator. A division by zero, which the parser refuses, is 0.
func fold(op uint16, a, b uint32) uint32 {
	switch op {
	case add:
		return a + b
	case sub:
		return a - b
	case mul:
		return a * b
	case div:
		if b == 0 {
			return 0
		}
		return a / b
	case mod:
		if b == 0 {
			return 0
		}
		return a % b
	case and:
		return a & b
	case or:
		return a | b
	case xor:
		return a ^ b
	case lsh:
		return a << b
	}
	return a >> b
}
