//go:build !linux

package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

func (c *CollectorConfig) workers() int { return 1 }

// worker reads one socket of each address, on a goroutine each, and calls the
// handler from one of them at a time.
type worker struct {
	collector *Collector
	sockets   []*net.UDPConn
	mu        sync.Mutex // held while the handler is called
	to        Handler
}

const longestPayload = 1 << 16

func newWorker(c *Collector) *worker { return &worker{collector: c} }

func (c *Collector) bind(at netip.AddrPort) error {
	conn, err := net.ListenUDP("udp", udpAddr(at))
	if err != nil {
		return reason(err)
	}
	conn.SetReadBuffer(c.config.ReceiveBuffer) // what the system gives is what there is
	c.workers[0].sockets = append(c.workers[0].sockets, conn)
	return nil
}

func udpAddr(at netip.AddrPort) *net.UDPAddr {
	if !at.Addr().IsValid() {
		return &net.UDPAddr{Port: int(at.Port())}
	}
	return net.UDPAddrFromAddrPort(at)
}

// reason takes the address off err: the caller names it.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// run reads until ctx ends and then, for a moment, what had arrived by then.
func (w *worker) run(ctx context.Context, to Handler) error {
	w.to = to
	failed := make([]error, len(w.sockets))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wait sync.WaitGroup
	for i, conn := range w.sockets {
		wait.Go(func() {
			if failed[i] = w.serve(ctx, conn); failed[i] != nil {
				stop()
			}
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

func (w *worker) serve(ctx context.Context, conn *net.UDPConn) error {
	buffer := make([]byte, longestPayload)
	for last := false; !last; {
		last = ctx.Err() != nil
		conn.SetReadDeadline(time.Now().Add(longestWait))
		for err := error(nil); err == nil; {
			var n int
			var from netip.AddrPort
			n, from, err = conn.ReadFromUDPAddrPort(buffer)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("cannot receive flows on %s: %w", conn.LocalAddr(), reason(err))
			}
			w.hand(from, buffer[:n], err == nil)
		}
	}
	return nil
}

// hand gives the handler a datagram, if one came, and the time.
func (w *worker) hand(from netip.AddrPort, payload []byte, came bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.collector
	now := c.config.Now().UnixNano()
	if came {
		c.counts.received.Add(1)
		c.counts.batches.Add(1)
		from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
		if c.allows(from.Addr(), now) {
			w.to.Datagram(from, payload, now)
		}
	}
	if w.to.Tick != nil {
		w.to.Tick(now)
	}
}

func (w *worker) addrs() []netip.AddrPort {
	var list []netip.AddrPort
	for _, conn := range w.sockets {
		list = append(list, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return list
}

func (w *worker) collect() {}

func (w *worker) close() {
	for _, conn := range w.sockets {
		conn.Close()
	}
}
