package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vft/e2e/exporter"
)

// BenchmarkCollector sends a million records a second to a server, everything on, for
// some seconds, as four busy routers do, and then the same to nfcapd. It prints the CPU
// time of the whole process per record, and what was dropped.
func BenchmarkCollector(b *testing.B) {
	for _, v := range []struct {
		name    string
		version exporter.Version
	}{{"netflow5", 5}, {"netflow9", 9}, {"ipfix", 10}} {
		b.Run(v.name, func(b *testing.B) {
			for b.Loop() {
				collectWithServer(b, v.version)
				collectWithNfcapd(b, v.version)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

const (
	recordsPerSecond = 1_000_000
	warmUp, measured = 2 * time.Second, 8 * time.Second
)

func collectWithServer(b *testing.B, v exporter.Version) {
	dir := b.TempDir()
	port := freePort(b)
	log := filepath.Join(dir, "log")
	cmd := exec.Command(binary, "server", "--bind", "127.0.0.1:0", "--netflow", "127.0.0.1:"+strconv.Itoa(port), "--data-dir", dir)
	used, sent := collecting(b, cmd, log, "collecting flows on", port, v)
	text, err := os.ReadFile(log)
	if err != nil {
		b.Fatal(err)
	}
	counts := map[string]any{}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"message":"counters of collectors"`) {
			if err := json.Unmarshal([]byte(line), &counts); err != nil {
				b.Fatal(err)
			}
		}
	}
	received, _ := counts["collector_received"].(float64)
	dropped, _ := counts["collector_dropped"].(float64) // what is 0 is not told
	if received+dropped != float64(sent) {
		b.Errorf("%d datagrams were sent, %v received, %v dropped", sent, received, dropped)
	}
	b.ReportMetric(used, "vft-cpu-ns/record")
	b.ReportMetric(300, "limit-cpu-ns/record")
	b.ReportMetric(dropped, "vft-dropped")
	b.ReportMetric(0, "limit-dropped")
}

var nfcapdFlows = regexp.MustCompile(`Flows: (\d+)`)

func collectWithNfcapd(b *testing.B, v exporter.Version) {
	path, err := exec.LookPath("nfcapd")
	if err != nil {
		return
	}
	dir := b.TempDir()
	port := freePort(b)
	log := filepath.Join(dir, "log")
	if err := os.Mkdir(filepath.Join(dir, "flows"), 0o700); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, "-w", filepath.Join(dir, "flows"), "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-B", strconv.Itoa(32<<20))
	used, sent := collecting(b, cmd, log, "", port, v)
	b.ReportMetric(used, "nfcapd-cpu-ns/record")
	text, _ := os.ReadFile(log)
	flows := 0
	for _, found := range nfcapdFlows.FindAllStringSubmatch(string(text), -1) {
		n, _ := strconv.Atoi(found[1])
		flows += n
	}
	b.ReportMetric(float64(sent-flows/exporter.RecordsPerDatagram), "nfcapd-lost")
}

// collecting runs a collector, sends to its port, and returns its CPU time for each
// record in nanoseconds, and how many datagrams were sent in all.
func collecting(b *testing.B, cmd *exec.Cmd, log, ready string, port int, v exporter.Version) (used float64, sent int) {
	b.Helper()
	file, err := os.Create(log)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = nil, file
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	for limit := time.After(10 * time.Second); !listens(port) || ready != "" && !says(log, ready); {
		select {
		case <-limit:
			b.Fatalf("%s does not listen", cmd.Path)
		case <-time.After(10 * time.Millisecond):
		}
	}
	s := newRouters(b, port, v)
	s.paced(warmUp)
	before, already := cpuTicks(b, cmd.Process.Pid), s.sent
	s.paced(measured)
	<-time.After(500 * time.Millisecond) // what waits in the kernel
	ticks := cpuTicks(b, cmd.Process.Pid) - before
	_ = cmd.Process.Signal(unix.SIGTERM)
	_ = cmd.Wait()
	return float64(ticks) * 1e7 / float64((s.sent-already)*exporter.RecordsPerDatagram), s.sent
}

func says(log, text string) bool {
	b, _ := os.ReadFile(log)
	return strings.Contains(string(b), text)
}

// listens reports whether somebody has the UDP port.
func listens(port int) bool {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return true
	}
	_ = c.Close()
	return false
}

func freePort(b *testing.B) int {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// routers are exporters on addresses of their own, each with a socket.
type routers struct {
	all      []*exporter.Exporter
	sockets  []int
	turn     int
	sent     int
	payloads [batchOfDatagrams][]byte
	vectors  [batchOfDatagrams]unix.Iovec
	messages [batchOfDatagrams]message
}

// message is the mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	_      uint64
}

const batchOfDatagrams = 16

func newRouters(b *testing.B, port int, v exporter.Version) *routers {
	b.Helper()
	r := &routers{}
	const many = 4
	for i := range many {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + i)}}); err != nil {
			b.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}); err != nil {
			b.Fatal(err)
		}
		r.sockets = append(r.sockets, fd)
		r.all = append(r.all, exporter.New(v, i, many, time.Now()))
	}
	return r
}

// paced sends for so long, a millisecond's worth at once.
func (r *routers) paced(long time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begin, already := time.Now(), r.sent
	for {
		passed := min(time.Since(begin), long)
		due := int(passed.Seconds() * recordsPerSecond / exporter.RecordsPerDatagram)
		for r.sent-already < due {
			r.send(min(due-(r.sent-already), batchOfDatagrams))
		}
		if passed == long {
			return
		}
		<-tick.C
	}
}

// send sends n datagrams of the next router.
func (r *routers) send(n int) {
	r.turn = (r.turn + 1) % len(r.all)
	now := time.Now()
	for i := range n {
		r.payloads[i] = r.all[r.turn].Datagram(r.payloads[i][:0], now)
		r.vectors[i].Base = &r.payloads[i][0]
		r.vectors[i].SetLen(len(r.payloads[i]))
		r.messages[i].header.Iov = &r.vectors[i]
		r.messages[i].header.SetIovlen(1)
	}
	for at := 0; at < n; {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(r.sockets[r.turn]), uintptr(unsafe.Pointer(&r.messages[at])), uintptr(n-at), 0, 0, 0)
		if errno != 0 {
			panic(fmt.Sprintf("cannot send to the collector: %v", errno))
		}
		at += int(sent)
	}
	r.sent += n
}
