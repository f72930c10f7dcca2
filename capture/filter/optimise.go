package filter

// The generated graph tests the same bytes again and again. optimise takes out
// what the way to a block already tells, in the manner of the BPF optimiser of
// McCanne and Jacobson: the graph has no loops, so values can be numbered from
// the root down, and a branch whose outcome follows from a branch before it can
// be skipped.
//
// Which load is taken out, and which test is moved before another, decides
// whether a packet that is cut short passes. The passes are therefore those of
// libpcap 1.10 and in its order, so that the outcome is the same on every packet.

// optimise simplifies the graph and returns its root.
func optimise(root *block) *block {
	o := &optimiser{root: root}
	o.number(root)
	for _, b := range o.blocks {
		b.yes.id, b.no.id = b.facts.id, len(o.blocks)+b.facts.id
	}
	o.edges = make([]*edge, 2*len(o.blocks))
	for i, b := range o.blocks {
		o.edges[i], o.edges[len(o.blocks)+i] = &b.yes, &b.no
	}
	o.settle(false)
	o.settle(true)
	o.intern()
	return o.skipToFirstTest()
}

type optimiser struct {
	root   *block
	blocks []*block // in the order of the first walk; index is the id
	edges  []*edge  // yes edges by id, then no edges
	levels [][]*block
	values numbering
	done   bool // this pass changed nothing
	solid  bool // this pass changed more than branches
}

// facts are what the passes find out about a block.
type facts struct {
	id         int
	level      int // longest way to a return
	walked     bool
	dominators bits    // blocks that every path to this one takes
	in         []*edge // edges to this block; the last one comes first
	uses       atoms   // read here, or later, before it is written
	kills      atoms   // written here before it is read
	usesAfter  atoms   // read by what follows
	values     [atomCount]int
	operand    int    // value that the test compares with
	same       *block // an equal block that stands in for this one
}

// number walks the graph depth first, the true branch before the false one.
func (o *optimiser) number(b *block) {
	if b == nil || b.facts.walked {
		return
	}
	b.facts.walked = true
	b.facts.id = len(o.blocks)
	o.blocks = append(o.blocks, b)
	o.number(b.yes.to)
	o.number(b.no.to)
}

// idlePasses is how often branches alone may move before that is taken for a
// cycle.
const idlePasses = 100

// settle repeats the passes until nothing changes. With statements it also
// simplifies the statements of the blocks, without it moves branches.
func (o *optimiser) settle(statements bool) {
	for idle := 0; idle < idlePasses; idle++ {
		o.done, o.solid = true, false
		o.findLevels()
		o.findDominators()
		o.findUses()
		o.findEdgeDominators()
		o.pass(statements)
		if o.done {
			return
		}
		if o.solid {
			idle = -1
		}
	}
}

func (o *optimiser) changed() { o.done, o.solid = false, true }

// topDown visits the blocks that were reachable at the start of the pass, from
// the root to the returns.
func (o *optimiser) topDown(visit func(*block)) { o.visit(len(o.levels)-1, -1, -1, visit) }

// bottomUp visits all of them but the returns, the other way.
func (o *optimiser) bottomUp(visit func(*block)) { o.visit(1, len(o.levels), 1, visit) }

func (o *optimiser) visit(from, to, step int, visit func(*block)) {
	for level := from; level != to; level += step {
		blocks := o.levels[level]
		for i := len(blocks) - 1; i >= 0; i-- {
			visit(blocks[i])
		}
	}
}

func (o *optimiser) pass(statements bool) {
	o.values = newNumbering()
	o.findIncoming()
	o.topDown(func(b *block) { o.simplify(b, statements) })
	if statements {
		return
	}
	o.bottomUp(func(b *block) {
		o.shorten(&b.yes)
		o.shorten(&b.no)
	})
	o.findIncoming()
	o.bottomUp(func(b *block) {
		o.pullUp(b, true)
		o.pullUp(b, false)
	})
}

func (o *optimiser) findLevels() {
	o.levels = nil
	for _, b := range o.blocks {
		b.facts.walked = false
	}
	o.level(o.root)
}

func (o *optimiser) level(b *block) {
	if b.facts.walked {
		return
	}
	b.facts.walked = true
	b.facts.level = 0
	if !b.isReturn() {
		o.level(b.yes.to)
		o.level(b.no.to)
		b.facts.level = max(b.yes.to.facts.level, b.no.to.facts.level) + 1
	}
	for len(o.levels) <= b.facts.level {
		o.levels = append(o.levels, nil)
	}
	o.levels[b.facts.level] = append(o.levels[b.facts.level], b)
}

