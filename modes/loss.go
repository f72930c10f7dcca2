package modes

import (
	"strings"

	"vft/modes/config"
)

// kernelCounts is what the kernel had of the packets of a live capture.
type kernelCounts struct{ received, dropped uint64 }

// lookForLoss tells what the kernel dropped of a live capture since the last
// look.
func (w *watcher) lookForLoss(now int64) {
	if w.live == nil {
		return
	}
	var is kernelCounts
	w.live.Counts(func(name string, n uint64) {
		switch name {
		case "capture_received":
			is.received = n
		case "capture_dropped":
			is.dropped = n
		}
	})
	was := w.kernel
	w.kernel = is
	w.exports.judge.lost(strings.Join(config.List[string](w.values, "interface"), ","), more(is.received, was.received), more(is.dropped, was.dropped), now)
}
