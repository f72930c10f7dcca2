package link

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// maxInFlight is how many events a client sends before it waits for an
// acknowledgement.
const maxInFlight = 16 * maxBatch

// delivery is one connection of a client after the welcome.
type delivery struct {
	client   *Client
	ws       *websocket.Conn
	interval time.Duration
	ctx      context.Context // ends with the connection; its cause is why
	end      context.CancelCauseFunc
	writing  sync.Mutex    // one writer at a time
	until    atomic.Int64  // no events before this time (retry_after), Unix milliseconds
	beatNow  chan struct{} // holds one signal: a heartbeat is due early
}

// connectAndServe is a session of spool.Runner: it connects, delivers and
// returns why it ended.
func (c *Client) connectAndServe(ctx context.Context, stop <-chan struct{}) error {
	ws, welcome, err := c.connect(ctx)
	if err != nil {
		c.counts.add(cConnectFailed)
		return err
	}
	c.counts.add(cConnects)
	c.keepIdentity(ws, welcome)
	d := &delivery{client: c, ws: ws, interval: millis(welcome.Settings.Heartbeat, 100*time.Millisecond, time.Hour), beatNow: make(chan struct{}, 1)}
	d.ctx, d.end = context.WithCancelCause(context.Background())
	c.outbox.resume(welcome.Seq)
	c.cfg.OnIgnore(welcome.Ignore)
	if len(welcome.Ports) > 0 {
		c.cfg.OnDeal(welcome.Ports)
	}
	var work sync.WaitGroup
	work.Go(d.read)
	work.Go(d.beat)
	work.Go(func() {
		<-d.ctx.Done()
		ws.Close()
	})
	d.end(d.send(ctx, stop))
	work.Wait()
	c.counts.add(cDisconnects)
	return context.Cause(d.ctx)
}

// keepIdentity notes what the welcome says of this client.
func (c *Client) keepIdentity(ws *websocket.Conn, welcome *welcomeFrame) {
	c.welcomed, c.strange = true, false
	pin := peerPin(ws.NetConn())
	if err := c.identity.dealt(welcome.Client, pin, c.cfg.Dir); err != nil {
		c.log("identity").Err(err).Msg("this client will need its secret or join string again")
	}
	c.status(true, nil)
	c.cfg.Log.Info().Str("client", welcome.Client).Str("server", c.cfg.Server).Msg("connected")
}

// send sends batches until the connection or ctx ends, or until stop is closed
// and all is delivered.
func (d *delivery) send(ctx context.Context, stop <-chan struct{}) error {
	outbox := d.client.outbox
	var frame []byte
	var last time.Time
	for {
		if stop == nil && outbox.len() == 0 {
			return nil
		}
		wait := d.due(stop == nil, last)
		if wait == 0 {
			var err error
			if frame, err = d.sendBatch(frame[:0]); err != nil {
				return err
			}
			last = time.Now()
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-d.ctx.Done():
			return context.Cause(d.ctx)
		case <-stop:
			stop = nil
		case <-ctx.Done():
			return ctx.Err()
		case <-outbox.log.Changed():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// due returns how long the next batch must wait if nothing changes: not at all
// when it is full, or when none was sent lately, so that one hit is reported at
// once and many together.
func (d *delivery) due(stopping bool, last time.Time) time.Duration {
	unsent, sent := d.client.outbox.waiting()
	if unsent == 0 || sent >= maxInFlight {
		return time.Hour
	}
	if silence := time.Until(time.UnixMilli(d.until.Load())); silence > 0 {
		return silence
	}
	if unsent >= maxBatch || stopping {
		return 0
	}
	return max(0, batchDelay-time.Since(last))
}

func (d *delivery) sendBatch(frame []byte) ([]byte, error) {
	frame, n := d.client.outbox.next(frame, maxBatch)
	if n == 0 {
		return frame, nil
	}
	d.client.counts.add(cBatches)
	if cap(frame) > 4*sendBuffer {
		return nil, d.write(frame) // too rare to keep the buffer
	}
	return frame, d.write(frame)
}

func (d *delivery) write(frame []byte) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return d.ws.WriteMessage(websocket.TextMessage, frame)
}

// read handles what the server says until the connection ends.
func (d *delivery) read() {
	for {
		d.ws.SetReadDeadline(time.Now().Add(3*d.interval + time.Second))
		kind, b, err := d.ws.ReadMessage()
		if err == nil {
			err = d.frame(kind, b)
		}
		if err != nil {
			d.end(fmt.Errorf("connection to %s ended: %w", d.client.cfg.Server, err))
			return
		}
	}
}

func (d *delivery) frame(kind int, b []byte) error {
	c := d.client
	var frame controlFrame
	if kind != websocket.TextMessage || json.Unmarshal(b, &frame) != nil {
		return errors.New("the server sent something that is not a frame")
	}
	switch frame.Type {
	case "ack":
		c.counts.add(cAcked)
		c.outbox.ack(frame.Seq)
	case "deal":
		c.cfg.OnDeal(frame.Ports)
		select {
		case d.beatNow <- struct{}{}:
		default:
		}
	case "retry_after":
		c.counts.add(cRetryAfter)
		d.until.Store(time.Now().Add(millis(frame.Millis, 0, lastDelay)).UnixMilli())
	case "refused":
		c.counts.add(cFrameRefused)
		c.log("refused").Str("reason", fmt.Sprintf("%.200q", frame.Reason)).Msg("the server refused a frame")
	case "bye":
		return byeError(frame.Reason)
	default:
		c.counts.add(cFrameUnknown) // of a newer server
	}
	return nil
}

func byeError(reason string) error {
	switch reason {
	case byeReplaced:
		return errReplaced
	case byeRevoked:
		return refusedf("%s", reason)
	}
	return fmt.Errorf("the server says: %.200q", reason)
}

// beat sends a heartbeat at once, at each interval and after a deal.
func (d *delivery) beat() {
	tick := time.NewTicker(d.interval)
	defer tick.Stop()
	for test := true; ; {
		if test {
			d.selfTest()
		}
		if err := d.write(marshal(heartbeatFrame{Type: "heartbeat", Heartbeat: d.client.heartbeat()})); err != nil {
			d.end(err)
			return
		}
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
			test = true
		case <-d.beatNow:
			test = false // the traps were just opened; the next one tells
		}
	}
}

func (d *delivery) selfTest() {
	c := d.client
	if c.cfg.SelfTest == nil {
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.interval)
	defer cancel()
	if err := c.cfg.SelfTest(ctx); err != nil {
		c.counts.add(cSelfTestFailed)
		c.selfTest = err.Error()
		return
	}
	c.selfTest = SelfTestOK
}

func (c *Client) heartbeat() Heartbeat {
	open, failed := c.cfg.Traps()
	return Heartbeat{
		Time:     c.cfg.Now().UTC(),
		Spooled:  uint64(c.outbox.len()),
		Dropped:  c.outbox.dropped(),
		SelfTest: c.selfTest[:min(len(c.selfTest), 1000)],
		Load:     finite(c.cfg.Load()),
		Traps:    open[:min(len(open), maxPorts)],
		Failed:   failed[:min(len(failed), maxPorts)],
	}
}

// finite returns x, or 0 when JSON cannot hold it.
func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

// peerPin returns the pin of the other side's certificate, nil in plain text.
func peerPin(conn net.Conn) *Pin {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	pin := PinOf(secure.ConnectionState().PeerCertificates[0])
	return &pin
}
