package siem

import (
	"time"

	"github.com/rs/zerolog"

	"vft/spool"
	"vft/throttle"
)

// complaint says once a minute at most that a destination fails.
type complaint struct {
	log   zerolog.Logger
	now   func() time.Time
	name  string
	lines throttle.Throttle
}

func (t *complaint) failed(err error, counts spool.Counts) {
	suppressed, ok := t.lines.Pass("", t.now())
	if !ok {
		return
	}
	t.log.Warn().Err(err).Str("destination", t.name).Uint64("queued", counts.Waiting).Uint64("dropped", counts.Lost()).
		Uint64("suppressed", suppressed).Msg("destination fails; records wait and it is tried again")
}
