package watch

import (
	"testing"

	"pgregory.net/rapid"

	"vft/correlate/spot"
)

// A value within the range of those kept is never abnormal, so the short cut
// finds what the thresholds find.
func TestRobustJudgesByItsThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRobust(false)
		// Few distinct values, so that extremes repeat, leave and stay; and some far off.
		value := rapid.OneOf(rapid.SampledFrom([]float64{0, 0, 1, 2, 5, 100, -3}), rapid.Float64Range(-10, 1e6))
		for _, x := range rapid.SliceOfN(value, robustLeast, 4*robustKeep).Draw(t, "values") {
			want, limit := spot.None, 0.0
			if low, high, ok := r.thresholds(); ok && x > high {
				want, limit = spot.Up, high
			} else if ok && x < low {
				want, limit = spot.Down, low
			}
			if side, threshold := r.judge(x, true, true); side != want || threshold != limit {
				t.Fatalf("%v is judged %v beyond %v, not %v beyond %v", x, side, threshold, want, limit)
			}
			r.push(x)
			if rapid.IntRange(0, 200).Draw(t, "restart") == 0 {
				r.fill(r.logs.oldestFirst())
			}
		}
	})
}
