package traps

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vft/event"
)

// patience bounds every wait of a test; nothing is expected to need it.
const patience = 30 * time.Second

// started is a Set that runs.
type started struct {
	*Set
	events chan event.Event
	stop   func()
}

// start runs a Set with the default configuration, as change alters it, and
// stops it when the test ends.
func start(t testing.TB, change func(*Config)) started {
	t.Helper()
	config := DefaultConfig()
	config.Host = "here"
	if change != nil {
		change(&config)
	}
	events := make(chan event.Event, 1<<16)
	set := New(config, func(e event.Event) { events <- e })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); set.Run(ctx) }()
	stop := func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("Run did not end")
		}
	}
	t.Cleanup(stop)
	return started{set, events, stop}
}

// openSome opens n ports that are free now.
func (s started) openSome(t testing.TB, n int) []uint16 {
	t.Helper()
	for range 10 {
		opened, _ := s.Open(freePorts(t, n))
		if len(opened) == n {
			return opened
		}
	}
	t.Fatalf("found no %d free ports", n)
	return nil
}

// freePorts returns n ports that nobody used a moment ago.
func freePorts(t testing.TB, n int) (ports []uint16) {
	t.Helper()
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	return ports
}

// next returns the next event.
func (s started) next(t testing.TB) event.Event {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(patience):
		t.Fatal("no event came")
		return event.Event{}
	}
}

// count returns a counter.
func (s started) count(name string) (n uint64) {
	s.Counts(func(key string, value uint64) {
		if key == name {
			n = value
		}
	})
	return n
}

func dial(t testing.TB, host string, port uint16) *net.TCPConn {
	t.Helper()
	addr := netip.AddrPortFrom(netip.MustParseAddr(host), port)
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// untilClosed reads until the peer closes and returns what it sent.
func untilClosed(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(conn)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Fatal("the trap did not close")
	}
	return got
}

func local(conn net.Conn) netip.AddrPort {
	return event.Unmap(conn.LocalAddr().(*net.TCPAddr).AddrPort())
}

func TestConnectionBecomesAnEvent(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = 0 })
	port := s.openSome(t, 1)[0]
	for _, c := range []struct{ host, why string }{
		{"127.0.0.1", "IPv4 through the socket of both families is plain IPv4"},
		{"::1", "IPv6"},
	} {
		before := time.Now()
		conn := dial(t, c.host, port)
		if got := untilClosed(t, conn); len(got) > 0 {
			t.Errorf("%s: the trap sent %q", c.why, got)
		}
		e := s.next(t)
		want := netip.AddrPortFrom(netip.MustParseAddr(c.host), port)
		if e.Src != local(conn) || e.Dst != want {
			t.Errorf("%s: event from %v to %v, want %v to %v", c.why, e.Src, e.Dst, local(conn), want)
		}
		if e.Time.Before(before.Add(-time.Millisecond)) || e.Time.After(time.Now()) {
			t.Errorf("%s: event time %v, connected at %v", c.why, e.Time, before)
		}
		if e.Dataset != event.DatasetTrap || e.Transport != "tcp" || e.Evidence != event.E1 || e.Host != "here" || e.ID.IsZero() {
			t.Errorf("%s: incomplete event %+v", c.why, e)
		}
	}
}

func TestSilentPeerIsClosedAfterTheHold(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = 200 * time.Millisecond })
	conn := dial(t, "127.0.0.1", s.openSome(t, 1)[0])
	if got := untilClosed(t, conn); len(got) > 0 {
		t.Errorf("the trap sent %q", got)
	}
	e := s.next(t)
	if e.Evidence != event.E1 || len(e.Trap.Payload) > 0 || e.Trap.Held < 200*time.Millisecond {
		t.Errorf("%v %+v", e.Evidence, e.Trap)
	}
	if e.Src != local(conn) {
		t.Errorf("from %v, not %v", e.Src, local(conn))
	}
}

