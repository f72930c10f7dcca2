package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"vft/capture/packet"
)

// pcapOf is a pcap file of frames, one second apart from second 10 on.
func pcapOf(order binary.AppendByteOrder, magic uint32, frames ...[]byte) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(order.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(order.AppendUint32(b, 96), 1)
	for i, f := range frames {
		b = order.AppendUint32(order.AppendUint32(b, uint32(10+i)), 7)
		b = order.AppendUint32(order.AppendUint32(b, uint32(len(f))), uint32(len(f)+5))
		if magic == magicModified {
			b = append(b, make([]byte, 8)...)
		}
		b = append(b, f...)
	}
	return b
}

// block is a pcapng block with both lengths.
func block(order binary.AppendByteOrder, kind uint32, body []byte) []byte {
	body = append(slices.Clone(body), make([]byte, -len(body)&3)...)
	b := order.AppendUint32(order.AppendUint32(nil, kind), uint32(len(body)+12))
	return order.AppendUint32(append(b, body...), uint32(len(body)+12))
}

func sectionOf(order binary.AppendByteOrder) []byte {
	b := order.AppendUint16(order.AppendUint16(order.AppendUint32(nil, byteOrderMagic), 1), 0)
	return block(order, blockSection, order.AppendUint64(b, ^uint64(0)))
}

// interfaceOf has link type 1 and the given options, code and value in turn.
func interfaceOf(order binary.AppendByteOrder, snaplen uint32, options ...any) []byte {
	b := order.AppendUint32(order.AppendUint16(order.AppendUint16(nil, 1), 0), snaplen)
	for i := 0; i < len(options); i += 2 {
		value := options[i+1].([]byte)
		b = order.AppendUint16(order.AppendUint16(b, uint16(options[i].(int))), uint16(len(value)))
		b = append(append(b, value...), make([]byte, -len(value)&3)...)
	}
	return block(order, blockInterface, b)
}

func enhanced(order binary.AppendByteOrder, iface uint32, stamp uint64, frame []byte) []byte {
	b := order.AppendUint32(order.AppendUint32(order.AppendUint32(nil, iface), uint32(stamp>>32)), uint32(stamp))
	b = order.AppendUint32(order.AppendUint32(b, uint32(len(frame))), uint32(len(frame)))
	return block(order, blockEnhanced, append(b, frame...))
}

var (
	little = binary.LittleEndian
	big    = binary.BigEndian
)

// read returns the packets of a capture as text, and its report.
func read(t testing.TB, data []byte) ([]string, Report, error) {
	t.Helper()
	var got []string
	file := File{Paths: []string{"-"}, Stdin: bytes.NewReader(data)}
	reports, err := file.Run(context.Background(), func(p *Packet) {
		got = append(got, fmt.Sprintf("%d %d/%d %q", p.Time, len(p.Data), p.Wire, p.Data))
	})
	if len(reports) == 0 {
		return got, Report{}, err
	}
	return got, reports[0], err
}

func TestPcapVariants(t *testing.T) {
	for _, c := range []struct {
		why   string
		data  []byte
		first int64
	}{
		{"little-endian, microseconds", pcapOf(little, magicMicro, []byte("one"), []byte("two")), 10_000_007_000},
		{"big-endian, microseconds", pcapOf(big, magicMicro, []byte("one"), []byte("two")), 10_000_007_000},
		{"little-endian, nanoseconds", pcapOf(little, magicNano, []byte("one"), []byte("two")), 10_000_000_007},
		{"big-endian, nanoseconds", pcapOf(big, magicNano, []byte("one"), []byte("two")), 10_000_000_007},
		{"modified", pcapOf(little, magicModified, []byte("one"), []byte("two")), 10_000_007_000},
		{"modified, big-endian", pcapOf(big, magicModified, []byte("one"), []byte("two")), 10_000_007_000},
	} {
		got, report, err := read(t, c.data)
		want := []string{fmt.Sprintf(`%d 3/8 "one"`, c.first), fmt.Sprintf(`%d 3/8 "two"`, c.first+1e9)}
		if err != nil || !slices.Equal(got, want) || report.Broken != nil {
			t.Errorf("%s: %v %v %v", c.why, got, err, report.Broken)
		}
		if report.Format != "pcap" || report.Packets != 2 || report.Bytes != 16 || report.Captured != 6 || report.Cut != 2 || report.First != c.first {
			t.Errorf("%s: %+v", c.why, report)
		}
	}
}

