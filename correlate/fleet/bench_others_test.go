//go:build !linux

package fleet

import "time"

var begun = time.Now()

func cpuTime() time.Duration { return time.Since(begun) }
