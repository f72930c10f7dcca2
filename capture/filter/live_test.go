package filter

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

// asKernel runs a live program over a frame as a packet socket of Linux does: the
// outer tag is taken out of the frame and lies beside it.
func asKernel(t testing.TB, program []bpf.RawInstruction, frame []byte) bool {
	t.Helper()
	besides := map[uint32]uint32{vlanPresent: 0, vlanTag: 0, vlanProtocol: 0}
	if tagged(frame) {
		besides[vlanPresent] = 1
		besides[vlanProtocol] = uint32(binary.BigEndian.Uint16(frame[12:]))
		besides[vlanTag] = uint32(binary.BigEndian.Uint16(frame[14:]))
		frame = slices.Concat(frame[:12], frame[16:])
	}
	program = slices.Clone(program)
	for i, in := range program {
		if value, is := besides[in.K]; is && in.Op == classLd|abs|word {
			program[i] = bpf.RawInstruction{Op: ldImm, K: value}
		}
	}
	return runs(t, machine(t, program, -1), frame)
}

func tagged(frame []byte) bool {
	return len(frame) >= 16 && (binary.BigEndian.Uint16(frame[12:]) == tag8021Q || binary.BigEndian.Uint16(frame[12:]) == tag8021AD)
}

// withTag puts a tag into a frame.
func withTag(frame []byte, protocol, tag uint16) []byte {
	both := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, protocol), tag)
	return slices.Concat(frame[:12], both, frame[12:])
}

func TestLiveEqualsFile(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var frames [][]byte
	for _, frame := range packets(t)[LinkEthernet] {
		if len(frame) < 20 || random.IntN(20) != 0 && !tagged(frame) {
			continue
		}
		frames = append(frames, frame)
		for _, protocol := range []uint16{tag8021Q, tag8021AD} {
			frames = append(frames, withTag(frame, protocol, []uint16{0, 7, 100, 0x6064}[random.IntN(4)]))
		}
	}
	frames = append(frames, withTag(sample(), tag8021Q, 100))
	inexact := 0
	texts := append(expressions(), "ether[10:4] = 0x0000ffff or ether[13:4] = 5", "ether[11:2] = 0x81", "ether[12:4] = 0x81000064",
		"ether[14:4] & 0xfffff = 0x40800", "ether[15] = 100", "ether[13:2] = 0", "ether[14] = 0x60 and ether[16:2] = 0x800")
	for _, text := range texts {
		f, err := Compile(text, LinkEthernet, 0)
		if err != nil {
			continue
		}
		program, exact := f.Live()
		if !exact {
			inexact++
		}
		for _, frame := range frames {
			got, want := asKernel(t, program, frame), f.Match(frame, len(frame))
			if got != want && (exact || !tagged(frame) || !got) {
				t.Errorf("%q: frame %x: live is %v, in a file %v", text, frame, got, want)
				break
			}
		}
	}
	t.Logf("%d expressions over %d frames; %d are decided in the kernel for untagged frames only", len(texts), len(frames), inexact)
	if inexact > len(texts)/20 {
		t.Errorf("%d of %d expressions are not exact", inexact, len(texts))
	}
}

func TestLiveOfOtherLinkTypes(t *testing.T) {
	f, err := Compile("tcp", LinkRaw, 0)
	if err != nil {
		t.Fatal(err)
	}
	if program, exact := f.Live(); !exact || !slices.Equal(program, f.Raw()) {
		t.Error("raw IP has no tags, yet its live program differs")
	}
}
