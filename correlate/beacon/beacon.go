// Package beacon scores how regularly one host calls another: the beacon score
// of RITA version 5 (github.com/activecm/rita, analysis of beacons), fed one
// connection at a time.
//
// A Pair keeps the last connections of one source to one destination, and how
// many there were in each hour of a day. Score judges it.
package beacon

import (
	"math"
	"slices"
)

// The limits of what is judged.
const (
	MinConnections = 4     // below, nothing can be said
	MaxConnections = 86400 // a day's; more is no beacon but a stream
	Kept           = 256   // connections whose times are kept
	Hours          = 24
)

// Pair is what is kept of one source and destination. It holds no pointers.
type Pair struct {
	starts [Kept]int32  // seconds since Origin, in the order of arrival
	bytes  [Kept]uint32 // sent by the source, cut at 4 GiB
	n      uint32       // connections in all
	hours  [Hours]uint32
	Origin int64 // seconds since 1970 of the first connection
	last   int64 // seconds since Origin of the latest
}

// Add counts a connection that began at start, in seconds since 1970, and in
// which the source sent so many bytes.
func (p *Pair) Add(start int64, bytes uint64) {
	if p.n == 0 {
		p.Origin = start
	}
	since := max(start-p.Origin, 0)
	at := p.n % Kept
	p.starts[at] = int32(min(since, math.MaxInt32))
	p.bytes[at] = uint32(min(bytes, math.MaxUint32))
	if p.n < math.MaxUint32 {
		p.n++
	}
	p.hours[(since/3600)%Hours]++
	p.last = max(p.last, since)
}

// Connections returns how many connections there were.
func (p *Pair) Connections() int { return int(p.n) }

// Span returns the seconds from the first to the latest connection.
func (p *Pair) Span() int64 { return p.last }

// Score is how much a pair looks like a beacon: each part and their mean are
// from 0 to 1.
type Score struct {
	Timestamps float64 // regular intervals
	Bytes      float64 // equal sizes
	Histogram  float64 // spread evenly, or over two levels, over the time
	Duration   float64 // for how much of the time
	Total      float64
	Interval   float64 // median seconds between two connections
}

// Bands of the total.
const (
	Low    = 0.5
	Medium = 0.7
	High   = 0.9
)

// Score judges the pair over the window of so many seconds that was watched;
// false when there are too few connections, or so many that they are a stream.
func (p *Pair) Score(span int64) (Score, bool) {
	if p.n < MinConnections || p.n >= MaxConnections {
		return Score{}, false
	}
	kept := min(int(p.n), Kept)
	starts := slices.Clone(p.starts[:kept])
	slices.Sort(starts)
	deltas := make([]float64, 0, kept)
	for i := 1; i < kept; i++ {
		if d := starts[i] - starts[i-1]; d > 0 {
			deltas = append(deltas, float64(d))
		}
	}
	if len(deltas) < 3 {
		return Score{}, false
	}
	sizes := make([]float64, kept)
	for i := range sizes {
		sizes[i] = float64(p.bytes[i])
	}
	s := Score{
		Timestamps: regularity(deltas, 1), Bytes: regularity(sizes, 0),
		Histogram: p.histogram(), Duration: p.duration(span),
	}
	s.Interval = quantile(deltas, 0.5) // sorted by regularity
	s.Total = round3((s.Timestamps + s.Bytes + s.Histogram + s.Duration) / 4)
	return s, true
}

// regularity is the mean of how symmetric and how narrow a distribution is: one
// minus the size of Bowley's skew, and the share that the median absolute
// deviation leaves of the median. It sorts v. small is the second part when the
// median is below 1.
func regularity(v []float64, small float64) float64 {
	slices.Sort(v)
	low, mid, high := quantile(v, 0.25), quantile(v, 0.5), quantile(v, 0.75)
	skew := 0.0
	if high-low >= 10 && mid != low && mid != high {
		skew = (low + high - 2*mid) / (high - low)
	}
	away := make([]float64, len(v))
	for i, x := range v {
		away[i] = math.Abs(x - mid)
	}
	slices.Sort(away)
	narrow := small
	if mid >= 1 {
		narrow = max(0, (mid-quantile(away, 0.5))/mid)
	}
	return round3((1 - math.Abs(skew) + narrow) / 2)
}

// quantile of sorted values, between the neighbours in proportion.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// histogram is how evenly the hours are filled, or, when at least 11 hours are,
// how well they fall on two levels; the larger counts.
func (p *Pair) histogram() float64 {
	mean, filled, most := 0.0, 0, uint32(0)
	for _, n := range p.hours {
		mean += float64(n) / Hours
		most = max(most, n)
		if n > 0 {
			filled++
		}
	}
	variance := 0.0
	for _, n := range p.hours {
		variance += (float64(n) - mean) * (float64(n) - mean) / Hours
	}
	even := 0.0
	if ratio := math.Sqrt(variance) / mean; ratio <= 1 {
		even = 1 - ratio
	}
	two := 0.0
	if filled >= 11 {
		two = p.twoLevels(most, filled)
	}
	return round3(max(even, two))
}

// twoLevels is the share of the filled hours that fall into the two fullest of
// bins as wide as a twentieth of the busiest hour.
func (p *Pair) twoLevels(most uint32, filled int) float64 {
	width := uint32(math.Ceil(0.05 * float64(most)))
	var bins [21]int
	for _, n := range p.hours {
		if n > 0 {
			bins[min(n/width, 20)]++
		}
	}
	slices.Sort(bins[:])
	return min(1, float64(bins[20]+bins[19])/float64(max(1, filled-1)))
}

// duration is the share of the window over which the pair was seen, or its
// longest run of hours over half a day, around midnight too; the larger counts.
// It takes at least 6 hours.
func (p *Pair) duration(span int64) float64 {
	filled, run, longest := 0, 0, 0
	for i := range 2 * Hours {
		if p.hours[i%Hours] == 0 {
			run = 0
			continue
		}
		if i < Hours {
			filled++
		}
		run++
		longest = max(longest, min(run, Hours))
	}
	if filled < 6 || span <= 0 {
		return 0
	}
	coverage := min(1, float64(p.last)/float64(span))
	return round3(max(coverage, min(1, float64(longest)/12)))
}

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }
