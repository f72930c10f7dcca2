package filter

import "fmt"

// node is one part of the tree of an expression.
type node interface {
	// generate writes the tests of the node.
	generate(g *generator) fragment
}

// junction joins two parts. "and" and "or" bind equally and to the left.
type junction struct {
	and         bool
	left, right node
}

// negation turns a part around.
type negation struct{ part node }

// direction is which end of a packet an address or a port is looked for at.
type direction uint8

const (
	either direction = iota
	source
	destination
	both
)

// subject is what an identifier is.
type subject uint8

const (
	noSubject subject = iota // "src 10.0.0.1": a host
	host
	net
	port
	portRange
	protocol
)

// qualifiers stand before an identifier and hold on for those that follow
// without any: "tcp port 80 or 443".
type qualifiers struct {
	given   bool
	proto   proto
	dir     direction
	subject subject
	column  int
}

// identifier is an address, a number or a name under its qualifiers.
type identifier struct {
	qualifiers
	token token
	bits  *token // of "net 10.0.0.0/8"
	mask  *token // of "net 10.0.0.0 mask 255.0.0.0"
}

// presence is a protocol by itself: "tcp".
type presence struct {
	proto  proto
	column int
}

// primitive is a word with at most one number: "vlan 5", "less 100", "ip multicast".
type primitive struct {
	word   string
	proto  proto  // of broadcast and multicast
	number *token // where one was given
	column int
}

// maxDepth is how deep parentheses and "not" may be nested, so that a strange
// text cannot exhaust the stack.
const maxDepth = 200

type parser struct {
	text   string
	tokens []token
	at     int
	depth  int
	err    *Error
}

// maxText is how long an expression may be, in bytes.
const maxText = 1 << 16

// parse is the tree of a text, nil for the empty one.
func parse(text string) (node, *Error) {
	if len(text) > maxText {
		return nil, &Error{Text: text[:64] + "...", Column: maxText + 1, Reason: "an expression has at most 65536 bytes"}
	}
	p := &parser{text: text}
	lex := &lexer{text: text}
	for {
		t := lex.next()
		p.tokens = append(p.tokens, t)
		if t.kind == endOfText {
			break
		}
	}
	if len(p.tokens) == 1 && lex.err == nil {
		return nil, nil
	}
	tree, _ := p.expression(qualifiers{})
	if p.err == nil && p.peek().kind != endOfText {
		p.unexpected(p.peek(), `expected "and", "or" or the end`)
	}
	// What comes before a bad token may be wrong as well, and is then the better
	// message.
	if lex.err != nil && (p.err == nil || p.err.Column >= lex.err.Column) {
		return nil, lex.err
	}
	return tree, p.err
}

func (p *parser) peek() token { return p.tokens[p.at] }

// ahead is the token n places on; after the end it is the end.
func (p *parser) ahead(n int) token { return p.tokens[min(p.at+n, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	p.at = min(p.at+1, len(p.tokens)-1)
	return t
}

// is reports whether a token is this keyword or symbol.
func (t token) is(text string) bool {
	return (t.kind == keyword || t.kind == symbol) && t.text == text
}

// accept takes the next token if it is this one.
func (p *parser) accept(text string) bool {
	if p.peek().is(text) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(text string) {
	if !p.accept(text) {
		p.unexpected(p.peek(), fmt.Sprintf("expected %q", text))
	}
}

// fail keeps the first failure and ends the text.
func (p *parser) fail(column int, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Text: p.text, Column: column, Reason: fmt.Sprintf(format, args...)}
	}
	p.at = len(p.tokens) - 1
}

func (p *parser) unexpected(t token, expected string) {
	switch t.kind {
	case endOfText:
		p.fail(t.column, "the expression ends here; %s", expected)
	case name:
		p.fail(t.column, "%q is not known; %s", t.text, expected)
	default:
		p.fail(t.column, "%q does not fit here; %s", t.text, expected)
	}
}

// expression is operands joined by "and" and "or". The qualifiers that it
// returns hold for an identifier that follows.
func (p *parser) expression(q qualifiers) (node, qualifiers) {
	left, q := p.operand(q, false)
	for {
		t := p.peek()
		if !t.is("and") && !t.is("or") {
			return left, q
		}
		p.next()
		var right node
		right, q = p.operand(q, true)
		left = &junction{and: t.text == "and", left: left, right: right}
	}
}

// operand is a term, or after the first one an identifier that inherits its
// qualifiers.
func (p *parser) operand(q qualifiers, inherits bool) (node, qualifiers) {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek().column, "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("!"):
		part, q := p.operand(q, inherits)
		return &negation{part}, q
	case inherits && p.startsIdentifier(0):
		return p.identifiers(q), q
	case p.peek().is("(") && !p.parenthesisIsValue(0):
		p.next()
		inner, _ := p.expression(q)
		p.expect(")")
		return inner, q
	}
	return p.term()
}

// startsIdentifier reports whether what comes n tokens on is an identifier and
// not a term.
func (p *parser) startsIdentifier(n int) bool {
	for end := n + maxDepth; n < end && (p.ahead(n).is("(") || p.ahead(n).is("!")); n++ {
		if p.ahead(n).is("(") && p.parenthesisIsValue(n) {
			return false
		}
	}
	switch p.ahead(n).kind {
	case ipv4, ipv6, mac, name:
		return true
	case number:
		after := p.ahead(n + 1)
		return after.kind == endOfText || after.is(")") || after.is("and") || after.is("or")
	}
	return false
}

