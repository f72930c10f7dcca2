package filter

import mathbits "math/bits"

// shorten lets an edge skip tests whose outcome follows from the way to it.
func (o *optimiser) shorten(e *edge) {
	if e.to == nil || e.to.isReturn() {
		return
	}
	if e.to.yes.to == e.to.no.to && !conflict(e.from, e.to.yes.to) {
		o.changed()
		e.to = e.to.yes.to
	}
	for o.skipOne(e) {
		if e.to.isReturn() {
			return
		}
	}
}

// skipOne moves an edge over one test that an edge before it decides.
func (o *optimiser) skipOne(e *edge) bool {
	for i, set := range e.dominators {
		for ; set != 0; set &= set - 1 {
			before := o.edges[64*i+mathbits.TrailingZeros64(set)]
			if to := follows(e.to, before); to != nil && !conflict(e.from, to) {
				o.done = false
				e.to = to
				return true
			}
		}
	}
	return false
}

// conflict reports whether something that is read after "to" would have another
// value if the way there went past what lies between.
func conflict(from, to *block) bool {
	for atom := range atomCount {
		if to.facts.usesAfter.has(atom) && from.facts.values[atom] != to.facts.values[atom] {
			return true
		}
	}
	return false
}

// follows is where a block goes when an edge was taken before it, nil where that
// is not known.
func follows(b *block, taken *edge) *block {
	before := taken.from
	if b.code != before.code || b.facts.values[accumulator] != before.facts.values[accumulator] {
		return nil
	}
	held := taken == &before.yes
	switch {
	case b.facts.operand == before.facts.operand && held:
		return b.yes.to
	case b.facts.operand == before.facts.operand:
		return b.no.to
	case held && b.code == classJmp|jeq:
		return b.no.to // it equals another constant
	}
	return nil
}

// pullUp looks in a chain of alternatives (any) or of conditions, which begins at
// b, for a test of the value that is in the accumulator on the way to b, behind
// tests of other values, and moves it before those. The test then needs no load.
func (o *optimiser) pullUp(b *block, any bool) {
	if len(b.facts.in) == 0 {
		return
	}
	value := b.facts.in[0].from.facts.values[accumulator]
	for _, e := range b.facts.in {
		if e.from.facts.values[accumulator] != value {
			return
		}
	}
	first := b.facts.in[len(b.facts.in)-1]
	different := &first.from.no
	if first.from.yes.to == b {
		different = &first.from.yes
	}
	top := different
	if different = o.along(b, different, any, func(v int) bool { return v != value }); different == nil {
		return
	}
	same := o.along(b, different.to.onward(any), any, func(v int) bool { return v == value })
	if same == nil {
		return
	}
	pulled := same.to
	same.to = pulled.onward(any).to
	pulled.onward(any).to = different.to
	if different != top {
		different.to = pulled
	} else {
		redirect(b, pulled)
	}
	o.done = false
}

// onward is the edge to the next part of a chain.
func (b *block) onward(any bool) *edge {
	if any {
		return &b.no
	}
	return &b.yes
}

// along follows the chain of b from an edge to the first block with a value in
// the accumulator that is wanted, and returns the edge to it. The chain ends
// where a block has another outcome than b, or is reached by another way.
func (o *optimiser) along(b *block, e *edge, any bool, wanted func(value int) bool) *edge {
	for {
		if e.to == nil || e.to.onward(!any).to != b.onward(!any).to || !e.to.facts.dominators.has(b.facts.id) {
			return nil
		}
		if wanted(e.to.facts.values[accumulator]) {
			return e
		}
		e = e.to.onward(any)
	}
}

// redirect lets all edges to a block go to another one.
func redirect(from, to *block) {
	for _, e := range from.facts.in {
		if e.from.yes.to == from {
			e.from.yes.to = to
		} else {
			e.from.no.to = to
		}
	}
}
