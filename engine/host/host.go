// Package host runs the traps of one host: it chooses their ports or opens those
// that a server deals, listens, and reports what they saw.
package host

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"vft/event"
	"vft/traps"
)

// Settings say which traps a host has.
type Settings struct {
	Ports []uint16 // exactly these; empty: chosen from Pool, or dealt by a server
	Count int      // how many to choose
	Pool  []uint16 // to choose from

	Bind     []netip.Addr  // addresses to listen on; empty: all
	Hold     time.Duration // how long to wait for the first bytes of a connection
	Hostname string        // of the events
	Dir      string        // keeps the choice
	Seed     [32]byte      // of the ids of events; from crypto/rand
	Random   *rand.Rand    // chooses the ports
	Log      zerolog.Logger
}

// Traps are the traps of this host. Any goroutine may call them.
type Traps struct {
	set   *traps.Set
	exact []uint16 // Settings.Ports
	log   zerolog.Logger

	mu     sync.Mutex // guards what follows
	choice *traps.Choice
	failed []uint16 // could not be opened since the last deal
}

// New prepares the traps; it opens nothing. Every hit goes through emit.
func New(s Settings, emit event.Emit) *Traps {
	c := traps.DefaultConfig()
	c.Host, c.Bind, c.Hold, c.Log, c.Seed = s.Hostname, s.Bind, s.Hold, s.Log, s.Seed
	busy, err := traps.Busy()
	if err != nil {
		s.Log.Warn().Err(err).Msg("cannot see which ports are in use; trying each")
		busy = func(uint16) bool { return false }
	}
	return &Traps{
		set: traps.New(c, emit), exact: s.Ports, log: s.Log,
		choice: &traps.Choice{
			Path: filepath.Join(s.Dir, "traps.json"), Pool: s.Pool, Count: s.Count, Skip: busy, Random: s.Random,
		},
	}
}

// Run takes connections until ctx ends and closes the traps then.
func (t *Traps) Run(ctx context.Context) error { return t.set.Run(ctx) }

// Open opens the chosen ports, or exactly those that were asked for. What
// cannot be opened is reported and left out.
func (t *Traps) Open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var failed map[uint16]error
	var err error
	if len(t.exact) > 0 {
		_, failed = t.set.Open(t.exact)
	} else {
		_, failed, err = t.set.OpenChoice(t.choice)
	}
	if err != nil {
		t.log.Warn().Err(err).Msg("the choice of trap ports is not kept")
	}
	t.report(failed)
}

// Deal opens the ports that a server dealt, in place of those that are open.
// The server learns from Ports which could not be opened. A host with fixed
// ports keeps them.
func (t *Traps) Deal(ports []uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.exact) > 0 {
		return
	}
	opened, failed := t.set.Open(ports)
	if err := t.choice.Keep(opened); err != nil {
		t.log.Warn().Err(err).Msg("the dealt trap ports are not kept")
	}
	t.report(failed)
}

// report logs what is open and what is not; t.mu is held.
func (t *Traps) report(failed map[uint16]error) {
	t.failed = slices.Sorted(maps.Keys(failed))
	for _, port := range t.failed {
		t.log.Warn().Uint16("port", port).Err(failed[port]).Msg("a trap is left out")
	}
	open := t.set.Ports()
	if wanted := t.wanted(); len(open) < wanted {
		t.log.Warn().Msgf("only %d of %d traps are open", len(open), wanted)
	}
	t.log.Info().Uints16("open", open).Msgf("%d traps are open", len(open))
}

// Ports returns what is open and what could not be opened.
func (t *Traps) Ports() (open, failed []uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set.Ports(), slices.Clone(t.failed)
}

// Want is how many ports a server shall deal; 0 when the ports are fixed.
func (t *Traps) Want() int {
	if len(t.exact) > 0 {
		return 0
	}
	return t.choice.Count
}

func (t *Traps) wanted() int { return max(t.Want(), len(t.exact)) }

// SelfTest checks that a trap still reports, when there is one.
func (t *Traps) SelfTest(ctx context.Context) error {
	if len(t.set.Ports()) == 0 {
		if t.wanted() > 0 {
			return errors.New("no trap is open")
		}
		return nil
	}
	return t.set.SelfTest(ctx)
}

// Counts yields every counter of the traps by its name.
func (t *Traps) Counts(yield func(name string, n uint64)) { t.set.Counts(yield) }
