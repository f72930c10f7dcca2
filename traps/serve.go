package traps

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"vft/event"
)

// stream is a held connection.
type stream interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
}

// The pauses after errors of accept, doubled from the first to the longest.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// serve accepts from socket until it is closed. An error never ends it: the
// queue keeps what came, up to its length, while it pauses.
func (s *Set) serve(ctx context.Context, socket *socket, ids *event.IDs) {
	pause := firstPause
	visit := func(a accepted) {
		pause = firstPause
		s.take(ctx, a, ids)
	}
	for {
		err := socket.accept(visit)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			continue
		}
		s.acceptFailed(socket, err)
		if ownFault(err) {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, longestPause)
		}
	}
}

func (s *Set) acceptFailed(socket *socket, err error) {
	kind := s.counts.acceptFailed(err)
	suppressed, ok := s.logged.Pass(kind, s.config.Now())
	if !ok {
		return
	}
	s.config.Log.Warn().Err(err).Uint16("port", socket.at.Port()).Uint64("suppressed", suppressed).
		Msg("cannot accept connections to a trap, trying again; raise the limit of open files if it is reached")
}

// take makes an event of a, and holds the connection or closes it.
func (s *Set) take(ctx context.Context, a accepted, ids *event.IDs) {
	if s.isMarked(a.src) {
		a.conn.close()
		return
	}
	s.counts.accepted.Add(1)
	e := s.event(a, ids)
	if s.config.Hold > 0 && s.admit(e) {
		conn := a.conn.stream()
		s.running.Go(func() { s.hold(ctx, conn, e) })
		return
	}
	a.conn.close()
	s.emit(e)
}

// event describes a.
func (s *Set) event(a accepted, ids *event.IDs) event.Event {
	now := s.config.Now().UTC()
	e := event.Event{
		ID: ids.Next(now), Time: now, Dataset: event.DatasetTrap, Host: s.config.Host,
		Src: a.src, Dst: a.dst, Transport: "tcp", Evidence: event.E1,
	}
	header, ok := ParseSYN(a.syn)
	if !ok {
		s.counts.synMissing.Add(1)
		e.Trap = &event.Trap{}
		return e
	}
	// One allocation for both, which live and die together.
	details := &struct {
		event.Trap
		syn event.SYN
	}{syn: header.Details()}
	details.SYN, details.Tool = &details.syn, header.Tool()
	e.Dst, e.Trap = header.Dst, &details.Trap
	return e
}

// hold reads the first payload of conn until the time is over, closes it and
// emits e with what was read.
func (s *Set) hold(ctx context.Context, conn stream, e event.Event) {
	defer s.holds.leave(e.Src.Addr())
	// The deadline stands for all reads together: no drip makes it longer.
	conn.SetReadDeadline(time.Now().Add(s.config.Hold))
	release := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	payload := readPayload(conn.Read, make([]byte, s.config.MaxPayload))
	release()
	conn.Close()
	e.Trap.Held = s.config.Now().Sub(e.Time)
	if len(payload) > 0 {
		s.counts.payloads.Add(1)
		e.Evidence = event.E2
		describe(e.Trap, slices.Clone(payload))
	}
	s.emit(e)
}
