package link

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestBadFrames(t *testing.T) {
	deep := strings.Repeat("[", 1e5)
	for _, c := range []struct {
		name, frame, reason, counted string
		kind                         int
	}{
		{"not JSON", `hello`, "unexpected", "frames_malformed", websocket.TextMessage},
		{"nested without end", `{"x":` + deep, "levels deep", "frames_malformed", websocket.TextMessage},
		{"nested without end in a detail", `{"type":"events","events":[{"alert":` + deep, "levels deep", "frames_malformed", websocket.TextMessage},
		{"unknown type", `{"type":"weather"}`, "unknown type", "frames_unknown_type", websocket.TextMessage},
		{"no type", `{}`, "unknown type", "frames_unknown_type", websocket.TextMessage},
		{"hello again", `{"type":"hello"}`, "unknown type", "frames_unknown_type", websocket.TextMessage},
		{"an event that does not parse", `{"type":"events","first_seq":1,"events":[{"id":7}]}`, "unexpected", "frames_malformed", websocket.TextMessage},
		{"an event without its detail", `{"type":"events","first_seq":1,"events":[{"dataset":"vft.trap","time":"2026-01-01T00:00:00Z"}]}`, "detail", "frames_malformed", websocket.TextMessage},
		{"events without a number", `{"type":"events","events":[{"dataset":"x","time":"2026-01-01T00:00:00Z"}]}`, "number", "frames_malformed", websocket.TextMessage},
		{"no events", `{"type":"events","first_seq":1,"events":[]}`, "none", "frames_malformed", websocket.TextMessage},
		{"a number too large", `{"type":"events","first_seq":4611686018427387905}`, "range", "frames_malformed", websocket.TextMessage},
		{"a heartbeat without a time", `{"type":"heartbeat"}`, "time", "frames_malformed", websocket.TextMessage},
		{"binary", `{"type":"heartbeat","time":"2026-01-01T00:00:00Z"}`, "binary", "frames_binary", websocket.BinaryMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			ws, _ := r.raw(nil)
			for range 5 {
				_ = ws.WriteMessage(c.kind, []byte(c.frame))
			}
			for i, kind := range []string{"refused", "refused", "bye"} {
				if got := hear(t, ws, kind); !strings.Contains(got.Reason, c.reason) {
					t.Errorf("answer %d is %q, want %q", i, got.Reason, c.reason)
				}
			}
			if n := r.count(c.counted); n != maxStrikes || r.count("closed_bad_frames") != 1 {
				t.Errorf("counted %d", n)
			}
			if len(r.stored()) > 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestFrameOf10MBEndsTheConnectionAtOnce(t *testing.T) {
	r := newRig(t, nil)
	ws, _ := r.raw(nil)
	before := heap()
	_ = ws.WriteMessage(websocket.TextMessage, make([]byte, 10<<20))
	eventually(t, "it is counted", func() bool { return r.count("frames_too_big") == 1 })
	eventually(t, "it is closed", func() bool { return !r.server.Clients()[0].Connected })
	// The 10 MB of the sender are in this process too, but garbage by now.
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// A thousand strangers, each of whom does something else that no client does.
func TestGarbageHandshakes(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.Handshake = 300 * time.Millisecond })
	strangers := []func(raw net.Conn){
		func(net.Conn) {}, // a port scan
		func(raw net.Conn) { write(raw, "GET / HTTP/1.0\r\n\r\n") },
		func(raw net.Conn) { write(raw, "\x16\x03\x01\xff\xff"+strings.Repeat("\x00", 2000)) },
		func(raw net.Conn) {
			b := make([]byte, 1000)
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			_, _ = raw.Write(b)
		},
		func(raw net.Conn) { secure(raw, "\x00\x01\x02") },
		func(raw net.Conn) { secure(raw, "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n") },
		func(raw net.Conn) { secure(raw, "GET /v1/link HTTP/1.1\r\nX: "+strings.Repeat("x", 20000)) },
		func(raw net.Conn) {
			secure(raw, "GET /v1/link HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: vft.v1\r\nVft-Key: secret\r\n\r\n")
		},
		func(raw net.Conn) {
			secure(raw, "GET /v1/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
				"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: vft.v1\r\nVft-Key: token x\r\n\r\n")
		},
	}
	storm := func(n int) {
		var work sync.WaitGroup
		slots := make(chan struct{}, 16)
		for i := range n {
			slots <- struct{}{}
			work.Go(func() {
				defer func() { <-slots }()
				raw, err := net.Dial("tcp", r.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer raw.Close()
				strangers[i%len(strangers)](raw)
			})
		}
		work.Wait()
		eventually(t, "all are gone", func() bool { return r.server.unproven.Load() == 0 })
	}
	storm(100) // pools and caches fill
	before, goroutines := heap(), runtime.NumGoroutine()
	storm(1000)
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("the memory grew by %d bytes", grown)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if got := r.count("refused_tls") + r.count("refused_request") + r.count("refused_authentication"); got != 1100 {
		t.Errorf("counted %d of 1100", got)
	}
	if lines := strings.Count(r.log.String(), "\n"); lines > 6 {
		t.Errorf("%d lines in the log:\n%s", lines, r.log)
	}
	run(t, r.config()).connected()
}

func write(raw net.Conn, s string) {
	_, _ = raw.Write([]byte(s))
}

// secure says s over TLS and waits for the answer.
func secure(raw net.Conn, s string) {
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write([]byte(s))
	_, _ = conn.Read(make([]byte, 1000))
}

func TestTooManyUnproven(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.MaxUnproven = 3 })
	var idle []net.Conn
	for range 3 {
		raw, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		idle = append(idle, raw)
	}
	eventually(t, "three wait", func() bool { return r.server.unproven.Load() == 3 })
	raw, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetReadDeadline(time.Now().Add(patience))
	if _, err := raw.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the fourth got %v", err)
	}
	if r.count("refused_too_many_unproven") != 1 {
		t.Error("it is not counted")
	}
	for _, raw := range idle {
		raw.Close()
	}
	run(t, r.config()).connected()
}

