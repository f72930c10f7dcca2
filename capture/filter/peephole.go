package filter

// peephole replaces short sequences at the end of their block's evaluation.
func (o *optimiser) peephole(b *block) {
	if len(b.stmts) == 0 {
		return
	}
	last := 0
	for i := nextStmt(b.stmts, 0); i < len(b.stmts); {
		next := nextStmt(b.stmts, i+1)
		if next == len(b.stmts) {
			break
		}
		last = next
		o.replacePair(b, i, next)
		i = next
	}
	o.mergeIntoTest(b, &b.stmts[last])
	o.decide(b)
}

// replacePair turns a store and a load into a transfer, and the index of
// "tcp[2]" into an offset.
func (o *optimiser) replacePair(b *block, i, next int) {
	s, n := &b.stmts[i], &b.stmts[next]
	if s.code == st && n.code == ldxMem && s.k == n.k {
		n.code = tax
		o.changed()
	}
	if s.code == ldImm && n.code == tax {
		s.code, n.code = ldxImm, txa
		o.changed()
	}
	if s.code == ldImm && !b.facts.usesAfter.has(index) {
		o.mergeIndex(b, i, next)
	}
}

// mergeIndex turns
//
//	ld #2; ldx 4*([14]&0xf); add x; tax; ld [x+14]
//
// with or without the second statement, into
//
//	ldx 4*([14]&0xf); ld [x+16]
func (o *optimiser) mergeIndex(b *block, i, next int) {
	addition := next
	if b.stmts[next].code == ldxMsh {
		addition = nextStmt(b.stmts, next+1)
	}
	transfer := nextStmt(b.stmts, min(addition+1, len(b.stmts)))
	load := nextStmt(b.stmts, min(transfer+1, len(b.stmts)))
	if load >= len(b.stmts) || b.stmts[addition].code != classAlu|add|operandX || b.stmts[transfer].code != tax {
		return
	}
	l := &b.stmts[load]
	if l.code&classMask != classLd || l.code&modeMask != ind {
		return
	}
	l.k += b.stmts[i].k
	b.stmts[i].code, b.stmts[addition].code, b.stmts[transfer].code = nop, nop, nop
	o.changed()
}

// mergeIntoTest takes an operator into the test for equality that follows it,
// where nobody else reads the result.
func (o *optimiser) mergeIntoTest(b *block, last *stmt) {
	if b.code != classJmp|jeq || b.facts.usesAfter.has(accumulator) {
		return
	}
	switch {
	case last.code == classAlu|sub|operandX:
		if x, known := o.values.constants[b.facts.values[index]]; known {
			b.k += x
		} else if b.k == 0 {
			b.code |= operandX
		} else {
			return
		}
	case last.code == classAlu|sub:
		b.k += last.k
	case last.code == classAlu|and && b.k == 0:
		b.stmt = stmt{classJmp | jset, last.k}
		b.yes.to, b.no.to = b.no.to, b.yes.to
	default:
		return
	}
	last.code = nop
	o.changed()
}

// decide settles tests whose outcome is known.
func (o *optimiser) decide(b *block) {
	if b.code == classJmp|jset && b.k == 0 {
		b.yes.to = b.no.to
	}
	if x, known := o.values.constants[b.facts.values[index]]; known && b.code&operandX != 0 {
		b.stmt = stmt{b.code &^ operandX, x}
	}
	a, known := o.values.constants[b.facts.values[accumulator]]
	if !known || b.code&operandX != 0 || b.isReturn() {
		return
	}
	if b.yes.to != b.no.to {
		o.changed()
	}
	if holds(b.code&opMask, a, b.k) {
		b.no.to = b.yes.to
	} else {
		b.yes.to = b.no.to
	}
}

// holds is a test of two numbers.
func holds(op uint16, a, b uint32) bool {
	switch op {
	case jeq:
		return a == b
	case jgt:
		return a > b
	case jge:
		return a >= b
	}
	return a&b != 0
}
