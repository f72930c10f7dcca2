package filter

// atoms is a set of places that hold a value: the scratch registers 0 to 15, the
// accumulator and the index register.
type atoms uint32

const (
	accumulator = 16
	index       = 17
	atomCount   = 18
)

func (s atoms) has(atom int) bool { return s&(1<<atom) != 0 }

// reads is the set that a statement reads.
func (s stmt) reads() atoms {
	switch s.code & classMask {
	case classLd, classLdx:
		switch s.code & modeMask {
		case ind:
			return 1 << index
		case mem:
			return 1 << s.k
		}
		return 0
	case classSt:
		return 1 << accumulator
	case classStx:
		return 1 << index
	case classJmp, classAlu:
		if s.code&operandX != 0 {
			return 1<<accumulator | 1<<index
		}
		return 1 << accumulator
	case classMisc:
		if s.code == txa {
			return 1 << index
		}
		return 1 << accumulator
	}
	return 0
}

// writes is the atom that a statement writes, -1 for none.
func (s stmt) writes() int {
	switch s.code & classMask {
	case classLd, classAlu:
		return accumulator
	case classLdx:
		return index
	case classSt, classStx:
		return int(s.k)
	case classMisc:
		if s.code == tax {
			return index
		}
		return accumulator
	}
	return -1
}

// findUses finds what is read after each block before it is written again.
func (o *optimiser) findUses() {
	o.topDown(func(b *block) { b.findOwnUses() })
	o.bottomUp(func(b *block) {
		b.facts.usesAfter |= b.yes.to.facts.uses | b.no.to.facts.uses
		b.facts.uses |= b.facts.usesAfter &^ b.facts.kills
	})
}

func (b *block) findOwnUses() {
	var defined, used, killed atoms
	for _, s := range b.stmts {
		if s.code == nop {
			continue
		}
		used |= s.reads() &^ defined
		if atom := s.writes(); atom >= 0 {
			if !used.has(atom) {
				killed |= 1 << atom
			}
			defined |= 1 << atom
		}
	}
	if !b.isReturn() {
		used |= b.stmt.reads() &^ defined
	}
	b.facts.uses, b.facts.kills, b.facts.usesAfter = used, killed, 0
}

// numbering gives equal computations equal numbers. 0 is a value of which
// nothing is known.
type numbering struct {
	numbers   map[computation]int
	constants map[int]uint32
}

type computation struct {
	code   uint16
	v0, v1 uint32
}

func newNumbering() numbering {
	return numbering{map[computation]int{}, map[int]uint32{}}
}

func (n numbering) of(code uint16, v0, v1 uint32) int {
	c := computation{code, v0, v1}
	number, known := n.numbers[c]
	if !known {
		number = len(n.numbers) + 1
		n.numbers[c] = number
		if code == ldImm {
			n.constants[number] = v0
		}
	}
	return number
}

func (n numbering) constant(k uint32) int { return n.of(ldImm, k, 0) }

// simplify numbers the values of a block and, with statements, changes what can
// be had for less.
func (o *optimiser) simplify(b *block, statements bool) {
	f := &b.facts
	f.values = [atomCount]int{}
	for i := len(f.in) - 1; i >= 0; i-- {
		before := &f.in[i].from.facts.values
		if i == len(f.in)-1 {
			f.values = *before
			continue
		}
		for atom := range f.values {
			if f.values[atom] != before[atom] {
				f.values[atom] = 0
			}
		}
	}
	a, x := f.values[accumulator], f.values[index]
	for i := range b.stmts {
		o.evaluate(&b.stmts[i], &f.values, statements)
	}
	unchanged := a != 0 && f.values[accumulator] == a && x != 0 && f.values[index] == x
	if statements && (f.usesAfter == 0 && unchanged || b.isReturn()) {
		if b.stmts != nil {
			b.stmts = nil
			o.changed()
		}
	} else {
		o.peephole(b)
		o.dropDeadStores(b)
	}
	f.operand = f.values[index]
	if b.code&operandX == 0 {
		f.operand = o.values.constant(b.k)
	}
}

// store puts a value into an atom, or takes the statement out if it is there.
func (o *optimiser) store(s *stmt, at *int, value int, alter bool) {
	if alter && *at == value {
		s.code = nop
		return
	}
	*at = value
}

