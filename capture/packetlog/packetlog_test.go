package packetlog

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/flow"
	"vft/capture/packet"
)

const start = int64(1_700_000_000_123_456_789)

// key returns the key of flow number n, to port 443.
func key(n int) flow.Key {
	return flow.Key{Src: packet.Addr4(0x0a000000 + uint32(n)), Dst: packet.Addr4(0xc6336402), SrcPort: 40000, DstPort: 443, Proto: 6, Ports: true}
}

// frame returns an Ethernet frame of a TCP packet of n bytes, at least 54, whose
// payload begins with number.
func frame(n, number int) []byte {
	b := make([]byte, max(n, 62))
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0})
	binary.BigEndian.PutUint16(b[16:], uint16(n-14))
	b[22], b[23] = 64, 6
	copy(b[26:], []byte{10, 0, 0, 1, 198, 51, 100, 2, 0x9c, 0x40, 1, 0xbb})
	b[46], b[47] = 5<<4, 0x10
	setNumber(b, number)
	return b
}

func setNumber(frame []byte, n int) { binary.BigEndian.PutUint64(frame[54:], uint64(n)) }

// timeOf returns the time of packet number n.
func timeOf(n int) int64 { return start + int64(n)*5_000_000 }

func number(data []byte) int { return int(binary.BigEndian.Uint64(data[54:])) }

type testLog struct {
	*Log
	t      testing.TB
	logged strings.Builder
	clock  time.Time
}

// open returns an open Log in directories of the test, which the caller's Config
// may name.
func open(t testing.TB, cfg Config) *testLog {
	t.Helper()
	l := &testLog{t: t, clock: time.Unix(0, start)}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "log")
	}
	if cfg.Archive == "" {
		cfg.Archive = filepath.Join(t.TempDir(), "archive")
	}
	cfg.Log = zerolog.New(&l.logged)
	cfg.Now = func() time.Time { return l.clock }
	l.Log = New(cfg)
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// counts returns the counters that are not zero.
func (l *testLog) counts() map[string]uint64 {
	counts := map[string]uint64{}
	l.Counts(func(name string, n uint64) {
		if n > 0 {
			counts[name] = n
		}
	})
	return counts
}

// balanced fails when a packet or a flow is not accounted for.
func (l *testLog) balanced() {
	l.t.Helper()
	l.gauges()
	c := l.counts()
	var dropped uint64
	for name, n := range c {
		if strings.HasPrefix(name, "packets_dropped_") {
			dropped += n
		}
	}
	if sum := c["packets_written"] + c["packets_discarded"] + dropped; sum != c["packets_seen"] {
		l.t.Errorf("packets: %d seen, %d accounted for: %v", c["packets_seen"], sum, c)
	}
	if sum := c["flows_ended"] + c["flows_evicted_max"] + c["flows_evicted_quota"] + c["flows"]; sum != c["flows_started"] {
		l.t.Errorf("flows: %d started, %d accounted for: %v", c["flows_started"], sum, c)
	}
	if l.flows == nil && (l.used != 0 || l.buffered != 0 || l.plain.len+l.kept.len+l.open.len+l.wait.len != 0) {
		l.t.Errorf("after Close: used %d, buffered %d, lists %d %d %d %d", l.used, l.buffered, l.plain.len, l.kept.len, l.open.len, l.wait.len)
	}
}

// send logs packet number n, of size bytes, in flow k.
func (l *testLog) send(k flow.Key, n, size int) {
	data := frame(size, n)
	l.Packet(k, packet.LinkEthernet, timeOf(n), len(data), data)
}

func (l *testLog) close() {
	l.t.Helper()
	if err := l.Close(); err != nil {
		l.t.Error(err)
	}
	l.balanced()
	if left := filesIn(l.t, l.cfg.Dir); len(left) > 0 {
		l.t.Errorf("%d files left in the log directory: %s", len(left), left[0])
	}
}

