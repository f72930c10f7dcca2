package filter

import "golang.org/x/net/bpf"

// A packet socket of Linux gets an Ethernet frame without its outer VLAN tag: the
// tag lies beside the frame. These are the offsets at which a filter reads it
// (SKF_AD_OFF and following in linux/filter.h).
const (
	besides      = 0xfffff000
	vlanTag      = besides + 44 // tag control information
	vlanPresent  = besides + 48
	vlanProtocol = besides + 60 // EtherType of the tag
	tagAt        = 12           // where the tag was
	tagEnd       = 16
	tag8021Q     = 0x8100
	tag8021AD    = 0x88a8
	scratchRead  = 14 // scratch registers that a rewritten load uses
	scratchIndex = 15
)

// Live is the program to attach to a packet socket of Linux (SO_ATTACH_FILTER).
// On Ethernet it decides as Match does over the frame with its VLAN tag put back,
// where libpcap's would look at the frame without it: "ip" does not match a
// tagged packet, neither in a file nor live.
//
// Where that cannot be said in a program, exact is false: the program then passes
// every tagged frame, and Match has to be asked over the restored frame. That is
// so for few expressions, such as those that index bytes by other bytes.
func (f *Filter) Live() (program []bpf.RawInstruction, exact bool) {
	if f.options.Link != LinkEthernet {
		return f.Raw(), true
	}
	plain, err := f.options.graph(f.text, true)
	if err != nil {
		return f.Raw(), false
	}
	tagged, _ := f.options.graph(f.text, true)
	if plain.isReturn() {
		return f.Raw(), true
	}
	r := rewriter{sure: map[*block]bool{}}
	exact = r.rewrite(tagged)
	if !exact {
		tagged = &block{stmt: stmt{ret, f.options.snaplen()}}
	}
	root := &block{stmts: []stmt{{classLd | abs | word, vlanPresent}}, stmt: stmt{classJmp | jeq, 0}}
	root.yes, root.no = edge{from: root, to: plain}, edge{from: root, to: tagged}
	raw := emit(root)
	if len(raw) > maxInstructions {
		return []bpf.RawInstruction{{Op: ret, K: f.options.snaplen()}}, false
	}
	return raw, exact
}

// rewriter turns a program for whole frames into one for frames whose tag lies
// beside them.
type rewriter struct {
	// sure holds the blocks that are reached, and whether the accumulator holds
	// the EtherType of the frame, which is that of a tag, on every way there.
	sure map[*block]bool
}

// rewrite changes the graph in place. It reports false where a load could not be
// expressed.
func (r *rewriter) rewrite(root *block) bool {
	order := layOut(root, nil)
	unmark(order)
	r.sure[root] = false
	for i := len(order) - 1; i >= 0; i-- {
		b := order[i]
		if _, reached := r.sure[b]; !reached || b.isReturn() {
			continue
		}
		r.decide(b)
		stmts, ok := rewriteAll(b.stmts)
		if !ok {
			return false
		}
		b.stmts = stmts
	}
	return true
}

// decide settles a test of the EtherType for a constant, which holds for a tag or
// does not, and hands on what the accumulator holds.
func (r *rewriter) decide(b *block) {
	sure := r.sure[b]
	for _, s := range b.stmts {
		if s.code != nop && s.writes() == accumulator {
			sure = s == stmt{classLd | abs | half, tagAt}
		}
	}
	if sure && b.code&operandX == 0 {
		op := b.code & opMask
		first, second := holds(op, tag8021Q, b.k), holds(op, tag8021AD, b.k)
		switch {
		case first && second:
			b.no.to = b.yes.to
		case !first && !second:
			b.yes.to = b.no.to
		}
	}
	for _, e := range []*edge{&b.yes, &b.no} {
		if before, reached := r.sure[e.to]; reached {
			r.sure[e.to] = before && sure
		} else {
			r.sure[e.to] = sure
		}
	}
}

func rewriteAll(stmts []stmt) ([]stmt, bool) {
	var out []stmt
	for _, s := range stmts {
		switch {
		case s.code == nop:
			continue
		case (s.code&classMask == classSt || s.code&classMask == classStx) && s.k >= scratchRead:
			return nil, false
		}
		replaced, ok := rewriteOne(s)
		if !ok {
			return nil, false
		}
		out = append(out, replaced...)
	}
	return out, true
}

// rewriteOne is what a statement becomes: bytes before the tag stay, those behind
// it lie four bytes nearer, those of the tag are beside the frame.
func rewriteOne(s stmt) ([]stmt, bool) {
	class, mode := s.code&classMask, s.code&modeMask
	switch {
	case s.code == ldLen:
		return []stmt{s, {classAlu | add, tagEnd - tagAt}}, true
	case s.code == ldxMsh && s.k >= tagEnd:
		return []stmt{{s.code, s.k - 4}}, true
	case s.code == ldxMsh && s.k >= tagAt:
		out := append([]stmt{{st, scratchRead}}, loadByte(s.k)...)
		return append(out, stmt{classAlu | and, 0xf}, stmt{classAlu | lsh, 2}, stmt{tax, 0}, stmt{ldMem, scratchRead}), true
	case class == classLd && mode == ind:
		// An index below the tag may lead behind it.
		return []stmt{{s.code, s.k - 4}}, s.k >= tagEnd
	case class == classLd && mode == abs:
		return loadBytes(s, sizeOf(s.code)), true
	}
	return []stmt{s}, true
}

func sizeOf(code uint16) uint32 {
	switch code & sizeMask {
	case octet:
		return 1
	case half:
		return 2
	}
	return 4
}

// loadBytes is a load at a fixed place, byte by byte where it goes over an end of
// the tag.
func loadBytes(s stmt, size uint32) []stmt {
	switch {
	case s.k+size <= tagAt:
		return []stmt{s}
	case s.k >= tagEnd:
		return []stmt{{s.code, s.k - 4}}
	case size == 2 && s.k == tagAt:
		return []stmt{{classLd | abs | word, vlanProtocol}}
	case size == 2 && s.k == tagAt+2:
		return []stmt{{classLd | abs | word, vlanTag}}
	}
	out := append([]stmt{{stx, scratchIndex}}, loadByte(s.k)...)
	for i := uint32(1); i < size; i++ {
		out = append(out, stmt{st, scratchRead})
		out = append(out, loadByte(s.k+i)...)
		out = append(out, stmt{tax, 0}, stmt{ldMem, scratchRead}, stmt{classAlu | lsh, 8}, stmt{classAlu | or | operandX, 0})
	}
	return append(out, stmt{ldxMem, scratchIndex})
}

// loadByte is a load of one byte of the whole frame.
func loadByte(at uint32) []stmt {
	from := map[uint32]uint32{12: vlanProtocol, 13: vlanProtocol, 14: vlanTag, 15: vlanTag}[at]
	switch {
	case at < tagAt:
		return []stmt{{classLd | abs | octet, at}}
	case at >= tagEnd:
		return []stmt{{classLd | abs | octet, at - 4}}
	case at%2 == 0:
		return []stmt{{classLd | abs | word, from}, {classAlu | rsh, 8}}
	}
	return []stmt{{classLd | abs | word, from}, {classAlu | and, 0xff}}
}
