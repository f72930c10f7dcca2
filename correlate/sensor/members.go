package sensor

// members counts how many notes of a key stand for each distinct address or
// port, for all keys and metrics of a sensor in one table: open addressing with
// linear probing, at most half full. It has as many places as the notes of the
// pool need, so that the pool bounds it.
type members struct {
	places []place
	used   int
}

// place is free when n is 0. The hash is all that is kept of a member: 64 bits
// that a stranger cannot choose.
type place struct {
	hash uint64
	n    uint32
}

// add notes a member once more and reports whether it is new.
func (m *members) add(hash uint64) bool {
	if 2*m.used >= len(m.places) {
		m.grow()
	}
	p := &m.places[m.find(hash)]
	p.hash = hash
	p.n++
	if p.n == 1 {
		m.used++
	}
	return p.n == 1
}

// remove takes one note of a member back and reports whether it was the last.
func (m *members) remove(hash uint64) bool {
	at := m.find(hash)
	p := &m.places[at]
	if p.n--; p.n > 0 {
		return false
	}
	m.used--
	m.close(at)
	return true
}

func (m *members) find(hash uint64) int {
	mask := len(m.places) - 1
	i := int(hash) & mask
	for m.places[i].n != 0 && m.places[i].hash != hash {
		i = (i + 1) & mask
	}
	return i
}

// close moves up what stands behind a place only because it was taken (Knuth,
// TAOCP 3, 6.4, algorithm R).
func (m *members) close(hole int) {
	mask := len(m.places) - 1
	for i := (hole + 1) & mask; m.places[i].n != 0; i = (i + 1) & mask {
		if home := int(m.places[i].hash) & mask; (i-home)&mask >= (i-hole)&mask {
			m.places[hole] = m.places[i]
			hole = i
		}
	}
	m.places[hole] = place{}
}

func (m *members) grow() {
	old := m.places
	m.places = make([]place, max(64, 2*len(old)))
	for _, p := range old {
		if p.n != 0 {
			m.places[m.find(p.hash)] = p
		}
	}
}

// bytes is the memory of the table.
func (m *members) bytes() int { return cap(m.places) * 16 }
