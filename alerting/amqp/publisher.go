package amqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// window is how many messages may be published and not yet confirmed.
const window = 256

// publisher publishes on one channel. One goroutine owns it. Each channel that
// the library writes to has room for all that can come while the publisher is
// not reading, since the library's reader waits for it.
type publisher struct {
	n        *Notifier
	channel  *amqp091.Channel
	confirms chan amqp091.Confirmation // one for each message, in the order in which they were published
	returns  chan amqp091.Return       // comes before the confirmation of its message
	blocks   chan amqp091.Blocking
	closed   chan *amqp091.Error

	flight  []flying // published and not confirmed, oldest first
	most    int      // messages that may be in flight: 1 after a refusal, doubled by each success
	refused int      // refusals in a row
	paused  bool     // after a refusal
	blocked bool     // the broker stopped its publishers
	resume  *time.Timer
	overdue *time.Timer // the oldest in flight is not confirmed
}

// flying is a message in flight.
type flying struct {
	message
	since    time.Time
	returned bool
}

func (n *Notifier) newPublisher(conn *amqp091.Connection) (*publisher, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	return &publisher{
		n: n, channel: ch, most: window,
		confirms: ch.NotifyPublish(make(chan amqp091.Confirmation, window)),
		returns:  ch.NotifyReturn(make(chan amqp091.Return, window)),
		blocks:   conn.NotifyBlocked(make(chan amqp091.Blocking, 16)),
		closed:   ch.NotifyClose(make(chan *amqp091.Error, 1)),
	}, nil
}

// run publishes until it fails, or until stop is closed and all is confirmed.
func (p *publisher) run(ctx context.Context, stop <-chan struct{}) error {
	p.resume, p.overdue = time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer p.resume.Stop()
	defer p.overdue.Stop()
	defer p.giveBack()
	for {
		if err := p.publish(); err != nil {
			return p.why(err)
		}
		if stop == nil && p.n.queue.totals().queued == 0 {
			return nil
		}
		p.watch()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			stop = nil
		case <-p.n.queue.wake:
		case c, ok := <-p.confirms:
			if !ok {
				return p.why(amqp091.ErrClosed)
			}
			if err := p.settle(c); err != nil {
				return err
			}
		case b, ok := <-p.blocks:
			if ok {
				p.block(b)
			} else {
				p.blocks = nil
			}
		case <-p.resume.C:
			p.paused = false
		case <-p.overdue.C:
			return fmt.Errorf("the broker did not confirm a message within %v; it is published again", p.n.config.Confirm)
		case err := <-p.closed:
			return p.why(err)
		}
	}
}

// publish publishes what waits, as far as it may now.
func (p *publisher) publish() error {
	if p.paused || p.blocked || len(p.flight) >= p.most {
		return nil
	}
	batch := p.n.queue.take(p.most - len(p.flight))
	for i, m := range batch {
		_, err := p.channel.PublishWithDeferredConfirm(p.n.config.Exchange, p.n.config.RoutingKey, true, false, amqp091.Publishing{
			ContentType: "application/json", DeliveryMode: amqp091.Persistent, AppId: "vft",
			MessageId: m.id.String(), Timestamp: time.Unix(max(m.at, 0), 0), Body: m.body,
		})
		if err != nil {
			p.n.queue.back(batch[i:]...)
			return err
		}
		p.flight = append(p.flight, flying{message: m, since: time.Now()})
	}
	return nil
}

// watch sets the time limit of the oldest message in flight. While the broker
// stops its publishers, none runs.
func (p *publisher) watch() {
	if len(p.flight) == 0 || p.blocked {
		p.overdue.Stop()
		return
	}
	p.overdue.Reset(p.n.config.Confirm - time.Since(p.flight[0].since))
}

// settle deals with the oldest message in flight, which c is about.
func (p *publisher) settle(c amqp091.Confirmation) error {
	p.markReturned()
	f := p.flight[0]
	p.flight = p.flight[1:]
	q := p.n.queue
	switch {
	case c.Ack && !f.returned:
		q.done(&f.message)
		p.refused, p.most = 0, min(2*p.most, window)
		return nil
	case c.Ack:
		p.n.returned.Add(1)
		q.back(f.message)
		if p.n.config.Exchange == "" {
			return fmt.Errorf("the queue %q was deleted", p.n.config.Queue)
		}
		p.n.note("returned", "NO_ROUTE", "no queue is bound to the AMQP exchange for the routing key; threats wait and it is tried again")
	default:
		p.n.nacked.Add(1)
		q.back(f.message)
		p.n.note("nacked", "nack", "the AMQP queue takes no more messages; threats wait and it is tried again")
	}
	p.refuse()
	return nil
}

// refuse stops publishing for a while, and goes on with one message.
func (p *publisher) refuse() {
	if !p.paused {
		p.paused = true
		p.resume.Reset(p.n.again.After(p.refused))
		p.refused++
	}
	p.most = 1
}

// markReturned finds the messages that the broker returned.
func (p *publisher) markReturned() {
	for {
		select {
		case r, ok := <-p.returns:
			if !ok {
				p.returns = nil
			}
			for i := range p.flight {
				if f := &p.flight[i]; ok && !f.returned && f.id.String() == r.MessageId {
					f.returned = true
					break
				}
			}
		default:
			return
		}
	}
}

// block notes that the broker stopped its publishers, or lets them go on.
func (p *publisher) block(b amqp091.Blocking) {
	p.blocked = b.Active
	if b.Active {
		p.n.blocked.Add(1)
		p.n.note("blocked", b.Reason, "the AMQP broker stopped its publishers; threats wait until it lets them go on")
		return
	}
	for i := range p.flight {
		p.flight[i].since = time.Now()
	}
}

// giveBack ends the flight: what the broker confirmed before the connection
// ended is done, the rest is published again on the next.
func (p *publisher) giveBack() {
	for {
		select {
		case c, ok := <-p.confirms:
			if ok && len(p.flight) > 0 {
				_ = p.settle(c)
				continue
			}
		default:
		}
		break
	}
	p.n.unsettled.Add(uint64(len(p.flight)))
	for _, f := range p.flight {
		p.n.queue.back(f.message)
	}
	p.flight = nil
}

// why prefers the reason that the broker gave for closing the channel to an
// error that followed from it.
func (p *publisher) why(err error) error {
	var known *amqp091.Error
	if errors.As(err, &known) && known != nil && known != amqp091.ErrClosed {
		return err
	}
	select {
	case e, ok := <-p.closed:
		if ok && e != nil {
			return e
		}
	case <-time.After(100 * time.Millisecond):
	}
	if known == nil {
		return errors.New("the connection was closed")
	}
	return err
}
