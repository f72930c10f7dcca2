package siem

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; reaching it is a failure.
const patience = 30 * time.Second

// start runs a destination until the test ends or stop is called, which
// returns what Run returned. Its attempts follow each other quickly.
func start(t *testing.T, c Config) (d *Destination, stop func() error) {
	t.Helper()
	d = New(c)
	d.wait.least, d.wait.most = time.Millisecond, 20*time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	done := false
	stop = func() error {
		if done {
			return nil
		}
		done = true
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			t.Fatal("Run did not return")
			return nil
		}
	}
	t.Cleanup(func() { _ = stop() })
	return d, stop
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

// until waits for a condition on a destination that moves by itself.
func until(t *testing.T, what string, condition func() bool) {
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

// balance checks that no record is unaccounted for.
func balance(t *testing.T, d *Destination) {
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

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSmoke(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	target, err := Parse(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, stop := start(t, Config{Target: target})
	d.Send([]byte(`{"n":1}`))
	d.Send([]byte(`{"n":2}`))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, "both delivered", func() bool { return count(d, "delivered") == 2 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if string(got) != "{\"n\":1}\n{\"n\":2}\n" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	balance(t, d)
	_ = os.Stdout
}
