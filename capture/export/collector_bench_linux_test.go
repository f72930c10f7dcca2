package export

import (
	"bytes"
	"context"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vft/capture/flow"
)

// sender sends the same datagram many times, many with one system call.
type sender struct {
	fd       int
	messages [batchSize]unix.Mmsghdr
	vector   unix.Iovec
}

func newSender(b *testing.B, to netip.AddrPort, payload []byte) *sender {
	b.Helper()
	family, address := sockaddr(to)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, address); err != nil {
		b.Fatal(err)
	}
	s := &sender{fd: fd}
	s.vector.Base = &payload[0]
	s.vector.SetLen(len(payload))
	for i := range s.messages {
		s.messages[i].Hdr.Iov = &s.vector
		s.messages[i].Hdr.SetIovlen(1)
	}
	return s
}

// send sends n datagrams.
func (s *sender) send(b *testing.B, n int) {
	for n > 0 {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[0])),
			uintptr(min(n, batchSize)), 0, 0, 0)
		if errno != 0 {
			b.Error(errno)
			return
		}
		n -= int(sent)
	}
}

// paced sends n datagrams at a rate per second, a millisecond's worth at once.
func (s *sender) paced(b *testing.B, n int, rate float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin, sent := time.Now(), 0; sent < n; <-tick.C {
		due := min(int(time.Since(begin).Seconds()*rate), n)
		s.send(b, due-sent)
		sent = due
	}
}

// threadTime returns the CPU time of this thread, of the kernel's work for it
// too, in nanoseconds.
func threadTime(b *testing.B) int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		b.Error(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// receiving runs a Collector with one worker over b.N datagrams that come at a
// rate per second (0: before it begins, as many as the kernel holds), and reports what each record costs
// the thread that receives and decodes it.
func receiving(b *testing.B, payload []byte, rate float64) {
	c := opened(b, CollectorConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, ReceiveBuffer: 256 << 20})
	s := newSender(b, c.Addrs()[0], payload)
	n := b.N
	if rate == 0 {
		n = min(n, 50_000)
		s.send(b, n)
	}
	d := NewDecoder(Config{})
	into := make([]flow.Record, 0, MaxRecords)
	var begin, spent int64
	var records int
	var sent atomic.Bool
	h := Handler{
		Datagram: func(from netip.AddrPort, payload []byte, now int64) {
			if begin == 0 {
				runtime.LockOSThread()
				begin = threadTime(b)
			}
			into = d.Datagram(from, payload, now, into)
		},
		Tick: func(int64) {
			records += len(into)
			into = into[:0]
			if sent.Load() && begin != 0 {
				spent = threadTime(b) - begin
			}
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	sent.Store(rate == 0)
	finished := make(chan error, 1)
	b.ResetTimer()
	start := time.Now()
	go func() { finished <- c.Run(ctx, []Handler{h}) }()
	if rate > 0 {
		s.paced(b, n, rate)
		sent.Store(true)
	}
	sending := time.Since(start)
	stop()
	if err := <-finished; err != nil {
		b.Fatal(err)
	}
	if dropped := count(c, "collector_dropped"); dropped > 0 || count(c, "collector_received") != uint64(n) {
		b.Errorf("sent %d datagrams, received %d, dropped %d", n, count(c, "collector_received"), dropped)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(spent)/float64(records), "cpu-ns/record")
	if rate > 0 {
		b.ReportMetric(float64(records)/sending.Seconds(), "records/s")
	}
	b.ReportMetric(float64(count(c, "collector_received"))/float64(max(count(c, "collector_batches"), 1)), "datagrams/batch")
}

// A million records of NetFlow 5 a second, from real datagrams, without a drop.
func BenchmarkCollectMillionRecords(b *testing.B) {
	receiving(b, fixedDatagram(flow.NetFlow5, 30, 1), 1e6/30)
	b.ReportMetric(300, "limit-cpu-ns/record")
}

// As fast as one thread can: the datagrams wait in the kernel.
func BenchmarkCollectBacklog(b *testing.B) {
	receiving(b, fixedDatagram(flow.NetFlow5, 30, 1), 0)
	b.ReportMetric(300, "limit-cpu-ns/record")
}

// The same through nfcapd of nfdump, which writes the records to a file.
func BenchmarkCollectMillionRecordsNfcapd(b *testing.B) {
	program, err := exec.LookPath("nfcapd")
	if err != nil {
		b.Skip("needs nfcapd of nfdump")
	}
	free := opened(b, CollectorConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	at := free.Addrs()[0]
	free.Close()
	var said bytes.Buffer
	nfcapd := exec.Command(program, "-w", b.TempDir(), "-b", "127.0.0.1", "-p", strconv.Itoa(int(at.Port())), "-B", strconv.Itoa(256<<20))
	nfcapd.Stdout, nfcapd.Stderr = &said, &said
	if err := nfcapd.Start(); err != nil {
		b.Fatal(err)
	}
	defer nfcapd.Process.Kill()
	for limit := time.Now().Add(5 * time.Second); NewCollector(CollectorConfig{Listen: []netip.AddrPort{at}}).available(); runtime.Gosched() {
		if time.Now().After(limit) {
			b.Fatal("nfcapd does not listen")
		}
	}
	b.ResetTimer()
	newSender(b, at, fixedDatagram(flow.NetFlow5, 30, 1)).paced(b, b.N, 1e6/30)
	nfcapd.Process.Signal(unix.SIGTERM)
	nfcapd.Wait()
	_, rest, _ := strings.Cut(said.String(), "Flows: ")
	text, _, _ := strings.Cut(rest, ",")
	records, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("nfcapd said %s", said.String())
	}
	spent := nfcapd.ProcessState.UserTime() + nfcapd.ProcessState.SystemTime()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(spent)/float64(max(records, 1)), "cpu-ns/record")
	b.ReportMetric(float64(b.N-records/30), "lost")
}

// available reports whether the first address can be bound.
func (c *Collector) available() bool {
	defer c.Close()
	return c.Open() == nil
}
