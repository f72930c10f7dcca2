package link

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"vft/event"
)

var (
	errTooManyEvents = errors.New("a frame has too many events")
	errTooManyPorts  = errors.New("a list has too many ports")
	errBinary        = errors.New("a binary frame")
)

// session is one connection of a client that has proven itself.
type session struct {
	server  *Server
	member  *member
	ws      *websocket.Conn
	writing sync.Mutex // one writer at a time
	strikes int
	seq     uint64 // the last one stored; only the reader uses it
	boot    string
	storing bool // events came on this connection: from here on no number is left out
}

// welcome makes n the connection of its client, in place of an older one, and
// says so to the client.
func (s *Server) welcome(n *newcomer, hello Hello) (*session, error) {
	m := n.member
	if m.close(byeReplaced) {
		s.count(sReplaced).client(m.ID).log(nil)
	}
	c := &session{server: s, member: m, ws: n.ws, boot: hello.Boot}
	m.turn.Lock()
	defer m.turn.Unlock()
	hello.Client = m.ID
	hello.Hostname = strings.ToValidUTF8(hello.Hostname, "?")
	if !m.begin(c, hello, s.cfg.Now()) {
		return nil, errRevoked
	}
	s.registry.changed()
	s.reportSkew(m)
	ignore := s.cfg.Ignore()
	frame := welcomeFrame{
		Type: "welcome", Client: m.ID, Ports: s.cfg.Hello(hello), Ignore: ignore[:min(len(ignore), maxIgnore)],
		Settings: Settings{Heartbeat: s.cfg.Interval.Milliseconds()}, Seq: c.seq,
	}
	c.ws.SetReadLimit(maxFrame)
	c.ws.SetPingHandler(c.pong)
	return c, c.write(marshal(frame))
}

// pong answers a ping, which costs the client as much as an event.
func (c *session) pong(data string) error {
	if reason := c.pay(1); reason != "" {
		return errors.New(reason)
	}
	return c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
}

// run reads frames until the connection ends.
func (c *session) run() {
	reason := ""
	for reason == "" {
		c.ws.SetReadDeadline(time.Now().Add(3 * c.server.cfg.Interval))
		kind, body, err := c.ws.NextReader()
		if err != nil {
			reason = c.lost(err)
		} else {
			reason = c.frame(kind, body)
		}
	}
	c.end(reason)
}

// lost returns why the connection cannot be read any more, counted.
func (c *session) lost(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		c.server.count(sFrameTooBig).client(c.member.ID).log(nil)
		return "a frame over 1 MiB"
	case errors.As(err, &timeout) && timeout.Timeout():
		c.server.count(sSilent).client(c.member.ID).log(nil)
		return "silent for three heartbeats"
	}
	return lostConnection
}

// end closes the connection and tells that the client is gone, unless another
// connection of it took over.
func (c *session) end(reason string) {
	c.sayBye(reason)
	if reason != lostConnection {
		c.linger()
	}
	c.ws.Close()
	c.member.turn.Lock()
	defer c.member.turn.Unlock()
	if c.member.leave(c, c.server.cfg.Now()) {
		c.server.cfg.Gone(c.member.ID)
	}
}

// bye says why and closes the connection. It may be called from any goroutine
// and more than once.
func (c *session) bye(reason string) {
	c.sayBye(reason)
	c.ws.Close()
}

func (c *session) sayBye(reason string) {
	// A write of another goroutine that does not get on ends now.
	c.ws.NetConn().SetWriteDeadline(time.Now().Add(lingerTime))
	c.writing.Lock()
	defer c.writing.Unlock()
	c.ws.SetWriteDeadline(time.Now().Add(lingerTime))
	_ = c.ws.WriteMessage(websocket.TextMessage, marshal(controlFrame{Type: "bye", Reason: reason}))
}

const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// linger waits a moment for the client to close: closing while something of
// the client's is unread would reset the connection and lose the bye. Only the
// goroutine that reads may call it.
func (c *session) linger() {
	conn := c.ws.NetConn()
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, conn, lingerBytes)
}

func (c *session) write(frame []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.ws.WriteMessage(websocket.TextMessage, frame)
}

// frame reads and handles one frame. It returns why the connection must end,
// or nothing.
func (c *session) frame(kind int, body io.Reader) (reason string) {
	d := c.server.decoders.Get().(*decoder)
	defer func() {
		d.recycle()
		c.server.decoders.Put(d)
	}()
	var err error
	if d.buf, err = readAll(body, d.buf[:0]); err != nil {
		return c.lost(err)
	}
	if kind != websocket.TextMessage {
		return c.strike(sFrameBinary, errBinary)
	}
	if err := d.decode(d.buf); err != nil {
		return c.strike(sFrameBad, err)
	}
	if reason := c.pay(1 + len(d.events)); reason != "" {
		return reason
	}
	switch d.kind {
	case "events":
		return c.events(d)
	case "heartbeat":
		return c.heartbeat(d)
	}
	return c.strike(sFrameUnknown, errors.New("unknown type of frame"))
}

