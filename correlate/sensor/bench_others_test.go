//go:build !linux

package sensor

import "time"

var begun = time.Now()

func cpuTime() time.Duration { return time.Since(begun) }
