package siem

import (
	"time"

	"vft/spool"
)

// flight is what was written to a connection and not yet acknowledged.
type flight struct {
	marks []mark // one per write, oldest first
}

// mark is one write: its records, and how many bytes the connection had
// carried before and after it.
type mark struct {
	spool.Batch
	start, end int64
	at         time.Time
}

func (f *flight) empty() bool { return len(f.marks) == 0 }

func (f *flight) add(m mark) { f.marks = append(f.marks, m) }

// land takes out what the peer has, given that it has the first so many bytes,
// and hands it to arrived. With exact, a byte of a write is a byte of its
// batch, so that a part of a write can arrive; without, as in TLS, a write
// arrives as a whole.
func (f *flight) land(acknowledged int64, exact bool, arrived func(spool.Batch)) {
	done := 0
	for done < len(f.marks) && f.marks[done].end <= acknowledged && f.marks[done].complete(exact) {
		arrived(f.marks[done].Batch)
		done++
	}
	f.marks = append(f.marks[:0], f.marks[done:]...)
	if exact && len(f.marks) > 0 && f.marks[0].start < acknowledged {
		m := &f.marks[0]
		n := m.Whole(int(acknowledged - m.start))
		done, rest := m.Before(n), m.After(n) // what has arrived must not be read any more
		arrived(done)
		m.start += int64(len(m.Data) - len(rest.Data))
		m.Batch = rest
	}
}

// complete reports whether the whole batch was written: a write that failed
// wrote a part.
func (m *mark) complete(exact bool) bool {
	return !exact || m.end-m.start == int64(len(m.Data))
}

// writtenBy returns how many bytes the connection had carried at a time.
func (f *flight) writtenBy(t time.Time) int64 {
	var n int64
	for _, m := range f.marks {
		if m.at.After(t) {
			break
		}
		n = m.end
	}
	return n
}