func TestPcapng(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{little, big} {
		nano, two20 := []byte{9}, []byte{0x80 | 20}
		offset := order.AppendUint64(nil, 100)
		data := slices.Concat(
			sectionOf(order),
			interfaceOf(order, 0),
			interfaceOf(order, 0, 2, []byte("name"), optionResolution, nano),
			interfaceOf(order, 0, optionResolution, two20, optionOffset, offset),
			block(order, 4, []byte("names, no packet")),
			enhanced(order, 0, 5_000_001, []byte("micro")),
			enhanced(order, 1, 6_000_000_001, []byte("nano")),
			enhanced(order, 2, 7<<20+1<<19, []byte("binary")),
			block(order, 2, slices.Concat(order.AppendUint16(order.AppendUint16(nil, 1), 0),
				order.AppendUint32(nil, 1), order.AppendUint32(nil, 3705032705), order.AppendUint32(nil, 3), order.AppendUint32(nil, 9), []byte("old"))),
			block(order, blockSimple, append(order.AppendUint32(nil, 4), "some"...)),
			sectionOf(little), // a second section, perhaps in another order
			interfaceOf(little, 2),
			block(little, blockSimple, append(little.AppendUint32(nil, 9), "snap"...)),
			enhanced(little, 0, 1, []byte("long")),
		)
		got, report, err := read(t, data)
		want := []string{`5000001000 5/5 "micro"`, `6000000001 4/4 "nano"`, `107500000000 6/6 "binary"`, `8000000001 3/9 "old"`,
			`107500000000 4/4 "some"`, `107500000000 2/9 "sn"`, `1000 4/4 "long"`}
		if err != nil || !slices.Equal(got, want) || report.Broken != nil {
			t.Errorf("%v: %v %v\n got %q\nwant %q", order, err, report.Broken, got, want)
		}
		if report.Untimed != 2 || report.OutOfOrder != 2 || report.OverSnap != 1 || report.Skipped != 7 || report.First != 1000 {
			t.Errorf("%v: %+v", order, report)
		}
	}
}

func TestTimeStamps(t *testing.T) {
	for _, c := range []struct {
		resolution byte
		offset     int64
		stamp      uint64
		want       int64
		why        string
	}{
		{6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000, "microseconds"},
		{0, 0, 1_700_000_000, 1_700_000_000_000_000_000, "whole seconds"},
		{9, 3600, 5, 3600_000_000_005, "an offset in seconds"},
		{0x8a, 0, 1024 + 512, 1_500_000_000, "a power of two"},
		{12, 0, 1_000_000_000_001, 1_000_000_000, "picoseconds are cut"},
		{6, 0, ^uint64(0), -1000, "negative"},
		{0, 0, 1 << 62, 4611686018 * 1_000_000_000, "beyond the range: its end"},
		{255, 0, ^uint64(0) >> 1, 999_999_999, "a resolution that no number holds"},
		{127, 0, 1, 0, "a power of ten that no number holds"},
	} {
		n := ngInterface{perSec: unitsPerSecond(c.resolution), offset: c.offset}
		if got := n.time(c.stamp); got != c.want {
			t.Errorf("%s: %d, want %d", c.why, got, c.want)
		}
	}
}

