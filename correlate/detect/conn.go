package detect

import (
	"bytes"

	"vft/capture/flow"
	"vft/capture/packet"
)

// maxConnections is how many TCP connections are followed at once; 80 bytes each.
const maxConnections = 1 << 16

// connState tells how far a connection came.
type connState uint16

const (
	opened      connState = 1 << iota // a SYN was seen
	accepted                          // a SYN/ACK that answers it
	established                       // the ACK that completes the handshake
	spoke                             // the client sent data
	again                             // its SYN was sent twice
	over                              // FIN or RST was seen and the connection was judged
	sized                             // its server repeats replies of one size, see guesses
	fromHigh                          // the client is the higher of the two ends
	served                            // the server sent data
	isSSH                             // by its banner
	granted                           // a login succeeded
	denied                            // a login was refused
	requested                         // it carries HTTP, see web
	asking                            // of that, a request of which no answer was seen
)

// conn is one TCP connection. The two sides are told apart by which end is the
// lower: 0 sends from there.
type conn struct {
	sides  [2]side
	begin  uint32 // tick
	synack uint32 // its sequence number
	answer uint32 // what it acknowledges
	block  uint32 // of the segments that are kept, see injection
	run    uint16 // replies of one size in a row
	state  connState
	size   uint16 // of the last reply
}

// side is one direction of a connection.
type side struct {
	next   uint32 // first byte that is missing
	high   uint32 // behind the last byte that was seen
	closed uint32 // sequence number of its FIN or RST
	bytes  uint32 // of data; stays at its maximum
	state  sideState
}

type sideState uint8

const (
	begun  sideState = 1 << iota // next and high are set
	shut                         // closed is set
	shutBy                       // and it was a RST
)

// connections follows TCP connections: which were opened, used and broken off.
type connections struct {
	hash hasher
	all  *cache[conn]
}

func newConnections(h hasher) *connections {
	return &connections{hash: h, all: newCache[conn](maxConnections)}
}

// key returns the key of the connection that p belongs to, and the side that
// sent it.
func (c *connections) key(p *packet.Parsed) (key uint64, sender int) {
	if p.Src.Less(p.Dst) || p.Src == p.Dst && p.SrcPort <= p.DstPort {
		return c.hash.of(p.Src, p.Dst, uint64(p.SrcPort)<<16|uint64(p.DstPort)), 0
	}
	return c.hash.of(p.Dst, p.Src, uint64(p.DstPort)<<16|uint64(p.SrcPort)), 1
}

func (c *conn) client() int {
	if c.state&fromHigh != 0 {
		return 1
	}
	return 0
}

func (c *connections) counts(yield func(string, uint64)) { yield("connections_evicted", c.all.evicted) }

const tcpFlags = packet.FIN | packet.SYN | packet.RST | packet.PSH | packet.ACK | packet.URG

// tcp follows the connection of a segment and hands each part what concerns it.
func (d *Detections) tcp(p *packet.Parsed, touch flow.Touch, now int64) {
	if !p.HasFlags {
		if p.Fragment && p.HasPorts && touch&flow.NewFlow != 0 {
			d.scans.begin(p, p.DstPort, synProbe, now) // the flags are hidden in the next fragment
		}
		return
	}
	key, sender := d.conns.key(p)
	flags := p.Flags & tcpFlags
	if flags&(packet.SYN|packet.RST|packet.FIN) != 0 || flags&packet.ACK == 0 {
		d.flagged(p, flags, key, sender, touch, now)
		return
	}
	c := d.conns.all.find(key, now)
	if c == nil {
		d.stranger(p, key, sender, touch, now)
		return
	}
	if c.state&(opened|established) == opened && sender == c.client() {
		d.establish(p, c, key, now)
	}
	if p.PayloadLen > 0 {
		d.data(p, c, key, sender, now)
	} else if p.Window == 0 {
		d.web.shut(p, c, key, sender, now)
	}
}

