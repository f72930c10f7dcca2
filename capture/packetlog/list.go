package packetlog

// place names a link of a flow: it is in at most one list per place.
type place int

const (
	byUse   place = iota // in one of the two lists of all flows, by the last packet
	byWrite              // in the list of open files, by the last write
	byWait               // in the list of those with packets that are not written, by the first of them
	places
)

type links struct {
	prev, next *logged
	in         bool
}

// list is a list of flows from the oldest to the newest, without memory of its
// own.
type list struct {
	at          place
	first, last *logged
	len         int
}

func (l *list) has(f *logged) bool           { return f.links[l.at].in }
func (l *list) after(f *logged) *logged      { return f.links[l.at].next }
func (l *list) before(f *logged) *logged     { return f.links[l.at].prev }
func (l *list) link(f *logged) (link *links) { return &f.links[l.at] }

// touch makes f the newest.
func (l *list) touch(f *logged) {
	if l.last == f {
		return
	}
	l.remove(f)
	*l.link(f) = links{prev: l.last, in: true}
	if l.last == nil {
		l.first = f
	} else {
		l.link(l.last).next = f
	}
	l.last = f
	l.len++
}

// remove takes f out, if it is in.
func (l *list) remove(f *logged) {
	link := *l.link(f)
	if !link.in {
		return
	}
	if link.prev == nil {
		l.first = link.next
	} else {
		l.link(link.prev).next = link.next
	}
	if link.next == nil {
		l.last = link.prev
	} else {
		l.link(link.next).prev = link.prev
	}
	*l.link(f) = links{}
	l.len--
}
