package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"vft/event"
)

func TestMain(m *testing.M) {
	if helper := helpers[os.Getenv(helperEnv)]; helper != nil {
		helper()
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second

// rig is a server on loopback with all that its tests look at.
type rig struct {
	t      testing.TB
	cfg    ServerConfig
	server *Server
	addr   string
	token  string
	cert   tls.Certificate
	log    *logBuffer
	stop   func()

	mu       sync.Mutex // guards what follows
	events   []event.Event
	batches  []int
	gone     []string
	hellos   []Hello
	refusing bool
}

// newRig starts a server; change may change its configuration.
func newRig(t *testing.T, change func(*ServerConfig)) *rig {
	t.Helper()
	r := &rig{t: t, log: &logBuffer{}}
	r.setup(t.TempDir(), change)
	r.start("127.0.0.1:0")
	t.Cleanup(func() {
		r.stop()
		r.noSecrets()
	})
	return r
}

// setup makes what a server keeps in dir, and its configuration.
func (r *rig) setup(dir string, change func(*ServerConfig)) {
	t := r.t
	t.Helper()
	var err error
	if r.cert, err = LoadOrMakeCertificate(dir, []string{"127.0.0.1"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	secret, err := LoadOrMakeSecret(dir + "/secret")
	if err != nil {
		t.Fatal(err)
	}
	if r.token, err = LoadOrMakeToken(dir + "/token"); err != nil {
		t.Fatal(err)
	}
	r.cfg = ServerConfig{
		Certificate: func() *tls.Certificate { return &r.cert },
		Secret:      secret,
		Token:       func(id string) (string, bool) { return r.token, id == TokenID(r.token) },
		Dir:         dir,
		Hello:       r.hello,
		Accept:      r.accept,
		Gone:        r.leave,
		Log:         zerolog.New(r.log),
		Rate:        1e6,
		Burst:       1e6,
	}
	if change != nil {
		change(&r.cfg)
	}
}

func (r *rig) start(addr string) {
	r.t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	r.server = NewServer(r.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("the server ended with %v", err)
			}
		case <-time.After(patience):
			r.t.Error("the server does not end")
		}
	})
}

func (r *rig) hello(h Hello) []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hellos = append(r.hellos, h)
	return nil
}

func (r *rig) accept(b Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusing {
		return errors.New("disk full")
	}
	r.events = append(r.events, b.Events...)
	r.batches = append(r.batches, len(b.Events))
	return nil
}

func (r *rig) leave(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = append(r.gone, client)
}

func (r *rig) stored() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event.Event(nil), r.events...)
}

func (r *rig) count(name string) uint64 { return counts(r.server.Counts)[name] }

func counts(all func(func(string, uint64))) map[string]uint64 {
	m := map[string]uint64{}
	all(func(name string, n uint64) { m[name] = n })
	return m
}

// noSecrets fails when a secret is in the log.
func (r *rig) noSecrets() {
	log := r.log.String()
	for _, secret := range []string{r.cfg.Secret, r.token} {
		if secret != "" && strings.Contains(log, secret) {
			r.t.Errorf("a secret is in the log:\n%s", log)
		}
	}
}

// config is that of a client which knows the secret.
func (r *rig) config() ClientConfig {
	return ClientConfig{
		Server: r.addr,
		Dir:    r.t.TempDir(),
		Secret: func() string { return r.cfg.Secret },
		Hello: func() Hello {
			return Hello{Version: "1.2.3", Hostname: "Web_1", Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}
		},
		Rand: func() float64 { return 0.01 },
		Log:  zerolog.New(r.log),
	}
}

// runner is a client that runs.
type runner struct {
	*Client
	t    *testing.T
	stop func() error  // ends it and returns what Run did
	done chan struct{} // closed when Run returned
	err  error
}

func run(t *testing.T, cfg ClientConfig) *runner {
	r := &runner{Client: NewClient(cfg), t: t, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		r.err = r.Run(ctx)
		close(r.done)
	}()
	r.stop = func() error {
		cancel()
		return r.wait()
	}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// wait returns what Run returned.
func (r *runner) wait() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		r.t.Error("the client does not end")
		return nil
	}
}

func (r *runner) connected() *runner {
	r.t.Helper()
	eventually(r.t, "the client is connected", func() bool { return r.Status().Connected })
	return r
}

// raw is a proven connection whose frames the test writes itself.
func (r *rig) raw(change func(*ClientConfig)) (*websocket.Conn, *welcomeFrame) {
	r.t.Helper()
	cfg := r.config()
	if change != nil {
		change(&cfg)
	}
	c := NewClient(cfg)
	c.identity = newIdentity()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, welcome, err := c.connect(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { ws.Close() })
	return ws, welcome
}

// say writes text frames; errors show in what is read.
func say(ws *websocket.Conn, frames ...string) {
	for _, frame := range frames {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(frame))
	}
}

// hear reads frames until one of this type or the end, and returns it.
func hear(t *testing.T, ws *websocket.Conn, kind string) controlFrame {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(patience))
	for {
		var frame controlFrame
		if err := ws.ReadJSON(&frame); err != nil {
			t.Fatalf("no %s came: %v", kind, err)
		}
		if frame.Type == kind {
			return frame
		}
	}
}

// eventually waits until is holds.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never came true that %s", what)
		}
	}
}

// hit returns the event number n of a test.
func hit(n int) event.Event {
	return event.Event{
		ID: event.ID{byte(n >> 8), byte(n)}, Time: time.Now().UTC().Round(0), Dataset: event.DatasetTrap, Host: "web-1",
		Src: netip.MustParseAddrPort("198.51.100.23:51514"), Dst: netip.MustParseAddrPort("192.0.2.10:8080"),
		Transport: "tcp", Evidence: event.E1, Message: fmt.Sprint("hit ", n),
		Trap: &event.Trap{SYN: &event.SYN{TTL: 52, DF: true, Window: 64240, MSS: 1460, Scale: 7, Options: "2-4-8-1-3", JA4T: "64240_2-4-8-1-3_1460_7", Class: "linux"}, Held: time.Millisecond},
	}
}

// fullOutbox holds as many events as one frame takes, without their messages.
func fullOutbox() *outbox {
	o := newOutbox(0, 0)
	for i := range maxBatch {
		e := hit(i)
		e.Message = ""
		o.add(&e)
	}
	return o
}

// once fails unless the hits from 0 to n-1 were stored, once each, in order.
func (r *rig) once(n int) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d events are stored", n), func() bool { return len(r.stored()) >= n })
	for i, e := range r.stored() {
		if e.Message != fmt.Sprint("hit ", i) || i >= n {
			r.t.Fatalf("event %d is %q", i, e.Message)
		}
	}
}

func leaf(t testing.TB, cert tls.Certificate) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
