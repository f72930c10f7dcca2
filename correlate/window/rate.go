package window

import "math"

// Rate is the usual number of events in a window: an exponentially weighted
// moving average over whole windows that are past. The events of the window
// that runs do not raise their own yardstick.
type Rate struct {
	average float64 // events in a window, as if there had been none before
	begin   Tick    // of the window that runs
	now     uint32  // events in it
	past    uint32  // whole windows seen
}

// weight of the newest window: half of what is known is 34 windows old.
const weight = 0.02

// Add counts an event at t. Every call must pass the same window, in ticks.
func (r *Rate) Add(t Tick, window int32) {
	if r.past == 0 && r.now == 0 {
		r.begin = t
	}
	if ahead := t.Since(r.begin); ahead >= window {
		r.close(uint32(ahead / window))
		r.begin += Tick(ahead / window * window)
	}
	r.now++
}

// close ends the window that runs and n-1 empty ones after it.
func (r *Rate) close(n uint32) {
	r.average += weight * (float64(r.now) - r.average)
	r.average *= math.Pow(1-weight, float64(n-1))
	r.now = 0
	r.past += min(n, math.MaxUint32-r.past)
}

// Proven returns the average number of events in a window, in which the time
// before the first event counts as quiet: a rate must last to be proven.
func (r *Rate) Proven() float64 { return r.average }

// Usual returns the average number of events in a window since the first event,
// and over how many windows it was learned.
func (r *Rate) Usual() (events float64, windows uint32) {
	if r.past == 0 {
		return 0, 0
	}
	return r.average / (1 - math.Pow(1-weight, float64(r.past))), r.past
}

// PoissonTail returns P(X >= k) for X with a Poisson distribution of mean
// lambda.
func PoissonTail(k int, lambda float64) float64 {
	if k <= 0 {
		return 1
	}
	if lambda <= 0 {
		return 0
	}
	// The tail summed upwards from its largest term: 1 - P(X < k) would lose
	// every digit when the tail is small.
	logTerm := float64(k)*math.Log(lambda) - lambda
	lgamma, _ := math.Lgamma(float64(k) + 1)
	term := math.Exp(logTerm - lgamma)
	if float64(k) < lambda {
		return 1 - below(k, lambda)
	}
	sum := term
	for i := k + 1; term > sum*1e-17; i++ {
		term *= lambda / float64(i)
		sum += term
	}
	return math.Min(sum, 1)
}

// below returns P(X < k) for k < lambda, summed downwards from its largest term.
func below(k int, lambda float64) float64 {
	lgamma, _ := math.Lgamma(float64(k))
	term := math.Exp(float64(k-1)*math.Log(lambda) - lambda - lgamma)
	sum := term
	for i := k - 1; i > 0 && term > sum*1e-17; i-- {
		term *= float64(i) / lambda
		sum += term
	}
	return math.Min(sum, 1)
}
