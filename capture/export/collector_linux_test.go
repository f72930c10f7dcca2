package export

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vft/capture/flow"
)

const deadline = 20 * time.Second // of a test that hangs

// heard is what one worker was told.
type heard struct {
	mu             sync.Mutex // guards the rest
	from           []netip.AddrPort
	sizes          []int
	times          []int64
	ticks          int
	since, largest int // datagrams between two ticks
	lost           Loss
}

func (h *heard) handler() Handler {
	return Handler{
		Datagram: func(from netip.AddrPort, payload []byte, now int64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.from, h.sizes, h.times = append(h.from, from), append(h.sizes, len(payload)), append(h.times, now)
			h.since++
		},
		Tick: func(int64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ticks++
			h.since, h.largest = 0, max(h.since, h.largest)
		},
		Lost: func(l Loss) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lost.Dropped += l.Dropped
			h.lost.Received += l.Received
			h.lost.At = l.At
		},
	}
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.from)
}

func opened(t testing.TB, c CollectorConfig) *Collector {
	t.Helper()
	collector := NewCollector(c)
	if err := collector.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(collector.Close)
	return collector
}

// drained runs c for what waits in the kernel alone: its ctx has ended.
func drained(t *testing.T, c *Collector) []*heard {
	t.Helper()
	ended, end := context.WithCancel(context.Background())
	end()
	var all []*heard
	var handlers []Handler
	for range c.Workers() {
		h := &heard{}
		all, handlers = append(all, h), append(handlers, h.handler())
	}
	finished := make(chan error, 1)
	go func() { finished <- c.Run(ended, handlers) }()
	select {
	case err := <-finished:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(deadline):
		t.Fatal("the collector does not stop")
	}
	return all
}

// send sends one datagram of size bytes from an address of this host.
func send(t testing.TB, from string, to netip.AddrPort, size int) netip.AddrPort {
	t.Helper()
	return sendThis(t, from, to, make([]byte, size))
}

func sendThis(t testing.TB, from string, to netip.AddrPort, payload []byte) netip.AddrPort {
	t.Helper()
	addr := netip.MustParseAddr(from)
	dst := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	if addr.Is6() {
		dst = netip.AddrPortFrom(netip.IPv6Loopback(), to.Port())
	}
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)), net.UDPAddrFromAddrPort(dst))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(payload); err != nil {
		t.Fatal(err)
	}
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func count(c *Collector, name string) (value uint64) {
	c.Counts(func(is string, n uint64) {
		if is == name {
			value = n
		}
	})
	return value
}

func everywhere() []netip.AddrPort { return []netip.AddrPort{{}} }