func TestDefaultsCloseASilentPeerInTime(t *testing.T) {
	if hold := DefaultConfig().Hold; hold <= 3*time.Second || hold >= 3500*time.Millisecond {
		t.Errorf("%v is not between nmap's wait of 3.0 s and 3.5 s", hold)
	}
}

func TestPayloadIsEvidence(t *testing.T) {
	s := start(t, nil)
	port := s.openSome(t, 1)[0]
	for _, c := range []struct {
		why, payload string
		check        func(*event.Trap) bool
	}{
		{"an unknown protocol ends the hold at once", "\x00\x01hello", func(d *event.Trap) bool { return d.TLS == nil && d.SSH == nil && d.Tool == "" }},
		{"a TLS ClientHello", string(record(chromeHello())), func(d *event.Trap) bool { return d.TLS != nil && d.TLS.SNI == "example.com" }},
		{"an SSH dialogue", "SSH-2.0-libssh_0.9\r\n" + string(kexinit()), func(d *event.Trap) bool { return d.SSH != nil && d.SSH.HASSH != "" && d.Tool == "libssh" }},
	} {
		conn := dial(t, "127.0.0.1", port)
		if _, err := conn.Write([]byte(c.payload)); err != nil {
			t.Fatal(err)
		}
		e := s.next(t)
		if e.Evidence != event.E2 || string(e.Trap.Payload) != c.payload || !c.check(e.Trap) {
			t.Errorf("%s: %v %+v", c.why, e.Evidence, e.Trap)
		}
		untilClosed(t, conn)
	}
}

func TestPayloadIsCutAtItsMaximum(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxPayload = 100 })
	conn := dial(t, "127.0.0.1", s.openSome(t, 1)[0])
	conn.Write(append([]byte("GET /"), make([]byte, 1000)...))
	if e := s.next(t); len(e.Trap.Payload) != 100 {
		t.Errorf("%d bytes", len(e.Trap.Payload))
	}
}

// TestDripDoesNotProlongTheHold sends a request byte by byte, each within the
// hold, all of them far beyond it.
func TestDripDoesNotProlongTheHold(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = 300 * time.Millisecond })
	conn := dial(t, "127.0.0.1", s.openSome(t, 1)[0])
	began := time.Now()
	drip := time.NewTicker(100 * time.Millisecond)
	defer drip.Stop()
	conn.Write([]byte("GET /"))
	for {
		select {
		case e := <-s.events:
			if e.Trap.Held < 300*time.Millisecond || e.Evidence != event.E2 {
				t.Errorf("held %v, %v", e.Trap.Held, e.Evidence)
			}
			return
		case <-drip.C:
			conn.Write([]byte("a"))
		}
		if time.Since(began) > patience {
			t.Fatal("the drip holds the connection")
		}
	}
}

func TestPeerThatLeavesEndsTheHold(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = time.Hour })
	port := s.openSome(t, 1)[0]
	reset := dial(t, "127.0.0.1", port)
	reset.SetLinger(0)
	for _, conn := range []net.Conn{dial(t, "127.0.0.1", port), reset} {
		conn.Close()
		if e := s.next(t); e.Src != local(conn) {
			t.Errorf("event of %v, not of %v", e.Src, local(conn))
		}
	}
}

func TestOneSourceHoldsNoMoreThanItsShare(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold, c.HoldPerSource, c.HoldMax = time.Hour, 3, 5 })
	port := s.openSome(t, 1)[0]
	for range 4 {
		dial(t, "127.0.0.1", port)
	}
	over := s.next(t)
	if over.Trap.Held != 0 || s.count("closed_source_full") != 1 || s.count("held_now") != 3 {
		t.Errorf("held %v, counted %d, %d are held", over.Trap.Held, s.count("closed_source_full"), s.count("held_now"))
	}
	for range 3 {
		dial(t, "::1", port)
	}
	s.next(t)
	if s.count("closed_all_full") != 1 || s.count("held_now") != 5 {
		t.Errorf("counted %d, %d are held", s.count("closed_all_full"), s.count("held_now"))
	}
	s.stop()
	for range 5 {
		s.next(t)
	}
	if n := s.count("held_now"); n != 0 {
		t.Errorf("%d are held after the end", n)
	}
}