// evaluate numbers the value that a statement computes. With alter it replaces
// the statement by a cheaper one.
func (o *optimiser) evaluate(s *stmt, values *[atomCount]int, alter bool) {
	a, x := &values[accumulator], &values[index]
	switch {
	case s.code == nop:
	case s.code&classMask == classLd:
		o.evaluateLoad(s, values, alter)
	case s.code == ldxImm:
		o.store(s, x, o.values.constant(s.k), alter)
	case s.code == ldxMsh:
		o.store(s, x, o.values.of(s.code, s.k, 0), alter)
	case s.code == ldxMem:
		v := values[s.k]
		if k, known := o.values.constants[v]; alter && known {
			*s = stmt{ldxImm, k}
			o.changed()
		}
		o.store(s, x, v, alter)
	case s.code == txa:
		o.store(s, a, *x, alter)
	case s.code == tax:
		o.store(s, x, *a, alter)
	case s.code == st:
		o.store(s, &values[s.k], *a, alter)
	case s.code == stx:
		o.store(s, &values[s.k], *x, alter)
	case s.code == classAlu|neg:
		o.evaluateNegation(s, a, alter)
	case s.code&classMask == classAlu && s.code&operandX == 0:
		o.evaluateConstant(s, a, alter)
	case s.code&classMask == classAlu:
		o.evaluateOperator(s, a, *x, alter)
	}
}

func (o *optimiser) evaluateLoad(s *stmt, values *[atomCount]int, alter bool) {
	v := 0
	switch s.code & modeMask {
	case imm:
		v = o.values.constant(s.k)
	case mem:
		v = values[s.k]
		if k, known := o.values.constants[v]; alter && known {
			*s = stmt{ldImm, k}
			o.changed()
		}
	case ind:
		x := values[index]
		if k, known := o.values.constants[x]; alter && known {
			*s = stmt{classLd | abs | s.code&sizeMask, s.k + k}
			x = 0
			o.changed()
		}
		v = o.values.of(s.code, s.k, uint32(x))
	default:
		v = o.values.of(s.code, s.k, 0)
	}
	o.store(s, &values[accumulator], v, alter)
}

func (o *optimiser) evaluateNegation(s *stmt, a *int, alter bool) {
	if k, known := o.values.constants[*a]; alter && known {
		*s = stmt{ldImm, -k}
		*a = o.values.constant(s.k)
		return
	}
	*a = o.values.of(s.code, uint32(*a), 0)
}

// evaluateConstant is an operator whose right side is a constant.
func (o *optimiser) evaluateConstant(s *stmt, a *int, alter bool) {
	op := s.code & opMask
	if alter && s.k == 0 {
		switch op {
		case add, lsh, rsh, or, xor:
			s.code = nop
			return
		case mul, and:
			s.code = ldImm
			*a = o.values.constant(0)
			return
		}
	}
	if k, known := o.values.constants[*a]; alter && known {
		*s = stmt{ldImm, fold(op, k, s.k)}
		*a = o.values.constant(s.k)
		o.changed()
		return
	}
	*a = o.values.of(s.code, uint32(*a), uint32(o.values.constant(s.k)))
}

// evaluateOperator is an operator whose right side is the index register.
func (o *optimiser) evaluateOperator(s *stmt, a *int, x int, alter bool) {
	op := s.code & opMask
	left, leftKnown := o.values.constants[*a]
	right, rightKnown := o.values.constants[x]
	switch {
	case alter && leftKnown && rightKnown:
		*s = stmt{ldImm, fold(op, left, right)}
		*a = o.values.constant(s.k)
		o.changed()
		return
	case alter && rightKnown:
		*s = stmt{classAlu | op, right}
		*a = o.values.of(s.code, uint32(*a), uint32(o.values.constant(right)))
		o.changed()
		return
	case alter && leftKnown && left == 0:
		switch op {
		case add, or, xor:
			s.code = txa
			o.store(s, a, x, alter)
			return
		case mul, div, mod, and, lsh, rsh:
			*s = stmt{ldImm, 0}
			o.store(s, a, o.values.constant(0), alter)
			return
		}
	}
	*a = o.values.of(s.code, uint32(*a), uint32(x))
}

// dropDeadStores takes out statements whose result nobody reads.
func (o *optimiser) dropDeadStores(b *block) {
	var last [atomCount]*stmt
	visit := func(s *stmt) {
		if s.code == nop {
			return
		}
		for atom, read := 0, s.reads(); atom < atomCount; atom++ {
			if read.has(atom) {
				last[atom] = nil
			}
		}
		if atom := s.writes(); atom >= 0 {
			if last[atom] != nil {
				last[atom].code = nop
				o.changed()
			}
			last[atom] = s
		}
	}
	for i := range b.stmts {
		visit(&b.stmts[i])
	}
	visit(&b.stmt)
	for atom, s := range last {
		if s != nil && !b.facts.usesAfter.has(atom) {
			s.code = nop
			o.changed()
		}
	}
}
