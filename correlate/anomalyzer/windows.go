package anomalyzer

import "math"

// windows cuts the reference window and the active one from the end of v. The windows
// do not apply when the reference has fewer than least values.
func windows(v []float64, reference, active, least int) (ref, act []float64, ok bool) {
	n := len(v)
	active = min(active, n)
	reference = min(reference, n-active)
	return v[n-active-reference : n-active], v[n-active:], reference >= least
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, x := range values {
		sum += x
	}
	return sum / float64(len(values))
}

// magnitude is the relative change of the mean.
func (d *Detector) magnitude(v []float64) outcome {
	ref, act, ok := windows(v, d.reference, d.cfg.ActiveSize, 1)
	if !ok || !d.finite(ref) || !d.finite(act) {
		return notApplicable
	}
	a, r := mean(act), mean(ref)
	if r == 0 {
		if a == 0 {
			return value(0)
		}
		return value(1)
	}
	if !d.cfg.Compatible {
		return value(math.Abs((a - r) / r))
	}
	return value(math.Abs(a-r) / r)
}

// fence is how near the mean of the active window is to the bounds, on a scale that
// grows tenfold from the middle, or from 0, to a bound.
func (d *Detector) fence(v []float64) outcome {
	_, act, _ := windows(v, d.reference, d.cfg.ActiveSize, 0)
	if !d.finite(act) {
		return notApplicable
	}
	x, upper, lower := mean(act), d.cfg.UpperBound, d.cfg.LowerBound
	distance := x / upper
	if lower != NA {
		half := (upper - lower) / 2
		distance = math.Abs(x-(lower+half)) / half
	}
	return value((math.Pow(10, clamp(distance)) - 1) / 9)
}

// cdf is where the mean change of the active window lies among the changes of the
// reference. It is 1 for very calm and for very wild series alike.
func (d *Detector) cdf(v []float64) outcome {
	if len(v) < 2 {
		return notApplicable
	}
	changes := d.scratch.changes(len(v) - 1)
	for i := range changes {
		changes[i] = math.Abs(v[i+1] - v[i])
	}
	ref, act, ok := windows(changes, d.reference-1, d.cfg.ActiveSize, d.cfg.ActiveSize)
	if !ok || !d.finite(ref) || !d.finite(act) {
		return notApplicable
	}
	q, atMost := mean(act)-mean(ref), 0
	for _, x := range ref {
		if x <= q {
			atMost++
		}
	}
	return value(2 * math.Abs(0.5-float64(atMost)/float64(len(ref))))
}
