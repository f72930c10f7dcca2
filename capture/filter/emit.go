package filter

import "golang.org/x/net/bpf"

// emit lays the graph out as a program. A block comes before everything that it
// can branch to. A branch reaches 255 instructions; a longer one goes through an
// extra jump, and then the layout begins anew because everything has moved.
func emit(root *block) []bpf.RawInstruction {
	for {
		blocks := layOut(root, nil)
		unmark(blocks)
		length := 0
		for i := len(blocks) - 1; i >= 0; i-- {
			blocks[i].start = length
			length += blocks[i].size()
		}
		if raw, ok := assemble(blocks, length); ok {
			return raw
		}
	}
}

// layOut appends every block behind those that it branches to.
func layOut(b *block, order []*block) []*block {
	if b.emitted {
		return order
	}
	b.emitted = true
	if !b.isReturn() {
		order = layOut(b.no.to, order)
		order = layOut(b.yes.to, order)
	}
	return append(order, b)
}

func unmark(blocks []*block) {
	for _, b := range blocks {
		b.emitted = false
	}
}

// size is the number of instructions of a block.
func (b *block) size() int {
	n := 1
	for _, s := range b.stmts {
		if s.code != nop {
			n++
		}
	}
	for _, far := range []bool{b.farYes, b.farNo} {
		if far {
			n++
		}
	}
	return n
}

// assemble writes the instructions. It is not ok when a branch turned out too
// long, and has marked it then.
func assemble(blocks []*block, length int) ([]bpf.RawInstruction, bool) {
	raw := make([]bpf.RawInstruction, length)
	for _, b := range blocks {
		at := b.start
		for _, s := range b.stmts {
			if s.code != nop {
				raw[at] = bpf.RawInstruction{Op: s.code, K: s.k}
				at++
			}
		}
		raw[at] = bpf.RawInstruction{Op: b.code, K: b.k}
		if b.isReturn() {
			continue
		}
		extra := uint8(0)
		var near bool
		if raw[at].Jt, near = branch(raw, at, b.yes.to.start, &b.farYes, &extra); !near {
			return nil, false
		}
		if raw[at].Jf, near = branch(raw, at, b.no.to.start, &b.farNo, &extra); !near {
			return nil, false
		}
	}
	return raw, true
}

// branch is the distance from the jump at one place to another, or to the extra
// jump that covers it.
func branch(raw []bpf.RawInstruction, at, to int, far *bool, extra *uint8) (uint8, bool) {
	distance := to - at - 1
	switch {
	case distance < 256 && !*far:
		return uint8(distance), true
	case !*far:
		*far = true
		return 0, false
	}
	hop := *extra
	*extra++
	raw[at+int(*extra)] = bpf.RawInstruction{Op: jump, K: uint32(distance - int(*extra))}
	return hop, true
}
