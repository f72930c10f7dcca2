// Package traps is the trap room: it chooses ports on which nothing listens,
// listens there, and makes an event of every connection. It never answers: it
// reads what a peer says first, for a short time and from few peers at once,
// and closes.
//
// A Set holds the open ports. Choice keeps which ports a host opens, Dealer
// deals the ports of a fleet. ParseSYN, ParseClientHello, ParseSSH and
// PayloadTool read what peers send; they accept any bytes.
package traps

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"vft/event"
	"vft/throttle"
)

// Config says how traps behave.
type Config struct {
	Host          string           // goes into Event.Host
	Bind          []netip.Addr     // where to listen; empty: every address, IPv4 and IPv6
	Hold          time.Duration    // how long a connection is read from at most; 0: closed at once, unread
	MaxPayload    int              // bytes read of one connection
	HoldPerSource int              // connections held of one address (of one /64 for IPv6)
	HoldMax       int              // connections held in all; each takes a descriptor and about 10 KiB
	Seed          [32]byte         // of the event ids; from crypto/rand
	Now           func() time.Time // the clock that stamps events
	Log           zerolog.Logger
}

// DefaultConfig returns the defaults: every address, 4 KiB in at most 3.1 s
// (nmap -sV sends no probe to a port that closes within 3.0 s), 8 held
// connections for each source and 1,024 in all. Seed is left to the caller.
func DefaultConfig() Config {
	return Config{
		Hold: 3100 * time.Millisecond, MaxPayload: 4096, HoldPerSource: 8, HoldMax: 1024,
		Now: time.Now, Log: zerolog.Nop(),
	}
}

// Set is the open trap ports of a host. Its methods may be called by any
// goroutine.
type Set struct {
	config Config
	emit   event.Emit
	counts counts
	holds  holds
	logged throttle.Throttle
	mark   atomic.Pointer[mark] // of the running self-test

	testing sync.Mutex // held by the running self-test; guards turn
	turn    int        // which trap the next self-test takes

	mu      sync.Mutex // guards what follows
	ctx     context.Context
	stopped bool
	open    map[uint16][]*socket
	seeds   *rand.ChaCha8

	running sync.WaitGroup // accept loops and held connections
}

// New returns a Set without ports. emit gets one Event of DatasetTrap for each
// completed connection, from several goroutines at once, when the connection is
// closed: after Config.Hold at the latest. An emit that blocks holds up the
// port that calls it.
func New(config Config, emit event.Emit) *Set {
	return &Set{
		config: config,
		emit:   emit,
		holds:  holds{perSource: config.HoldPerSource, max: config.HoldMax, held: map[netip.Addr]int{}},
		open:   map[uint16][]*socket{},
		seeds:  rand.NewChaCha8(config.Seed),
	}
}

// Run serves the open ports, and those that are opened later, until ctx ends.
// Then it closes them and every held connection, whose events are emitted as
// they are, and returns when nothing of it runs any more. A Set runs once.
func (s *Set) Run(ctx context.Context) error {
	s.counts.startNetstat()
	s.mu.Lock()
	s.ctx = ctx
	for _, sockets := range s.open {
		s.launch(sockets)
	}
	s.mu.Unlock()

	<-ctx.Done()

	s.mu.Lock()
	s.stopped = true
	s.keepOnly(nil)
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// Open makes ports the open traps: it closes those that are not named, keeps
// those that are open and opens the others. It returns the ports that are open
// then, in ascending order, and why each of the others is not.
//
// Ports that are opened before Run collect connections, but only Run accepts
// them. Open(nil) closes all.
func (s *Set) Open(ports []uint16) (opened []uint16, failed map[uint16]error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepOnly(ports)
	failed = map[uint16]error{}
	for _, port := range ports {
		if err := s.openPort(port); err != nil {
			failed[port] = err
		}
	}
	return s.ports(), failed
}

// OpenChoice opens the ports of choice. Each that cannot be opened is replaced
// by another of the pool until enough are open or the pool has no more. It
// returns the open ports, why the others failed, and what keeping the choice in
// its file met.
func (s *Set) OpenChoice(choice *Choice) (opened []uint16, failed map[uint16]error, err error) {
	failed = map[uint16]error{}
	ports, err := choice.Load()
	for {
		open, bad := s.Open(ports)
		if len(bad) == 0 {
			return open, failed, err
		}
		maps.Copy(failed, bad)
		var kept error
		ports, kept = choice.Replace(slices.Sorted(maps.Keys(bad)))
		err = errors.Join(err, kept)
	}
}

// Ports returns the open ports in ascending order.
func (s *Set) Ports() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports()
}

// Counts yields every counter by its name: how often it happened since the
// Set was made. held_now is a gauge. listen_overflows, listen_drops and
// syncookies_sent are those of the whole host (of its network namespace) since
// Run began, on Linux.
func (s *Set) Counts(yield func(name string, n uint64)) {
	s.counts.yield(yield)
	yield("held_now", uint64(s.holds.now()))
}

func (s *Set) ports() []uint16 { return slices.Sorted(maps.Keys(s.open)) }

// keepOnly closes the ports that are not among ports; s.mu is held.
func (s *Set) keepOnly(ports []uint16) {
	for port, sockets := range s.open {
		if !slices.Contains(ports, port) {
			closeAll(sockets)
			delete(s.open, port)
		}
	}
}

// openPort listens on port on every address, or on none; s.mu is held.
func (s *Set) openPort(port uint16) error {
	if s.stopped {
		return errors.New("cannot open a trap: the traps are stopping")
	}
	if s.open[port] != nil {
		return nil
	}
	sockets, err := listenAll(s.config.Bind, port)
	if err != nil {
		return err
	}
	s.open[port] = sockets
	if s.ctx != nil {
		s.launch(sockets)
	}
	return nil
}

// launch starts the accept loop of each socket; s.mu is held.
func (s *Set) launch(sockets []*socket) {
	for _, socket := range sockets {
		var seed [32]byte
		s.seeds.Read(seed[:])
		ctx, ids := s.ctx, event.NewIDs(seed)
		s.running.Go(func() { s.serve(ctx, socket, ids) })
	}
}

func closeAll(sockets []*socket) {
	for _, socket := range sockets {
		socket.close()
	}
}
