package amqp

import (
	"context"
	"time"
)

// carry runs one session after another. It returns nil when all is delivered
// after stop, or the last error when there is no more time.
func (n *Notifier) carry(ctx context.Context, stop <-chan struct{}) error {
	for failed := 0; ; failed++ {
		before, began := n.queue.totals().delivered, n.config.Now()
		n.attempts.Add(1)
		err := n.session(ctx, stop)
		if err == nil {
			return nil
		}
		n.failures.Add(1)
		if ctx.Err() != nil {
			return err
		}
		n.complain(err)
		if n.queue.totals().delivered != before || n.config.Now().Sub(began) > n.wait.Most {
			failed = 0 // it worked for a while
		}
		if !n.pause(ctx, stop, n.until(err, failed)) {
			return err
		}
	}
}

// until returns how long to wait after so many failures in a row. The first
// refusal counts as any failure: a broker that is just going down drops a
// connection as it drops one whose password is wrong.
func (n *Notifier) until(err error, failed int) time.Duration {
	if isRefusal(err) && failed > 0 {
		return n.refused.Least/2 + n.refused.After(failed)
	}
	return n.wait.After(failed)
}

// pause waits before the next attempt. It reports false when there is none to
// make: no time is left, or the end has come and nothing waits.
func (n *Notifier) pause(ctx context.Context, stop <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-stop:
			if n.queue.totals().queued == 0 {
				return false
			}
			stop = nil
		}
	}
}

// complain says once a minute at most, for each kind, that a session failed.
func (n *Notifier) complain(err error) {
	kind := "failed"
	if isRefusal(err) {
		kind = "refused"
	}
	suppressed, ok := n.lines.Pass(kind, n.config.Now())
	if !ok {
		return
	}
	n.told = false
	t := n.queue.totals()
	n.config.Log.Warn().Err(err).Stringer("broker", n.config.Target).Uint64("queued", t.queued).Uint64("dropped", t.lost()).
		Uint64("suppressed", suppressed).Msg("the AMQP broker fails; threats wait and it is tried again")
}

// tell says that a broker takes threats: the first time, and after each complaint.
func (n *Notifier) tell() {
	if !n.told {
		n.config.Log.Info().Stringer("broker", n.config.Target).Uint64("queued", n.queue.totals().queued).Msg("the AMQP broker takes threats")
	}
	n.told = true
}

// note says something of the broker, once a minute at most for each kind.
func (n *Notifier) note(kind, reason, what string) {
	if suppressed, ok := n.lines.Pass(kind, n.config.Now()); ok {
		n.config.Log.Warn().Stringer("broker", n.config.Target).Str("reason", reason).
			Uint64("queued", n.queue.totals().queued).Uint64("suppressed", suppressed).Msg(what)
	}
}

// reportDrops calls OnDrop until ctx ends.
func (n *Notifier) reportDrops(ctx context.Context) {
	if n.config.OnDrop == nil {
		return
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-n.queue.lost:
			n.config.OnDrop(n.queue.totals().lost())
		}
		select {
		case <-ctx.Done():
		case <-time.After(n.quiet):
		}
	}
}
