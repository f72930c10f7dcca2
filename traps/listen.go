package traps

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// accepted is a connection whose handshake is complete.
type accepted struct {
	conn     handle
	src, dst netip.AddrPort
	syn      []byte // packet that opened it, nil when the system kept none; valid until the next accept
}

// listenAll listens on port on each address, or once for all of IPv4 and IPv6
// when addrs is empty. When one fails, none stays.
//
// There is one socket for each address, without SO_REUSEPORT: with it a second
// vft, or a service of the same user, could bind the port too, and each would
// lose a part of its connections to the other without a sign.
func listenAll(addrs []netip.Addr, port uint16) (sockets []*socket, err error) {
	if port == 0 {
		return nil, errors.New("cannot bind port 0; ports are 1 to 65535")
	}
	if len(addrs) == 0 {
		addrs = []netip.Addr{{}}
	}
	for _, addr := range addrs {
		at := netip.AddrPortFrom(addr.Unmap(), port)
		socket, err := listen(at)
		if err != nil {
			closeAll(sockets)
			return nil, bindError(at, err)
		}
		sockets = append(sockets, socket)
	}
	return sockets, nil
}

// bindError says what a user can do about err.
func bindError(at netip.AddrPort, err error) error {
	host := "*"
	if at.Addr().IsValid() {
		host = at.Addr().String()
	}
	remedy := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "; another program listens there and keeps the port"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		remedy = "; ports below 1024 need root or the capability cap_net_bind_service"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "; no interface of this host has the address"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		remedy = "; raise the limit of open files (ulimit -n)"
	}
	return fmt.Errorf("cannot bind %s: %w%s", net.JoinHostPort(host, strconv.Itoa(int(at.Port()))), err, remedy)
}
