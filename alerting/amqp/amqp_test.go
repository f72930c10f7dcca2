package amqp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"vft/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; reaching it is a failure.
const patience = 30 * time.Second

var flowTime = time.Date(2024, 5, 6, 7, 8, 9, 123_000_000, time.UTC)

// threat makes an event with an id of its own.
func threat(number uint64, state event.AlertState) *event.Event {
	e := &event.Event{
		Time: flowTime.Add(time.Second), Dataset: event.DatasetThreat,
		Threat: &event.Threat{
			Type: "portscan", Observer: "192.0.2.1", Offender: "198.51.100.7", Sensor: "portscan", State: state, End: flowTime,
			Details: map[string]any{"attacked_hosts": []string{"10.0.0.1", "10.0.0.2"}, "ports": []uint16{22, 80}, "count": 101, "window_s": 60},
		},
	}
	binary.BigEndian.PutUint64(e.ID[8:], number)
	return e
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a Notifier with its log. Its attempts follow each other quickly.
type running struct {
	*Notifier
	t    testing.TB
	log  *lines
	stop func() error // ends Run and returns what it returned
}

// start runs a Notifier until stop is called or the test ends.
func start(t testing.TB, c Config, tune ...func(*Notifier)) *running {
	t.Helper()
	log := &lines{}
	c.Log = zerolog.New(log)
	n := New(c)
	n.wait.Least, n.wait.Most = time.Millisecond, 20*time.Millisecond
	n.refused, n.again = n.wait, n.wait
	for _, f := range tune {
		f(n)
	}
	if err := n.Check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop := sync.OnceValue(func() error {
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
		balance(t, n)
	})
	return &running{n, t, log, stop}
}

// send sends the threats of these numbers.
func (r *running) send(numbers ...uint64) {
	for _, number := range numbers {
		r.Send(threat(number, event.Firing))
	}
}

// reach waits until a counter has at least a value.
func (r *running) reach(name string, least uint64) {
	r.t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for count(r.Notifier, name) < least {
		select {
		case <-again.C:
		case <-deadline:
			r.t.Fatalf("%s is %d, not %d\n%s", name, count(r.Notifier, name), least, r.log)
		}
	}
}

// count returns one counter.
func count(n *Notifier, name string) (value uint64) {
	n.Counts(func(is string, v uint64) {
		if is == name {
			value = v
		}
	})
	return value
}

// balance checks that no threat is unaccounted for.
func balance(t testing.TB, n *Notifier) {
	t.Helper()
	var sent, rest uint64
	n.Counts(func(name string, v uint64) {
		switch {
		case name == "sent":
			sent = v
		case name == "delivered" || name == "queued" || strings.HasPrefix(name, "dropped_"):
			rest += v
		}
	})
	if sent != rest {
		t.Errorf("sent %d, but %d delivered, queued or dropped", sent, rest)
	}
}

func target(t testing.TB, uri string) Target {
	t.Helper()
	to, err := Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// listener accepts connections on loopback and treats each as it is told.
func listener(t testing.TB, treat func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				treat(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// TestPeersThatAreNoBroker gives a Notifier peers that never let it in. It goes
// on trying, keeps the threats, says why without the password, and stops when
// it is told.
func TestPeersThatAreNoBroker(t *testing.T) {
	silent := make(chan struct{})
	defer close(silent)
	until := func(conn net.Conn) { // the peer is gone, or the test over
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			b := make([]byte, 512)
			for {
				if _, err := conn.Read(b); err != nil {
					return
				}
			}
		}()
		select {
		case <-gone:
		case <-silent:
			_ = conn.Close()
			<-gone
		}
	}
	for _, c := range []struct {
		why   string
		treat func(net.Conn)
		says  string
	}{
		{"a peer that says nothing is given up", until, "no answer within"},
		{"a peer that resets is tried again", func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }, "the AMQP broker fails"},
		{"a peer that speaks another protocol is tried again", func(conn net.Conn) { _, _ = fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n"); until(conn) }, "is an AMQP broker there"},
	} {
		t.Run(c.why, func(t *testing.T) {
			n := start(t, Config{Target: target(t, "amqp://u:s3cret@"+listener(t, c.treat)), Drain: 50 * time.Millisecond},
				func(n *Notifier) { n.setup = 200 * time.Millisecond })
			n.send(1, 2)
			n.reach("failures", 2)
			if count(n.Notifier, "queued") != 2 {
				t.Error("the threats were not kept")
			}
			if err := n.stop(); err == nil || !strings.Contains(err.Error(), "cannot deliver 2 threats to amqp://127.0.0.1:") {
				t.Errorf("Run returned %v", err)
			}
			if count(n.Notifier, "dropped_stopped") != 2 {
				t.Error("what was left is not counted as dropped")
			}
			if log := n.log.String(); !strings.Contains(log, c.says) || strings.Contains(log, "s3cret") {
				t.Errorf("the log says %s", log)
			}
		})
	}
}

// TestNothingListens stops a Notifier without threats at once.
func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	n := start(t, Config{Target: target(t, "amqp://"+l.Addr().String())})
	n.reach("failures", 3)
	if err := n.stop(); err != nil {
		t.Errorf("Run without threats returned %v", err)
	}
	if lines := strings.Count(n.log.String(), "\n"); lines != 1 {
		t.Errorf("many failures in less than a minute gave %d lines: %s", lines, n.log)
	}
}

func TestSend(t *testing.T) {
	n := New(Config{Max: 3})
	for _, e := range []*event.Event{
		threat(1, event.Updated), threat(1, event.Resolved), {Dataset: event.DatasetFlow, Flow: &event.Flow{}},
	} {
		n.Send(e)
	}
	if got := count(n, "sent"); got != 0 {
		t.Errorf("%d events that are not the start of a threat were sent", got)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				n.Send(threat(1, event.Firing))
			}
		})
	}
	all.Wait()
	if count(n, "sent") != 20 || count(n, "queued") != 3 || count(n, "dropped_queue_full") != 17 {
		t.Errorf("of 20 threats %d wait and %d are dropped; 3 can wait", count(n, "queued"), count(n, "dropped_queue_full"))
	}
	balance(t, n)
}

