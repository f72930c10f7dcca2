package siem

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"vft/spool"
)

// stream sends newline-delimited records over TCP, plain or inside TLS. A
// record counts as delivered when the peer's kernel has acknowledged its bytes
// and the connection lived on for a moment, or was ended in order; where the
// system cannot tell what was acknowledged, when the connection lived on for
// longer. Records that do not count when a connection dies are sent again, each
// from its first byte: a peer that resets has thrown away what it had not read,
// acknowledged or not, and a record that comes twice is better than none.
type stream struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	now     func() time.Time
	target  Target
	grace   time.Duration // where the kernel does not say what was acknowledged
	settle  time.Duration // how long a connection must live on after an acknowledged record
	trust   time.Duration // see landed
	timeout time.Duration // of a TLS handshake
}

// maxTLS is how many bytes one TLS record carries (RFC 8446 section 5.1).
const maxTLS = 16 << 10

// An acknowledgement is asked for, since no system tells: at first after
// pollLeast, then ever later up to pollMost.
const (
	pollLeast = time.Millisecond
	pollMost  = 50 * time.Millisecond
)

func newStream(c Config) *stream {
	return &stream{dial: c.Dial, now: c.Now, target: c.Target, grace: time.Second, settle: 250 * time.Millisecond, trust: time.Second, timeout: 10 * time.Second}
}

func (s *stream) check() error {
	if s.target.Scheme != "tls" {
		return nil
	}
	_, err := tlsConfig(s.target)
	return err
}

func (s *stream) session(ctx context.Context, stop <-chan struct{}, log spool.Log) error {
	log.Rewind()
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })()
	for {
		b := log.Take(all, c.atOnce())
		switch {
		case b.Len() > 0:
			err = c.send(ctx, b, s.now())
		case stop == nil && c.flight.empty():
			return nil
		default:
			stop, err = c.idle(ctx, stop, log.Changed())
		}
		s.landed(c, err, log.Ack)
		if err != nil {
			return err
		}
	}
}

// landed takes out of the flight what has arrived and hands it to arrived. err
// is why the connection ended, if it did.
//
// A TLS 1.3 server that refuses our certificate says so after the handshake
// seemed to succeed (RFC 8446 section 4.4.2), when its kernel has acknowledged
// records that it never reads. So nothing counts in the first second, nor when
// the connection ends within it, unless the server ended it in order.
func (s *stream) landed(c *connection, err error, arrived func(spool.Batch)) {
	now := s.now()
	if c.secure && now.Sub(c.since) < s.trust && !errors.Is(err, io.EOF) {
		return
	}
	// Read before the kernel is asked: a byte written in between then counts
	// as not acknowledged.
	written := c.written.Load()
	if waiting, known := unacknowledged(c.raw); known {
		acknowledged := written - int64(waiting)
		if !errors.Is(err, io.EOF) {
			acknowledged = min(acknowledged, c.flight.writtenBy(now.Add(-s.settle)))
		}
		c.flight.land(acknowledged, !c.secure, arrived)
		return
	}
	c.flight.land(c.flight.writtenBy(now.Add(-s.grace)), !c.secure, arrived)
}

func (s *stream) connect(ctx context.Context) (*connection, error) {
	raw, err := s.dial(ctx, "tcp", s.target.Address)
	if err != nil {
		return nil, err
	}
	counted := &countingConn{Conn: raw}
	c := &connection{Conn: counted, raw: raw, written: &counted.written, gone: make(chan struct{}), poll: time.NewTimer(time.Hour)}
	if s.target.Scheme == "tls" {
		if c.Conn, err = s.handshake(ctx, counted); err != nil {
			_ = raw.Close()
			return nil, err
		}
		c.secure = true
	}
	c.since = s.now()
	c.reader.Go(c.watch)
	return c, nil
}

// handshake reads the certificate files anew, so that renewed ones are used.
func (s *stream) handshake(ctx context.Context, raw net.Conn) (net.Conn, error) {
	config, err := tlsConfig(s.target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return conn, nil
}

// connection is one connection of a stream. One goroutine sends on it, and one
// of its own reads, only to learn at once when the peer goes.
type connection struct {
	net.Conn               // plain or TLS
	raw      net.Conn      // what carries it
	written  *atomic.Int64 // bytes handed to raw
	secure   bool          // it is TLS
	since    time.Time     // when it was ready
	flight   flight

	reader sync.WaitGroup
	gone   chan struct{} // closed when the peer has gone
	lost   error         // why; valid when gone is closed

	poll  *time.Timer   // when to ask for acknowledgements again
	again time.Duration // how long that is
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// watch reads until the peer goes, then ends a write that may be waiting.
// What the peer says is of no use.
func (c *connection) watch() {
	var ignored [512]byte
	for c.lost == nil {
		_, c.lost = c.Read(ignored[:])
	}
	close(c.gone)
	_ = c.raw.SetWriteDeadline(past)
}

// close ends the connection and waits for its reader.
func (c *connection) close() {
	_ = c.Close()
	_ = c.raw.Close() // TLS may fail to say goodbye
	c.reader.Wait()
	c.poll.Stop()
}

// atOnce returns how many bytes to send at once.
func (c *connection) atOnce() int {
	if c.secure {
		return maxTLS
	}
	return all
}

// send writes a batch.
func (c *connection) send(ctx context.Context, b spool.Batch, now time.Time) error {
	select {
	case <-c.gone:
		return c.reason(ctx, nil)
	default:
	}
	start := c.written.Load()
	_, err := c.Write(b.Data)
	end := c.written.Load()
	if err != nil && c.secure {
		end = math.MaxInt64 // half a TLS record is nothing
	}
	c.flight.add(mark{Batch: b, start: start, end: end, at: now})
	c.again = pollLeast
	if err != nil {
		return c.reason(ctx, err)
	}
	return nil
}

// idle waits until there is something to do. It returns stop, or nil once stop
// is closed.
func (c *connection) idle(ctx context.Context, stop <-chan struct{}, wake <-chan struct{}) (<-chan struct{}, error) {
	var poll <-chan time.Time
	if !c.flight.empty() {
		c.poll.Reset(c.again)
		c.again = min(2*c.again, pollMost)
		poll = c.poll.C
	}
	select {
	case <-wake:
	case <-poll:
	case <-stop:
		return nil, nil
	case <-ctx.Done():
		return stop, ctx.Err()
	case <-c.gone:
		return stop, c.reason(ctx, nil)
	}
	return stop, nil
}

// reason returns why the connection ended: what the reader saw tells more than
// the error of a write that it ended.
func (c *connection) reason(ctx context.Context, write error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The peer may have said something before it went; real time, since it is
	// the kernel that waits.
	_ = c.raw.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	<-c.gone
	var late net.Error
	// A reset that the write was told of looks like an end in order to the
	// reader: the kernel tells an error once.
	if write != nil && (errors.Is(c.lost, io.EOF) || errors.As(c.lost, &late) && late.Timeout()) {
		return write
	}
	return fmt.Errorf("the connection ended: %w", c.lost)
}

// countingConn counts the bytes that it was given to write.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}
