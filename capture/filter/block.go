package filter

// Codes of classic BPF, put together from class, size, mode, operator and
// operand (McCanne and Jacobson, "The BSD Packet Filter", 1993; Linux
// Documentation/networking/filter.rst).
const (
	classMask = 0x07
	classLd   = 0x00
	classLdx  = 0x01
	classSt   = 0x02
	classStx  = 0x03
	classAlu  = 0x04
	classJmp  = 0x05
	classRet  = 0x06
	classMisc = 0x07

	word     = 0x00
	half     = 0x08
	octet    = 0x10
	sizeMask = 0x18

	modeMask = 0xe0
	imm      = 0x00
	abs      = 0x20
	ind      = 0x40
	mem      = 0x60
	pktLen   = 0x80
	msh      = 0xa0

	opMask = 0xf0
	add    = 0x00
	sub    = 0x10
	mul    = 0x20
	div    = 0x30
	or     = 0x40
	and    = 0x50
	lsh    = 0x60
	rsh    = 0x70
	neg    = 0x80
	mod    = 0x90
	xor    = 0xa0

	ja   = 0x00
	jeq  = 0x10
	jgt  = 0x20
	jge  = 0x30
	jset = 0x40

	operandX = 0x08

	ldImm  = classLd | imm
	ldxImm = classLdx | imm
	ldMem  = classLd | mem
	ldxMem = classLdx | mem
	ldLen  = classLd | pktLen
	ldxMsh = classLdx | octet | msh
	st     = classSt
	stx    = classStx
	tax    = classMisc
	txa    = classMisc | 0x80
	jump   = classJmp | ja
	ret    = classRet
	nop    = 0xffff // a statement that was taken out
)

var operators = map[string]uint16{"+": add, "-": sub, "*": mul, "/": div, "%": mod, "&": and, "|": or, "^": xor,
	"<<": lsh, ">>": rsh}

// sizeCode is the code of a load of 1, 2 or 4 bytes.
func sizeCode(bytes uint32) uint16 {
	switch bytes {
	case 1:
		return octet
	case 2:
		return half
	}
	return word
}

// stmt is one statement: code and constant.
type stmt struct {
	code uint16
	k    uint32
}

// block is statements that run one after the other, and the test or the return
// that ends them.
type block struct {
	stmts []stmt
	stmt        // the jump or the return
	yes   edge  // where the test holds
	no    edge  // where it does not
	facts facts // what the optimiser knows of the block

	start         int  // of the emitted instructions
	farYes, farNo bool // the branch needs a long jump
	emitted       bool // or reached, while the graph is walked
}

// edge is one way out of a block.
type edge struct {
	id         int
	from, to   *block
	dominators bits // edges that every path to this one takes
}

func (b *block) isReturn() bool { return b.code&classMask == classRet }

// fragment is a part of the graph with one way in and open edges for both
// outcomes.
type fragment struct {
	head    *block
	yes, no []*edge
}

func patch(edges []*edge, to *block) {
	for _, e := range edges {
		e.to = to
	}
}

// and is the fragment that tests a, and where it holds b.
func (a fragment) and(b fragment) fragment {
	patch(a.yes, b.head)
	return fragment{a.head, b.yes, append(a.no, b.no...)}
}

// or is the fragment that tests a, and where it fails b.
func (a fragment) or(b fragment) fragment {
	patch(a.no, b.head)
	return fragment{a.head, append(a.yes, b.yes...), b.no}
}

// not is the fragment with the outcomes exchanged.
func (a fragment) not() fragment { return fragment{a.head, a.no, a.yes} }
