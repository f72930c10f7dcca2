package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// session connects, and publishes until something fails, which it returns, or
// until stop is closed and nothing is left to deliver: nil. When ctx ends it
// returns at once.
func (n *Notifier) session(ctx context.Context, stop <-chan struct{}) error {
	d := net.Dialer{Timeout: min(10*time.Second, n.setup)}
	raw, err := d.DialContext(ctx, "tcp", n.config.Target.Address)
	if err != nil {
		return err
	}
	// The library waits for answers without a limit. Closing the socket below
	// it ends that.
	defer raw.Close()
	shut := func() { _ = raw.Close() }
	defer context.AfterFunc(ctx, shut)()
	patience := time.AfterFunc(n.setup, shut)
	conn, p, err := n.open(ctx, &hasty{raw, n.config.Confirm})
	inTime := patience.Stop()
	if err != nil && !inTime {
		return fmt.Errorf("no answer within %v; is an AMQP broker there?", n.setup)
	}
	if err != nil {
		return n.explain(err, false)
	}
	n.tell()
	if err := p.run(ctx, stop); err != nil {
		return n.explain(err, true)
	}
	defer time.AfterFunc(time.Second, shut).Stop()
	_ = conn.Close() // all is confirmed; an error changes nothing
	return nil
}

// hasty is a connection whose writes have a time limit. While a write of the
// library waits, its own closing waits for the write: a broker that stopped
// reading would never be given up.
type hasty struct {
	net.Conn
	limit time.Duration
}

func (h *hasty) Write(b []byte) (int, error) {
	if err := h.SetWriteDeadline(time.Now().Add(h.limit)); err != nil {
		return 0, err
	}
	return h.Conn.Write(b)
}

// open makes a publisher on a new connection: TLS, login, queue, confirms.
func (n *Notifier) open(ctx context.Context, raw net.Conn) (*amqp091.Connection, *publisher, error) {
	secure, err := n.tls()
	if err != nil {
		return nil, nil, err
	}
	transport := raw
	if secure != nil {
		client := tls.Client(raw, secure)
		if err := client.HandshakeContext(ctx); err != nil {
			return nil, nil, err
		}
		transport = client
	}
	t := n.config.Target
	conn, err := amqp091.Open(transport, amqp091.Config{
		SASL:  []amqp091.Authentication{&amqp091.PlainAuth{Username: t.user, Password: t.password}},
		Vhost: t.VHost, Heartbeat: t.Heartbeat, Locale: "en_US",
		Properties: amqp091.Table{"product": "vft", "connection_name": "vft"},
	})
	if err != nil {
		return nil, nil, err
	}
	if err := n.declare(conn); err != nil {
		return nil, nil, err
	}
	p, err := n.newPublisher(conn)
	return conn, p, err
}

// declare makes sure of the queue, or of the exchange.
func (n *Notifier) declare(conn *amqp091.Connection) error {
	if name := n.config.Exchange; name != "" {
		err := try(conn, func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclarePassive(name, amqp091.ExchangeDirect, true, false, false, false, nil)
		})
		if code(err) == amqp091.NotFound {
			return fmt.Errorf("there is no exchange %q; create it, or send to a queue", name)
		}
		return err
	}
	name := n.config.Queue
	err := try(conn, func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, nil)
		return err
	})
	if c := code(err); c != amqp091.PreconditionFailed && c != amqp091.AccessRefused {
		return err
	}
	// It may be there with other properties, or made by someone who did not
	// allow us to make one. Both do.
	missing := try(conn, func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if code(missing) == amqp091.NotFound {
		return fmt.Errorf("the queue %q cannot be declared; create it, durable, or allow the user to configure it: %w", name, err)
	}
	if missing == nil && code(err) == amqp091.PreconditionFailed {
		n.note("other", reason(err), "the AMQP queue exists with other properties; it is used as it is")
	}
	return missing
}

// try does something on a channel of its own, for a broker closes the channel
// on which something fails.
func try(conn *amqp091.Connection, f func(*amqp091.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := f(ch); err != nil {
		return err
	}
	return ch.Close()
}

// refusal is an error of the broker's permissions: trying again soon is of no
// use.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// explain says what to do about an error of the broker.
func (n *Notifier) explain(err error, connected bool) error {
	t := n.config.Target
	switch c := code(err); {
	case c == 0:
		return err
	case errors.Is(err, amqp091.ErrCredentials):
		return refusal{fmt.Errorf("the broker dropped the connection when user %q logged in; is the password right, and may that user log in from here?", t.user)}
	case c == amqp091.AccessRefused || c == amqp091.NotAllowed:
		return refusal{fmt.Errorf("the broker refuses user %q on vhost %q: %s; check the user's permissions", t.user, t.VHost, reason(err))}
	case c == amqp091.FrameError && !connected:
		return fmt.Errorf("%s; is an AMQP broker there, with TLS or without as the address says?", reason(err))
	}
	return errors.New(reason(err)) // without the quotes and backslashes of the library
}

// code returns the reply code of the broker (AMQP 0-9-1 section 1.2); 0 for
// another error.
func code(err error) int {
	var e *amqp091.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func reason(err error) string {
	var e *amqp091.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}