// What is broken ends the file, with its offset; what came before counts.
func TestBrokenRecords(t *testing.T) {
	good := pcapOf(little, magicMicro, []byte("one"), []byte("two"))
	second := int64(pcapHeader + pcapRecord + 3)
	huge := slices.Clone(good)
	little.PutUint32(huge[second+8:], 1<<20)
	ng := slices.Concat(sectionOf(little), interfaceOf(little, 0), enhanced(little, 0, 1, []byte("data")))
	with := func(more ...byte) []byte { return append(slices.Clone(ng), more...) }
	for _, c := range []struct {
		why     string
		data    []byte
		packets uint64
		offset  int64
		says    string
	}{
		{"cut in a record", good[:len(good)-1], 1, second, "cut short"},
		{"cut in a record header", good[:second+3], 1, second, "cut short"},
		{"cut in the file header", good[:20], 0, 0, "cut short"},
		{"a length that no packet has", huge, 1, second, "1048576 bytes"},
		{"another version", func() []byte { b := slices.Clone(good); b[4] = 9; return b }(), 0, 0, "version 9"},
		{"a block cut short", ng[:len(ng)-2], 0, int64(len(ng) - 36), "cut short"},
		{"a block of no length", with(6, 0, 0, 0, 0, 0, 0, 0), 1, int64(len(ng)), "a block of 0 bytes"},
		{"a block of 2 GB", with(6, 0, 0, 0, 0, 0, 0, 0x80), 1, int64(len(ng)), "a block of 2147483648 bytes"},
		{"two lengths that differ", func() []byte { b := slices.Clone(ng); b[len(b)-4]++; return b }(), 0, int64(len(ng) - 36), "at its end"},
		{"an interface that was not described", append(slices.Clone(ng), enhanced(little, 3, 1, nil)...), 1, int64(len(ng)), "not described"},
		{"a packet longer than its block", append(slices.Clone(ng), block(little, blockEnhanced, slices.Concat(make([]byte, 12), []byte{200, 0, 0, 0, 200, 0, 0, 0}))...), 1, int64(len(ng)), "longer than its block"},
		{"a section in no byte order", append(slices.Clone(ng), block(little, blockSection, make([]byte, 16))...), 1, int64(len(ng)), "byte-order"},
	} {
		_, report, err := read(t, c.data)
		if err != nil || report.Broken == nil {
			t.Errorf("%s: %v, %+v", c.why, err, report)
			continue
		}
		if report.Packets != c.packets || report.Broken.Offset != c.offset || !strings.Contains(report.Broken.Error(), c.says) ||
			!strings.Contains(report.Broken.Error(), fmt.Sprintf("at byte %d", c.offset)) {
			t.Errorf("%s: %d packets, %v; want %d at %d", c.why, report.Packets, report.Broken, c.packets, c.offset)
		}
	}
}

func packed(t testing.TB, data []byte) (gz, zst []byte) {
	t.Helper()
	var a, b bytes.Buffer
	g := gzip.NewWriter(&a)
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return a.Bytes(), b.Bytes()
}

func TestCompressed(t *testing.T) {
	random, frames := rand.NewChaCha8([32]byte{}), make([][]byte, 400) // more than one block of zstd
	for i := range frames {
		frames[i] = make([]byte, 1000)
		random.Read(frames[i])
	}
	plain := pcapOf(little, magicMicro, frames...)
	gz, zst := packed(t, plain)
	want, _, _ := read(t, plain)
	for format, data := range map[string][]byte{"pcap, gzip": gz, "pcap, zstd": zst} {
		got, report, err := read(t, data)
		if err != nil || !slices.Equal(got, want) || report.Format != format {
			t.Errorf("%s: %v %v %+v", format, got, err, report)
		}
		if _, report, err = read(t, data[:len(data)-6]); err != nil || report.Broken == nil || report.Packets == 0 {
			t.Errorf("%s cut short: %v %+v", format, err, report)
		}
	}
}

