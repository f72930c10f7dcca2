package traps

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"vft/event"
)

// served is what a server role measured.
type served struct {
	Events    int
	Processor float64 // microseconds of this process for each connection
	Rate      float64 // connections a second that were made
	Dropped   uint64  // ListenDrops of the namespace
	Overflows uint64
	Missing   uint64  // accepted without a SYN
	P99       float64 // milliseconds of a probing connection
	Failed    int     // connections that did not succeed
	Held      uint64
	Log       int // lines
	Bytes     int // of memory for each held connection
}

// made is what a generator did.
type made struct {
	Count   int
	Failed  int
	Seconds float64
}

// queue takes events as the parts behind a trap do: by value, in a slice that
// is taken whole.
type queue struct {
	mu     sync.Mutex
	events []event.Event
	all    int
}

func (q *queue) put(e event.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == cap(q.events) {
		q.events = q.events[:0]
	}
	q.events = append(q.events, e)
	q.all++
}

func (q *queue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all
}

// runSet runs a Set on one free port until stop.
func runSet(t task, emit event.Emit) (set *Set, port uint16, stop func()) {
	config := DefaultConfig()
	if t.Hold != "" {
		hold, err := time.ParseDuration(t.Hold)
		if err != nil {
			fail(err)
		}
		config.Hold = hold
	}
	set = New(config, emit)
	opened, failed := set.Open([]uint16{8080})
	if len(opened) != 1 {
		fail(failed[8080])
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); set.Run(ctx) }()
	return set, opened[0], func() { cancel(); <-done }
}

// waitFor waits until done holds.
func waitFor(what string, done func() bool) {
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); !done(); <-tick.C {
		if time.Now().After(deadline) {
			fail(errors.New("waited in vain until " + what))
		}
	}
}

// serveRole measures a trap while a generator connects to it.
func serveRole(t task) any {
	q := &queue{events: make([]event.Event, 0, 4096)}
	set, port, stop := runSet(t, q.put)
	before := processorTime()
	var generated made
	run("connect", task{Port: port, Count: t.Count, Rate: t.Rate, Keep: t.Keep}, &generated)
	result := served{Rate: float64(generated.Count) / generated.Seconds, Failed: generated.Failed}
	s := started{Set: set}
	result.Dropped, result.Overflows = s.count("listen_drops"), s.count("listen_overflows")
	waitFor("every connection is an event", func() bool {
		return q.count() >= generated.Count-generated.Failed-int(result.Dropped)
	})
	result.Processor = float64(processorTime()-before) / 1e3 / float64(generated.Count)
	result.Events, result.Missing = q.count(), s.count("syn_missing")
	stop()
	return result
}

// connectRole connects Count times from many addresses of 127/8. It keeps the
// last Keep connections, so that the trap closes them first, and resets each
// then: nothing waits in TIME_WAIT.
func connectRole(t task) any {
	kept := make([]int, t.Keep)
	for i := range kept {
		kept[i] = -1
	}
	result := made{Count: t.Count}
	start := time.Now()
	for i := range t.Count {
		if t.Rate > 0 {
			keepPace(start, i, t.Rate)
		}
		fd, err := connectFrom(i, t.Port)
		if err != nil {
			result.Failed++
			continue
		}
		if old := kept[i%t.Keep]; old >= 0 {
			unix.Close(old)
		}
		kept[i%t.Keep] = fd
	}
	result.Seconds = time.Since(start).Seconds()
	if t.Stay {
		fmt.Println("made")
		io.Copy(io.Discard, os.Stdin)
	}
	return result
}

// keepPace waits until connection i is due, in groups of 32.
func keepPace(start time.Time, i, rate int) {
	if i%32 != 0 {
		return
	}
	due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
	if ahead := time.Until(due); ahead > 0 {
		pause := unix.NsecToTimespec(int64(ahead))
		unix.Nanosleep(&pause, nil)
	}
}

