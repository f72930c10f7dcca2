package spot

import "math"

// window holds the last depth values and their mean. The mean is 0 until the
// window is full, and for ever when depth is 0.
type window struct {
	depth  int
	values []float64 // a ring once it is full
	head   int       // where the next value goes when the ring is full
	sum    float64   // running sum and its compensation (Neumaier 1974), made
	lost   float64   // anew each time the ring wraps
	mean   float64
}

func newWindow(depth int) window {
	return window{depth: depth, values: make([]float64, 0, depth)}
}

// push takes x in; the oldest value leaves a full window.
func (w *window) push(x float64) {
	if w.depth == 0 {
		return
	}
	if len(w.values) < w.depth {
		w.values = append(w.values, x)
		if len(w.values) == w.depth {
			w.resum()
		}
		return
	}
	old := w.values[w.head]
	w.values[w.head] = x
	if w.head++; w.head == w.depth {
		w.head = 0
		w.resum()
		return
	}
	w.add(x)
	w.add(-old)
	w.mean = (w.sum + w.lost) / float64(w.depth)
}

// resum adds all values up again, so that no rounding error lives longer than the
// window.
func (w *window) resum() {
	w.sum, w.lost = 0, 0
	for _, x := range w.values {
		w.add(x)
	}
	w.mean = (w.sum + w.lost) / float64(w.depth)
}

// add adds x to the sum and what rounding took from it to lost.
func (w *window) add(x float64) {
	sum := w.sum + x
	if math.Abs(w.sum) >= math.Abs(x) {
		w.lost += (w.sum - sum) + x
	} else {
		w.lost += (x - sum) + w.sum
	}
	w.sum = sum
}
