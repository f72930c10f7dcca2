package modes

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"vft/event"
	"vft/link"
	"vft/modes/config"
	"vft/traps"
)

// host is the traps of this host, as client and standalone run them.
type host struct {
	set *traps.Set
	log zerolog.Logger

	mu     sync.Mutex // guards what follows
	choice *traps.Choice
	exact  []uint16 // --trap-ports; nil: chosen, or dealt by a server
	failed []uint16 // could not be opened since the last deal
}

// newHost prepares the traps; it opens nothing.
func newHost(v *config.Values, dir string, log zerolog.Logger, emit event.Emit) (*host, error) {
	c := traps.DefaultConfig()
	c.Host, c.Bind, c.Hold, c.Log = hostname(), config.List[netip.Addr](v, "trap-bind"), v.Duration("trap-hold"), log
	c.Seed = seed()
	busy, err := traps.Busy()
	if err != nil {
		log.Warn().Err(err).Msg("cannot see which ports are in use; trying each")
		busy = func(uint16) bool { return false }
	}
	choice, err := trapChoice(v)
	if err != nil {
		return nil, err
	}
	choice.Path, choice.Skip, choice.Random = filepath.Join(dir, "traps.json"), busy, newRandom()
	return &host{set: traps.New(c, emit), log: log, choice: choice, exact: distinct(config.List[uint16](v, "trap-ports"))}, nil
}

// trapChoice reads how many traps to choose and from which ports.
func trapChoice(v *config.Values) (*traps.Choice, error) {
	c := &traps.Choice{Pool: distinct(config.List[uint16](v, "trap-pool")), Count: v.Int("traps")}
	if len(config.List[uint16](v, "trap-ports")) == 0 && c.Count > len(c.Pool) {
		if v.Given("traps") {
			return nil, v.Invalid("traps", "%d traps cannot be chosen from a pool of %d; name more with --trap-pool", c.Count, len(c.Pool))
		}
		c.Count = len(c.Pool)
	}
	own := ownPorts(v)
	c.Pool = slices.DeleteFunc(c.Pool, func(port uint16) bool { return slices.Contains(own, port) })
	return c, nil
}

// distinct keeps the first of each port.
func distinct(ports []uint16) []uint16 {
	var all []uint16
	for _, port := range ports {
		if !slices.Contains(all, port) {
			all = append(all, port)
		}
	}
	return all
}

// ownPorts are the ports of this host where vft is told to find its server or
// its SIEM. A trap there would take the place of one that starts later, and
// swallow the records meant for it.
func ownPorts(v *config.Values) (ports []uint16) {
	addresses := []string{v.Text("server")}
	if join, err := link.ParseJoin(v.Text("join")); err == nil {
		addresses = append(addresses, join.Addr())
	}
	targets, _ := destinations(v) // an error is told where they are opened
	for _, target := range targets {
		addresses = append(addresses, target.Address)
	}
	for _, address := range addresses {
		if host, port, err := config.SplitHostPort(address); err == nil && isHere(host) {
			ports = append(ports, port)
		}
	}
	return ports
}

// isHere reports whether host names this host, as far as can be told without
// asking anybody.
func isHere(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || host == hostname()
	}
	own := func(p netip.Prefix) bool { return p.Addr() == addr.Unmap() }
	return addr.IsLoopback() || addr.IsUnspecified() || slices.ContainsFunc(ownAddresses(), own)
}

// open opens the chosen ports, or exactly those that were asked for. What
// cannot be opened is reported and left out.
func (h *host) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	var failed map[uint16]error
	var err error
	if len(h.exact) > 0 {
		_, failed = h.set.Open(h.exact)
	} else {
		_, failed, err = h.set.OpenChoice(h.choice)
	}
	if err != nil {
		h.log.Warn().Err(err).Msg("the choice of trap ports is not kept")
	}
	h.report(failed)
}

// deal opens the ports that a server dealt. Those that cannot be opened are
// told to the server by the next heartbeat.
func (h *host) deal(ports []uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.exact) > 0 {
		return
	}
	opened, failed := h.set.Open(ports)
	if err := h.choice.Keep(opened); err != nil {
		h.log.Warn().Err(err).Msg("the dealt trap ports are not kept")
	}
	h.report(failed)
}

// report logs what is open and what is not; h.mu is held.
func (h *host) report(failed map[uint16]error) {
	h.failed = slices.Sorted(maps.Keys(failed))
	for _, port := range h.failed {
		h.log.Warn().Uint16("port", port).Err(failed[port]).Msg("a trap is left out")
	}
	open := h.set.Ports()
	if wanted := h.wanted(); len(open) < wanted {
		h.log.Warn().Msgf("only %d of %d traps are open", len(open), wanted)
	}
	h.log.Info().Uints16("open", open).Msgf("%d traps are open", len(open))
}

func (h *host) wanted() int {
	if len(h.exact) > 0 {
		return len(h.exact)
	}
	return h.choice.Count
}

// ports returns what is open and what could not be opened.
func (h *host) ports() (open, failed []uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.set.Ports(), slices.Clone(h.failed)
}

// selfTest checks that a trap still reports, when there is one.
func (h *host) selfTest(ctx context.Context) error {
	if len(h.set.Ports()) == 0 {
		if h.wanted() > 0 {
			return errors.New("no trap is open")
		}
		return nil
	}
	return h.set.SelfTest(ctx)
}

// hostname is the name of this host, "unknown" when it has none.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	return name
}

// seed returns fresh random bytes.
func seed() (s [32]byte) {
	_, _ = crand.Read(s[:]) // never fails (crypto/rand)
	return s
}

func newRandom() *rand.Rand { return rand.New(rand.NewChaCha8(seed())) }

// stopTime is how long the parts may take to end in order.
const stopTime = 8 * time.Second

// errStopped says that the parts did not end in time.
var errStopped = fmt.Errorf("the parts of vft did not end within %s; what was queued may be lost", stopTime)
