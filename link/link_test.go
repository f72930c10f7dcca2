package link

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"vft/event"
)

func TestEventsArriveOnceInOrderStamped(t *testing.T) {
	r := newRig(t, nil)
	c := run(t, r.config())
	for i := range 1000 {
		c.Emit(hit(i))
	}
	r.once(1000)
	eventually(t, "all are acknowledged", func() bool { return c.outbox.len() == 0 })
	id := c.connected().Status().ID
	if !strings.HasPrefix(id, "web-1-") || len(id) != len("web-1-")+8 {
		t.Errorf("the id dealt is %q", id)
	}
	for _, e := range r.stored() {
		if e.Client != id || e.Host != "Web_1" {
			t.Fatalf("an event is from %q on %q", e.Client, e.Host)
		}
	}
	if most := slices.Max(r.batches); most > maxBatch {
		t.Errorf("a batch of %d events", most)
	}
	if n := r.count("events_stored"); n != 1000 {
		t.Errorf("counted %d events", n)
	}
}

func TestServerMayRestartAndComeLate(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.config()
	c := run(t, cfg).connected()
	id := c.Status().ID
	c.Emit(hit(0))
	r.once(1)
	for n := 1; n < 60; n += 20 {
		r.stop()
		eventually(t, "the client noticed", func() bool { return !c.Status().Connected })
		for i := range 20 {
			c.Emit(hit(n + i))
		}
		r.start(r.addr)
		r.once(n + 20)
	}
	if got := c.connected().Status().ID; got != id {
		t.Errorf("the client is called %q, then %q", id, got)
	}
	// The client restarts without the secret: its identity is enough.
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Secret = nil
	r.stop()
	c = run(t, cfg)
	c.Emit(hit(61 - 1))
	c.Emit(hit(62 - 1))
	eventually(t, "the client failed to connect", func() bool { return counts(c.Counts)["connect_failed"] > 0 })
	r.mu.Lock()
	r.events = r.events[:0]
	for i := range 60 {
		r.events = append(r.events, hit(i))
	}
	r.mu.Unlock()
	r.start(r.addr)
	r.once(62)
	if got := c.connected().Status().ID; got != id {
		t.Errorf("after its restart the client is called %q, not %q", got, id)
	}
}

func TestAnEventSentAgainIsStoredOnce(t *testing.T) {
	r := newRig(t, nil)
	ws, welcome := r.raw(nil)
	if welcome.Seq != 0 {
		t.Fatalf("a new client has %d", welcome.Seq)
	}
	frame := func(first, n int) string {
		b := appendEvents(nil, uint64(first))
		for i := range n {
			e := hit(first + i - 1)
			b = append(e.AppendJSON(b), ',')
		}
		return string(b[:len(b)-1]) + endEvents
	}
	say(ws, frame(1, 3), frame(1, 3), frame(2, 4), frame(9, 1), frame(4, 2))
	for _, want := range []uint64{3, 3, 5, 9, 9} {
		if got := hear(t, ws, "ack").Seq; got != want {
			t.Errorf("acknowledged %d, want %d", got, want)
		}
	}
	var got []string
	for _, e := range r.stored() {
		got = append(got, e.Message)
	}
	if want := "hit 0,hit 1,hit 2,hit 3,hit 4,hit 8"; strings.Join(got, ",") != want {
		t.Errorf("stored %v", got)
	}
	if again, gap := r.count("events_again"), r.count("events_missing"); again != 7 || gap != 3 {
		t.Errorf("counted %d again and %d missing", again, gap)
	}
}

func TestNotStoredIsNotAcknowledged(t *testing.T) {
	r := newRig(t, nil)
	r.refusing = true
	c := run(t, r.config())
	c.Emit(hit(0))
	eventually(t, "the event was refused", func() bool { return r.count("events_not_stored") > 1 })
	if c.outbox.len() != 1 {
		t.Error("the event left the spool")
	}
	r.mu.Lock()
	r.refusing = false
	r.mu.Unlock()
	r.once(1)
}

func TestForgedClientIsOverwritten(t *testing.T) {
	r := newRig(t, nil)
	c := run(t, r.config()).connected()
	e := hit(0)
	e.Client, e.Host = "db-1-00000000", "db-1"
	c.Emit(e)
	r.once(1)
	if got := r.stored()[0]; got.Client != c.Status().ID || got.Host != "Web_1" {
		t.Errorf("the event is from %q on %q", got.Client, got.Host)
	}
	if r.count("events_forged_client") != 1 {
		t.Error("it is not counted")
	}
}