func TestHoldsOfAnIPv6PrefixAreOneSource(t *testing.T) {
	h := holds{perSource: 2, max: 100, held: map[netip.Addr]int{}}
	for _, c := range []struct {
		source, why string
		want        verdict
	}{
		{"2001:db8::1", "the first", admitted},
		{"2001:db8::ffff:2", "another address of the same /64", admitted},
		{"2001:db8::3", "the /64 is full", sourceFull},
		{"2001:db8:0:1::1", "another /64", admitted},
		{"192.0.2.1", "an IPv4 address stands for itself", admitted},
		{"192.0.2.2", "its neighbour too", admitted},
	} {
		if got := h.enter(netip.MustParseAddr(c.source)); got != c.want {
			t.Errorf("%s: %s gave %v, want %v", c.why, c.source, got, c.want)
		}
	}
	h.leave(netip.MustParseAddr("2001:db8::2"))
	if got := h.enter(netip.MustParseAddr("2001:db8::4")); got != admitted {
		t.Errorf("after one left: %v", got)
	}
}

func TestNewDealWhileRunning(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = 0 })
	ports := s.openSome(t, 3)
	opened, failed := s.Open([]uint16{ports[1], ports[2]})
	if !slices.Equal(opened, ports[1:]) || len(failed) > 0 || !slices.Equal(s.Ports(), ports[1:]) {
		t.Fatalf("opened %v of %v, failed %v", opened, ports[1:], failed)
	}
	if conn, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), ports[0]).String()); err == nil {
		conn.Close()
		t.Error("a port that is no longer dealt still accepts")
	}
	if opened, _ = s.Open(ports); len(opened) != 3 {
		t.Fatalf("opened %v", opened)
	}
	for _, port := range ports {
		dial(t, "127.0.0.1", port)
		if e := s.next(t); e.Dst.Port() != port {
			t.Errorf("event of port %d, not %d", e.Dst.Port(), port)
		}
	}
	if opened, _ = s.Open(nil); len(opened) != 0 {
		t.Errorf("opened %v", opened)
	}
}

func TestPortOfAnotherProgramIsLeft(t *testing.T) {
	for _, c := range []struct{ address, why string }{
		{"127.0.0.1:0", "a service on one address only"},
		{"0.0.0.0:0", "a service on all of IPv4"},
		{"[::1]:0", "a service on IPv6 only"},
	} {
		service, err := net.Listen("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		port := service.Addr().(*net.TCPAddr).AddrPort().Port()
		s := New(DefaultConfig(), func(event.Event) {})
		opened, failed := s.Open([]uint16{port})
		if len(opened) > 0 || failed[port] == nil || !strings.Contains(failed[port].Error(), "another program listens there") {
			t.Errorf("%s: opened %v, failed %v", c.why, opened, failed)
		}
	}
}

func TestSecondSetCannotShareAPort(t *testing.T) {
	first := start(t, nil)
	port := first.openSome(t, 1)[0]
	second := start(t, nil)
	if opened, failed := second.Open([]uint16{port}); len(opened) > 0 || failed[port] == nil {
		t.Errorf("two trap rooms share port %d", port)
	}
	first.stop()
	if opened, failed := second.Open([]uint16{port}); len(opened) != 1 {
		t.Errorf("the port is not free after the first ended: %v", failed)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	s := New(DefaultConfig(), func(event.Event) {})
	if _, failed := s.Open([]uint16{0}); failed[0] == nil {
		t.Error("port 0 was opened")
	}
	config := DefaultConfig()
	config.Bind = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.77")}
	port := freePorts(t, 1)[0]
	s = New(config, func(event.Event) {})
	opened, failed := s.Open([]uint16{port})
	if len(opened) > 0 || failed[port] == nil || !strings.Contains(failed[port].Error(), "cannot bind 192.0.2.77:") || !strings.Contains(failed[port].Error(), "no interface") {
		t.Errorf("opened %v, failed %v", opened, failed)
	}
	if conn, err := net.Dial("tcp", netip.AddrPortFrom(config.Bind[0], port).String()); err == nil {
		conn.Close()
		t.Error("one address of a port that failed stays open")
	}
}

func TestBindToSingleAddresses(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Hold, c.Bind = 0, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	})
	port := s.openSome(t, 1)[0]
	for _, host := range []string{"127.0.0.1", "::1"} {
		dial(t, host, port)
		if e := s.next(t); e.Dst.Addr().String() != host {
			t.Errorf("event at %v, not %s", e.Dst, host)
		}
	}
}