// A pipe may give one byte at a time.
func TestSlowInput(t *testing.T) {
	plain := pcapOf(little, magicMicro, []byte("one"), make([]byte, 3000), []byte("three"))
	want, _, _ := read(t, plain)
	var got []string
	file := File{Paths: []string{"-"}, Stdin: iotest.OneByteReader(bytes.NewReader(plain))}
	if _, err := file.Run(t.Context(), func(p *Packet) {
		got = append(got, fmt.Sprintf("%d %d/%d %q", p.Time, len(p.Data), p.Wire, p.Data))
	}); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: %q", err, got)
	}
	file.Stdin = io.MultiReader(bytes.NewReader(plain[:60]), iotest.ErrReader(errors.New("the disk is gone")))
	reports, err := file.Run(t.Context(), func(*Packet) {})
	if err != nil || reports[0].Broken == nil || !strings.Contains(reports[0].Broken.Error(), "the disk is gone") {
		t.Errorf("a read error gave %v %+v", err, reports)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, says, why string }{
		{filepath.Join(dir, "missing.pcap"), "missing.pcap: no such file", "not there"},
		{dir, "it is a directory", "a directory"},
		{write("empty", ""), "it is empty", "empty"},
		{write("text", "hello world"), "no pcap or pcapng", "no capture"},
		{write("short", "ab"), "no pcap or pcapng", "too short for a magic number"},
		{write("xz", "\xfd7zXZ\x00"), "compressed with xz", "a compression that is not read"},
		{write("gz", "\x1f\x8bxxxxxxxxxxxxx"), "does not decompress", "no gzip after all"},
	} {
		file := File{Paths: []string{c.path}}
		_, err := file.Run(t.Context(), func(*Packet) { t.Errorf("%s: a packet", c.why) })
		for verb, err := range map[string]error{"Check": file.Check(), "Run": err} {
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s: %s gave %v", c.why, verb, err)
			}
		}
	}
	file := File{Paths: []string{"../testdata/scan.pcap", "-"}}
	if err := file.Check(); err != nil {
		t.Errorf("a good file: %v", err)
	}
}

func TestSeveralFilesAndProgress(t *testing.T) {
	var done, total int64
	file := File{Paths: []string{"../testdata/scan.pcap", "../testdata/mixed.pcap"}, Progress: func(d, all int64) {
		if d < done {
			t.Errorf("progress went back from %d to %d", done, d)
		}
		done, total = d, all
	}}
	reports, err := file.Run(t.Context(), func(*Packet) {})
	if err != nil || len(reports) != 2 || reports[0].Packets != 2049 || reports[1].Packets != 1294 {
		t.Errorf("%v %+v", err, reports)
	}
	if done == 0 || done != total {
		t.Errorf("read %d of %d", done, total)
	}
}

func TestContextEndsReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	file := File{Paths: []string{"../testdata/scan.pcap", "../testdata/mixed.pcap"}}
	n := 0
	_, err := file.Run(ctx, func(*Packet) { n++; cancel() })
	if !errors.Is(err, context.Canceled) || n > 2049 {
		t.Errorf("%v after %d packets", err, n)
	}
}

func TestReadingDoesNotAllocatePerPacket(t *testing.T) {
	frames := make([][]byte, 20000)
	for i := range frames {
		frames[i] = make([]byte, 100)
	}
	data := pcapOf(little, magicMicro, frames...)
	if n := testing.AllocsPerRun(3, func() {
		file := File{Paths: []string{"-"}, Stdin: bytes.NewReader(data)}
		if _, err := file.Run(context.Background(), func(*Packet) {}); err != nil {
			t.Fatal(err)
		}
	}); n > 50 {
		t.Errorf("%v allocations for %d packets", n, len(frames))
	}
}

func FuzzFile(f *testing.F) {
	plain := pcapOf(little, magicMicro, []byte("one"), []byte("two"))
	gz, zst := packed(f, plain)
	for _, seed := range [][]byte{plain, pcapOf(big, magicModified, []byte("one")), gz, zst,
		slices.Concat(sectionOf(big), interfaceOf(big, 0), enhanced(big, 0, 1, []byte("data")), block(big, blockSimple, append(big.AppendUint32(nil, 4), "some"...)))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p packet.Parsed
		captured := uint64(0)
		file := File{Paths: []string{"-"}, Stdin: bytes.NewReader(data)}
		reports, err := file.Run(context.Background(), func(pkt *Packet) {
			p.Decode(pkt.Link, pkt.Data, pkt.Wire)
			captured += uint64(len(pkt.Data))
		})
		if err == nil && reports[0].Captured != captured {
			t.Errorf("%d bytes reported, %d given", reports[0].Captured, captured)
		}
	})
}
