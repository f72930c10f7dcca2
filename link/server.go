package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"vft/event"
	"vft/throttle"
)

// ServerConfig is what a Server needs. The funcs may be nil. Those about one
// client are called one at a time and in order: Hello, then any number of
// Accept and Heartbeat, then Gone; those of different clients run at once.
type ServerConfig struct {
	Certificate func() *tls.Certificate                    // asked at each connection; nil: plain text, for loopback
	Secret      string                                     // of the fleet; empty: none is known
	Token       func(id string) (token string, known bool) // the enrolment token of this TokenID
	Dir         string                                     // keeps clients.json; empty: clients are forgotten at the end

	Hello     func(Hello) (deal []uint16)                         // a client is there; returns the trap ports it is dealt
	Accept    func(Batch) error                                   // stores events; they are acknowledged when it returns nil
	Heartbeat func(client string, beat Heartbeat) (deal []uint16) // returns a new deal, or nil
	Gone      func(client string)                                 // its connection ended
	Ignore    func() []netip.Prefix                               // peers whose hits clients shall ignore
	Now       func() time.Time                                    // nil: time.Now
	Log       zerolog.Logger

	Interval    time.Duration // between heartbeats; 0: 10 s. A client is silent after three
	Handshake   time.Duration // from accept to hello; 0: 10 s
	MaxUnproven int           // connections not yet proven; 0: 1,024
	MaxClients  int           // 0: 65,536
	Rate, Burst float64       // events a second of one client, and in reserve; 0: 5,000 and 20,000
}

// Batch is what one frame of a client brought that was not stored before.
type Batch struct {
	Client string
	Boot   string        // of the client; with Seq the client's high-water mark
	Seq    uint64        // number of the last event
	Events []event.Event // in order, times corrected; the slice is valid until Accept returns
}

// Server is the server's end of the link.
type Server struct {
	cfg      ServerConfig
	tls      *tls.Config // nil: plain text
	upgrader websocket.Upgrader
	counts   serverCounts
	throttle throttle.Throttle
	registry *registry
	unproven atomic.Int64
	decoders sync.Pool
	work     sync.WaitGroup
}

// NewServer returns a Server that does nothing until Serve.
func NewServer(cfg ServerConfig) *Server {
	cfg.defaults()
	s := &Server{cfg: cfg}
	s.registry = newRegistry(cfg.Dir, cfg.MaxClients, cfg.Now)
	s.decoders.New = func() any { return newDecoder() }
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.Handshake,
		ReadBufferSize:   512, // an idle client keeps it; long reads go past it
		WriteBufferSize:  1024,
		WriteBufferPool:  new(sync.Pool),
		Subprotocols:     []string{subprotocol},
		Error:            refuseRequest,
	}
	if cfg.Certificate != nil {
		s.tls = &tls.Config{
			MinVersion: tls.VersionTLS13,
			NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return cfg.Certificate(), nil
			},
		}
	}
	return s
}

func (c *ServerConfig) defaults() {
	orDefault(&c.Interval, 10*time.Second)
	orDefault(&c.Handshake, 10*time.Second)
	orDefault(&c.MaxUnproven, 1024)
	orDefault(&c.MaxClients, 65536)
	orDefault(&c.Rate, 5000)
	orDefault(&c.Burst, 20000)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Token == nil {
		c.Token = func(string) (string, bool) { return "", false }
	}
	if c.Hello == nil {
		c.Hello = func(Hello) []uint16 { return nil }
	}
	if c.Accept == nil {
		c.Accept = func(Batch) error { return nil }
	}
	if c.Heartbeat == nil {
		c.Heartbeat = func(string, Heartbeat) []uint16 { return nil }
	}
	if c.Gone == nil {
		c.Gone = func(string) {}
	}
	if c.Ignore == nil {
		c.Ignore = func() []netip.Prefix { return nil }
	}
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Check reads the list of clients, so that a damaged file shows before anything
// is opened.
func (s *Server) Check() error { return s.registry.load() }

// Serve takes connections from ln, which it closes, until ctx ends. It returns
// nil then, or why it cannot go on.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	if err := s.registry.load(); err != nil {
		return err
	}
	if n := len(s.cfg.Secret); n > 0 && n < 16 {
		s.cfg.Log.Warn().Msg("the secret is short: whoever connects gets a proof by which to guess it; 16 random characters are enough")
	}
	s.work.Go(func() { s.saveEachMinute(ctx) })
	err := s.acceptAll(ctx, ln)
	cancel()
	for _, m := range s.registry.all() {
		s.work.Go(func() { m.close(byeStopping) }) // at once: one that is stuck takes a second
	}
	s.work.Wait()
	return errors.Join(err, s.registry.save())
}