func TestDatagramsComeWithTheirSender(t *testing.T) {
	const at = 1_700_000_000_000_000_000
	for _, workers := range []int{1, 2} {
		c := opened(t, CollectorConfig{Listen: everywhere(), Workers: workers, Now: func() time.Time { return time.Unix(0, at) }})
		want := map[netip.AddrPort]int{}
		for i, from := range []string{"127.0.0.2", "127.0.0.3", "::1", "127.0.0.2"} {
			want[send(t, from, c.Addrs()[0], i)] = i // the first one is empty
		}
		got := map[netip.AddrPort]int{}
		for _, h := range drained(t, c) {
			for i, from := range h.from {
				got[from] = h.sizes[i]
				if h.times[i] != at {
					t.Errorf("%d workers: a datagram came at %d, not at the time of its batch", workers, h.times[i])
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d workers: got %v, want %v", workers, got, want)
		}
		if n := count(c, "collector_received"); n != 4 {
			t.Errorf("%d workers: counted %d datagrams", workers, n)
		}
	}
}

// Any protocol may come to any address, and its records tell who sent them.
func TestRecordsCarryTheirExporter(t *testing.T) {
	c := opened(t, CollectorConfig{Listen: []netip.AddrPort{{}, {}}})
	want := map[string]int{}
	for _, at := range c.Addrs() {
		for _, from := range []string{"127.0.0.2", "127.0.0.3", "::1"} {
			sendThis(t, from, at, fixedDatagram(flow.NetFlow5, 2, 1))
			sendThis(t, from, at, mixed())
			want[from+" netflow5"] += 2
			want[from+" sflow5"] += 3
		}
	}
	ended, end := context.WithCancel(context.Background())
	end()
	d, got := NewDecoder(Config{}), map[string]int{}
	err := c.Run(ended, []Handler{{Datagram: func(from netip.AddrPort, payload []byte, now int64) {
		for _, r := range d.Datagram(from, payload, now, nil) {
			got[r.Export.Exporter.String()+" "+r.Export.Version.String()]++
		}
	}}})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v; got %v, want %v", err, got, want)
	}
}

func TestAnAddressListensAlone(t *testing.T) {
	c := opened(t, CollectorConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:0"), netip.MustParseAddrPort("[::1]:0")}})
	addrs := c.Addrs()
	if len(addrs) != 2 || addrs[0].Addr().String() != "127.0.0.2" || addrs[1].Addr() != netip.IPv6Loopback() {
		t.Fatalf("bound %v", addrs)
	}
	send(t, "::1", addrs[1], 5)
	if h := drained(t, c); len(h[0].from) != 1 {
		t.Errorf("heard %v", h[0].from)
	}
}

func TestAnAddressMayBeNamedTwice(t *testing.T) {
	first := opened(t, CollectorConfig{Listen: everywhere()})
	at := netip.AddrPortFrom(netip.Addr{}, first.Addrs()[0].Port())
	first.Close()
	c := opened(t, CollectorConfig{Listen: []netip.AddrPort{at, at}, Workers: 2})
	if len(c.Addrs()) != 1 {
		t.Errorf("bound %v", c.Addrs())
	}
}

func TestOnlyAllowedExportersAreHeard(t *testing.T) {
	var log bytes.Buffer
	c := opened(t, CollectorConfig{
		Listen: everywhere(), Log: zerolog.New(&log),
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("::ffff:127.0.1.0/120"), netip.MustParsePrefix("::1/128")},
	})
	heardOf := []string{"127.0.0.2", "127.0.1.9", "::1"}
	for _, from := range append([]string{"127.0.0.3", "127.0.0.4", "127.0.2.1"}, heardOf...) {
		send(t, from, c.Addrs()[0], 10)
	}
	var from []string
	for _, at := range drained(t, c)[0].from {
		from = append(from, at.Addr().String())
	}
	if fmt.Sprint(from) != fmt.Sprint(heardOf) {
		t.Errorf("heard %v, want %v", from, heardOf)
	}
	if received, refused := count(c, "collector_received"), count(c, "collector_refused"); received != 6 || refused != 3 {
		t.Errorf("received %d, refused %d of them; want 6 and 3", received, refused)
	}
	if lines := strings.Count(log.String(), "refused"); lines != 1 || !strings.Contains(log.String(), "127.0.0.3") {
		t.Errorf("the log should name the first one, once: %s", log.String())
	}
}

func TestDropsOfTheKernelAreCountedExactly(t *testing.T) {
	const sent = 3000
	var log bytes.Buffer
	c := opened(t, CollectorConfig{Listen: everywhere(), ReceiveBuffer: 64 << 10, Log: zerolog.New(&log)})
	conn, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.Addrs()[0].Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range sent {
		if _, err := conn.Write(make([]byte, 1464)); err != nil {
			t.Fatal(err)
		}
	}
	early := count(c, "collector_dropped") // nothing was read yet
	h := drained(t, c)[0]
	received, dropped := count(c, "collector_received"), count(c, "collector_dropped")
	if h.largest > batchSize {
		t.Errorf("%d datagrams between two ticks", h.largest)
	}
	if received+dropped != sent || received == 0 || dropped == 0 || early != dropped {
		t.Errorf("sent %d, received %d, dropped %d (%d before reading)", sent, received, dropped, early)
	}
	if h.lost.Dropped != dropped || h.lost.Received != received || h.lost.At != c.Addrs()[0] {
		t.Errorf("told of %+v; dropped %d, received %d", h.lost, dropped, received)
	}
	if !strings.Contains(log.String(), fmt.Sprintf(`"dropped":%d`, dropped)) {
		t.Errorf("the log does not tell of it: %s", log.String())
	}
	if again := count(c, "collector_dropped"); again != dropped {
		t.Errorf("counted %d more after the end", again-dropped)
	}
}

// inNamespace moves the test to a network namespace of its own with up
// addresses 127.0.0.0/8 and fd00::/64 on its loopback. The thread is not given
// back, so the namespace ends with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "a network namespace: "+err.Error())
	}
	for _, args := range []string{"link set lo up", "-6 route add local fd00::/64 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			missing(t, fmt.Sprintf("ip %s (iproute2): %v %s", args, err, out))
		}
	}
}

