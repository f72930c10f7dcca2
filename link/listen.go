package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Listen opens exactly the address HOST:PORT: 0.0.0.0 is IPv4 alone, which for
// the net package would be IPv6 too. Its error says what to do about it.
func Listen(bind string) (net.Listener, error) {
	network := "tcp"
	if host, _, err := net.SplitHostPort(bind); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
			network = "tcp4"
		}
	}
	ln, err := net.Listen(network, bind)
	if err != nil {
		return nil, fmt.Errorf("cannot bind %s: %v; %s", bind, bindReason(err), bindAdvice(err))
	}
	return ln, nil
}

// bindReason cuts from a network error what the message says already.
func bindReason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var system *os.SyscallError
	if errors.As(err, &system) {
		err = system.Err
	}
	return err
}

// bindAdvice says what to do about an address that cannot be bound.
func bindAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "is another vft running? choose another address with --bind"
	case errors.Is(err, os.ErrPermission):
		return "ports below 1024 need root or the capability cap_net_bind_service; choose another with --bind"
	}
	return "choose an address of this host with --bind"
}
