package filter

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
)

// opcode is what the interpreter of this package tells apart.
type opcode uint8

const (
	opLdImm opcode = iota
	opLdB
	opLdH
	opLdW
	opLdIndB
	opLdIndH
	opLdIndW
	opLdLen
	opLdMem
	opLdxImm
	opLdxMem
	opLdxMsh
	opSt
	opStx
	opAluK
	opAluX
	opNeg
	opTax
	opTxa
	opJeq
	opJgt
	opJge
	opJset
	opJeqX
	opJgtX
	opJgeX
	opJsetX
	// A load and a test for equality at once, the most common pair.
	opLdBJeq
	opLdHJeq
	opLdWJeq
)

// op is an instruction of the interpreter. Branches hold the index to go on at,
// or one of the two ends.
type op struct {
	code    opcode
	alu     uint8
	yes, no uint16
	k       uint32
	test    uint32 // of the pairs: what is compared with
}

const (
	accept = 0xffff
	reject = 0xfffe
)

var opcodes = map[uint16]opcode{
	ldImm: opLdImm, classLd | abs | octet: opLdB, classLd | abs | half: opLdH, classLd | abs | word: opLdW,
	classLd | ind | octet: opLdIndB, classLd | ind | half: opLdIndH, classLd | ind | word: opLdIndW,
	ldLen: opLdLen, ldMem: opLdMem, ldxImm: opLdxImm, ldxMem: opLdxMem, ldxMsh: opLdxMsh, st: opSt, stx: opStx,
	classAlu | neg: opNeg, tax: opTax, txa: opTxa,
	classJmp | jeq: opJeq, classJmp | jgt: opJgt, classJmp | jge: opJge, classJmp | jset: opJset,
	classJmp | jeq | operandX: opJeqX, classJmp | jgt | operandX: opJgtX,
	classJmp | jge | operandX: opJgeX, classJmp | jset | operandX: opJsetX,
}

// decode translates a program of this package for the interpreter.
func decode(raw []bpf.RawInstruction) []op {
	ops := make([]op, len(raw))
	for i, in := range raw {
		o := op{k: in.K, yes: target(raw, i+1), no: target(raw, i+1)}
		code, known := opcodes[in.Op]
		switch {
		case known && in.Op&classMask == classJmp:
			o.code, o.yes, o.no = code, target(raw, i+1+int(in.Jt)), target(raw, i+1+int(in.Jf))
		case known:
			o.code = code
		case in.Op&classMask == classAlu && in.Op&operandX == 0:
			o.code, o.alu = opAluK, uint8(in.Op&opMask)
		case in.Op&classMask == classAlu:
			o.code, o.alu = opAluX, uint8(in.Op&opMask)
		}
		ops[i] = o
	}
	for i := range ops[:len(ops)-1] {
		pair(&ops[i], ops[i+1], i+1)
	}
	if end := target(raw, 0); end >= reject {
		return []op{{code: opJset, yes: end, no: end}}
	}
	return ops
}

// target is where a branch to an instruction leads, through unconditional jumps
// and to the ends.
func target(raw []bpf.RawInstruction, at int) uint16 {
	for at < len(raw) && raw[at].Op == jump {
		at += 1 + int(raw[at].K)
	}
	switch {
	case at >= len(raw):
		return reject
	case raw[at].Op == ret && raw[at].K != 0:
		return accept
	case raw[at].Op == ret:
		return reject
	}
	return uint16(at)
}

// pair joins a load with the test for equality behind it.
func pair(load *op, test op, at int) {
	joined := map[opcode]opcode{opLdB: opLdBJeq, opLdH: opLdHJeq, opLdW: opLdWJeq}
	code, loads := joined[load.code]
	if loads && test.code == opJeq && int(load.yes) == at {
		load.code, load.test, load.yes, load.no = code, test.k, test.yes, test.no
	}
}

// run interprets a program over a packet.
func run(ops []op, pkt []byte, length uint32) bool {
	var a, x uint32
	var scratch [16]uint32
	size := uint64(len(pkt))
	at := uint16(0)
	for int(at) < len(ops) {
		o := &ops[at]
		at = o.yes
		holds := true
		switch o.code {
		case opLdHJeq:
			if uint64(o.k)+2 > size {
				return false
			}
			a = uint32(binary.BigEndian.Uint16(pkt[o.k:]))
			holds = a == o.test
		case opLdBJeq:
			if uint64(o.k) >= size {
				return false
			}
			a = uint32(pkt[o.k])
			holds = a == o.test
		case opLdWJeq:
			if uint64(o.k)+4 > size {
				return false
			}
			a = binary.BigEndian.Uint32(pkt[o.k:])
			holds = a == o.test
		case opJeq:
			holds = a == o.k
		case opJgt:
			holds = a > o.k
		case opJge:
			holds = a >= o.k
		case opJset:
			holds = a&o.k != 0
		case opJeqX:
			holds = a == x
		case opJgtX:
			holds = a > x
		case opJgeX:
			holds = a >= x
		case opJsetX:
			holds = a&x != 0
		case opLdB, opLdIndB:
			at0 := uint64(o.k)
			if o.code == opLdIndB {
				at0 += uint64(x)
			}
			if at0 >= size {
				return false
			}
			a = uint32(pkt[at0])
		case opLdH, opLdIndH:
			at0 := uint64(o.k)
			if o.code == opLdIndH {
				at0 += uint64(x)
			}
			if at0+2 > size {
				return false
			}
			a = uint32(binary.BigEndian.Uint16(pkt[at0:]))
		case opLdW, opLdIndW:
			at0 := uint64(o.k)
			if o.code == opLdIndW {
				at0 += uint64(x)
			}
			if at0+4 > size {
				return false
			}
			a = binary.BigEndian.Uint32(pkt[at0:])
		case opLdxMsh:
			if uint64(o.k) >= size {
				return false
			}
			x = uint32(pkt[o.k]&0xf) << 2
		case opLdImm:
			a = o.k
		case opLdLen:
			a = length
		case opLdMem:
			a = scratch[o.k&15]
		case opLdxImm:
			x = o.k
		case opLdxMem:
			x = scratch[o.k&15]
		case opSt:
			scratch[o.k&15] = a
		case opStx:
			scratch[o.k&15] = x
		case opTax:
			x = a
		case opTxa:
			a = x
		case opNeg:
			a = -a
		case opAluK:
			a = fold(uint16(o.alu), a, o.k)
		case opAluX:
			if x == 0 && (o.alu == div || o.alu == mod) {
				return false
			}
			a = fold(uint16(o.alu), a, x)
		}
		if !holds {
			at = o.no
		}
	}
	return at == accept
}
