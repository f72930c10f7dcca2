package e2e

import (
	"bufio"
	bytesof "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkReplay replays two million packets with everything on (flows, all
// statistics, transfers, all detections) and, beside it, what else reads
// captures into flows on this machine. It prints CPU time per packet.
func BenchmarkReplay(b *testing.B) {
	const packets = 2_000_000
	file := filepath.Join(b.TempDir(), "big.pcap")
	if err := repeat(filepath.Join("..", "testdata", "mixed.pcap"), file, packets); err != nil {
		b.Fatal(err)
	}
	out := b.TempDir()
	for b.Loop() {
		ours := cpuOf(b, exec.Command(binary, "standalone", "--pcapfile", file, "--dest", "file://"+filepath.Join(out, "records"), "--data-dir", out))
		b.ReportMetric(perPacket(ours, packets), "vft-ns/packet")
		peer := func(name string, args ...string) {
			path, err := exec.LookPath(name)
			if err != nil {
				return
			}
			theirs, err := run(exec.Command(path, args...))
			if err != nil {
				b.Logf("%s is not compared: %v", name, err)
				return
			}
			b.ReportMetric(perPacket(theirs, packets), name+"-ns/packet")
			b.ReportMetric(float64(theirs)/float64(ours), "x-faster-than-"+name)
		}
		peer("softflowd", "-r", file, "-n", "127.0.0.1:9", "-d", "-p", filepath.Join(out, "pid"), "-c", "none") // its control socket may block it for ever
		peer("nfpcapd", "-r", file, "-l", out)
		b.ReportMetric(2, "limit-x-faster")
	}
}

func perPacket(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / float64(n) }

// cpuOf runs a command to its end and returns its user and system time.
func cpuOf(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	spent, err := run(cmd)
	if err != nil {
		b.Fatal(err)
	}
	return spent
}

// run runs a command for at most a minute.
func run(cmd *exec.Cmd) (time.Duration, error) {
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %.200s", cmd.Path, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// repeat writes a capture again and again, each time later and with other
// addresses, until there are n packets. It reads what testdata/make writes:
// little-endian pcap of Ethernet with microseconds or nanoseconds.
func repeat(from, to string, n int) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	if _, err := w.Write(data[:24]); err != nil {
		return err
	}
	first := bytesof.LittleEndian.Uint32(data[24:])
	span := uint32(0)
	for round := uint32(0); n > 0; round++ {
		for at := 24; at < len(data) && n > 0; n-- {
			size := int(bytesof.LittleEndian.Uint32(data[at+8:]))
			record := append([]byte(nil), data[at:at+16+size]...)
			seconds := bytesof.LittleEndian.Uint32(record)
			span = max(span, seconds-first+1)
			bytesof.LittleEndian.PutUint32(record, seconds+round*span/8)
			vary(record[16:], round)
			if _, err := w.Write(record); err != nil {
				return err
			}
			at += 16 + size
		}
		if span == 0 {
			return fmt.Errorf("%s holds no packets", from)
		}
	}
	return w.Flush()
}

// vary gives an IP packet the addresses of another round; both ends by the same
// rule, so that answers stay answers.
func vary(frame []byte, round uint32) {
	if len(frame) < 54 {
		return
	}
	var ends [2]int // where in each address the two bytes lie
	switch bytesof.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		ends = [2]int{27, 31}
	case 0x86dd:
		ends = [2]int{26, 42}
	default:
		return
	}
	for _, at := range ends {
		frame[at] ^= byte(round >> 8)
		frame[at+1] ^= byte(round)
	}
}