func TestTimesAreCorrected(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.config()
	behind := time.Hour
	cfg.Now = func() time.Time { return time.Now().Add(-behind) }
	c := run(t, cfg).connected()
	early, future := hit(0), hit(1)
	early.Time = cfg.Now()
	future.Time = cfg.Now().Add(time.Minute)
	c.Emit(early)
	c.Emit(future)
	r.once(2)
	now := time.Now()
	if off := now.Sub(r.stored()[0].Time); off < -time.Second || off > patience {
		t.Errorf("the first event is %v old", off)
	}
	if off := r.stored()[1].Time.Sub(now); off > futureLimit {
		t.Errorf("the second event is %v in the future", off)
	}
	if r.count("clocks_skewed") != 1 || r.count("events_from_the_future") != 1 {
		t.Error("they are not counted")
	}
	if got := r.server.Clients()[0].Offset; got < behind || got > behind+patience {
		t.Errorf("the offset is %v", got)
	}
}

func TestHeartbeatsDealsAndSelfTest(t *testing.T) {
	var deals [][]uint16
	failed := []uint16{23}
	beats := make(chan Heartbeat, 100)
	r := newRig(t, func(cfg *ServerConfig) {
		cfg.Interval = 100 * time.Millisecond
		cfg.Hello = func(h Hello) []uint16 {
			if h.Want != 2 || !slices.Equal(h.Pool, []uint16{21, 22, 23}) || h.Client == "" {
				t.Errorf("hello %+v", h)
			}
			return []uint16{22, 23}
		}
		cfg.Heartbeat = func(client string, beat Heartbeat) []uint16 {
			beats <- beat
			if slices.Contains(beat.Failed, 23) {
				return []uint16{21, 22}
			}
			return nil
		}
	})
	cfg := r.config()
	cfg.Hello = func() Hello { return Hello{Hostname: "h", Want: 2, Pool: []uint16{21, 22, 23}} }
	cfg.OnDeal = func(ports []uint16) {
		deals = append(deals, ports)
		if len(deals) > 1 {
			failed = nil
		}
	}
	cfg.Traps = func() (open, bad []uint16) { return []uint16{22}, failed }
	cfg.Load = func() float64 { return 0.5 }
	cfg.SelfTest = func(context.Context) error { return fmt.Errorf("port 22 does not answer") }
	c := run(t, cfg)
	for beat := range beats {
		if beat.SelfTest != "port 22 does not answer" || beat.Load != 0.5 || !slices.Equal(beat.Traps, []uint16{22}) {
			t.Errorf("heartbeat %+v", beat)
		}
		if len(beat.Failed) == 0 {
			break
		}
	}
	c.stop()
	if len(deals) < 2 || !slices.Equal(deals[0], []uint16{22, 23}) || !slices.Equal(deals[1], []uint16{21, 22}) {
		t.Errorf("dealt %v", deals)
	}
	if state := r.server.Clients()[0]; state.SelfTest == "" || state.LastHeartbeat.IsZero() || state.Connected && state.Addr == "" {
		t.Errorf("the server knows %+v", state)
	}
}

func TestSilentClientIsClosed(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.Interval = 30 * time.Millisecond })
	ws, welcome := r.raw(nil)
	if got := hear(t, ws, "bye"); !strings.Contains(got.Reason, "silent") {
		t.Errorf("bye because of %q", got.Reason)
	}
	eventually(t, "the server says it is gone", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Equal(r.gone, []string{welcome.Client})
	})
	if r.count("closed_silent") != 1 || r.server.Clients()[0].Connected {
		t.Error("it is not counted, or still connected")
	}
}

func TestNewerConnectionReplacesOlder(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.config()
	c := NewClient(cfg)
	c.identity = newIdentity()
	first, _, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, _, err := c.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := hear(t, first, "bye"); got.Reason != byeReplaced {
		t.Errorf("bye because of %q", got.Reason)
	}
	say(second, `{"type":"heartbeat","time":"2026-01-01T00:00:00Z"}`)
	hear(t, second, "ack")
	if r.count("closed_replaced") != 1 || len(r.server.Clients()) != 1 {
		t.Error("it is not counted, or there are two clients")
	}
}

