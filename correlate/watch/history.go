package watch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// The rule of a history.
const (
	weeksKept      = 4
	historyZ       = 4    // robust standard deviations of the logarithm
	historySpread  = 0.17 // least of them: four make a factor of two
	historyLargest = 2    // times the largest hour before
	unknown        = math.MaxUint16
	logSteps       = 1024 // of a logarithm: a value is known to half a thousandth
)

// history is the bytes of each hour of the week (by UTC), in the newest four weeks that
// were watched then: logarithms, for the hours of a host spread over powers of ten.
type history [weekHours][weeksKept]uint16

func newHistory() *history {
	h := &history{}
	for i := range h {
		h[i] = [weeksKept]uint16{unknown, unknown, unknown, unknown}
	}
	return h
}

// learn takes the bytes of an hour since 1970; the oldest week leaves.
func (h *history) learn(hour int64, bytes uint64) {
	b := &h[bin(hour)]
	copy(b[1:], b[:])
	b[0] = uint16(math.Round(math.Log1p(float64(bytes)) * logSteps))
}

// weeks returns in how many weeks an hour of the week is known.
func (h *history) weeks(hour int64) (n int) {
	for _, v := range h[bin(hour)] {
		if v != unknown {
			n++
		}
	}
	return n
}

// limit returns the bytes beyond which an hour is abnormal; none is while fewer weeks
// than that are known of it. What was at that hour of earlier weeks, and in the hours
// before and after it, for nobody is punctual, says what is usual: the limit is twice
// the largest of these, or four robust standard deviations above their median, or the
// floor, whichever is most.
func (h *history) limit(hour int64, weeks int, floor uint64) uint64 {
	if h.weeks(hour) < weeks {
		return math.MaxUint64
	}
	var room [3 * weeksKept]float64
	logs := room[:0]
	for near := hour - 1; near <= hour+1; near++ {
		for _, v := range h[bin(near)] {
			if v != unknown {
				logs = append(logs, float64(v)/logSteps)
			}
		}
	}
	slices.Sort(logs)
	median, largest := logs[len(logs)/2], math.Expm1(logs[len(logs)-1])
	for i := range logs {
		logs[i] = math.Abs(logs[i] - median)
	}
	slices.Sort(logs)
	// 1.4826 MAD is the standard deviation of a normal distribution.
	spread := max(1.4826*logs[len(logs)/2], historySpread)
	far := math.Expm1(min(median+historyZ*spread, 43))
	if median == 0 {
		far = 0 // silence is no size to multiply
	}
	return max(floor, uint64(min(max(far, historyLargest*largest), math.MaxInt64)))
}

// same returns the bytes of that hour in the weeks before, oldest first.
func (h *history) same(hour int64) (all []float64) {
	for _, v := range slices.Backward(h[bin(hour)][:]) {
		if v != unknown {
			all = append(all, math.Round(math.Expm1(float64(v)/logSteps)))
		}
	}
	return all
}

// bytes returns the history for a state: for each hour of the week, four numbers of two
// bytes, the newest week first.
func (h *history) bytes() []byte {
	b := make([]byte, 0, 2*weekHours*weeksKept)
	for i := range h {
		for _, v := range h[i] {
			b = binary.BigEndian.AppendUint16(b, v)
		}
	}
	return b
}

func historyOf(b []byte) (*history, error) {
	if len(b) != 2*weekHours*weeksKept {
		return nil, fmt.Errorf("a history has %d bytes, not %d", len(b), 2*weekHours*weeksKept)
	}
	h := &history{}
	for i := range h {
		for j := range h[i] {
			h[i][j] = binary.BigEndian.Uint16(b[2*(i*weeksKept+j):])
		}
		if !slices.IsSortedFunc(h[i][:], func(a, b uint16) int { return known(b) - known(a) }) {
			return nil, fmt.Errorf("hour %d of a history knows an older week and not a newer one", i)
		}
	}
	return h, nil
}

func known(v uint16) int {
	if v == unknown {
		return 0
	}
	return 1
}
