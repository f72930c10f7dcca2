package siem

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// maxDatagram is the largest payload of a UDP datagram over IPv4 (RFC 768,
// RFC 791): 65,535 bytes less both headers.
const maxDatagram = 65_507

// datagram sends one record, line end included, in each UDP datagram. A
// datagram that was handed to the network counts as delivered.
type datagram struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	address string
}

func (d *datagram) check() error { return nil }

func (d *datagram) session(ctx context.Context, stop <-chan struct{}, q *queue) error {
	conn, err := d.dial(ctx, "udp", d.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	return q.feed(ctx, stop, func(b batch) (int, error) {
		first := b.within(1)
		_, err := conn.Write(first.data)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			// An ICMP answer to an earlier datagram; this one was not sent. The
			// answer is used up, so the second attempt sends.
			_, err = conn.Write(first.data)
		case errors.Is(err, syscall.EMSGSIZE):
			q.discard(reasonLarge) // some systems take less than maxDatagram
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return 1, nil
	})
}
