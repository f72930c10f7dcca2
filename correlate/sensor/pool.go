package sensor

// blockFlows is how many flows stand in a block: most keys of a flood of forged
// sources have one flow, and a scanner a hundred.
const blockFlows = 4

// note is what is kept of a flow in a window.
type note struct {
	at   uint32 // milliseconds; only differences mean something
	dst  uint32 // see hasher.short
	port uint16 // destination
	kind noteKind
}

// noteKind says what a note has.
type noteKind uint8

const (
	wide   noteKind = 1 << iota // the destination is IPv6
	ported                      // the flow has ports
)

// weight is kept besides, where the condition needs more than the number of flows.
type weight struct {
	bytes, packets uint64
	flows          uint32 // that the note stands for, see shorten
	src            uint32
	srcPort        uint16
}

// pool holds the notes of all keys of a sensor, in blocks that are linked into
// one log for each key. It holds no pointers that the garbage collector would
// follow, grows in slabs and never beyond its limit.
type pool struct {
	slabs []slab
	heavy bool   // with weights
	free  uint32 // first free block + 1, linked by next
	used  uint32 // blocks ever handed out
	limit uint32
}

type slab struct {
	blocks  []block
	weights []weight
}

// block is some notes of a log, and its neighbours there; 0 is none, block i is
// i + 1. It is as large as a line of the processor's cache: what the sensors
// cost is memory that is far away.
type block struct {
	notes      [blockFlows]note
	prev, next uint32
	_          [8]byte
}

const slabBlocks = 1 << 12

// log is the sequence of the notes of one key. Its zero value is empty.
type log struct {
	head, tail uint32 // blocks + 1
	n          uint16
	begin, end uint8 // in the first block, behind the last of the last block
}

// spot is the place of one note.
type spot struct {
	block uint32 // + 1
	at    uint8
}

func (p *pool) block(n uint32) *block { return &p.slabs[(n-1)/slabBlocks].blocks[(n-1)%slabBlocks] }

func (p *pool) note(s spot) *note { return &p.block(s.block).notes[s.at%blockFlows] }

// weight is nil where the pool has none.
func (p *pool) weight(s spot) *weight {
	if !p.heavy {
		return nil
	}
	return &p.slabs[(s.block-1)/slabBlocks].weights[(s.block-1)%slabBlocks*blockFlows+uint32(s.at)]
}

// room reports whether a log can take one more note.
func (p *pool) room(l *log) bool {
	return p.free != 0 || p.used < p.limit || l.tail != 0 && l.end < blockFlows
}

func (p *pool) take() uint32 {
	if p.free != 0 {
		n := p.free
		b := p.block(n)
		p.free, b.prev, b.next = b.next, 0, 0
		return n
	}
	if p.used%slabBlocks == 0 {
		n := min(slabBlocks, p.limit-p.used)
		s := slab{blocks: make([]block, n)}
		if p.heavy {
			s.weights = make([]weight, n*blockFlows)
		}
		p.slabs = append(p.slabs, s)
	}
	p.used++
	return p.used
}

func (p *pool) give(n uint32) {
	p.block(n).next = p.free
	p.free = n
}

// append adds a note at the end and returns its place. There must be room.
func (p *pool) append(l *log, v note, w *weight) spot {
	if l.tail == 0 || l.end == blockFlows {
		fresh := p.take()
		if l.tail != 0 {
			p.block(l.tail).next, p.block(fresh).prev = fresh, l.tail
		} else {
			l.head, l.begin = fresh, 0
		}
		l.tail, l.end = fresh, 0
	}
	s := spot{l.tail, l.end}
	l.end++
	l.n++
	*p.note(s) = v
	if p.heavy {
		*p.weight(s) = *w
	}
	return s
}

// sort moves the last note to where it belongs by its time: flows are reported
// when an exporter gets to it, not in the order in which they ended.
func (p *pool) sort(l *log, last spot) {
	for {
		before, ok := p.before(l, last)
		if !ok || int32(p.note(before).at-p.note(last).at) <= 0 {
			return
		}
		a, b := p.note(before), p.note(last)
		*a, *b = *b, *a
		if p.heavy {
			a, b := p.weight(before), p.weight(last)
			*a, *b = *b, *a
		}
		last = before
	}
}

func (p *pool) before(l *log, s spot) (spot, bool) {
	if s.block == l.head && s.at == l.begin {
		return s, false
	}
	if s.at > 0 {
		return spot{s.block, s.at - 1}, true
	}
	return spot{p.block(s.block).prev, blockFlows - 1}, true
}

// after returns the place behind s, which need not hold a note.
func (p *pool) after(s spot) spot {
	if s.at+1 < blockFlows {
		return spot{s.block, s.at + 1}
	}
	return spot{p.block(s.block).next, 0}
}

// first returns the place of the oldest note; the log must have one.
func (l *log) first() spot { return spot{l.head, l.begin} }

// drop removes the oldest note; the log must have one.
func (p *pool) drop(l *log) {
	l.n--
	l.begin++
	if l.n == 0 {
		p.give(l.head)
		*l = log{}
		return
	}
	if l.begin == blockFlows {
		next := p.block(l.head).next
		p.give(l.head)
		l.head, l.begin = next, 0
		p.block(next).prev = 0
	}
}

// truncate keeps the first n notes, at least one.
func (p *pool) truncate(l *log, n uint16) {
	s := l.first()
	for range n - 1 {
		s = p.after(s)
	}
	for rest := p.block(s.block).next; rest != 0; {
		next := p.block(rest).next
		p.give(rest)
		rest = next
	}
	p.block(s.block).next = 0
	l.tail, l.end, l.n = s.block, s.at+1, n
}

// bytes is the memory of the pool.
func (p *pool) bytes() (n int) {
	for _, s := range p.slabs {
		n += cap(s.blocks)*64 + cap(s.weights)*32
	}
	return n
}
