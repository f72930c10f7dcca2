package fleet

import (
	"vft/correlate/window"
	"vft/event"
)

// maxContacts is how many contacts of one source are kept.
const maxContacts = 10

// contact is one port of one client that a source touched.
type contact struct {
	client uint16 // its number; the top bit says that the port is no trap
	port   uint16
}

const closedPort = 1 << 15

func (c contact) number() uint16 { return c.client &^ closedPort }
func (c contact) isTrap() bool   { return c.client&closedPort == 0 }

func contactOf(h *hit) contact {
	c := contact{h.client.number, h.Dst.Port()}
	if h.Dataset == event.DatasetProbe {
		c.client |= closedPort
	}
	return c
}

// contacts are the latest of one source, each with when it was last touched.
// A contact that an incident of slow-scan told is spent: the random walk does
// not count it again.
type contacts struct {
	of    [maxContacts]contact
	seen  [maxContacts]window.Tick
	spent uint16 // a bit for each
	n     uint8
}

// add notes that c was touched at t. A spent contact counts again once it was
// not touched for memory ticks.
func (s *contacts) add(c contact, t window.Tick, memory int32) {
	for i := range s.n {
		if s.of[i] != c {
			continue
		}
		if age := t.Since(s.seen[i]); age > 0 {
			s.seen[i] = t
			if age > memory {
				s.spent &^= 1 << i
			}
		}
		return
	}
	i := int(s.n)
	if i == maxContacts {
		if i = s.poorest(c, t); i < 0 {
			return
		}
	} else {
		s.n++
	}
	s.of[i], s.seen[i] = c, t
	s.spent &^= 1 << i
}

// poorest returns which contact leaves for a new one, -1 when the new one is
// the poorest itself. Ports that are no traps leave before traps: a packet to
// one can be forged. Then those of a client that has another contact, so that no
// number of ports hides on how many clients they are. Then the oldest.
func (s *contacts) poorest(c contact, t window.Tick) int {
	at := func(i int) (contact, window.Tick) {
		if i < 0 {
			return c, t
		}
		return s.of[i], s.seen[i]
	}
	worth := func(i int) (worth int) {
		one, _ := at(i)
		if one.isTrap() {
			worth += 2
		}
		for j := -1; j < maxContacts; j++ {
			if other, _ := at(j); j != i && other.number() == one.number() {
				return worth
			}
		}
		return worth + 1
	}
	least, lowest := -1, worth(-1)
	for i := range maxContacts {
		_, seen := at(i)
		_, oldest := at(least)
		if w := worth(i); w < lowest || w == lowest && seen.Since(oldest) < 0 {
			least, lowest = i, w
		}
	}
	return least
}

// ports counts the distinct ports of a client in the fullest window that
// contains t, all or only traps.
func (s *contacts) ports(client uint16, t window.Tick, ticks int32, all bool) (n int, since window.Tick) {
	return window.Fullest(s.seen[:s.n], t, ticks, func(i int) bool {
		return s.of[i].number() == client && (all || s.of[i].isTrap())
	})
}

// unspent counts the traps that are not spent in the fullest window.
func (s *contacts) unspent(t window.Tick, ticks int32) (n int, since window.Tick) {
	return window.Fullest(s.seen[:s.n], t, ticks, func(i int) bool { return s.of[i].isTrap() && s.spent>>i&1 == 0 })
}

// clients counts the distinct clients in the fullest window.
func (s *contacts) clients(t window.Tick, ticks int32) (count int, since window.Tick) {
	for last := range s.n {
		end := s.seen[last]
		if after := end.Since(t); after < 0 || after > ticks {
			continue
		}
		n, begin := s.clientsBefore(end, ticks)
		if n > count {
			count, since = n, begin
		}
	}
	return count, since
}

func (s *contacts) clientsBefore(end window.Tick, ticks int32) (n int, begin window.Tick) {
	var numbers [maxContacts]uint16
	begin = end
next:
	for i := range s.n {
		if age := end.Since(s.seen[i]); age < 0 || age > ticks {
			continue
		}
		if s.seen[i].Since(begin) < 0 {
			begin = s.seen[i]
		}
		for _, known := range numbers[:n] {
			if known == s.of[i].number() {
				continue next
			}
		}
		numbers[n] = s.of[i].number()
		n++
	}
	return n, begin
}