// stranger takes a segment of a connection that is not followed.
func (d *Detections) stranger(p *packet.Parsed, key uint64, sender int, touch flow.Touch, now int64) {
	if touch&(flow.NewSide|flow.Reverse) == flow.NewSide|flow.Reverse {
		d.floods.answered(p, strayACK, now)
		d.scans.ended(p.Dst, p.Src, p.SrcPort, ackProbe, useful, now)
	}
	if p.PayloadLen > 0 {
		c, _ := d.conns.all.get(key, now)
		c.begin = tick(now)
		d.data(p, c, key, sender, now)
		return
	}
	d.floods.ack(p, now)
	if touch&flow.NewFlow != 0 {
		d.floods.stray(p, strayACK, now)
		if p.SrcPort > p.DstPort {
			d.scans.begin(p, p.DstPort, ackProbe, now)
		}
	}
}

// establish takes the ACK of a client that completes its handshake. Where the
// capture shows one direction alone, it is believed.
func (d *Detections) establish(p *packet.Parsed, c *conn, key uint64, now int64) {
	if c.state&accepted != 0 && int32(p.Ack-c.synack) <= 0 {
		return // a guess: it does not know the sequence number of the server
	}
	c.state |= established
	d.conns.all.strengthen(key)
	d.floods.completed(p, now)
	d.scans.ended(p.Src, p.Dst, p.DstPort, synProbe, connected, now)
}

// data takes a segment with payload.
func (d *Detections) data(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	s := &c.sides[sender]
	if s.bytes < 1<<31 {
		s.bytes += uint32(min(p.PayloadLen, 1<<16))
	}
	if c.state&opened != 0 {
		d.used(p, c, sender, now)
	}
	if s.bytes == uint32(p.PayloadLen) && c.state&opened != 0 && sender != c.client() && bytes.HasPrefix(p.Payload(), []byte("SSH-")) {
		c.state |= isSSH
	}
	if p.SrcPort == portSSH || p.DstPort == portFTP || p.SrcPort == portFTP || p.SrcPort == portSMB || c.state&isSSH != 0 && sender != c.client() {
		d.brute.segment(p, c, now)
	}
	d.web.data(p, c, key, sender, now)
	d.injection.segment(p, c, key, sender, now)
}

// used notes the first data of either side of a connection: a server that speaks
// first, as in a passive transfer of FTP or a greeting, is used as well.
func (d *Detections) used(p *packet.Parsed, c *conn, sender int, now int64) {
	said := c.state & (spoke | served)
	switch {
	case sender == c.client():
		c.state |= spoke
		if said == 0 {
			d.scans.ended(p.Src, p.Dst, p.DstPort, synProbe, useful, now)
		}
	default:
		c.state |= served
		if said == 0 {
			d.scans.ended(p.Dst, p.Src, p.SrcPort, synProbe, useful, now)
		}
	}
}

// flagged takes a segment with SYN, FIN or RST, or without ACK.
func (d *Detections) flagged(p *packet.Parsed, flags packet.Flags, key uint64, sender int, touch flow.Touch, now int64) {
	switch {
	case flags == packet.SYN:
		d.syn(p, key, sender, touch, now)
	case flags == packet.SYN|packet.ACK:
		d.synack(p, key, sender, touch, now)
	case flags&(packet.SYN|packet.RST) == packet.RST:
		d.rst(p, key, sender, touch, now)
	case flags == packet.FIN|packet.ACK || flags == packet.FIN|packet.ACK|packet.PSH:
		d.fin(p, key, sender, touch, now)
	default:
		d.odd(p, flags, key, touch, now)
	}
}

func (d *Detections) syn(p *packet.Parsed, key uint64, sender int, touch flow.Touch, now int64) {
	d.floods.opened(p, now)
	c, fresh := d.conns.all.get(key, now)
	if !fresh && c.state&opened != 0 && c.sides[sender].high == p.Seq+1 && c.state&over == 0 {
		c.state |= again
		return
	}
	*c = conn{begin: tick(now), state: opened}
	if sender == 1 {
		c.state |= fromHigh
	}
	c.sides[sender] = side{next: p.Seq + 1, high: p.Seq + 1, state: begun}
	d.scans.begin(p, p.DstPort, synProbe, now)
}

