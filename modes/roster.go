package modes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2/maybe"
	"github.com/rs/zerolog"

	"vft/correlate/fleet"
	"vft/event"
	"vft/link"
	"vft/traps"
)

// returnTime is how long clients may take to find a server that was away: the
// longest pause between two attempts.
const returnTime = time.Minute

// missed is how many heartbeats a client may miss.
const missed = 3

// roster knows which clients there are, when each was last heard, and which
// trap ports it was dealt.
type roster struct {
	path     string
	interval time.Duration

	mu      sync.Mutex // guards what follows
	dealer  *traps.Dealer
	dirty   bool
	heard   map[string]time.Time
	lost    map[string]bool
	dropped map[string]uint64
}

// newRoster reads the deals of an earlier server. The roster is good even when
// it returns an error.
func newRoster(path string, interval time.Duration, log zerolog.Logger) (*roster, error) {
	hands := map[string]traps.Hand{}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil:
		if err = json.Unmarshal(text, &hands); err != nil {
			err = fmt.Errorf("cannot read %s: %w", path, err)
		}
	}
	return &roster{
		path: path, interval: interval, dealer: traps.NewDealer(traps.Pool(), hands, newRandom()),
		heard: map[string]time.Time{}, lost: map[string]bool{}, dropped: map[string]uint64{},
	}, err
}

// expect notes clients of earlier, so that one that does not come back is
// missed.
func (r *roster) expect(clients []link.ClientState, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range clients {
		if _, here := r.heard[c.ID]; !here && !c.Revoked && now.Sub(c.LastSeen) < 24*time.Hour {
			r.heard[c.ID] = now.Add(returnTime)
		}
	}
}

// deal returns the trap ports of a client that came. A client that chooses
// from a pool of its own, or has fixed ports, is dealt none.
func (r *roster) deal(h link.Hello, now time.Time) []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[h.Client] = now
	if h.Want <= 0 || !slices.Equal(slices.Sorted(slices.Values(h.Pool)), slices.Sorted(slices.Values(traps.Pool()))) {
		r.dealer.Forget(h.Client)
		return nil
	}
	r.dirty = true
	if len(h.Failed) > 0 {
		r.dealer.Refuse(h.Client, h.Failed)
	}
	return r.dealer.Deal(h.Client, h.Want)
}

// beat notes a heartbeat; it returns a new deal when ports could not be bound.
func (r *roster) beat(client string, b link.Heartbeat, now time.Time) []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[client] = now
	ports, dealt := r.dealer.Ports(client)
	switch {
	case !dealt:
		return nil
	case len(b.Failed) > 0:
		r.dirty = true
		ports = r.dealer.Refuse(client, b.Failed)
		r.dealer.Rebalance() // the others hear of it by their next heartbeat
	case slices.Equal(ports, slices.Sorted(slices.Values(b.Traps))):
		return nil
	}
	return ports
}

// fail notes that the traps of a client do not report, so that a heartbeat that
// says they do again counts as a return.
func (r *roster) fail(client string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[client] = true
}

// drops reports whether a client has lost more events than it had said.
func (r *roster) drops(client string, dropped uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	more := dropped > r.dropped[client]
	r.dropped[client] = dropped
	return more
}

// silent returns the clients that have been silent for three heartbeats and
// were not reported yet.
func (r *roster) silent(now time.Time) (lost []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for client, at := range r.heard {
		if now.Sub(at) > missed*r.interval && !r.lost[client] {
			r.lost[client] = true
			lost = append(lost, client)
		}
	}
	slices.Sort(lost)
	return lost
}

// returned reports whether client was missed.
func (r *roster) returned(client string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.lost[client]
	delete(r.lost, client)
	return was
}

// save keeps the deals, when they changed.
func (r *roster) save(log zerolog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dirty {
		return
	}
	r.dirty = false
	text, err := json.Marshal(r.dealer.Hands())
	if err == nil {
		err = maybe.WriteFile(r.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		log.Warn().Err(err).Msg("the dealt ports are not kept; after a restart every client is dealt new ones")
	}
}

// hello is called when a client has proven itself.
func (s *server) hello(h link.Hello) []uint16 {
	now := time.Now()
	s.desk.do(func(f *fleet.Fleet) { f.Member(h.Addresses) })
	ports := s.fleet.deal(h, now)
	s.back(h.Client, now)
	s.member(h.Client, h.Hostname, now, event.Member{State: event.Connected, Version: h.Version, Traps: h.Traps})
	return ports
}

// accept judges the events of a client. They are acknowledged when it returns.
func (s *server) accept(b link.Batch) error {
	for i := range b.Events {
		e := &b.Events[i]
		finding := e.Dataset == event.DatasetAnomaly || e.Dataset == event.DatasetThreat
		s.desk.observe(b.Events[i:i+1], finding || s.events)
	}
	return nil
}

// heartbeat looks at what a client says of itself: a trap that does not report
// is as bad as a client that is gone.
func (s *server) heartbeat(client string, b link.Heartbeat) []uint16 {
	now := time.Now()
	if b.SelfTest != "" && b.SelfTest != link.SelfTestOK {
		s.fleet.fail(client)
		s.desk.do(func(f *fleet.Fleet) { f.Lost(client, now, "its trap does not report: "+b.SelfTest) })
	} else {
		s.back(client, now)
	}
	if s.fleet.drops(client, b.Dropped) {
		s.member(client, "", now, event.Member{State: event.Dropping, Traps: b.Traps, Dropped: b.Dropped, Spooled: b.Spooled, Lag: b.Offset})
	}
	return s.fleet.beat(client, b, now)
}

// back ends the incident of a client that was missed.
func (s *server) back(client string, now time.Time) {
	if s.fleet.returned(client) {
		s.desk.do(func(f *fleet.Fleet) { f.Returned(client, now) })
	}
}

func (s *server) gone(client string) {
	s.member(client, "", time.Now(), event.Member{State: event.Disconnected})
}

// member logs a change of a client and writes it as a vft.client record.
func (s *server) member(client, host string, now time.Time, m event.Member) {
	m.ID = client
	s.log.Info().Str("client", client).Str("state", string(m.State)).Msg("client " + string(m.State))
	if s.events {
		s.desk.do(func(*fleet.Fleet) {
			s.desk.write(&event.Event{ID: s.ids.Next(now), Time: now.UTC(), Dataset: event.DatasetClient, Client: client, Host: host, Member: &m})
		})
	}
}

// tick moves the clock of the rules on and looks for silent clients, each
// second until ctx ends. known returns the clients of earlier.
func (s *server) tick(ctx context.Context, known func() []link.ClientState) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	select {
	case <-ctx.Done():
		return nil
	case now := <-ticker.C:
		s.fleet.expect(known(), now)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			s.desk.do(func(f *fleet.Fleet) { f.Advance(now.UTC()) })
			for _, client := range s.fleet.silent(now) {
				s.desk.do(func(f *fleet.Fleet) { f.Lost(client, now.UTC(), "no heartbeat for three intervals") })
				s.member(client, "", now, event.Member{State: event.Lost})
			}
			s.fleet.save(s.log)
		}
	}
}
