// Package throttle keeps strangers from filling a log: it lets one line of a
// kind pass in a minute and counts the others.
package throttle

import (
	"sync"
	"time"
)

// Period is the time in which one line of a kind passes.
const Period = time.Minute

// Throttle remembers when a line of each kind passed. Its zero value is ready.
// Any goroutine may use it. The kinds must come from a fixed list.
type Throttle struct {
	mu    sync.Mutex // guards kinds
	kinds map[string]kind
}

type kind struct {
	last       time.Time
	suppressed uint64
}

// Pass reports whether a line of this kind may be written at now, and how many
// were not since the last one.
func (t *Throttle) Pass(name string, now time.Time) (suppressed uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds == nil {
		t.kinds = map[string]kind{}
	}
	k, seen := t.kinds[name]
	if seen && now.Sub(k.last) < Period {
		k.suppressed++
		t.kinds[name] = k
		return 0, false
	}
	t.kinds[name] = kind{last: now}
	return k.suppressed, true
}
