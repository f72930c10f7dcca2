package siem

import (
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many bytes of a TCP connection the peer's kernel
// has not acknowledged (SIOCOUTQ, tcp(7)): written and acknowledged sequence
// numbers apart, also after a reset. known is false when the kernel is not
// asked, since conn is not a socket.
func unacknowledged(conn net.Conn) (n int, known bool) {
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, failed == nil && err == nil
}

// limitSilence sets TCP_USER_TIMEOUT (RFC 5482, tcp(7)). Without it the kernel
// goes on for about fifteen minutes.
func limitSilence(network, _ string, conn syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	failed := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard.Milliseconds()))
	})
	if failed != nil {
		return failed
	}
	return err
}