func TestOneSourceGoesToOneWorker(t *testing.T) {
	const workers, sources, ports = 2, 40, 8
	for _, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			inNamespace(t)
			c := opened(t, CollectorConfig{Listen: everywhere(), Workers: workers})
			for i := range sources {
				from := fmt.Sprintf("127.0.0.%d", i+2)
				if family == "IPv6" {
					from = fmt.Sprintf("fd00::%x", i+1)
				}
				sendFree(t, from, c.Addrs()[0], ports)
			}
			of, each := map[netip.Addr]int{}, [workers]int{}
			for w, h := range drained(t, c) {
				for _, from := range h.from {
					if before, known := of[from.Addr()]; known && before != w {
						t.Fatalf("%s came to worker %d and %d", from.Addr(), before, w)
					}
					of[from.Addr()] = w
					each[w]++
				}
			}
			if len(of) != sources || each[0]+each[1] != sources*ports {
				t.Errorf("%d sources sent %v datagrams", len(of), each)
			}
			if each[0] < sources*ports/5 || each[1] < sources*ports/5 {
				t.Errorf("the workers share %v datagrams: too uneven", each)
			}
		})
	}
}

// sendFree sends from n ports of an address that no interface has but a route
// makes local.
func sendFree(t *testing.T, from string, to netip.AddrPort, n int) {
	t.Helper()
	addr := netip.MustParseAddr(from)
	family, src := sockaddr(netip.AddrPortFrom(addr, 0))
	_, dst := sockaddr(netip.AddrPortFrom(netip.IPv6Loopback(), to.Port()))
	if addr.Is4() {
		_, dst = sockaddr(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port()))
	}
	for range n {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if addr.Is6() {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
		}
		if err == nil {
			err = unix.Bind(fd, src)
		}
		if err == nil {
			err = unix.Sendto(fd, []byte{1}, 0, dst)
		}
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStopsInTimeAndSendsNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := opened(t, CollectorConfig{Listen: []netip.AddrPort{{}, {}}, Workers: 2})
	ctx, stop := context.WithTimeout(context.Background(), deadline)
	defer stop()
	h := []*heard{{}, {}}
	finished := make(chan error, 1)
	go func() { finished <- c.Run(ctx, []Handler{h[0].handler(), h[1].handler()}) }()

	exporter, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer exporter.Close()
	for _, at := range c.Addrs() {
		if _, err := exporter.WriteToUDPAddrPort([]byte("flows"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())); err != nil {
			t.Fatal(err)
		}
	}
	for h[0].count()+h[1].count() < 2 && ctx.Err() == nil {
		runtime.Gosched()
	}
	stop()
	select {
	case err := <-finished:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(deadline):
		t.Fatal("the collector does not stop")
	}
	for i := range h {
		if h[i].ticks == 0 {
			t.Errorf("worker %d was never told the time", i)
		}
	}
	// What was sent on the loopback is there when sendto has returned, and
	// nothing of the collector runs any more.
	exporter.SetReadDeadline(time.Unix(1, 0))
	if n, from, err := exporter.ReadFromUDPAddrPort(make([]byte, 100)); err == nil {
		t.Errorf("%s sent %d bytes to an exporter", from, n)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	for _, workers := range []int{1, 2} {
		c := opened(t, CollectorConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: workers})
		for _, more := range []int{1, 2} {
			second := NewCollector(CollectorConfig{Listen: c.Addrs(), Workers: more})
			want := fmt.Sprintf("cannot bind %s: address already in use; is another vft or collector running?", c.Addrs()[0])
			if err := second.Open(); err == nil || err.Error() != want {
				t.Errorf("%d workers beside %d: %v, want %s", more, workers, err, want)
			}
		}
		c.Close()
		third := NewCollector(CollectorConfig{Listen: c.Addrs(), Workers: 2})
		if err := third.Open(); err != nil {
			t.Errorf("the address is not free again: %v", err)
		}
		third.Close()
	}
}

