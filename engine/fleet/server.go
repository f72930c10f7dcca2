package fleet

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"vft/event"
	"vft/link"
)

// Settings say how a Server looks after its clients.
type Settings struct {
	Dir       string        // keeps the dealt ports
	Heartbeat time.Duration // three missed and a client is lost
	Events    bool          // record the events of clients too, not only findings

	Now    func() time.Time
	Random *rand.Rand // deals the ports
	Log    zerolog.Logger
}

// Server is what the sessions of all clients meet: it judges their events, deals
// them trap ports and misses those that fall silent. Its methods Hello, Accept,
// Heartbeat and Gone are the funcs that a link.Server needs.
type Server struct {
	Settings
	correlator *Correlator
	roster     *roster
}

// NewServer returns a Server that has seen no client. The ports that an earlier
// one dealt are kept in Settings.Dir; when they cannot be read that is logged,
// and every client is dealt new ones.
func NewServer(s Settings, c *Correlator) *Server {
	roster, err := newRoster(filepath.Join(s.Dir, "deals.json"), s.Heartbeat, s.Random)
	if err != nil {
		s.Log.Warn().Err(err).Msg("the dealt ports of earlier are not known; every client is dealt new ones")
	}
	return &Server{Settings: s, correlator: c, roster: roster}
}

// Hello is called when a client has proven itself. It returns the trap ports
// that the client is dealt.
func (s *Server) Hello(h link.Hello) []uint16 {
	now := s.Now()
	s.correlator.do(func() { s.correlator.fleet.Member(h.Client, h.Addresses) })
	ports := s.roster.deal(h, now)
	s.back(h.Client, now)
	s.member(h.Client, h.Hostname, now, event.Member{State: event.Connected, Version: h.Version, Traps: h.Traps})
	return ports
}

// Accept judges the events of a client. They are acknowledged when it returns.
func (s *Server) Accept(b link.Batch) error {
	for i := range b.Events {
		e := &b.Events[i]
		finding := e.Dataset == event.DatasetAnomaly || e.Dataset == event.DatasetThreat
		s.correlator.Observe(e, finding || s.Events)
	}
	return nil
}

// Heartbeat looks at what a client says of itself: a trap that does not report
// is as bad as a client that is gone. It returns a new deal, or nil.
func (s *Server) Heartbeat(client string, b link.Heartbeat) []uint16 {
	now := s.Now()
	if b.SelfTest != "" && b.SelfTest != link.SelfTestOK {
		s.roster.fail(client)
		s.lost(client, now, "its trap does not report: "+b.SelfTest)
	} else {
		s.back(client, now)
	}
	if s.roster.drops(client, b.Dropped) {
		s.member(client, "", now, event.Member{State: event.Dropping, Traps: b.Traps, Dropped: b.Dropped, Spooled: b.Spooled, Lag: b.Offset})
	}
	return s.roster.beat(client, b, now)
}

// Gone is called when the connection of a client ended.
func (s *Server) Gone(client string) {
	s.member(client, "", s.Now(), event.Member{State: event.Disconnected})
}

// lost begins the incident of a client that is missed.
func (s *Server) lost(client string, now time.Time, reason string) {
	s.correlator.do(func() { s.correlator.fleet.Lost(client, now, reason) })
}

// back ends the incident of a client that was missed.
func (s *Server) back(client string, now time.Time) {
	if s.roster.returned(client) {
		s.correlator.do(func() { s.correlator.fleet.Returned(client, now) })
	}
}

// member logs a change of a client and records it.
func (s *Server) member(client, host string, now time.Time, m event.Member) {
	m.ID = client
	s.Log.Info().Str("client", client).Str("state", string(m.State)).Msg("client " + string(m.State))
	if s.Events {
		s.correlator.Record(event.Event{Time: now.UTC(), Dataset: event.DatasetClient, Client: client, Host: host, Member: &m})
	}
}

// Run moves the clock of the rules on and looks for silent clients, each second
// until ctx ends. known returns the clients of earlier.
func (s *Server) Run(ctx context.Context, known func() []link.ClientState) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	select {
	case <-ctx.Done():
		return nil
	case now := <-ticker.C:
		s.roster.expect(known(), now)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			s.tick(now)
		}
	}
}

func (s *Server) tick(now time.Time) {
	s.correlator.Advance(now.UTC())
	for _, client := range s.roster.silent(now) {
		s.lost(client, now.UTC(), "no heartbeat for three intervals")
		s.member(client, "", now, event.Member{State: event.Lost})
	}
	s.Save()
}

// Save keeps the dealt ports, when they changed.
func (s *Server) Save() {
	if err := s.roster.save(); err != nil {
		s.Log.Warn().Err(err).Msg("the dealt ports are not kept; after a restart every client is dealt new ones")
	}
}
