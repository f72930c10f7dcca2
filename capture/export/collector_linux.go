package export

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

func (c *CollectorConfig) workers() int { return c.Workers }

// worker reads its socket of each address, on one goroutine.
type worker struct {
	collector *Collector
	sockets   []*socket
	batch     *batch
	poll      []unix.PollFd
	to        Handler
	looked    int64 // when the drops were last read
}

func newWorker(c *Collector) *worker { return &worker{collector: c, batch: newBatch()} }

// bind gives each worker a socket for at.
func (c *Collector) bind(at netip.AddrPort) error {
	sockets, err := bindAll(at, &c.config)
	if err != nil {
		return err
	}
	for i, s := range sockets {
		s.counts = &c.counts
		c.workers[i].sockets = append(c.workers[i].sockets, s)
	}
	if got := sockets[0].buffer; got < c.config.ReceiveBuffer/2 {
		c.config.Log.Warn().Stringer("at", sockets[0].at).Int("bytes", got).Int("asked", c.config.ReceiveBuffer).
			Msg("the kernel gives a small receive buffer, so bursts may be lost; raise net.core.rmem_max or allow cap_net_admin")
	}
	return nil
}

// run reads until ctx ends, and then what had arrived by then.
func (w *worker) run(ctx context.Context, to Handler) error {
	w.to = to
	for _, s := range w.sockets {
		w.poll = append(w.poll, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
	for ctx.Err() == nil {
		if err := w.turn(longestWait); err != nil {
			return err
		}
	}
	return w.finish()
}

// turn waits for datagrams, hands one batch of each socket over, and tells the
// time.
func (w *worker) turn(wait time.Duration) error {
	_, err := unix.Poll(w.poll, int(wait/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("cannot wait for flows: %w", err)
	}
	now := int64(0)
	for i, s := range w.sockets {
		if err != nil || w.poll[i].Revents == 0 {
			continue
		}
		if _, now, err = w.read(s); err != nil {
			return err
		}
	}
	if now == 0 {
		now = w.collector.config.Now().UnixNano()
	}
	w.tick(now)
	return nil
}

// finish reads what the kernel holds. It takes no more batches than a receive
// buffer can hold, and no longer than longestFinish, or a busy exporter would keep
// it from ending.
func (w *worker) finish() error {
	const smallest = 512 // bytes that a datagram takes of the buffer, at least
	until := w.collector.config.Now().Add(longestFinish).UnixNano()
	for _, s := range w.sockets {
		for range 2*s.buffer/smallest/batchSize + 1 {
			n, now, err := w.read(s)
			if err != nil {
				return err
			}
			w.tick(now)
			if n == 0 || now > until {
				break
			}
		}
	}
	w.look(w.collector.config.Now().UnixNano())
	return nil
}

// tick ends a batch, and looks from time to time at what was dropped.
func (w *worker) tick(now int64) {
	if w.to.Tick != nil {
		w.to.Tick(now)
	}
	if since := now - w.looked; since < 0 || since >= int64(longestWait) {
		w.look(now)
	}
}

// look tells what the kernel dropped since the last look.
func (w *worker) look(now int64) {
	w.looked = now
	for _, s := range w.sockets {
		s.collect()
		if loss := s.loss(now); loss.Dropped > 0 {
			w.collector.lost(w.to, loss)
		}
	}
}

// read hands one batch of s over and returns its size and time.
func (w *worker) read(s *socket) (n int, now int64, err error) {
	n, errno := w.batch.receive(s.fd)
	now = w.collector.config.Now().UnixNano()
	if errno != 0 {
		if errors.Is(errno, unix.EAGAIN) || errors.Is(errno, unix.EINTR) {
			return 0, now, nil
		}
		return 0, now, fmt.Errorf("cannot receive flows on %s: %w", s.at, errno)
	}
	s.received += uint64(n)
	w.collector.counts.received.Add(uint64(n))
	w.collector.counts.batches.Add(1)
	for i := range n {
		if from := w.batch.from(i); w.collector.allows(from.Addr(), now) {
			w.to.Datagram(from, w.batch.payload(i), now)
		}
	}
	return n, now, nil
}

func (w *worker) addrs() []netip.AddrPort {
	var list []netip.AddrPort
	for _, s := range w.sockets {
		list = append(list, s.at)
	}
	return list
}

func (w *worker) collect() {
	for _, s := range w.sockets {
		s.collect()
	}
}

func (w *worker) close() {
	for _, s := range w.sockets {
		s.close()
	}
}
