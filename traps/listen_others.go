//go:build !linux

package traps

import (
	"context"
	"net"
	"net/netip"
)

// socket is a listening socket of one trap port. One goroutine accepts; close
// may be called by another.
type socket struct {
	at       netip.AddrPort // without an address: all of IPv4 and IPv6
	listener *net.TCPListener
}

func listen(at netip.AddrPort) (*socket, error) {
	network, address := "tcp", at
	switch {
	case at.Addr().Is4():
		network = "tcp4"
	case at.Addr().Is6():
		network = "tcp6"
	default:
		address = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	}
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), network, address.String())
	if err != nil {
		return nil, err
	}
	return &socket{at, listener.(*net.TCPListener)}, nil
}

func (s *socket) close() { s.listener.Close() }

// accept waits for a connection and calls visit with it. It returns
// net.ErrClosed after close, and otherwise why the system gave none.
func (s *socket) accept(visit func(accepted)) error {
	conn, err := s.listener.AcceptTCP()
	if err != nil {
		return err
	}
	visit(accepted{
		conn: handle{conn},
		src:  addrPort(conn.RemoteAddr()),
		dst:  addrPort(conn.LocalAddr()),
	})
	return nil
}

func addrPort(addr net.Addr) netip.AddrPort {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// handle is an accepted connection.
type handle struct{ conn *net.TCPConn }

func (h handle) close() { h.conn.Close() }

// stream returns the connection as one that can be read with a deadline.
func (h handle) stream() stream { return h.conn }
