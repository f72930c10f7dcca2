package siem

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; reaching it is a failure.
const patience = 30 * time.Second

// start runs a destination until stop is called, which returns what Run
// returned, or the test ends. Its attempts follow each other quickly.
func start(t testing.TB, c Config) (d *Destination, stop func() error) {
	t.Helper()
	d = New(c)
	return d, run(t, d)
}

// run runs d until the test ends, or stop is called.
func run(t testing.TB, d *Destination) (stop func() error) {
	t.Helper()
	d.runner.Backoff.Least, d.runner.Backoff.Most = time.Millisecond, 20*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("Run did not return")
		}
	})
	t.Cleanup(func() {
		_ = stop()
		balance(t, d)
	})
	return stop
}

// count returns one counter.
func count(d *Destination, name string) (n uint64) {
	d.Counts(func(is string, v uint64) {
		if is == name {
			n = v
		}
	})
	return n
}

// balance checks that no record is unaccounted for.
func balance(t testing.TB, d *Destination) {
	t.Helper()
	var sent, rest uint64
	d.Counts(func(name string, n uint64) {
		switch {
		case name == "sent":
			sent = n
		case name == "delivered" || name == "queued" || strings.HasPrefix(name, "dropped_"):
			rest += n
		}
	})
	if sent != rest {
		t.Errorf("sent %d, but %d delivered, queued or dropped", sent, rest)
	}
}

// until waits for a condition that comes true by itself.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-limit:
			t.Fatalf("in %v it did not happen: %s", patience, what)
		case <-tick.C:
		}
	}
}

// delivered waits until n records are.
func delivered(t testing.TB, d *Destination, n uint64) {
	t.Helper()
	until(t, fmt.Sprint(n, " records delivered"), func() bool { return count(d, "delivered") == n })
}

func tcpTarget(t testing.TB, address string) Target {
	t.Helper()
	target, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func listen(t testing.TB, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func accept(t testing.TB, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	_ = l.SetDeadline(time.Now().Add(patience))
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c
}

// number makes the record numbered n.
func number(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

// want reads the records numbered from first to last, no more and no less.
func want(t testing.TB, r *bufio.Reader, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil || !bytes.Equal(bytes.TrimSuffix(line, []byte{'\n'}), number(n)) {
			t.Fatalf("read %q (%v), want record %d", line, err, n)
		}
	}
}

// wantEnd checks that nothing follows.
func wantEnd(t testing.TB, r io.Reader) {
	t.Helper()
	rest, err := io.ReadAll(r)
	if len(rest) > 0 || err != nil {
		t.Errorf("after the last record came %q (%v)", rest, err)
	}
}

func TestDropsAreReported(t *testing.T) {
	reports := make(chan uint64, 10)
	c := Config{Target: Target{Scheme: "tcp", Address: "192.0.2.1:1"}, MaxRecords: 1, Drain: time.Millisecond,
		OnDrop: func(n uint64) { reports <- n },
		Dial:   func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not here") }}
	d := New(c)
	d.runner.Quiet = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = d.Run(ctx) })
	d.Send(number(1))
	d.Send(number(2))
	if n := <-reports; n != 1 {
		t.Errorf("the first report says %d", n)
	}
	for n := range 100 {
		d.Send(number(n))
	}
	cancel()
	run.Wait()
	if len(reports) > 0 {
		t.Error("a second report came within the quiet time")
	}
	if n := count(d, "dropped_queue_full"); n != 101 {
		t.Errorf("%d dropped, want 101", n)
	}
	balance(t, d)
}

func TestReportsGoOnWhileDropsDo(t *testing.T) {
	reports := make(chan uint64)
	c := Config{Target: Target{Scheme: "tcp", Address: "192.0.2.1:1"}, MaxRecords: 1, Drain: time.Millisecond,
		OnDrop: func(n uint64) { reports <- n },
		Dial:   func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not here") }}
	d := New(c)
	d.runner.Quiet = time.Microsecond
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = d.Run(ctx) })
	d.Send(number(0))
	for n := range uint64(5) {
		d.Send(number(0))
		if got := <-reports; got != n+1 {
			t.Errorf("report %d says %d", n, got)
		}
	}
	cancel()
	run.Wait()
}

func TestSentAfterTheEnd(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	d, stop := start(t, Config{Target: tcpTarget(t, l.Addr().String())})
	if err := stop(); err != nil {
		t.Errorf("nothing was sent, but: %v", err)
	}
	d.Send(number(1))
	if n := count(d, "dropped_stopped"); n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

func TestUndeliveredIsAnError(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	_ = l.Close()
	d, stop := start(t, Config{Target: tcpTarget(t, address), Drain: 20 * time.Millisecond})
	d.Send(number(1))
	d.Send(number(2))
	err := stop()
	if err == nil || !strings.Contains(err.Error(), "cannot deliver 2 records to tcp://"+address) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if n := count(d, "dropped_stopped"); n != 2 {
		t.Errorf("%d dropped, want 2", n)
	}
}

func TestCheckTCPOpensNothing(t *testing.T) {
	if err := New(Config{Target: Target{Scheme: "tcp", Address: "127.0.0.1:1"}}).Check(); err != nil {
		t.Error(err)
	}
}
