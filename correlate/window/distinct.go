package window

// Distinct is a set of up to 8 members, each with the time at which it was
// last seen. When a ninth comes, the one that was not seen for the longest time
// leaves: counts up to 8 are exact.
type Distinct[M comparable] struct {
	members [exact]M
	seen    [exact]Tick
	n       uint8
}

// Add notes that m was seen at t and reports whether it was not in the set.
func (d *Distinct[M]) Add(m M, t Tick) (fresh bool) {
	oldest := 0
	for i := range int(d.n) {
		if d.members[i] == m {
			if t.Since(d.seen[i]) > 0 {
				d.seen[i] = t
			}
			return false
		}
		if d.seen[i].Since(d.seen[oldest]) < 0 {
			oldest = i
		}
	}
	switch {
	case d.n < exact:
		oldest = int(d.n)
		d.n++
	case d.seen[oldest].Since(t) > 0:
		return true // older than all that are kept
	}
	d.members[oldest], d.seen[oldest] = m, t
	return true
}

// Count returns how many members that match were seen in the fullest window
// of that many ticks that contains t, and when the first of them was seen. A nil
// match takes all. It never counts too many; it may count too few when members
// that came late had been seen in the window already.
func (d *Distinct[M]) Count(t Tick, window int32, match func(M) bool) (count int, first Tick) {
	if match == nil {
		return Fullest(d.seen[:d.n], t, window, nil)
	}
	return Fullest(d.seen[:d.n], t, window, func(i int) bool { return match(d.members[i]) })
}

// Fullest returns how many of seen that match lie in the fullest window of that
// many ticks that contains t, and the earliest of them. match gets an index;
// nil takes all.
func Fullest(seen []Tick, t Tick, window int32, match func(i int) bool) (count int, first Tick) {
	if end, all := newest(seen, t, window); all {
		return before(seen, end, window, match)
	}
	for _, end := range seen {
		if after := end.Since(t); after < 0 || after > window {
			continue
		}
		if n, begin := before(seen, end, window, match); n > count {
			count, first = n, begin
		}
	}
	return count, first
}

// newest returns the newest of seen, and whether the window that ends with it
// contains t and all of seen: then there is no need to try others.
func newest(seen []Tick, t Tick, window int32) (end Tick, all bool) {
	begin, end := t, t
	for _, at := range seen {
		if at.Since(end) > 0 {
			end = at
		}
		if at.Since(begin) < 0 {
			begin = at
		}
	}
	return end, end.Since(begin) <= window
}

// before returns how many of seen that match lie in the window that ends with
// end, and the earliest of them.
func before(seen []Tick, end Tick, window int32, match func(i int) bool) (n int, begin Tick) {
	begin = end
	for i, at := range seen {
		age := end.Since(at)
		if age < 0 || age > window || match != nil && !match(i) {
			continue
		}
		n++
		if at.Since(begin) < 0 {
			begin = at
		}
	}
	return n, begin
}

// Each calls visit for every member.
func (d *Distinct[M]) Each(visit func(m M, seen Tick)) {
	for i := range int(d.n) {
		visit(d.members[i], d.seen[i])
	}
}
