package spool

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"vft/retry"
)

// flat always waits a second, doubled up to a minute.
var flat = retry.Backoff{Least: time.Second, Most: time.Minute, Random: func() float64 { return 1 }}

var errAway = errors.New("away")

// run runs r within the bubble of a test and returns what ends it.
func run(r *Runner) (stop func() (uint64, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	type result struct {
		left uint64
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		left, err := r.Run(ctx)
		ended <- result{left, err}
	}()
	return func() (uint64, error) {
		cancel()
		got := <-ended
		return got.left, got.err
	}
}

// deliver acknowledges all that comes until stop is closed.
func deliver(log Log) func(context.Context, <-chan struct{}) error {
	return func(ctx context.Context, stop <-chan struct{}) error {
		log.Rewind()
		for {
			if b := log.Take(10, 1000); b.Len() > 0 {
				log.Ack(b)
				continue
			}
			if stop == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-log.Changed():
			case <-stop:
				stop = nil
			}
		}
	}
}

func TestRunnerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := NewMemory(Limits{})
		log.Append(Alerts, []byte("one"))
		began := time.Now()
		var at []time.Duration
		r := &Runner{Log: log, Backoff: flat, Drain: time.Second, Session: func(ctx context.Context, stop <-chan struct{}) error {
			at = append(at, time.Since(began))
			switch len(at) {
			case 5: // delivers something, and breaks
				log.Ack(log.Take(1, 100))
			case 6: // lives for long
				time.Sleep(2 * time.Minute)
			}
			return errAway
		}}
		stop := run(r)
		time.Sleep(10 * time.Minute)
		left, err := stop()
		want := []time.Duration{0, 1, 3, 7, 15, 16, 137, 139}
		for i := range want {
			if want[i] *= time.Second; at[i] != want[i] {
				t.Errorf("session %d began after %v, want %v", i, at[i], want[i])
			}
		}
		if left != 0 || err != nil {
			t.Errorf("all was delivered, but %d are left, %v", left, err)
		}
	})
}

func TestRunnerDrains(t *testing.T) {
	for _, c := range []struct {
		why   string
		after int // sessions that fail first
		left  uint64
		took  time.Duration
	}{
		{"the peer is there", 0, 0, 0},
		{"the peer comes back in time", 2, 0, 3 * time.Second},
		{"the peer comes back too late", 9, 2, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := NewMemory(Limits{})
			failed := 0
			works := deliver(log)
			r := &Runner{Log: log, Backoff: flat, Drain: 10 * time.Second, Session: func(ctx context.Context, stop <-chan struct{}) error {
				if failed < c.after {
					failed++
					return errAway
				}
				return works(ctx, stop)
			}}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			log.Append(Events, []byte("one"))
			log.Append(Alerts, []byte("two"))
			began := time.Now()
			left, err := r.Run(ctx)
			if left != c.left || (err != nil) != (c.left > 0) || time.Since(began) != c.took {
				t.Errorf("%s: %d are left after %v, %v", c.why, left, time.Since(began), err)
			}
			all := log.Totals().All()
			if all.Dropped[Stopped] != c.left || all.Delivered != 2-c.left {
				t.Errorf("%s: %+v", c.why, all)
			}
		})
	}
}

// A peer that never answers holds nobody up who has nothing to say to it.
func TestRunnerWithoutRecordsEndsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Runner{Log: NewMemory(Limits{}), Backoff: flat, Drain: time.Hour, Session: func(ctx context.Context, _ <-chan struct{}) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		stop := run(r)
		time.Sleep(time.Minute)
		began := time.Now()
		if left, err := stop(); left != 0 || err != nil || time.Since(began) != goodbye {
			t.Errorf("it took %v: %d are left, %v", time.Since(began), left, err)
		}
	})
}

func TestRunnerEndsForWhatIsFinal(t *testing.T) {
	log := NewMemory(Limits{})
	final := errors.New("closed for ever")
	r := &Runner{Log: log, Backoff: flat, Session: func(context.Context, <-chan struct{}) error { return final },
		Final: func(err error) bool { return errors.Is(err, final) }}
	if left, err := r.Run(t.Context()); left != 0 || !errors.Is(err, final) {
		t.Errorf("%d are left, %v", left, err)
	}
}

// However many are dropped, and however often, a report comes once in a minute.
func TestDropsAreReportedOnceInAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := NewMemory(Limits{Records: 1})
		var reports []uint64
		r := &Runner{Log: log, Backoff: flat, Session: func(context.Context, <-chan struct{}) error { return errAway },
			OnDrop: func(dropped uint64) { reports = append(reports, dropped) }}
		stop := run(r)
		log.Append(Events, nil)
		for range 150 { // in 105 s
			log.Append(Events, nil)
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		_, _ = stop()
		if want := []uint64{1, 86, 150}; !slices.Equal(reports, want) {
			t.Errorf("reported %v, want %v", reports, want)
		}
	})
}
