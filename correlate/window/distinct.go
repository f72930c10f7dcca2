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
// match takes all.
func (d *Distinct[M]) Count(t Tick, window int32, match func(M) bool) (count int, first Tick) {
	for last := range int(d.n) {
		end := d.seen[last]
		if after := end.Since(t); after < 0 || after > window {
			continue
		}
		n, begin := 0, end
		for i := range int(d.n) {
			if age := end.Since(d.seen[i]); age < 0 || age > window {
				continue
			}
			if match != nil && !match(d.members[i]) {
				continue
			}
			n++
			if d.seen[i].Since(begin) < 0 {
				begin = d.seen[i]
			}
		}
		if n > count {
			count, first = n, begin
		}
	}
	return count, first
}

// Each calls visit for every member.
func (d *Distinct[M]) Each(visit func(m M, seen Tick)) {
	for i := range int(d.n) {
		visit(d.members[i], d.seen[i])
	}
}