func (d *Detections) synack(p *packet.Parsed, key uint64, sender int, touch flow.Touch, now int64) {
	c := d.conns.all.find(key, now)
	if c == nil || c.state&opened == 0 || sender == c.client() {
		if touch&flow.NewFlow != 0 {
			d.floods.stray(p, straySYNACK, now)
		}
		return
	}
	if c.state&accepted == 0 {
		c.state |= accepted
		c.synack, c.answer = p.Seq, p.Ack
		c.sides[sender] = side{next: p.Seq + 1, high: p.Seq + 1, state: begun}
		return
	}
	d.injection.synack(p, c, now)
}

func (d *Detections) rst(p *packet.Parsed, key uint64, sender int, touch flow.Touch, now int64) {
	c := d.conns.all.find(key, now)
	if c == nil {
		if touch&flow.Reverse == 0 {
			d.floods.stray(p, strayRST, now)
		} else {
			d.scans.ended(p.Dst, p.Src, p.SrcPort, finProbe, refused, now)
		}
		return
	}
	switch client := c.client(); {
	case c.state&opened == 0 && touch&flow.Reverse != 0:
		d.scans.ended(p.Dst, p.Src, p.SrcPort, finProbe, refused, now)
	case c.state&(opened|established|spoke|over) == opened && sender != client:
		d.scans.ended(p.Dst, p.Src, p.SrcPort, synProbe, refused, now)
	case c.state&(opened|accepted|established|over) == opened|accepted && sender == client:
		d.scans.ended(p.Src, p.Dst, p.DstPort, synProbe, halfOpen, now)
	}
	d.finished(p, c, key, sender, now)
	d.injection.closed(p, c, sender, true)
}

func (d *Detections) fin(p *packet.Parsed, key uint64, sender int, touch flow.Touch, now int64) {
	c := d.conns.all.find(key, now)
	if c == nil {
		if touch&flow.NewFlow != 0 {
			d.floods.stray(p, strayFIN, now)
			if p.PayloadLen == 0 && p.SrcPort > p.DstPort {
				d.scans.begin(p, p.DstPort, maimonProbe, now)
			}
		}
		return
	}
	if c.state&(opened|established) == opened && sender == c.client() {
		d.establish(p, c, key, now)
	}
	if p.PayloadLen > 0 {
		d.data(p, c, key, sender, now)
	}
	d.finished(p, c, key, sender, now)
	d.injection.closed(p, c, sender, false)
}

// odd takes flags that no stack sends: none, FIN alone, FIN with PSH and URG.
func (d *Detections) odd(p *packet.Parsed, flags packet.Flags, key uint64, touch flow.Touch, now int64) {
	d.floods.stray(p, strayFIN, now)
	if touch&flow.NewFlow == 0 && d.conns.all.find(key, now) != nil {
		return
	}
	switch flags {
	case 0:
		d.scans.begin(p, p.DstPort, nullProbe, now)
	case packet.FIN:
		d.scans.begin(p, p.DstPort, finProbe, now)
	case packet.FIN | packet.PSH | packet.URG:
		d.scans.begin(p, p.DstPort, xmasProbe, now)
	}
}

// finished judges a connection when the first FIN or RST ends it.
func (d *Detections) finished(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	if c.state&over != 0 {
		return
	}
	c.state |= over
	d.web.finished(c, key, now)
	if c.state&established == 0 {
		return
	}
	client, server, port := p.Src, p.Dst, p.DstPort
	if sender != c.client() {
		client, server, port = p.Dst, p.Src, p.SrcPort
	}
	if c.state&(spoke|served) == 0 && sender == c.client() {
		d.scans.ended(client, server, port, synProbe, idle, now)
	}
	d.brute.finished(client, server, port, c, now)
}