func TestOpenChoiceReplacesPortsInUse(t *testing.T) {
	var pool []uint16
	for range 4 {
		service, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		pool = append(pool, service.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	free := freePorts(t, 3)
	s := start(t, nil)
	choice := &Choice{Pool: append(pool, free...), Count: 5, Skip: none, Random: seeded(1)}
	opened, failed, err := s.OpenChoice(choice)
	slices.Sort(free)
	if !slices.Equal(opened, free) || len(failed) != 4 || err != nil {
		t.Errorf("opened %v of %v, failed %v, %v", opened, free, failed, err)
	}
}

func TestSelfTest(t *testing.T) {
	s := start(t, nil)
	ctx := context.Background()
	if err := s.SelfTest(ctx); err == nil || !strings.Contains(err.Error(), "none is open") {
		t.Errorf("without a trap: %v", err)
	}
	ports := s.openSome(t, 2)
	for range 4 {
		if err := s.SelfTest(ctx); err != nil {
			t.Error(err)
		}
	}
	dial(t, "127.0.0.1", ports[0]).Close()
	s.next(t)
	if s.count("accepted") != 1 || s.count("selftest_passed") != 4 || len(s.events) > 0 {
		t.Errorf("accepted %d, passed %d, %d events more", s.count("accepted"), s.count("selftest_passed"), len(s.events))
	}
}

func TestSelfTestOfADeafTrap(t *testing.T) {
	s := New(DefaultConfig(), func(event.Event) {})
	opened, _ := s.Open(freePorts(t, 1))
	defer s.Open(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	// Nothing accepts: Run was not called. The kernel completes the handshake all the same.
	if err := s.SelfTest(ctx); err == nil || !strings.Contains(err.Error(), "127.0.0.1") || len(opened) != 1 {
		t.Errorf("%v with %v open", err, opened)
	}
}

func TestConnectionsBeforeRunAreServed(t *testing.T) {
	events := make(chan event.Event, 1)
	config := DefaultConfig()
	config.Hold = 0
	s := New(config, func(e event.Event) { events <- e })
	opened, _ := s.Open(freePorts(t, 1))
	conn := dial(t, "127.0.0.1", opened[0])
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	select {
	case e := <-events:
		if e.Src != local(conn) {
			t.Errorf("event of %v", e.Src)
		}
	case <-time.After(patience):
		t.Error("no event")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, failed := s.Open(opened); len(failed) != 1 {
		t.Error("a trap was opened after the end")
	}
}

func TestEveryCounterHasAName(t *testing.T) {
	s := New(DefaultConfig(), func(event.Event) {})
	seen := map[string]bool{}
	s.Counts(func(name string, n uint64) {
		if name == "" || seen[name] {
			t.Errorf("counter %q is there twice or has no name", name)
		}
		seen[name] = true
	})
	for _, c := range []struct {
		err  error
		kind string
	}{
		{os.NewSyscallError("accept4", syscall.EMFILE), "accept_emfile"},
		{syscall.ECONNABORTED, "accept_econnaborted"},
		{io.ErrUnexpectedEOF, "accept_other"},
	} {
		if got := s.counts.acceptFailed(c.err); got != c.kind || !seen[c.kind] {
			t.Errorf("%v is counted as %q, want %q", c.err, got, c.kind)
		}
	}
}
