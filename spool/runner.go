package spool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"vft/retry"
)

// ErrNoTime is why records are left when nothing else went wrong.
var ErrNoTime = errors.New("the time to stop was over")

// goodbye is how long a session that has nothing to deliver may take to end,
// where its peer says nothing.
const goodbye = 200 * time.Millisecond

// Runner carries the records of a Log away, one session after another. Its
// fields are not changed after Run began.
type Runner struct {
	Log Log

	// Session connects and delivers until something fails, which it returns,
	// or until stop is closed and nothing waits: nil. When ctx ends it returns
	// at once. It begins with what an earlier one left: see Log.Rewind.
	Session func(ctx context.Context, stop <-chan struct{}) error

	Backoff retry.Backoff    // between two sessions
	Drain   time.Duration    // how long Run goes on delivering after its context ended
	Quiet   time.Duration    // between two calls of OnDrop; default 1 min
	Now     func() time.Time // default time.Now

	// What follows may be nil.
	Failed func(error)                               // told of each session that failed and is tried again
	Final  func(error) bool                          // no further session can mend this
	Delay  func(err error, failed int) time.Duration // in place of Backoff, after so many failures in a row before this one
	Fresh  func(lived time.Duration) bool            // whether a session that lived so long ends a row of failures; default: it delivered something, or lived longer than Backoff.Most

	// OnDrop is told how many records were dropped since the start: soon after
	// the first drop, then once in Quiet while there are new ones. A goroutine
	// of Run calls it, so it may append.
	OnDrop func(dropped uint64)

	attempts, failures atomic.Uint64
}

// Counts yields the counters of the log, and attempts and failures: sessions
// begun, and those that failed.
func (r *Runner) Counts(yield func(name string, n uint64)) {
	r.Log.Totals().Yield(yield)
	yield("attempts", r.attempts.Load())
	yield("failures", r.failures.Load())
}

// Run delivers until ctx ends, then what is left for at most Drain, and closes
// the log. End ctx after the last Append, or what is appended then may be
// dropped. It returns how many records were left, and why; the error alone when
// it is final.
func (r *Runner) Run(ctx context.Context) (left uint64, err error) {
	hard, cancel := r.outlive(ctx)
	defer cancel()
	var reporter sync.WaitGroup
	if r.OnDrop != nil {
		reporter.Go(func() { r.reportDrops(hard) })
	}
	err = r.carry(hard, ctx.Done())
	cancel()
	reporter.Wait()
	left = r.Log.Close()
	if left == 0 && !r.final(err) {
		return 0, nil
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = ErrNoTime
	}
	return left, err
}

func (r *Runner) final(err error) bool { return err != nil && r.Final != nil && r.Final(err) }

// outlive returns a context that ends a while after ctx did.
func (r *Runner) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		while := r.Drain
		if r.waiting() == 0 {
			while = min(while, goodbye)
		}
		timer := time.NewTimer(while)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-hard.Done():
		}
	})
	return hard, func() { stop(); cancel() }
}

func (r *Runner) waiting() uint64 {
	all := r.Log.Totals().All()
	return all.Waiting
}

func (r *Runner) delivered() uint64 {
	all := r.Log.Totals().All()
	return all.Delivered
}

func (r *Runner) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// carry runs one session after another. It returns nil when all is delivered
// after stop, or the last error when there is no more time.
func (r *Runner) carry(ctx context.Context, stop <-chan struct{}) error {
	for failed := 0; ; failed++ {
		before, began := r.delivered(), r.now()
		r.attempts.Add(1)
		err := r.Session(ctx, stop)
		if err == nil || r.final(err) {
			return err
		}
		r.failures.Add(1)
		if ctx.Err() != nil {
			return err
		}
		if r.Failed != nil {
			r.Failed(err)
		}
		if r.fresh(r.now().Sub(began), r.delivered() != before) {
			failed = 0
		}
		if !r.pause(ctx, stop, r.delay(err, failed)) {
			return err
		}
	}
}

func (r *Runner) fresh(lived time.Duration, delivered bool) bool {
	if r.Fresh != nil {
		return r.Fresh(lived)
	}
	return delivered || lived > r.Backoff.Most
}

func (r *Runner) delay(err error, failed int) time.Duration {
	if r.Delay != nil {
		return r.Delay(err, failed)
	}
	return r.Backoff.After(failed)
}

// pause waits before the next session. It reports false when there is none to
// begin: no time is left, or the end has come and nothing waits.
func (r *Runner) pause(ctx context.Context, stop <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-stop:
			if r.waiting() == 0 {
				return false
			}
			stop = nil
		}
	}
}

// reportDrops calls OnDrop until ctx ends.
func (r *Runner) reportDrops(ctx context.Context) {
	quiet := r.Quiet
	if quiet == 0 {
		quiet = time.Minute
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-r.Log.Dropped():
			all := r.Log.Totals().All()
			r.OnDrop(all.Lost())
		}
		select {
		case <-ctx.Done():
		case <-time.After(quiet):
		}
	}
}
