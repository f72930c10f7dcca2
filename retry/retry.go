// Package retry says how long to wait before something that failed is tried
// again.
package retry

import "time"

// Backoff spaces attempts by exponential backoff with full jitter: a uniform
// share of a span that doubles (Brooker, "Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015), so that many hosts do not return together.
type Backoff struct {
	Least, Most time.Duration  // the first and the longest span
	Random      func() float64 // from [0, 1)
}

// After returns how long to wait after that many failures in a row, the first
// being 0.
func (b Backoff) After(failed int) time.Duration {
	span := b.Most
	if failed < 20 && b.Least<<failed < b.Most {
		span = b.Least << failed
	}
	return time.Duration(b.Random() * float64(span))
}
