package watch

// ring holds the newest values of a series.
type ring struct {
	values []float64
	head   int // the oldest, once it is full
	limit  int
	mean   float64 // of the values
}

func newRing(limit int) ring { return ring{values: make([]float64, 0, limit), limit: limit} }

func (r *ring) full() bool { return len(r.values) >= r.limit }

// push takes x in; the oldest value leaves a full ring. The mean is summed anew,
// oldest first: what was saved and restored has the same mean to the last bit.
func (r *ring) push(x float64) {
	if r.limit > 0 {
		r.put(x)
		r.sum()
	}
}

// put is push without the mean, which is that of before. The limit is not 0.
func (r *ring) put(x float64) {
	switch {
	case !r.full():
		r.values = append(r.values, x)
	default:
		r.values[r.head] = x
		if r.head++; r.head == r.limit {
			r.head = 0
		}
	}
}

func (r *ring) sum() {
	sum := 0.0
	for _, x := range r.values[r.head:] {
		sum += x
	}
	for _, x := range r.values[:r.head] {
		sum += x
	}
	r.mean = sum / float64(len(r.values))
}

// shift adds d to all values.
func (r *ring) shift(d float64) {
	for i := range r.values {
		r.values[i] += d
	}
	if len(r.values) > 0 {
		r.sum()
	}
}

func (r *ring) clear() { r.values, r.head, r.mean = r.values[:0], 0, 0 }

// oldestFirst returns a copy of the values.
func (r *ring) oldestFirst() []float64 {
	return append(append(make([]float64, 0, len(r.values)), r.values[r.head:]...), r.values[:r.head]...)
}

// fill replaces the values, the newest of them last.
func (r *ring) fill(values []float64) {
	r.clear()
	for _, x := range values[max(0, len(values)-r.limit):] {
		r.push(x)
	}
}
