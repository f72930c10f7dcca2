package modes

import (
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// showProgress returns what draws a bar on a terminal while files are read, nil
// where there is none, until done is called.
func showProgress(s Streams) (progress func(done, total int64), done func()) {
	if !isatty.IsTerminal(s.Err.Fd()) {
		return nil, func() {}
	}
	bar := progressbar.NewOptions64(1, progressbar.OptionSetWriter(s.Err), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	progress = func(done, total int64) {
		bar.ChangeMax64(max(total, done+1))
		_ = bar.Set64(done)
	}
	return progress, func() { _ = bar.Finish() }
}
