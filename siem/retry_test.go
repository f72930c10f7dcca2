package siem

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestBackoff(t *testing.T) {
	almost := backoff{least: 250 * time.Millisecond, most: 10 * time.Second, random: func() float64 { return 0.5 }}
	for _, c := range []struct {
		why    string
		failed int
		want   time.Duration
	}{
		{"half of the first span", 0, 125 * time.Millisecond},
		{"it doubles", 1, 250 * time.Millisecond},
		{"and again", 5, 4 * time.Second},
		{"up to the longest", 6, 5 * time.Second},
		{"and no longer, after any number of failures", 1 << 40, 5 * time.Second},
	} {
		if got := almost.after(c.failed); got != c.want {
			t.Errorf("%s: after %d failures %v, want %v", c.why, c.failed, got, c.want)
		}
	}
	full := backoff{least: time.Second, most: time.Minute, random: func() float64 { return 0 }}
	if got := full.after(3); got != 0 {
		t.Errorf("the jitter is not full: at least %v", got)
	}
}

func TestComplaint(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	log := complaint{log: zerolog.New(&out), now: func() time.Time { return now }, name: "tcp://a:1"}
	for range 60 {
		log.failed(errors.New("refused"), totals{})
		now = now.Add(time.Second)
	}
	log.failed(errors.New("refused"), totals{})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `"suppressed":59`) {
		t.Errorf("61 failures in a minute gave %q", lines)
	}
}
