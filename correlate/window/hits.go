package window

// exact is how many hits and members are kept one by one. Thresholds up to it
// are exact.
const exact = 8

// Hits counts events in a sliding window. It never counts too many. Up to 8
// events are counted exactly; when events come late, by no more than the window,
// up to 5. Above that it counts whole twelfths of the window, so it may miss
// events of the oldest twelfth. Every call must pass the same window.
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
	counted := h.bucket(t, window)
	if at := h.insert(t); at >= 0 {
		count, since = h.fullest(at, window)
	} else {
		count, since = h.after(t, window), t
	}
	if counted {
		count = max(count, h.sum())
	}
	return count, since
}

// fullest returns how many of times lie in the fullest window that contains
// times[at], and the first of them.
func (h *Hits) fullest(at int, window int32) (count int, since Tick) {
	for last := at; last < int(h.n) && h.times[last].Since(h.times[at]) <= window; last++ {
		first := last
		for first > 0 && h.times[last].Since(h.times[first-1]) <= window {
			first--
		}
		if found := last - first + 1; found > count {
			count, since = found, h.times[first]
		}
	}
	return count, since
}

// after returns how many events lie in the window that begins with t, which is
// older than all of times.
func (h *Hits) after(t Tick, window int32) int {
	n := 1
	for n <= int(h.n) && h.times[n-1].Since(t) <= window {
		n++
	}
	return n
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

// bucket counts t in its twelfth and reports whether that is kept.
func (h *Hits) bucket(t Tick, window int32) bool {
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
	if back >= len(h.buckets) {
		return false
	}
	if h.buckets[back] < 1<<16-1 {
		h.buckets[back]++
	}
	return true
}

func (h *Hits) sum() (n int) {
	for _, b := range h.buckets {
		n += int(b)
	}
	return n
}
