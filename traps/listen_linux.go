package traps

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	backlog = 65535 // the kernel lowers it to net.core.somaxconn
	batch   = 256   // connections between two looks at whether the socket is closed
)

// socket is a listening socket of one trap port. One goroutine accepts; close
// may be called by another.
type socket struct {
	at   netip.AddrPort // without an address: all of IPv4 and IPv6
	file *os.File
	raw  syscall.RawConn

	peer  unix.RawSockaddrAny // scratch of accept4
	saved [512]byte           // scratch of TCP_SAVED_SYN: at most an IP and a TCP header
}

// listen opens the socket. Multipath TCP stays off (IPPROTO_TCP): with it the
// kernel keeps no SYN.
func listen(at netip.AddrPort) (*socket, error) {
	family, address := sockaddr(at)
	fd, err := listenFD(family, address)
	if !at.Addr().IsValid() && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		// The host has no IPv6.
		fd, err = listenFD(unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port())})
	}
	if err != nil {
		return nil, err
	}
	// The descriptor does not block, so the runtime's poller takes it.
	file := os.NewFile(uintptr(fd), "trap")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &socket{at: at, file: file, raw: raw}, nil
}

// sockaddr returns the family and address of at; without an address the one
// of IPv6 that takes IPv4 too.
func sockaddr(at netip.AddrPort) (family int, address unix.Sockaddr) {
	if at.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	six := &unix.SockaddrInet6{Port: int(at.Port())}
	if at.Addr().IsValid() {
		six.Addr = at.Addr().As16()
	}
	if zone := at.Addr().Zone(); zone != "" {
		if link, err := net.InterfaceByName(zone); err == nil {
			six.ZoneId = uint32(link.Index)
		}
	}
	return unix.AF_INET6, six
}

func listenFD(family int, address unix.Sockaddr) (fd int, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if err = prepare(fd, address); err == nil {
		err = unix.Bind(fd, address)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// prepare sets the options that must stand before bind and listen. SO_REUSEADDR
// lets a restarted vft bind while connections of the last run still wait in
// TIME_WAIT; it does not let two sockets listen.
func prepare(fd int, address unix.Sockaddr) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if six, ok := address.(*unix.SockaddrInet6); ok && err == nil {
		only := 0
		if six.Addr != [16]byte{} {
			only = 1
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	// Old kernels keep no SYN: then events have none, and syn_missing counts.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1)
	return err
}

func (s *socket) close() { s.file.Close() }

// accept calls visit for each connection until the queue is empty, waits, and
// goes on. It returns net.ErrClosed after close, nil from time to time, and
// otherwise why the kernel gave no connection.
func (s *socket) accept(visit func(accepted)) error {
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		for range batch {
			conn, errno := s.accept4(fd)
			switch errno {
			case 0:
				visit(s.describe(conn))
			case unix.EAGAIN:
				return false // wait until it is readable
			case unix.EINTR:
			default:
				failed = errno
				return true
			}
		}
		return true
	})
	if err != nil {
		return net.ErrClosed
	}
	return failed
}

// accept4 is the system call without an allocation. It never blocks, so the
// scheduler need not know of it.
func (s *socket) accept4(fd uintptr) (handle, unix.Errno) {
	size := uint32(unsafe.Sizeof(s.peer))
	conn, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, fd, uintptr(unsafe.Pointer(&s.peer)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return handle(conn), errno
}

// describe adds what the kernel knows of conn.
func (s *socket) describe(conn handle) accepted {
	a := accepted{conn: conn, src: s.peerAddr(), syn: s.savedSYN(conn)}
	if len(a.syn) == 0 {
		a.dst = localAddr(conn)
	}
	return a
}

// peerAddr reads the address that accept4 left. Ports are big endian.
func (s *socket) peerAddr() netip.AddrPort {
	if s.peer.Addr.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.peer))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), networkOrder(four.Port))
	}
	six := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.peer))
	return netip.AddrPortFrom(netip.AddrFrom16(six.Addr).Unmap(), networkOrder(six.Port))
}

func networkOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// savedSYN returns the IP and TCP headers of the SYN that opened conn, empty
// when the kernel has none: a connection that a SYN cookie made.
func (s *socket) savedSYN(conn handle) []byte {
	size := uint32(len(s.saved))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(conn), unix.IPPROTO_TCP, unix.TCP_SAVED_SYN,
		uintptr(unsafe.Pointer(&s.saved)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil
	}
	return s.saved[:size]
}

func localAddr(conn handle) netip.AddrPort {
	address, _ := unix.Getsockname(int(conn))
	switch address := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(address.Addr), uint16(address.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(address.Addr).Unmap(), uint16(address.Port))
	}
	return netip.AddrPort{}
}

// handle is the descriptor of an accepted connection.
type handle int

// close never blocks, so the scheduler need not know of it.
func (h handle) close() { unix.RawSyscall(unix.SYS_CLOSE, uintptr(h), 0, 0) }

// stream returns the connection as one that can be read with a deadline; it
// owns the descriptor then.
func (h handle) stream() stream { return os.NewFile(uintptr(h), "held") }
