package window

// exact is how many hits and members are kept one by one. Thresholds up to it
// are exact.
const exact = 8

// Hits counts events in a sliding window. Up to 8 events are counted exactly.
// Above that it counts whole twelfths of the window, so it may miss events of
// the oldest twelfth: it never counts too many. Every call must pass the same
// window.
type Hits struct {
	times   [exact]Tick // the latest, ascending
	n       uint8       // how many of times are set
	base    Tick        // where the newest bucket begins
	buckets [12]uint16  // newest first
}

// Add counts an event at t and returns how many events there are in the
// fullest window of that many ticks that contains t, and the earliest of those
// that it knows.
func (h *Hits) Add(t Tick, window int32) (count int, since Tick) {
	h.bucket(t, window)
	at := h.insert(t)
	if at < 0 {
		return 1, t
	}
	for last := at; last < int(h.n) && h.times[last].Since(t) <= window; last++ {
		first := last
		for first > 0 && h.times[last].Since(h.times[first-1]) <= window {
			first--
		}
		if found := last - first + 1; found > count {
			count, since = found, h.times[first]
		}
	}
	if count == exact {
		count = max(count, h.sum())
	}
	return count, since
}

// insert keeps t among the latest and returns its place; -1 when it is older
// than all of 8.
func (h *Hits) insert(t Tick) int {
	at := int(h.n)
	for at > 0 && h.times[at-1].Since(t) > 0 {
		at--
	}
	if h.n < exact {
		copy(h.times[at+1:h.n+1], h.times[at:h.n])
		h.n++
		h.times[at] = t
		return at
	}
	if at == 0 {
		return -1
	}
	copy(h.times[:at-1], h.times[1:at])
	h.times[at-1] = t
	return at - 1
}

func (h *Hits) bucket(t Tick, window int32) {
	width := max(window/int32(len(h.buckets)), 1)
	if h.n == 0 {
		h.base = t
	}
	if ahead := t.Since(h.base); ahead >= width {
		shift := min(int(ahead/width), len(h.buckets))
		copy(h.buckets[shift:], h.buckets[:])
		clear(h.buckets[:shift])
		h.base += Tick(ahead / width * width)
	}
	back := 0
	if behind := h.base.Since(t); behind > 0 {
		back = int((behind + width - 1) / width)
	}
	if back < len(h.buckets) && h.buckets[back] < 1<<16-1 {
		h.buckets[back]++
	}
}

func (h *Hits) sum() (n int) {
	for _, b := range h.buckets {
		n += int(b)
	}
	return n
}