// parenthesisIsValue reports whether the parenthesis that opens n tokens on
// belongs to a value, "(tcp[12] & 0xf0) = 0x50", and not to an expression.
func (p *parser) parenthesisIsValue(n int) bool {
	depth := 0
	for ; p.ahead(n).kind != endOfText; n++ {
		if p.ahead(n).is("(") {
			depth++
		} else if p.ahead(n).is(")") {
			if depth--; depth <= 0 {
				after := p.ahead(n + 1)
				return depth == 0 && after.kind == symbol && after.text != ")" && after.text != "("
			}
		}
	}
	return false
}

// term is everything that does not inherit qualifiers.
func (p *parser) term() (node, qualifiers) {
	t := p.peek()
	if t.kind == number || t.is("-") || t.is("(") || t.is("len") || protoOf(t) != noProto && p.ahead(1).is("[") {
		return p.relation(), qualifiers{}
	}
	q := qualifiers{given: true, column: t.column}
	if q.proto = protoOf(t); q.proto != noProto {
		p.next()
		t = p.peek()
	}
	switch {
	case t.is("broadcast") || t.is("multicast"):
		p.next()
		return &primitive{word: t.text, proto: q.proto, column: q.column}, qualifiers{}
	case t.is("src") || t.is("dst") || subjectOf(t) != noSubject:
		p.qualify(&q)
		return p.identifiers(q), q
	case q.proto != noProto:
		return &presence{q.proto, q.column}, qualifiers{}
	}
	return p.primitive(), qualifiers{}
}

func protoOf(t token) proto {
	if t.kind != keyword {
		return noProto
	}
	return protoWords[t.text]
}

func subjectOf(t token) subject {
	if t.kind != keyword {
		return noSubject
	}
	return map[string]subject{"host": host, "net": net, "port": port, "portrange": portRange, "proto": protocol}[t.text]
}

// qualify reads the direction and the subject.
func (p *parser) qualify(q *qualifiers) {
	dirs := map[string]direction{"src": source, "dst": destination}
	if t := p.peek(); t.is("src") || t.is("dst") {
		q.dir = dirs[p.next().text]
		join, other := p.peek(), p.ahead(1)
		if (join.is("or") || join.is("and")) && (other.is("src") || other.is("dst")) && other.text != t.text {
			p.next()
			p.next()
			if q.dir = either; join.text == "and" {
				q.dir = both
			}
		}
		if subjectOf(p.peek()) == protocol {
			p.unexpected(p.peek(), "a protocol has no direction")
			return
		}
	}
	if q.subject = subjectOf(p.peek()); q.subject != noSubject {
		p.next()
	}
}

// identifiers is one identifier, or several in parentheses.
func (p *parser) identifiers(q qualifiers) node {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek().column, "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("!"):
		return &negation{p.identifiers(q)}
	case !p.accept("("):
		return p.identifier(q)
	}
	left := p.identifiers(q)
	for p.peek().is("and") || p.peek().is("or") {
		and := p.next().text == "and"
		left = &junction{and: and, left: left, right: p.identifiers(q)}
	}
	p.expect(")")
	return left
}

func (p *parser) identifier(q qualifiers) node {
	id := &identifier{qualifiers: q, token: p.peek()}
	switch {
	case !q.given:
		p.fail(id.token.column, `%q needs a word before it, as in "host %s" or "port %s"`, id.token.text, id.token.text, id.token.text)
		return id
	case q.subject == protocol && (protoOf(id.token) != noProto):
		p.fail(id.token.column, `%q is a word of the language; write \%s or its number`, id.token.text, id.token.text)
		return id
	case id.token.kind == keyword || id.token.kind == symbol || id.token.kind == endOfText:
		p.unexpected(id.token, "expected an address, a number or a name")
		return id
	}
	p.next()
	if (id.token.kind == ipv4 || id.token.kind == ipv6) && p.accept("/") {
		id.bits = p.operandOf(number, "the number of bits")
	} else if id.token.kind == ipv4 && p.accept("mask") {
		id.mask = p.operandOf(ipv4, "a mask such as 255.255.0.0")
	}
	return id
}

// operandOf is the next token, which must be of this kind.
func (p *parser) operandOf(k kind, what string) *token {
	t := p.next()
	if t.kind != k {
		p.unexpected(t, "expected "+what)
	}
	return &t
}

// primitive is a word with at most one number.
func (p *parser) primitive() node {
	t := p.next()
	prim := &primitive{word: t.text, column: t.column}
	switch {
	case t.is("less") || t.is("greater"):
		prim.number = p.operandOf(number, "a number of bytes")
	case t.is("vlan") || t.is("mpls") || t.is("pppoes"):
		if p.peek().kind == number {
			prim.number = p.operandOf(number, "")
		}
	case t.is("pppoed"):
	case t.kind == ipv4 || t.kind == ipv6 || t.kind == mac:
		p.fail(t.column, `%q needs a word before it, as in "host %s"`, t.text, t.text)
	default:
		p.unexpected(t, `expected a protocol, "host", "net", "port", "src", "dst", "(" or a comparison`)
	}
	return prim
}