func TestRevokedStaysOutUntilApproved(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.config()
	c := run(t, cfg).connected()
	other := run(t, r.config()).connected()
	if err := r.server.Revoke(c.Status().ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server refused it", func() bool { return r.count("refused_revoked") > 0 })
	if !other.Status().Connected {
		t.Error("another client was closed")
	}
	// A new start has the secret, and the key that was revoked.
	c.stop()
	err := run(t, cfg).wait()
	if err == nil || !strings.Contains(err.Error(), byeRevoked) {
		t.Errorf("a revoked client ended with %v", err)
	}
	if err := r.server.Approve(c.Status().ID); err != nil {
		t.Fatal(err)
	}
	run(t, cfg).connected()
	if r.server.Revoke("nobody") == nil {
		t.Error("a client that is not there was revoked")
	}
}

func TestRateLimit(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.Rate, cfg.Burst = 5000, 100 })
	c := run(t, r.config())
	for i := range 3000 {
		c.Emit(hit(i))
	}
	r.once(3000)
	if r.count("rate_limited") == 0 || counts(c.Counts)["retry_after"] == 0 {
		t.Error("the client was not told to wait")
	}
	if r.count("closed_rate_ignored") != 0 {
		t.Error("an obedient client was closed")
	}
}

func TestIgnoringTheRateLimitEndsTheConnection(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.Rate, cfg.Burst = 0.001, 2 })
	ws, _ := r.raw(nil)
	for range 4 * maxInFlight {
		say(ws, `{"type":"heartbeat","time":"2026-01-01T00:00:00Z"}`)
	}
	hear(t, ws, "retry_after")
	if got := hear(t, ws, "bye"); got.Reason != byeRate {
		t.Errorf("bye because of %q", got.Reason)
	}
	if r.count("closed_rate_ignored") != 1 {
		t.Error("it is not counted")
	}
}

func TestPingsCostAsMuchAsEvents(t *testing.T) {
	r := newRig(t, func(cfg *ServerConfig) { cfg.Rate, cfg.Burst = 0.001, 5 })
	ws, _ := r.raw(nil)
	for range 4 * maxInFlight {
		_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
	}
	hear(t, ws, "retry_after")
	eventually(t, "it is closed", func() bool { return r.count("closed_rate_ignored") == 1 })
}

func TestStoppingDelivers(t *testing.T) {
	r := newRig(t, nil)
	c := run(t, r.config()).connected()
	for i := range 500 {
		c.Emit(hit(i))
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	r.once(500)
}

func TestStoppingEndsWithoutAcknowledgement(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, func(cfg *ServerConfig) {
		cfg.Accept = func(Batch) error { <-release; return nil }
	})
	defer close(release)
	cfg := r.config()
	cfg.Drain = 10 * time.Millisecond
	c := run(t, cfg).connected()
	c.Emit(hit(0))
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.log.String(), "not delivered") {
		t.Error("the loss is not logged")
	}
}

func TestReconnectsWithFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Duration
		began := time.Now()
		draw := 0.0
		c := NewClient(ClientConfig{
			Server: "192.0.2.1:9999",
			Rand:   func() float64 { return draw },
			Dial: func(context.Context, string, string) (net.Conn, error) {
				at = append(at, time.Since(began))
				began = time.Now()
				if draw = 1; len(at) > 9 {
					draw = 0.5
				}
				if len(at) == 12 {
					cancel()
				}
				return nil, fmt.Errorf("connection refused")
			},
		})
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 30, 30}
		for i := range want {
			if want[i] *= time.Second; at[i] != want[i] {
				t.Errorf("attempt %d came after %v, want %v", i, at[i], want[i])
			}
		}
	})
}

func TestEmitDropsWhatNoServerTakes(t *testing.T) {
	c := NewClient(ClientConfig{SpoolEvents: 2})
	c.Emit(event.Event{})
	for i := range 5 {
		c.Emit(hit(i))
	}
	got := counts(c.Counts)
	if got["events_invalid"] != 1 || got["events_dropped"] != 3 || got["events_spooled"] != 2 {
		t.Errorf("counted %v", got)
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{identityFile, registryFile} {
		if err := writeFile(filepath.Join(dir, file), []byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	if err := NewClient(ClientConfig{Dir: dir}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), identityFile) {
		t.Errorf("the client ended with %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewServer(ServerConfig{Dir: dir}).Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), registryFile) {
		t.Errorf("the server ended with %v", err)
	}
}