// connectFrom connects to the trap from the i-th of 60,000 addresses.
func connectFrom(i int, port uint16) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	i = i%60000 + 1
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(i >> 8), byte(i)}})
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// BenchmarkAccept measures the processor time of a trap for each connection
// that is accepted, recorded as an Event and closed, payload reading off; the
// peer is another process.
func BenchmarkAccept(b *testing.B) {
	var result served
	for b.Loop() {
		inNamespace(b, "serve", task{Count: 200_000, Keep: 512, Hold: "0s"}, &result)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(result.Processor, "us/connection")
	b.ReportMetric(10, "limit-us/connection")
	b.ReportMetric(result.Rate, "connections/s")
	b.ReportMetric(float64(result.Dropped), "ListenDrops")
	b.ReportMetric(float64(result.Overflows), "ListenOverflows")
}

// BenchmarkAcceptRate offers 50,000 connections a second to one port.
func BenchmarkAcceptRate(b *testing.B) {
	var result served
	for b.Loop() {
		inNamespace(b, "serve", task{Count: 250_000, Rate: 50_000, Keep: 512, Hold: "0s"}, &result)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(result.Rate, "connections/s")
	b.ReportMetric(50_000, "goal-connections/s")
	b.ReportMetric(float64(result.Dropped), "ListenDrops")
	b.ReportMetric(0, "limit-ListenDrops")
	b.ReportMetric(float64(result.Overflows), "ListenOverflows")
	b.ReportMetric(result.Processor, "us/connection")
}

// silentRole fills the traps with silent connections up to the cap and then
// measures how fast further ones are closed.
func silentRole(t task) any {
	q := &queue{events: make([]event.Event, 0, 4096)}
	set, port, stop := runSet(t, q.put)
	before := memory()
	for i := range t.Count {
		if _, err := connectFrom(i, port); err != nil {
			fail(err)
		}
	}
	s := started{Set: set}
	waitFor("all are held", func() bool { return s.count("held_now") == uint64(t.Count) })
	result := served{Held: s.count("held_now"), Bytes: (memory() - before) / t.Count}
	result.P99 = probe(port, 5000)
	result.Events = q.count()
	stop()
	return result
}

// memory returns the bytes of heap and stacks that are in use.
func memory() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc + stats.StackInuse)
}

// TestHeldConnectionsTakeLittleMemory holds as many as may be held.
func TestHeldConnectionsTakeLittleMemory(t *testing.T) {
	var result served
	inNamespace(t, "silent", task{Count: 1024, Hold: "60s"}, &result)
	if result.Held != 1024 || result.Bytes > heldLimit {
		t.Errorf("%d are held and take %d bytes each", result.Held, result.Bytes)
	}
}

// probe connects n times, waits until the trap closes, and returns the 99th
// percentile in milliseconds.
func probe(port uint16, n int) float64 {
	times := make([]float64, 0, n)
	var one [1]byte
	for i := range n {
		start := time.Now()
		fd, err := connectFrom(30_000+i, port)
		if err != nil {
			fail(err)
		}
		unix.Read(fd, one[:])
		times = append(times, float64(time.Since(start))/1e6)
		unix.Close(fd)
	}
	slices.Sort(times)
	return times[n*99/100]
}

// BenchmarkHeldAtCap measures how fast a trap closes one more connection while
// as many as it holds are silent.
func BenchmarkHeldAtCap(b *testing.B) {
	var result served
	for b.Loop() {
		inNamespace(b, "silent", task{Count: 1024, Hold: "60s"}, &result)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(result.Held), "held")
	b.ReportMetric(float64(result.Bytes), "B/held")
	b.ReportMetric(result.P99, "p99-ms")
	b.ReportMetric(5, "limit-p99-ms")
}

// halfOpenRole measures connections to a trap while another process floods it
// with SYNs that are never completed.
func halfOpenRole(t task) any {
	nowhere()
	q := &queue{events: make([]event.Event, 0, 4096)}
	set, port, stop := runSet(t, q.put)
	ended := make(chan made)
	go func() {
		var sent made
		run("flood", task{Port: port, Seconds: t.Seconds}, &sent)
		ended <- sent
	}()
	s := started{Set: set}
	waitFor("the flood arrives", func() bool { return s.count("syncookies_sent") > 0 })
	var times []float64
	result := served{}
	for i := 0; ; i++ {
		select {
		case sent := <-ended:
			slices.Sort(times)
			result.Rate, result.Events = float64(sent.Count)/sent.Seconds, q.count()
			result.P99 = times[len(times)*99/100]
			result.Missing, result.Dropped = s.count("syn_missing"), s.count("syncookies_sent")
			stop()
			return result
		default:
		}
		start := time.Now()
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp4", "127.0.0.1:8080")
		if err != nil {
			result.Failed++
			continue
		}
		times = append(times, float64(time.Since(start))/1e6)
		conn.Close()
	}
}

