package process

// recent remembers who held a connection after it has ended: the newest half of
// max for certain, and of those before what still fits.
type recent struct {
	max      int
	now, old map[tuple]held
	evicted  uint64
}

// held is a socket and the process that had it.
type held struct {
	inode uint64
	by    *Process
}

func (r *recent) add(t tuple, h held) {
	if r.now == nil || len(r.now) >= max(r.max/2, 1) {
		r.evicted += uint64(len(r.old))
		r.old, r.now = r.now, map[tuple]held{}
	}
	r.now[t] = h
}

func (r *recent) find(t tuple) (held, bool) {
	h, ok := r.now[t]
	if !ok {
		h, ok = r.old[t]
	}
	return h, ok
}