// readAll is io.ReadAll into a buffer that is used again.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(4096, cap(buf)))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// strike counts a bad frame and tells the client; the third ends the connection.
func (c *session) strike(what counter, err error) (reason string) {
	c.server.count(what).client(c.member.ID).log(err)
	reason = "bad frame: " + err.Error()
	if c.strikes++; c.strikes >= maxStrikes {
		c.server.count(sFrameStrikes).client(c.member.ID).log(nil)
		return reason
	}
	if c.write(marshal(controlFrame{Type: "refused", Reason: reason})) != nil {
		return lostConnection
	}
	return ""
}

// pay takes n from the client's rate. Being over it makes the client wait; not
// waiting ends the connection.
func (c *session) pay(n int) (reason string) {
	cfg, m := &c.server.cfg, c.member
	m.mu.Lock()
	silence, ignored := m.bucket.take(n, cfg.Now(), cfg.Rate, cfg.Burst)
	m.mu.Unlock()
	switch {
	case ignored:
		c.server.count(sRateIgnored).client(m.ID).log(nil)
		return byeRate
	case silence > 0:
		c.server.count(sRateLimited).client(m.ID).log(nil)
		if c.write(marshal(controlFrame{Type: "retry_after", Millis: silence.Milliseconds() + 1})) != nil {
			return lostConnection
		}
	}
	return ""
}

// events stores what of a frame was not stored before and acknowledges it.
func (c *session) events(d *decoder) (reason string) {
	n := uint64(len(d.events))
	if d.first == 0 || n == 0 {
		return c.strike(sFrameBad, errors.New("events without a number, or none"))
	}
	fresh := d.events[min(n, max(c.seq+1, d.first)-d.first):]
	c.server.counts.add(sEventsAgain, len(d.events)-len(fresh))
	if len(fresh) > 0 {
		if c.storing && d.first > c.seq+1 {
			c.server.counts.add(sEventsGap, int(d.first-c.seq-1))
		}
		last := d.first + n - 1
		if reason := c.store(fresh, last); reason != "" {
			return reason
		}
		c.seq, c.storing = last, true
	}
	return c.ack()
}

func (c *session) ack() (reason string) {
	var buf [64]byte
	if c.write(appendAck(buf[:0], c.seq)) != nil {
		return lostConnection
	}
	return ""
}

// store stamps events and hands them to Accept in the client's turn.
func (c *session) store(events []event.Event, last uint64) (reason string) {
	m := c.member
	c.stamp(events)
	m.turn.Lock()
	defer m.turn.Unlock()
	if !m.isCurrent(c) {
		return byeReplaced
	}
	err := c.server.cfg.Accept(Batch{Client: m.ID, Boot: c.boot, Seq: last, Events: events})
	if err != nil {
		c.server.counts.add(sNotStored, len(events)-1)
		c.server.count(sNotStored).client(m.ID).log(err)
		return byeStore
	}
	c.server.counts.add(sEvents, len(events))
	m.stored(last, c.server.cfg.Now())
	c.server.registry.changed()
	return ""
}

// stamp puts the name of the client in each event, whatever the event says,
// and the server's time.
func (c *session) stamp(events []event.Event) {
	m := c.member
	m.mu.Lock()
	offset, host := m.clock.offset(), m.Hostname
	m.mu.Unlock()
	now := c.server.cfg.Now().UTC().Round(0) // without the monotonic clock, as every time of an event
	for i := range events {
		e := &events[i]
		if e.Client != "" && e.Client != m.ID {
			c.server.count(sEventsForged).client(m.ID).log(nil)
		}
		e.Client, e.Host = m.ID, host
		var cut bool
		if e.Time, cut = correct(e.Time, offset, now); cut {
			c.server.count(sEventsFuture).client(m.ID).log(nil)
		}
	}
}

// heartbeat notes how the client is, deals it other ports if it must have
// others, and acknowledges, which tells the client that the server lives.
func (c *session) heartbeat(d *decoder) (reason string) {
	if d.beat.Time.IsZero() {
		return c.strike(sFrameBad, errors.New("a heartbeat without a time"))
	}
	m := c.member
	beat := m.heard(d.beat, c.server.cfg.Now())
	c.server.reportSkew(m)
	deal, current := c.deal(beat)
	if !current {
		return byeReplaced
	}
	if deal != nil && c.write(marshal(controlFrame{Type: "deal", Ports: deal})) != nil {
		return lostConnection
	}
	return c.ack()
}

func (c *session) deal(beat Heartbeat) (ports []uint16, current bool) {
	c.member.turn.Lock()
	defer c.member.turn.Unlock()
	if !c.member.isCurrent(c) {
		return nil, false
	}
	return c.server.cfg.Heartbeat(c.member.ID, beat), true
}

// reportSkew logs and counts that a client's clock went wrong, once each time.
func (s *Server) reportSkew(m *member) {
	m.mu.Lock()
	offset := m.clock.offset()
	skewed := offset.Abs() > clockSkew
	news := skewed && !m.skewed
	m.skewed = skewed
	m.mu.Unlock()
	if news {
		c := s.count(sClockSkewed).client(m.ID)
		c.entry = c.entry.Dur("offset_ms", offset)
		c.log(nil)
	}
}
