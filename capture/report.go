package capture

import (
	"time"

	"github.com/rs/zerolog"
)

// LogTo logs what was odd about a file.
func (r *Report) LogTo(log zerolog.Logger) {
	if r.Broken != nil {
		log.Warn().Msg(r.Broken.Error())
	}
	if r.Cut+r.OverSnap+r.OutOfOrder+r.Untimed > 0 {
		log.Info().Str("file", r.Path).Uint64("cut", r.Cut).Uint64("over_snaplen", r.OverSnap).
			Uint64("out_of_order", r.OutOfOrder).Uint64("untimed", r.Untimed).Msg("packets that are not as they should be")
	}
}

// Span returns the times of the first and the last packet of all files; zero
// times when there was none.
func Span(reports []Report) (first, last time.Time) {
	from, to := int64(0), int64(0)
	for _, r := range reports {
		if r.Packets == 0 {
			continue
		}
		if from == 0 || r.First < from {
			from = r.First
		}
		to = max(to, r.Last)
	}
	if from == 0 {
		return first, last
	}
	return time.Unix(0, from).UTC(), time.Unix(0, to).UTC()
}
