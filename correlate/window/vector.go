package window

import (
	"math"
	"math/bits"
)

// VectorCells is the number of cells of a Vector.
const VectorCells = 512

// MostCounted is the largest count that a Vector can tell: VectorCells times its
// natural logarithm, which stands for "so many or more".
const MostCounted = 3194

// Vector estimates how many distinct members were seen in a window of any length
// that ends now: the timestamp vector of Kim and O'Hallaron, "Counting Network Flows
// in Real Time" (GLOBECOM 2003). A member has one cell, by its hash, which holds when
// it was seen last. The cells that were not seen within the window are the empty ones
// of linear counting (Whang, Vander-Zanden and Taylor, ACM TODS 15(2), 1990): of
// m cells with a share v empty, -m ln v members were seen. The standard error is 3.4 %
// up to 250 members, 4.7 % at 1,000 and 8 % at 2,000.
//
// A HyperLogLog cannot forget, so that it would take one for each part of each window;
// this takes 2 KiB for all windows together. Two vectors of one hash are merged by the
// later time of each cell.
type Vector [VectorCells]uint32

// Add notes that the member of that hash was seen at so many seconds since 1970, 1 or
// more. Times may come in any order.
func (v *Vector) Add(hash uint64, at uint32) {
	hi, _ := bits.Mul64(hash, 0x9e3779b97f4a7c15)
	cell := &v[hi%VectorCells]
	*cell = max(*cell, at)
}

// Count returns about how many distinct members were seen in the window of so many
// seconds before now, or later; at most MostCounted.
func (v *Vector) Count(now, window uint32) int {
	since := uint32(1)
	if now > window {
		since = now - window
	}
	empty := 0
	for _, at := range v {
		if at < since {
			empty++
		}
	}
	if empty == 0 {
		return MostCounted
	}
	return int(math.Round(-VectorCells * math.Log(float64(empty)/VectorCells)))
}