// Each step of the handshake is inside the one time limit.
func TestHandshakeDeadline(t *testing.T) {
	for _, c := range []struct {
		name, counted string
		begin         func(r *rig)
	}{
		{"silent", "refused_tls", func(r *rig) { dial(r) }},
		{"no request", "refused_request", func(r *rig) {
			conn := tls.Client(dial(r), &tls.Config{InsecureSkipVerify: true})
			if err := conn.Handshake(); err != nil {
				r.t.Error(err)
			}
		}},
		{"half a request", "refused_request", func(r *rig) {
			conn := tls.Client(dial(r), &tls.Config{InsecureSkipVerify: true})
			_, _ = conn.Write([]byte("GET /v1/link HTTP/1.1\r\nHost:"))
		}},
		{"no proof", "refused_authentication", func(r *rig) { r.unproven() }},
		{"no hello", "refused_hello", func(r *rig) {
			client := NewClient(r.config())
			client.identity = newIdentity()
			g := &greeting{client: client, conn: dial(r)}
			if g.encrypt(r.t.Context()) == nil {
				g.key, _ = g.chooseKey()
				_ = g.upgrade(r.t.Context())
				_ = g.prove()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *ServerConfig) { cfg.Handshake = 300 * time.Millisecond })
			c.begin(r)
			eventually(t, "it is counted as "+c.counted, func() bool { return r.count(c.counted) == 1 })
			eventually(t, "its place is free", func() bool { return r.server.unproven.Load() == 0 })
		})
	}
}

func dial(r *rig) net.Conn {
	raw, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { raw.Close() })
	return raw
}

func TestHellosThatAreRefused(t *testing.T) {
	now := time.Now().UTC().Format(time.RFC3339)
	good := fmt.Sprintf(`"boot":"b","time":%q,"hostname":"h"`, now)
	for _, c := range []struct{ frame, why string }{
		{`{"type":"events"}`, "another frame"},
		{`{"type":"hello"}`, "no boot and no time"},
		{`{"type":"hello",` + good + `}`, "no key to enrol"},
		{`{"type":"hello",` + good + `,"key":"AAAA","signature":"AAAA"}`, "a key of the wrong size"},
		{`{"type":"hello",` + good + `,"key":"` + encode(newIdentity().public()) + `","signature":"` + encode(make([]byte, 64)) + `"}`, "the key of another"},
		{`{"type":"hello",` + good + `,"want":-1}`, "a negative number"},
		{`{"type":"hello",` + good + `,"addresses":[` + strings.Repeat(`"10.0.0.0/8",`, 65) + `"10.0.0.0/8"]}`, "too many addresses"},
		{`{"type":"hello",` + good + `,"hostname":"` + strings.Repeat("h", 300) + `"}`, "a name too long"},
		{`{"type":"hello","x":"` + strings.Repeat("x", maxHello) + `"}`, "too large"},
	} {
		r := newRig(t, nil)
		client := NewClient(r.config())
		client.identity = newIdentity()
		g := &greeting{client: client, conn: dial(r), key: key{kind: bySecret, shared: r.cfg.Secret}}
		if err := g.encrypt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.upgrade(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.prove(); err != nil {
			t.Fatal(err)
		}
		say(g.ws, c.frame)
		eventually(t, "it is refused: "+c.why, func() bool { return r.count("refused_hello") == 1 })
		if len(r.server.Clients()) != 0 {
			t.Errorf("%s: it was enrolled", c.why)
		}
	}
}

func TestAsManyClientsAsAllowed(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.MaxClients = 1 })
	first := run(t, r.config()).connected()
	second := run(t, r.config())
	eventually(t, "the second is refused", func() bool { return r.count("refused_too_many_clients") > 1 })
	if second.Status().Connected || !first.Status().Connected {
		t.Error("the wrong one is connected")
	}
	if !strings.Contains(second.Status().Error, byeFull) {
		t.Errorf("it knows %q", second.Status().Error)
	}
}

// A server that answers a client with ever more bytes does not fill it.
func TestClientBoundsAStrangersAnswer(t *testing.T) {
	r := newRig(t, nil)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{r.cert}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1000))
		write(conn, "HTTP/1.1 101 Switching Protocols\r\n")
		sent := 0
		for err == nil {
			var n int
			n, err = conn.Write([]byte("X: " + strings.Repeat("x", 10000) + "\r\n"))
			sent += n
		}
		done <- sent
	}()
	cfg := r.config()
	cfg.Server = ln.Addr().String()
	c := NewClient(cfg)
	c.identity = newIdentity()
	if _, _, err := c.connect(t.Context()); err == nil || !strings.Contains(err.Error(), errTooMuch.Error()) {
		t.Errorf("ended with %v", err)
	}
	if sent := <-done; sent < maxHello {
		t.Errorf("the stranger could say %d bytes", sent)
	}
	ln.Close()
}