// nowhere makes a route for the answers to a flood: a cable whose other
// end is nobody's. Without one the kernel would drop each SYN at once.
func nowhere() {
	for _, command := range []string{
		"link add nowhere type veth peer name sink", "link set sink up", "link set nowhere arp off up",
		"route add 198.18.0.0/15 dev nowhere", "addr add 203.0.113.1/32 dev lo",
	} {
		if output, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			fail(fmt.Errorf("ip %s: %w: %s", command, err, output))
		}
	}
}

// floodRole sends SYNs from addresses that answer nothing, as fast as it can.
func floodRole(t task) any {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		fail(os.NewSyscallError("raw socket", err))
	}
	packet := synPacket(t.Port)
	to := &unix.SockaddrInet4{Addr: [4]byte{203, 0, 113, 1}}
	result := made{}
	start := time.Now()
	for time.Since(start).Seconds() < t.Seconds {
		for range 256 {
			result.Count++
			// 198.18/15 is for benchmarks (RFC 2544): nothing there answers the SYN/ACK.
			binary.BigEndian.PutUint32(packet[12:], 198<<24|18<<16|uint32(result.Count)&0x1ffff)
			binary.BigEndian.PutUint16(packet[20:], uint16(1024+result.Count%60000))
			binary.BigEndian.PutUint16(packet[36:], 0)
			binary.BigEndian.PutUint16(packet[36:], tcpChecksum(packet))
			if unix.Sendto(fd, packet, 0, to) != nil {
				result.Failed++
			}
		}
	}
	result.Seconds = time.Since(start).Seconds()
	return result
}

// synPacket returns an IPv4 SYN to 203.0.113.1 without options.
func synPacket(port uint16) []byte {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(p[2:], 40)
	copy(p[16:], []byte{203, 0, 113, 1})
	binary.BigEndian.PutUint16(p[22:], port)
	p[32], p[33] = 5<<4, 2
	binary.BigEndian.PutUint16(p[34:], 1024)
	return p
}

// tcpChecksum is that of RFC 9293 section 3.1 over the pseudo header.
func tcpChecksum(ip []byte) uint16 {
	tcp := ip[20:]
	sum := uint32(6 + len(tcp))
	for _, part := range [][]byte{ip[12:20], tcp} {
		for ; len(part) >= 2; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// BenchmarkHalfOpenFlood connects to a trap during a flood of SYNs.
func BenchmarkHalfOpenFlood(b *testing.B) {
	var result served
	for b.Loop() {
		inNamespace(b, "halfopen", task{Seconds: 5, Hold: "0s"}, &result)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(result.Rate, "SYN/s")
	b.ReportMetric(150_000, "goal-SYN/s")
	b.ReportMetric(float64(result.Events), "connected")
	b.ReportMetric(float64(result.Failed), "failed")
	b.ReportMetric(0, "limit-failed")
	b.ReportMetric(result.P99, "p99-ms")
	b.ReportMetric(float64(result.Dropped), "syncookies")
}

// starveRole takes all descriptors from a process with traps while a peer
// holds more connections than it has, and gives them back.
func starveRole(t task) any {
	q := &queue{events: make([]event.Event, 0, 4096)}
	config := DefaultConfig()
	config.Hold = time.Hour
	var lines lineCounter
	config.Log = zerolog.New(&lines)
	set := New(config, q.put)
	set.Open([]uint16{8080})
	peer, release := startPeer(task{Port: 8080, Count: t.Count, Keep: t.Count, Stay: true})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go set.Run(ctx)
	s := started{Set: set}
	waitFor("accept fails", func() bool { return s.count("accept_emfile") > 1 })
	release()
	waitFor("every connection is an event", func() bool { return q.count() == t.Count })
	peer.Wait()
	return served{Events: q.count(), Failed: int(s.count("accept_emfile")), Log: int(lines.n.Load())}
}

// lineCounter counts what a logger writes.
type lineCounter struct{ n atomic.Int64 }

func (c *lineCounter) Write(b []byte) (int, error) {
	c.n.Add(1)
	return len(b), nil
}

// startPeer starts a generator that keeps its connections until release. It
// returns when all are made.
func startPeer(t task) (peer *exec.Cmd, release func()) {
	peer = self("connect", t)
	input, err := peer.StdinPipe()
	if err != nil {
		fail(err)
	}
	output, err := peer.StdoutPipe()
	if err != nil {
		fail(err)
	}
	if err := peer.Start(); err != nil {
		fail(err)
	}
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		fail(err)
	}
	return peer, func() { input.Close() }
}