// acceptAll takes connections until ctx ends. An error of accept, like too many
// open files, slows it down and does not end it.
func (s *Server) acceptAll(ctx context.Context, ln net.Listener) error {
	var pause time.Duration
	for {
		raw, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				raw.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot accept clients: %w", err)
		case err != nil:
			s.count(sAcceptErrors).log(err)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			sleep(ctx, pause)
			continue
		}
		pause = 0
		s.counts.add(sConnections, 1)
		if s.unproven.Add(1) > int64(s.cfg.MaxUnproven) {
			s.unproven.Add(-1)
			s.count(sTooManyUnproven).from(raw).log(nil)
			raw.Close()
			continue
		}
		s.work.Go(func() {
			defer s.unproven.Add(-1)
			s.greet(ctx, raw)
		})
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *Server) saveEachMinute(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, time.Minute)
		if err := s.registry.save(); err != nil {
			s.count(sRegistryErrors).log(err)
		}
	}
}

// ClientState is what a server knows of one client.
type ClientState struct {
	ID            string
	Hostname      string
	Version       string
	Addr          string // of its connection
	Connected     bool
	Revoked       bool
	FirstSeen     time.Time
	LastSeen      time.Time     // its last frame
	LastHeartbeat time.Time     // zero when none came since the server started
	Offset        time.Duration // what is added to its clock
	Dropped       uint64
	Spooled       uint64
	SelfTest      string
	Traps         []uint16
	Failed        []uint16
}

// Clients returns all clients that ever enrolled, by id. It may be called
// before Serve.
func (s *Server) Clients() []ClientState {
	members := s.registry.all()
	states := make([]ClientState, len(members))
	for i, m := range members {
		states[i] = m.state()
	}
	return states
}

// Revoke takes back the identity of a client and closes its connection. The
// client stays out even if it knows the secret.
func (s *Server) Revoke(client string) error { return s.setRevoked(client, true) }

// Approve lets a client in again that was revoked.
func (s *Server) Approve(client string) error { return s.setRevoked(client, false) }

func (s *Server) setRevoked(client string, revoked bool) error {
	if err := s.registry.load(); err != nil {
		return err
	}
	s.registry.mu.Lock()
	m := s.registry.members[client]
	s.registry.mu.Unlock()
	if m == nil {
		return fmt.Errorf("no client is called %q", client)
	}
	m.setRevoked(revoked)
	s.registry.changed()
	if revoked {
		m.close(byeRevoked)
	}
	return s.registry.save()
}

// Counts calls yield with each counter of the server.
func (s *Server) Counts(yield func(name string, n uint64)) {
	for i := range s.counts {
		yield(serverCounters[i], s.counts[i].Load())
	}
}

// counted is one more of a counter, about to be logged.
type counted struct {
	server *Server
	what   counter
	entry  *zerolog.Event // nil when this kind was logged less than a minute ago
}

// count adds one to a counter and starts a line of the log about it, which is
// written by log at most once a minute for each counter.
func (s *Server) count(what counter) counted {
	s.counts.add(what, 1)
	c := counted{server: s, what: what}
	if suppressed, ok := s.throttle.Pass(serverCounters[what], s.cfg.Now()); ok {
		c.entry = s.cfg.Log.Warn().Uint64("suppressed", suppressed)
	}
	return c
}

func (c counted) from(conn net.Conn) counted {
	c.entry = c.entry.Stringer("from", conn.RemoteAddr())
	return c
}

func (c counted) client(id string) counted {
	c.entry = c.entry.Str("client", id)
	return c
}

func (c counted) log(err error) {
	c.entry.Err(err).Msg(serverLog[c.what])
}

// serverLog are the sentences of the counters that are logged.
var serverLog = [numServerCounters]string{
	sAcceptErrors:    "cannot accept a connection; going slower",
	sTooManyUnproven: "connection closed: too many have not proven themselves yet",
	sTLSFailed:       "connection closed: no TLS 1.3 handshake",
	sRequestRefused:  "connection closed: not the request of a client",
	sAuthFailed:      byeAuthentication,
	sHelloRefused:    "client refused: its hello cannot be used",
	sRevoked:         "client refused: it was revoked",
	sRegistryFull:    "client refused: there are as many clients as allowed",
	sRegistryErrors:  "the list of clients is not written",
	sReplaced:        "a client connected twice; the older connection was closed. Were its identity's files copied to another host?",
	sSilent:          "client closed: it was silent for three heartbeats",
	sFrameTooBig:     "client closed: a frame over 1 MiB",
	sFrameBinary:     "frame refused: binary",
	sFrameBad:        "frame refused: it cannot be read",
	sFrameUnknown:    "frame refused: unknown type",
	sFrameStrikes:    "client closed: three bad frames",
	sEventsForged:    "an event named another client than the one that sent it; the sender's name was put in",
	sEventsFuture:    "an event from the future; its time was set back",
	sNotStored:       "events not stored; the client will send them again",
	sRateLimited:     "client told to wait: it sends too much",
	sRateIgnored:     "client closed: it sends too much and does not wait",
	sClockSkewed:     "a client's clock is more than 5 s off; the times of its events are corrected",
}
