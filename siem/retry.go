package siem

import (
	"time"

	"github.com/rs/zerolog"

	"vft/throttle"
)

// backoff spaces attempts by exponential backoff with full jitter: a uniform
// share of a span that doubles (Brooker, "Exponential Backoff And Jitter",
// AWS Architecture Blog, 2015), so that many sensors do not return together.
type backoff struct {
	least, most time.Duration // the first and the longest span
	random      func() float64
}

// after returns how long to wait after that many failures in a row, the first
// being 0.
func (b backoff) after(failed int) time.Duration {
	span := b.most
	if failed < 20 && b.least<<failed < b.most {
		span = b.least << failed
	}
	return time.Duration(b.random() * float64(span))
}

// complaint says once a minute at most that a destination fails.
type complaint struct {
	log   zerolog.Logger
	now   func() time.Time
	name  string
	lines throttle.Throttle
}

func (t *complaint) failed(err error, counts totals) {
	suppressed, ok := t.lines.Pass("", t.now())
	if !ok {
		return
	}
	t.log.Warn().Err(err).Str("destination", t.name).Uint64("queued", counts.queued).Uint64("dropped", counts.lost()).
		Uint64("suppressed", suppressed).Msg("destination fails; records wait and it is tried again")
}
