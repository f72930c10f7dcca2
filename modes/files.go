package modes

import (
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"

	"vft/capture"
)

// showProgress draws a bar on a terminal while files are read, until the
// returned func is called.
func showProgress(files *capture.File, s Streams) (done func()) {
	if !isatty.IsTerminal(s.Err.Fd()) {
		return func() {}
	}
	bar := progressbar.NewOptions64(1, progressbar.OptionSetWriter(s.Err), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	files.Progress = func(done, total int64) {
		bar.ChangeMax64(max(total, done+1))
		_ = bar.Set64(done)
	}
	return func() { _ = bar.Finish() }
}

// reportFile logs what was odd about a file.
func reportFile(log zerolog.Logger, r capture.Report) {
	if r.Broken != nil {
		log.Warn().Msg(r.Broken.Error())
	}
	if r.Cut+r.OverSnap+r.OutOfOrder+r.Untimed > 0 {
		log.Info().Str("file", r.Path).Uint64("cut", r.Cut).Uint64("over_snaplen", r.OverSnap).
			Uint64("out_of_order", r.OutOfOrder).Uint64("untimed", r.Untimed).Msg("packets that are not as they should be")
	}
}

// spanOf is the time from the first to the last packet of all files.
func spanOf(reports []capture.Report) (first, last time.Time, seconds float64) {
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
		return first, last, 0
	}
	first, last = time.Unix(0, from).UTC(), time.Unix(0, to).UTC()
	return first, last, last.Sub(first).Seconds()
}
