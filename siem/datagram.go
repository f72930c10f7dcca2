package siem

import (
	"context"
	"errors"
	"net"
	"syscall"

	"vft/spool"
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

func (d *datagram) session(ctx context.Context, stop <-chan struct{}, log spool.Log) error {
	conn, err := d.dial(ctx, "udp", d.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	return feed(ctx, stop, log, 1, func(b spool.Batch) (int, error) {
		_, err := conn.Write(b.Data)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			// An ICMP answer to an earlier datagram; this one was not sent. The
			// answer is used up, so the second attempt sends.
			_, err = conn.Write(b.Data)
		case errors.Is(err, syscall.EMSGSIZE):
			log.Drop(b, spool.TooLarge) // some systems take less than maxDatagram
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return 1, nil
	})
}
