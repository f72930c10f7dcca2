package capture

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"vft/capture/packet"
)

// maxProgram is BPF_MAXINSNS, the most instructions that Linux takes.
const maxProgram = 4096

// Instruction codes of classic BPF (linux/bpf_common.h).
const (
	opLoad  = 0x20 // A = 32 bits at k
	opEqual = 0x15 // skip jt instructions when A = k, else jf
	opJump  = 0x05 // skip k instructions
	opRet   = 0x06 // keep k bytes of the packet
)

// What Linux knows of a packet beside its bytes (linux/filter.h).
const (
	aboutPacket    = 0xfffff000 // SKF_AD_OFF
	aboutDirection = aboutPacket + 4
	aboutHardware  = aboutPacket + 28
	aboutTag       = aboutPacket + 48
)

func load(k uint32) bpf.RawInstruction { return bpf.RawInstruction{Op: opLoad, K: k} }

func equal(k uint32, yes, no uint8) bpf.RawInstruction {
	return bpf.RawInstruction{Op: opEqual, K: k, Jt: yes, Jf: no}
}

func keep(n int) bpf.RawInstruction { return bpf.RawInstruction{Op: opRet, K: uint32(n)} }

// nothing rejects every packet.
func nothing() []bpf.RawInstruction { return []bpf.RawInstruction{keep(0)} }

// program is what the kernel runs for a filter of packets with link type link.
// It leaves out what the loopback interface sends, since it arrives there as
// well, and it passes on unseen what the filter cannot judge: another link
// type, and, unless the filter is exact, a frame with a tag, which the kernel
// keeps outside the bytes.
func program(filter LiveFilter, link packet.LinkType, snaplen int) []bpf.RawInstruction {
	p := []bpf.RawInstruction{
		load(aboutHardware),
		equal(unix.ARPHRD_LOOPBACK, 0, 3),
		load(aboutDirection),
		equal(unix.PACKET_OUTGOING, 0, 1),
		keep(0),
	}
	if len(filter.Raw) == 0 || !judged(filter, link) {
		return append(p, keep(snaplen))
	}
	p = append(p, load(aboutHardware))
	for _, hardware := range hardwareOf(link) {
		p = append(p, equal(uint32(hardware), 0, 1), bpf.RawInstruction{Op: opJump})
	}
	other := len(p)
	p = append(p, keep(snaplen))
	for at := range p[:other] {
		if p[at].Op == opJump {
			p[at].K = uint32(other - at)
		}
	}
	if !filter.Exact {
		p = append(p, load(aboutTag), equal(0, 1, 0), keep(snaplen))
	}
	for _, in := range filter.Raw {
		if in.Op == opRet {
			in.K = min(in.K, uint32(snaplen))
		}
		p = append(p, in)
	}
	return p
}

// judged reports whether the kernel runs the filter in program.
func judged(filter LiveFilter, link packet.LinkType) bool {
	const around = 21 // instructions of program beside the filter, or more
	return link != packet.LinkSLL2 && len(filter.Raw)+around <= maxProgram
}
