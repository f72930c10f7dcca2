package traps

import (
	"context"
	"io"
	"net"
	"net/netip"
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