func TestOnDrop(t *testing.T) {
	told := make(chan uint64, 1)
	l := listener(t, func(conn net.Conn) {})
	n := start(t, Config{Target: target(t, "amqp://"+l), Max: 1, Drain: time.Millisecond, OnDrop: func(dropped uint64) { told <- dropped }})
	n.send(1, 2)
	select {
	case dropped := <-told:
		if dropped != 1 {
			t.Errorf("told of %d dropped threats, not 1", dropped)
		}
	case <-time.After(patience):
		t.Error("not told of a dropped threat")
	}
}

func TestWait(t *testing.T) {
	n := New(Config{})
	n.Send(threat(1, event.Firing))
	n.Send(threat(2, event.Firing))
	if err := n.Wait(t.Context(), 2); err != nil {
		t.Errorf("two wait, two may: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Wait(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("the context ended, Wait returned %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- n.Wait(context.Background(), 1) }()
	m := n.queue.take(1)[0]
	n.queue.done(&m)
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		why, says string
		config    Config
	}{
		{"nothing is wrong", "", Config{Target: Target{Address: "h:1"}}},
		{"a name is too long for AMQP", "at most 255", Config{Queue: strings.Repeat("q", 256)}},
		{"a file is missing", "no such file", Config{Target: Target{TLS: true, Address: "h:1", CA: "testdata/missing.pem"}}},
	} {
		err := New(c.config).Check()
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

func TestRefusalsWait(t *testing.T) {
	n := New(Config{Random: func() float64 { return 0 }})
	if got := n.until(refusal{errors.New("no")}, 0); got != 0 {
		t.Errorf("the first refusal waits %v", got)
	}
	if got := n.until(refusal{errors.New("no")}, 1); got < 2*time.Second {
		t.Errorf("a refusal again is tried after %v", got)
	}
}
