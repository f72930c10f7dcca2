package link

import "time"

const (
	clockSamples = 8
	clockEqual   = 250 * time.Millisecond // a smaller offset is the network's, not the clock's
	clockSkew    = 5 * time.Second        // a larger one is reported
	futureLimit  = 5 * time.Second        // how far after now an event may claim to be
)

// clock estimates what must be added to a client's clock to give the server's.
// Each sample is the server's time of arrival less the client's time of
// sending: the offset plus the delay of the network, which is never negative,
// so the smallest of the last samples is the best (the minimum filter of
// RFC 5905 section 10).
type clock struct {
	samples [clockSamples]time.Duration
	n       int
}

// add takes the time in a frame and when it arrived.
func (c *clock) add(sent, arrived time.Time) {
	c.samples[c.n%clockSamples] = arrived.Sub(sent)
	c.n++
}

// offset returns what to add to a time of the client.
func (c *clock) offset() time.Duration {
	if c.n == 0 {
		return 0
	}
	best := c.samples[0]
	for _, sample := range c.samples[1:min(c.n, clockSamples)] {
		best = min(best, sample)
	}
	if best.Abs() < clockEqual {
		return 0
	}
	return best
}

// correct returns the server's time of t, at most futureLimit after now, and
// whether it had to be cut to that.
func correct(t time.Time, offset time.Duration, now time.Time) (corrected time.Time, cut bool) {
	t = t.Add(offset)
	if latest := now.Add(futureLimit); t.After(latest) {
		return latest, true
	}
	return t, false
}

// bucket is a token bucket that may go into debt: what was sent is taken, and
// the sender is told how long to be silent.
type bucket struct {
	tokens float64
	at     time.Time
}

// take pays n at a rate per second with a reserve of burst, and returns how
// long the sender must be silent, or that it is deeper in debt than a sender
// that heeds that can be: what was under way when it was told counts too.
func (b *bucket) take(n int, now time.Time, rate, burst float64) (silence time.Duration, ignored bool) {
	if b.at.IsZero() {
		b.tokens, b.at = burst, now
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(burst, b.tokens+rate*passed.Seconds())
		b.at = now
	}
	b.tokens -= float64(n)
	if b.tokens >= 0 {
		return 0, false
	}
	return time.Duration(-b.tokens / rate * float64(time.Second)), b.tokens < -burst-2*maxInFlight
}
