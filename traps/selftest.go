package traps

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// testTime is how long a self-test may take.
const testTime = 5 * time.Second

// mark is a connection that a self-test is about to make.
type mark struct {
	src  netip.AddrPort
	seen chan struct{} // closed when it was accepted
}

// SelfTest connects to one of the open traps, another one each time, and waits
// until it comes out of the accept path. The connection is known by its source
// port, which is registered before it is made: it becomes no event and is
// counted apart. The error says which trap is deaf.
func (s *Set) SelfTest(ctx context.Context) error {
	s.testing.Lock()
	defer s.testing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	err := s.selfTest(ctx)
	if err != nil {
		s.counts.testFailed.Add(1)
	} else {
		s.counts.tested.Add(1)
	}
	return err
}

func (s *Set) selfTest(ctx context.Context) error {
	target, ok := s.target()
	if !ok {
		return errors.New("cannot test the traps: none is open")
	}
	var err error
	for range 3 { // another program may take the reserved port in between
		if err = s.testTrap(ctx, target); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot reach the own trap at %v: %w", target, err)
	}
	return nil
}

// target returns an address of the next trap in turn; s.testing is held.
func (s *Set) target() (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := s.ports()
	if len(ports) == 0 {
		return netip.AddrPort{}, false
	}
	s.turn++
	at := s.open[ports[s.turn%len(ports)]][0].at
	switch addr := at.Addr(); {
	case !addr.IsValid(), addr == netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()), true
	case addr == netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), at.Port()), true
	}
	return at, true
}

// testTrap connects to target from a port that it reserves and marks.
func (s *Set) testTrap(ctx context.Context, target netip.AddrPort) error {
	src, err := freePort(target.Addr())
	if err != nil {
		return err
	}
	m := &mark{src, make(chan struct{})}
	s.mark.Store(m)
	defer s.mark.Store(nil)
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(src), KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	select {
	case <-m.seen:
		return nil
	case <-ctx.Done():
		return errors.New("connected, but the connection did not come out of the trap")
	}
}

// freePort returns a port of addr that nobody uses now.
func freePort(addr netip.Addr) (netip.AddrPort, error) {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	return netip.AddrPortFrom(addr, port), nil
}

// isMarked reports whether src is the connection of the running self-test, and
// tells it.
func (s *Set) isMarked(src netip.AddrPort) bool {
	m := s.mark.Load()
	if m == nil || m.src.Port() != src.Port() || m.src.Addr().WithZone("") != src.Addr() || !s.mark.CompareAndSwap(m, nil) {
		return false
	}
	close(m.seen)
	return true
}