func TestWhyAnAddressCannotBeBound(t *testing.T) {
	cases := []struct{ listen, want, why string }{
		{"192.0.2.77:2055", "cannot bind 192.0.2.77:2055: cannot assign requested address; no interface of this host has the address", "RFC 5737: no host has it"},
		{"[2001:db8::77]:2055", "cannot bind [2001:db8::77]:2055: cannot assign requested address; no interface", "RFC 3849"},
	}
	for _, c := range cases {
		err := NewCollector(CollectorConfig{Listen: []netip.AddrPort{netip.MustParseAddrPort(c.listen)}}).Open()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s (%s): %v", c.listen, c.why, err)
		}
	}
	if err := NewCollector(CollectorConfig{}).Open(); err == nil {
		t.Error("a collector without an address opens")
	}
	c := NewCollector(CollectorConfig{Listen: everywhere(), Workers: 2})
	if err := c.Run(context.Background(), make([]Handler, 1)); err == nil || !strings.Contains(err.Error(), "2 workers") {
		t.Errorf("too few handlers: %v", err)
	}
}

func TestTheLongestDatagramComesWhole(t *testing.T) {
	const longest = 65535 - 20 - 8
	c := opened(t, CollectorConfig{Listen: everywhere()})
	send(t, "127.0.0.1", c.Addrs()[0], longest)
	if h := drained(t, c)[0]; len(h.sizes) != 1 || h.sizes[0] != longest {
		t.Errorf("datagrams of %v bytes came", h.sizes)
	}
}

func TestASmallReceiveBufferIsSaid(t *testing.T) {
	runtime.LockOSThread() // and end the thread with the test: it loses cap_net_admin
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		missing(t, err.Error())
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for asked, said := range map[int]bool{most: false, 2*most + 1024: true} {
		var log bytes.Buffer
		opened(t, CollectorConfig{Listen: everywhere(), ReceiveBuffer: asked, Log: zerolog.New(&log)})
		if got := strings.Contains(log.String(), fmt.Sprintf(`"bytes":%d,"asked":%d`, most, asked)); got != said {
			t.Errorf("asked for %d of at most %d bytes: %q", asked, most, log.String())
		}
	}
}

func TestReceivingAllocatesNothing(t *testing.T) {
	c := opened(t, CollectorConfig{Listen: everywhere(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	conn, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.Addrs()[0].Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	payload, received := make([]byte, 1464), 0
	w := c.workers[0]
	w.to = Handler{Datagram: func(netip.AddrPort, []byte, int64) { received++ }, Tick: func(int64) {}}
	w.poll = []unix.PollFd{{Fd: int32(w.sockets[0].fd), Events: unix.POLLIN}}
	allocated := testing.AllocsPerRun(100, func() {
		for range 10 {
			conn.Write(payload)
		}
		if err := w.turn(longestWait); err != nil {
			t.Fatal(err)
		}
	})
	if allocated != 0 || received != 10*101 {
		t.Errorf("%v allocations for 10 datagrams; received %d", allocated, received)
	}
}
