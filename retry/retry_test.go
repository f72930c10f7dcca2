package retry

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	half := Backoff{Least: 250 * time.Millisecond, Most: 10 * time.Second, Random: func() float64 { return 0.5 }}
	flat := Backoff{Least: time.Minute, Most: time.Minute, Random: func() float64 { return 0.5 }}
	for _, c := range []struct {
		why    string
		wait   Backoff
		failed int
		want   time.Duration
	}{
		{"half of the first span", half, 0, 125 * time.Millisecond},
		{"it doubles", half, 1, 250 * time.Millisecond},
		{"and again", half, 5, 4 * time.Second},
		{"up to the longest", half, 6, 5 * time.Second},
		{"and no longer, after any number of failures", half, 1 << 40, 5 * time.Second},
		{"the first span may be the longest", flat, 0, 30 * time.Second},
	} {
		if got := c.wait.After(c.failed); got != c.want {
			t.Errorf("%s: after %d failures %v, want %v", c.why, c.failed, got, c.want)
		}
	}
	full := Backoff{Least: time.Second, Most: time.Minute, Random: func() float64 { return 0 }}
	if got := full.After(3); got != 0 {
		t.Errorf("the jitter is not full: at least %v", got)
	}
}
