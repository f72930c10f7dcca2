package filter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// reference names the link types as tcpdump does.
var reference = map[LinkType]string{
	LinkNull: "NULL", LinkEthernet: "EN10MB", LinkPPP: "PPP", LinkPPPHDLC: "PPP_SERIAL", LinkRaw: "RAW",
	LinkCHDLC: "C_HDLC", LinkLoop: "LOOP", LinkSLL: "LINUX_SLL", LinkIPv4: "IPV4", LinkIPv6: "IPV6", LinkSLL2: "LINUX_SLL2",
}

// missing ends a test whose means are not there: in CI that is a failure.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func needTcpdump(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		missing(t, "tcpdump is not installed: it is in the package tcpdump")
	}
}

// tcpdump compiles an expression with libpcap, for a file of these options. Its
// complaint is the second result.
func tcpdump(t testing.TB, o Options, expression string, args ...string) ([]bpf.RawInstruction, string) {
	t.Helper()
	var order binary.AppendByteOrder = binary.LittleEndian
	if o.BigEndian {
		order = binary.BigEndian
	}
	header := order.AppendUint32(order.AppendUint16(order.AppendUint16(order.AppendUint32(nil, 0xa1b2c3d4), 2), 4), 0)
	header = order.AppendUint32(order.AppendUint32(order.AppendUint32(header, 0), MaxSnapLen), uint32(o.Link))
	file := filepath.Join(t.TempDir(), "empty.pcap")
	if err := os.WriteFile(file, header, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("tcpdump", append(args, "-ddd", "-r", file, "--", expression)...)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, strings.TrimSpace(complaint.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var raw []bpf.RawInstruction
	for _, line := range lines[1:] {
		var numbers [4]uint64
		for i, field := range strings.Fields(line) {
			if numbers[i], err = strconv.ParseUint(field, 10, 32); err != nil {
				t.Fatalf("tcpdump -ddd %q: line %q: %v", expression, line, err)
			}
		}
		raw = append(raw, bpf.RawInstruction{Op: uint16(numbers[0]), Jt: uint8(numbers[1]), Jf: uint8(numbers[2]), K: uint32(numbers[3])})
	}
	return raw, ""
}

// machine runs a program in the virtual machine of golang.org/x/net/bpf. Its
// "len" is that of the bytes it is given; where a packet was longer, the length
// is put into the program as a constant. It has no negation: the product with
// 2^32-1 stands in.
func machine(t testing.TB, raw []bpf.RawInstruction, length int) *bpf.VM {
	t.Helper()
	fixed := append([]bpf.RawInstruction(nil), raw...)
	for i := range fixed {
		if fixed[i].Op == classAlu|neg {
			fixed[i] = bpf.RawInstruction{Op: classAlu | mul, K: 0xffffffff}
		}
		if fixed[i].Op == ldLen && length >= 0 {
			fixed[i] = bpf.RawInstruction{Op: ldImm, K: uint32(length)}
		}
	}
	program, all := bpf.Disassemble(fixed)
	if !all {
		t.Fatalf("a program has unknown instructions: %v", program)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatalf("a program is refused: %v", err)
	}
	return vm
}

func runs(t testing.TB, vm *bpf.VM, packet []byte) bool {
	t.Helper()
	n, err := vm.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// corpusDir is the directory of captures, empty where there is none.
func corpusDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("VFT_CORPUS")
	if dir == "" {
		dir = "../../../shared"
	}
	dir = filepath.Join(dir, "corpus")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not there: set VFT_CORPUS to the directory that holds corpus/", dir)
		}
		t.Logf("%s is not there: only packets made here are compared", dir)
		return ""
	}
	return dir
}

const packetsPerLink = 3000

// packets are up to packetsPerLink distinct packets of each link type: of the
// corpus, cut short, and made up.
func packets(t testing.TB) map[LinkType][][]byte {
	t.Helper()
	sets := map[LinkType][][]byte{}
	seen := map[string]bool{}
	if dir := corpusDir(t); dir != "" {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			link, found := readCapture(path)
			for _, packet := range found {
				if key := string(packet); !seen[key] && len(sets[link]) < packetsPerLink*8/10 {
					seen[key] = true
					sets[link] = append(sets[link], packet)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for link := range reference {
		sets[link] = append(sets[link], madeUp(random, sets[link], packetsPerLink/10)...)
	}
	return sets
}

// madeUp are packets that no capture holds: such as were found, cut short or with
// a byte changed, and random bytes behind a likely header.
func madeUp(random *rand.Rand, found [][]byte, n int) [][]byte {
	var made [][]byte
	for i := range n {
		packet := make([]byte, random.IntN(120))
		for at := range packet {
			packet[at] = byte(random.Uint32())
		}
		copy(packet, [][]byte{{}, {0x45}, {0x60}, {2, 0, 0, 0, 0x45}, {0, 0, 0, 10, 0x60}, {0xff, 3, 0, 0x21, 0x45},
			{8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x46},
			{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 0, 6},
			{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 7, 8, 0, 0x45}}[random.IntN(9)])
		made = append(made, packet)
		if len(found) == 0 {
			continue
		}
		packet = bytes.Clone(found[random.IntN(len(found))])
		if i%2 == 0 {
			packet = packet[:random.IntN(min(len(packet), 90)+1)]
		} else if len(packet) > 0 {
			packet[random.IntN(min(len(packet), 90))] = byte(random.Uint32())
		}
		made = append(made, packet)
	}
	return made
}

// readCapture reads every packet of a small pcap file, or some of a large one. A
// file of another kind has none.
func readCapture(path string) (LinkType, [][]byte) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) < 24 {
		return 0, nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch binary.BigEndian.Uint32(data) {
	case 0xd4c3b2a1, 0x4d3cb2a1:
	case 0xa1b2c3d4, 0xa1b23c4d:
		order = binary.BigEndian
	default:
		return 0, nil
	}
	link := LinkType(order.Uint32(data[20:]) & 0xfffffff)
	if link == LinkRaw12 || link == LinkRaw14 {
		link = LinkRaw
	}
	if reference[link] == "" || link == LinkNull && order == binary.BigEndian {
		return 0, nil
	}
	var found [][]byte
	for data = data[24:]; len(data) >= 16; {
		size := uint64(order.Uint32(data[8:]))
		if uint64(len(data)-16) < size {
			break
		}
		if len(found) < 12 || size%16 == 0 && len(found) < 40 {
			found = append(found, data[16:16+size])
		}
		data = data[16+size:]
	}
	return link, found
}
