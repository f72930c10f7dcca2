package modes

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"vft/counters"
	"vft/modes/settings"
)

// group runs the parts of a mode. The first that fails ends the others.
type group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex // guards errs
	errs []error
}

// stopTime is how long the parts may take to end in order.
const stopTime = 8 * time.Second

// errStopped says that the parts did not end in time.
var errStopped = fmt.Errorf("the parts of vft did not end within %s; what was queued may be lost", stopTime)

// start runs a part; stop is called when it fails.
func (g *group) start(stop context.CancelFunc, part func() error) {
	g.wg.Go(func() {
		if err := part(); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
			stop()
		}
	})
}

// wait waits for all parts.
func (g *group) wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}

// waitAfter waits until ctx ends, then for all parts, but no longer than
// stopTime: whatever hangs must not keep vft from ending.
func (g *group) waitAfter(ctx context.Context) error {
	<-ctx.Done()
	done := make(chan error, 1)
	go func() { done <- g.wait() }()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-limit.Done():
		return errStopped
	}
}

// onReload calls reload at each SIGHUP until the returned func is called, which
// waits for a reload that runs.
func onReload(reload func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range hangups {
			reload()
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		wg.Wait()
	}
}

// reloadWith reads the configuration again. What prepare makes of it is changed,
// and the log level; what else differs from the running vft is named. On any
// error all stays as it was.
func (p *deps) reloadWith(prepare func(*settings.Settings) (change func(), err error)) {
	read, err := p.reload()
	var change func()
	if err == nil {
		change, err = prepare(read)
	}
	if err != nil {
		p.log.Error().Msgf("not reloaded, the old configuration stays: %s", oneLine(err))
		return
	}
	p.level.set(read)
	change()
	if later := p.settings.Restart(read); len(later) > 0 {
		p.log.Warn().Strs("settings", later).Msg("reloaded; these settings need a restart")
		return
	}
	p.log.Info().Msg("reloaded")
}

// logCounters writes the counters of every part that are not zero, a line a part.
func logCounters(all *counters.Registry, line func() *zerolog.Event) {
	for _, part := range all.Parts() {
		e, some := line(), false
		part.Counts(func(name string, n uint64) {
			if n != 0 {
				e, some = e.Uint64(name, n), true
			}
		})
		if some {
			e.Msg("counters of " + part.Name)
		} else {
			e.Discard()
		}
	}
}

// seed returns fresh random bytes.
func seed() (s [32]byte) {
	_, _ = crand.Read(s[:]) // never fails (crypto/rand)
	return s
}

func newRandom() *rand.Rand { return rand.New(rand.NewChaCha8(seed())) }