func (o *optimiser) findDominators() {
	for _, b := range o.blocks {
		b.facts.dominators = b.facts.dominators.reset(len(o.blocks), b != o.root)
	}
	o.topDown(func(b *block) {
		b.facts.dominators.insert(b.facts.id)
		if !b.isReturn() {
			b.yes.to.facts.dominators.intersect(b.facts.dominators)
			b.no.to.facts.dominators.intersect(b.facts.dominators)
		}
	})
}

func (o *optimiser) findEdgeDominators() {
	for _, e := range o.edges {
		e.dominators = e.dominators.reset(len(o.edges), e.from != o.root)
	}
	o.topDown(func(b *block) {
		for _, e := range []*edge{&b.yes, &b.no} {
			e.dominators.insert(e.id)
			if e.to != nil {
				e.to.yes.dominators.intersect(e.dominators)
				e.to.no.dominators.intersect(e.dominators)
			}
		}
	})
}

func (o *optimiser) findIncoming() {
	for _, b := range o.blocks {
		b.facts.in = b.facts.in[:0]
	}
	for level := len(o.levels) - 1; level > 0; level-- {
		blocks := o.levels[level]
		for i := len(blocks) - 1; i >= 0; i-- {
			for _, e := range []*edge{&blocks[i].yes, &blocks[i].no} {
				e.to.facts.in = append(e.to.facts.in, e)
			}
		}
	}
}

// skipToFirstTest is the root without tests whose outcome does not matter.
func (o *optimiser) skipToFirstTest() *block {
	b := o.root
	stmts := b.stmts
	b.stmts = nil
	for !b.isReturn() && b.yes.to == b.no.to {
		b = b.yes.to
	}
	b.stmts = append(stmts, b.stmts...)
	if b.isReturn() {
		b.stmts = nil
	}
	return b
}

// intern replaces blocks that are equal by one of them, until none are.
func (o *optimiser) intern() {
	for changed := true; changed; {
		changed = false
		for _, b := range o.blocks {
			b.facts.same, b.facts.walked = nil, false
		}
		reach(o.root)
		o.findSame()
		for _, b := range o.blocks {
			for _, e := range []*edge{&b.yes, &b.no} {
				if e.to != nil && e.to.facts.same != nil {
					e.to = e.to.facts.same
					changed = true
				}
			}
		}
	}
}

func reach(b *block) {
	if b.facts.walked {
		return
	}
	b.facts.walked = true
	if !b.isReturn() {
		reach(b.yes.to)
		reach(b.no.to)
	}
}

// findSame looks, for every block, for the next one in the order of the first
// walk that is equal.
func (o *optimiser) findSame() {
	type ending struct {
		stmt
		yes, no *block
	}
	alike := map[ending][]*block{}
	for i := len(o.blocks) - 1; i >= 0; i-- {
		b := o.blocks[i]
		if !b.facts.walked {
			continue
		}
		end := ending{b.stmt, b.yes.to, b.no.to}
		others := alike[end]
		for k := len(others) - 1; k >= 0; k-- {
			if equalStatements(others[k].stmts, b.stmts) {
				if b.facts.same = others[k].facts.same; b.facts.same == nil {
					b.facts.same = others[k]
				}
				break
			}
		}
		alike[end] = append(others, b)
	}
}

func equalStatements(a, b []stmt) bool {
	i, j := nextStmt(a, 0), nextStmt(b, 0)
	for i < len(a) && j < len(b) && a[i] == b[j] {
		i, j = nextStmt(a, i+1), nextStmt(b, j+1)
	}
	return i == len(a) && j == len(b)
}

// nextStmt is the first statement from i on that was not taken out.
func nextStmt(stmts []stmt, i int) int {
	for i < len(stmts) && stmts[i].code == nop {
		i++
	}
	return i
}

// bits is a set of small numbers.
type bits []uint64

// reset is the set of all numbers below n, or of none.
func (s bits) reset(n int, all bool) bits {
	if s == nil {
		s = make(bits, n/64+1)
	}
	fill := uint64(0)
	if all {
		fill = ^fill
	}
	for i := range s {
		s[i] = fill
	}
	return s
}

func (s bits) insert(i int)   { s[i/64] |= 1 << (i % 64) }
func (s bits) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s bits) intersect(other bits) {
	for i := range s {
		s[i] &= other[i]
	}
}
