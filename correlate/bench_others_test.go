//go:build !linux

package correlate

import "time"

var begun = time.Now()

func cpuTime() time.Duration { return time.Since(begun) }
