package throttle

import (
	"testing"
	"time"
)

func TestPass(t *testing.T) {
	var throttle Throttle
	begin := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		kind, why  string
		after      time.Duration
		suppressed uint64
		ok         bool
	}{
		{"a", "the first passes", 0, 0, true},
		{"a", "the second does not", time.Second, 0, false},
		{"b", "another kind passes", time.Second, 0, true},
		{"a", "the third does not", time.Minute - 1, 0, false},
		{"a", "the next minute tells how many did not", time.Minute, 2, true},
		{"a", "and begins anew", 2 * time.Minute, 0, true},
	} {
		if suppressed, ok := throttle.Pass(c.kind, begin.Add(c.after)); suppressed != c.suppressed || ok != c.ok {
			t.Errorf("%s: %d, %v", c.why, suppressed, ok)
		}
	}
}