// filesIn returns the paths of all files in dir, in order; hidden ones too.
func filesIn(t testing.TB, dir string) (paths []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

type read struct {
	link packet.LinkType
	ts   int64
	wire int
	data []byte
}

// parse reads a pcapng file strictly: every block whole, every length told
// twice, interfaces before their packets, no short block over a line.
func parse(t testing.TB, path string) (packets []read) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < sectionSize || le.Uint32(b) != blockSection {
		t.Fatalf("%s: %d bytes without a section", path, len(b))
	}
	var devices []packet.LinkType
	for at := 0; at < len(b); {
		if len(b)-at < minBlock {
			t.Fatalf("%s: %d bytes behind the last block", path, len(b)-at)
		}
		kind, size := le.Uint32(b[at:]), int(le.Uint32(b[at+4:]))
		if size < minBlock || size > len(b)-at || size%4 != 0 || int(le.Uint32(b[at+size-4:])) != size {
			t.Fatalf("%s: torn block of %d bytes at %d of %d", path, size, at, len(b))
		}
		if at/line != (at+size-1)/line && size <= line-minBlock {
			t.Fatalf("%s: the block of %d bytes at %d crosses a line", path, size, at)
		}
		block := b[at : at+size]
		switch kind {
		case blockInterface:
			devices = append(devices, packet.LinkType(le.Uint16(block[8:])))
		case blockPacket:
			ts := int64(le.Uint32(block[12:]))<<32 | int64(le.Uint32(block[16:]))
			n := int(le.Uint32(block[20:]))
			packets = append(packets, read{devices[le.Uint32(block[8:])], ts, int(le.Uint32(block[24:])), block[packetHeader : packetHeader+n]})
		}
		at += size
	}
	return packets
}

// tools are run on files in bunches.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; install the Debian package tshark", name)
		}
		t.Skipf("%s is missing; install the Debian package tshark", name)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

var complaint = regexp.MustCompile(`(?i)cut short|damaged|corrupt|isn't a capture|malformed`)

// whole fails unless capinfos opens every file and counts as many packets as
// parse does.
func whole(t testing.TB, paths []string) {
	t.Helper()
	if len(paths) == 0 {
		t.Fatal("no file to look at")
	}
	out := tool(t, "capinfos", append([]string{"-T", "-r", "-c", "-m"}, paths...)...)
	if complaint.MatchString(out) {
		t.Errorf("capinfos complains:\n%s", out)
	}
	rows := strings.Split(strings.TrimSpace(out), "\n")
	rows = rows[len(rows)-len(paths):]
	for i, path := range paths {
		n := len(parse(t, path))
		if !strings.HasPrefix(rows[i], fmt.Sprintf(`%s,%d`, path, n)) {
			t.Errorf("%s: capinfos says %q, not %d packets", path, rows[i], n)
		}
	}
}

// readable fails unless tshark reads every packet of the files.
func readable(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		out := tool(t, "tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number")
		if complaint.MatchString(out) {
			t.Errorf("tshark complains:\n%s", out)
		}
		if n, got := len(parse(t, path)), len(regexp.MustCompile(`(?m)^\d+$`).FindAllString(out, -1)); got != n {
			t.Errorf("%s: tshark reads %d packets, not %d", path, got, n)
		}
	}
}

// numbers returns the numbers of the packets in files, and fails when times,
// lengths or data are not those of send.
func numbers(t testing.TB, paths []string) (all []int) {
	t.Helper()
	for _, path := range paths {
		for _, p := range parse(t, path) {
			n := number(p.data)
			if p.ts != timeOf(n) || string(p.data) != string(frame(len(p.data), n)) {
				t.Fatalf("%s: packet %d of %d bytes at %d is not what was sent", path, n, len(p.data), p.ts)
			}
			all = append(all, n)
		}
	}
	return all
}

// consecutive fails unless the numbers go from first to last.
func consecutive(t testing.TB, all []int, first, last int) {
	t.Helper()
	if len(all) != last-first+1 {
		t.Fatalf("%d packets, not %d to %d", len(all), first, last)
	}
	for i, n := range all {
		if n != first+i {
			t.Fatalf("packet %d in the place of %d", n, first+i)
		}
	}
}
