//go:build !linux

package traps

import (
	"errors"
	"net"
	"syscall"
)

// Busy returns a func that reports the ports a trap must leave alone: those
// that cannot be bound now, on any address of IPv4 or IPv6, and those that the
// system deals to outgoing connections (RFC 6335 section 6: from 49152).
func Busy() (func(port uint16) bool, error) {
	return func(port uint16) bool { return port >= 49152 || !bindable(port) }, nil
}

// bindable tries the loopback addresses too: some systems let a socket of all
// addresses stand beside one of a single address.
func bindable(port uint16) bool {
	for _, host := range []net.IP{nil, net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: host, Port: int(port)})
		if err == nil {
			listener.Close()
		} else if host == nil || errors.Is(err, syscall.EADDRINUSE) {
			return false
		}
	}
	return true
}
