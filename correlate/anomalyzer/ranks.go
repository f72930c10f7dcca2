package anomalyzer

import "slices"

// ranks ranks all values and returns the share of shuffles whose sum of the ranks of
// the active window is smaller (highrank) and larger (lowrank) than it is, and whether
// these were computed exactly.
func (d *Detector) ranks(v []float64) (high, low outcome, exact bool) {
	_, act, ok := windows(v, d.reference, d.cfg.ActiveSize, d.cfg.ActiveSize)
	v = d.population(v)
	if !ok || !d.finite(v) {
		return notApplicable, notApplicable, false
	}
	ranks := d.rankAll(v)
	if allFinite(v) {
		if high, low, ok := d.exactRanks(ranks, len(act)); ok {
			return high, low, true
		}
	}
	high, low = d.drawRanks(v, ranks, len(act))
	return high, low, false
}

// rankAll returns the ranks of all values: equal ones share the lowest, NaN has -1.
func (d *Detector) rankAll(v []float64) []int {
	sorted, ranks := sized(&d.scratch.sorted, len(v)), sized(&d.scratch.rank, len(v))
	copy(sorted, v)
	slices.Sort(sorted)
	for i, x := range v {
		ranks[i] = -1
		if x == x {
			ranks[i], _ = slices.BinarySearch(sorted, x)
		}
	}
	return ranks
}

// exactWork is the number of additions up to which the distribution of the rank sum is
// computed, about a tenth of a millisecond. For an active window of one value this is
// cheaper than 500 draws; for ten values of thirty it costs twice as much, and has no
// noise. Above, sums are drawn.
const exactWork = 1 << 17

// exactRanks returns the shares over all shuffles, each choice of active ranks being
// equally likely. A shuffled sum is below the true one exactly when the sum of the
// ranks that were not chosen is above what it was: of both the smaller set is counted.
func (d *Detector) exactRanks(ranks []int, active int) (high, low outcome, ok bool) {
	sum, rest := 0, 0
	for i, r := range ranks {
		if i >= len(ranks)-active {
			sum += r
		} else {
			rest += r
		}
	}
	count, target := active, sum
	if other := len(ranks) - active; other < active {
		count, target = other, rest
	}
	below, above, ok := d.rankSums(ranks, count, target)
	if count != active {
		below, above = above, below
	}
	return value(below), value(above), ok
}

// rankSums returns the share of the choices of count ranks whose sum is below and above
// target. ways[j*width+s] counts the choices of j of the ranks seen so far with the sum
// s; it is the recurrence of Mann and Whitney (1947), with ties as they are.
func (d *Detector) rankSums(ranks []int, count, target int) (below, above float64, ok bool) {
	width := count*(len(ranks)-1) + 1
	if len(ranks)*count*width > exactWork {
		return 0, 0, false
	}
	ways := sized(&d.scratch.ways, (count+1)*width)
	clear(ways)
	ways[0] = 1
	for i, r := range ranks {
		for j := min(i+1, count); j > 0; j-- {
			to, from := ways[j*width+r:(j+1)*width], ways[(j-1)*width:j*width-r]
			for s, w := range from {
				to[s] += w
			}
		}
	}
	all := 0.0
	for s, w := range ways[count*width:] {
		all += w
		switch {
		case s < target:
			below += w
		case s > target:
			above += w
		}
	}
	return below / all, above / all, true
}

// drawRanks returns the shares over PermCount shuffles. Only the places of the active
// window matter, so only they are drawn.
func (d *Detector) drawRanks(v []float64, ranks []int, active int) (high, low outcome) {
	sum := 0
	for _, r := range ranks[len(ranks)-active:] {
		sum += r
	}
	random, below, above := d.randomFor(HighRank, v), 0, 0
	for range d.cfg.PermCount {
		drawn := 0
		for i := len(ranks) - 1; i >= len(ranks)-active; i-- {
			j := random.below(i + 1)
			ranks[i], ranks[j] = ranks[j], ranks[i]
			drawn += ranks[i]
		}
		switch {
		case drawn < sum:
			below++
		case drawn > sum:
			above++
		}
	}
	return d.share(below), d.share(above)
}
