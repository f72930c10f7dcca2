package watch

import (
	"math"

	"vft/capture/stat"
)

// pseudocount is how many things are added to what was counted and to what was expected
// before the two are compared: a few packets more or less are no news.
const pseudocount = 20

// minEffect is how many times the usual odds, ratio or rate a value must be: less
// is nothing that a person would look at.
const minEffect = 2

// baselineSpan is over how many times NInit values the usual ratio is taken, so that it
// stands still while the reference follows the hour.
const baselineSpan = 10

// normalizer brings the values of a statistic to a scale on which the same distance
// means the same, however much traffic there is: the logarithm of what was counted over
// what was expected, with doubt on both. For a share it is the logarithm of the odds
// ratio. Where the parts of a value are not known, the value stands for itself.
type normalizer struct {
	scale        stat.Scale
	grain        float64
	Above, Below float64 // sums of the usual parts, the old ones fading
}

func newNormalizer(of *stat.Statistic) normalizer {
	return normalizer{scale: of.Scale, grain: of.Grain}
}

// counted reports whether the parts of a sample tell how much it says.
func (n *normalizer) counted(in *stat.Sample) bool { return n.scale != stat.Plain && in.Below > 0 }

// expected returns the numerator that is usual for the denominator of a sample. A rate
// needs none: a constant moves with the reference.
func (n *normalizer) expected(in *stat.Sample) float64 {
	if n.scale == stat.Rate {
		return 0
	}
	if n.Below <= 0 {
		return in.Above
	}
	return in.Below * n.Above / n.Below
}

// normal returns a value on the scale of the detector.
func (n *normalizer) normal(in *stat.Sample) float64 {
	if !n.counted(in) {
		return in.Value
	}
	e := n.expected(in)
	x := math.Log((in.Above/n.grain + pseudocount) / (e/n.grain + pseudocount))
	if n.scale == stat.Share {
		x -= math.Log((max(0, in.Below-in.Above) + pseudocount) / (max(0, in.Below-e) + pseudocount))
	}
	return x
}

// value is the inverse of normal: the value that a sample with this denominator would
// have. It is what a threshold is told as; of a share it is 1 where none is beyond it.
func (n *normalizer) value(x float64, in *stat.Sample) float64 {
	if !n.counted(in) {
		return x
	}
	e, factor := n.expected(in), math.Exp(min(x, 500))
	if n.scale != stat.Share {
		return max(0, ((e/n.grain+pseudocount)*factor-pseudocount)*n.grain) / in.Below
	}
	odds := (e + pseudocount) / (max(0, in.Below-e) + pseudocount) * factor
	return min(max(0, (odds*(in.Below+pseudocount)-pseudocount)/(1+odds)/in.Below), 1)
}

// learn takes the parts of a usual value in, over so many values. One of much traffic
// says hardly more than any other: what is usual is what most intervals are like.
func (n *normalizer) learn(in *stat.Sample, over int) {
	if n.scale == stat.Rate || !n.counted(in) {
		return
	}
	keep := 1 - 1/(baselineSpan*float64(over))
	weight := 1 / (in.Below + pseudocount)
	n.Above, n.Below = keep*n.Above+weight*in.Above, keep*n.Below+weight*in.Below
}

// chance bounds the probability that chance alone makes so much of what is usual, by
// Chernoff: of a binomial for a share, of a Poisson distribution for anything else. It
// is 1 where the parts are not known.
func (n *normalizer) chance(in *stat.Sample, usual float64) float64 {
	if !n.counted(in) {
		return 1
	}
	k, mean := in.Above/n.grain, usual*in.Below/n.grain
	log := mean - k + entropy(k, mean)
	if n.scale == stat.Share {
		log = entropy(k, mean) + entropy(max(0, in.Below-k), max(0, in.Below-mean))
	}
	return math.Exp(-max(0, log))
}

// entropy is k ln(k/mean), with a mean of a thousandth at least: what was never seen
// is not impossible.
func entropy(k, mean float64) float64 {
	if k <= 0 {
		return 0
	}
	return k * math.Log(k/max(mean, 1e-3))
}
