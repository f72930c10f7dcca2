package export

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is one UDP socket of one worker.
type socket struct {
	at       netip.AddrPort // as bound
	buffer   int            // bytes of the receive buffer, as the kernel granted it
	received uint64         // since the last loss; of the worker
	counts   *collectorCounts

	mu      sync.Mutex // guards the rest against a close while the drops are read
	fd      int        // -1 when closed
	seen    uint32     // the kernel's counter of drops at the last look
	dropped uint64     // since the last loss
}

// bindAll opens one socket for each worker, all on the same address.
//
// The first one binds without SO_REUSEPORT, and is given it afterwards when
// there are more. So it fails when another program listens there, and so does a
// second vft later, while the workers of one share the address.
func bindAll(at netip.AddrPort, c *CollectorConfig) (sockets []*socket, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				s.close()
			}
		}
	}()
	for i := range c.Workers {
		s, err := bindOne(at, i > 0, c)
		if i == 0 && !at.Addr().IsValid() && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			// The host has no IPv6.
			at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
			s, err = bindOne(at, false, c)
		}
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, s)
		at = netip.AddrPortFrom(at.Addr(), s.at.Port()) // the others get the port that the first was given
	}
	if c.Workers > 1 {
		err = steer(sockets)
	}
	return sockets, err
}

// bindOne opens a socket, the first one of its address or one that joins it.
func bindOne(at netip.AddrPort, joins bool, c *CollectorConfig) (*socket, error) {
	family, address := sockaddr(at)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd, counts: &collectorCounts{}}
	if err := s.prepare(address, joins, c); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) prepare(address unix.Sockaddr, joins bool, c *CollectorConfig) error {
	var err error
	if six, ok := address.(*unix.SockaddrInet6); ok {
		only := 0
		if six.Addr != [16]byte{} {
			only = 1
		}
		err = s.set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = s.grow(c.ReceiveBuffer)
	}
	if err == nil && joins {
		err = s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(s.fd, address)
	}
	if err == nil && !joins && c.Workers > 1 {
		err = s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = s.name()
	}
	return err
}

func (s *socket) set(level, option, value int) error {
	return unix.SetsockoptInt(s.fd, level, option, value)
}

// grow asks for a receive buffer: with cap_net_admin of any size, without it
// the kernel lowers it to net.core.rmem_max. It doubles what it grants, for its
// own bookkeeping (socket(7)).
func (s *socket) grow(bytes int) error {
	if s.set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
		if err := s.set(unix.SOL_SOCKET, unix.SO_RCVBUF, bytes); err != nil {
			return fmt.Errorf("receive buffer of %d bytes: %w", bytes, err)
		}
	}
	doubled, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	s.buffer = doubled / 2
	return err
}

// name learns the address that was bound.
func (s *socket) name() error {
	address, err := unix.Getsockname(s.fd)
	switch address := address.(type) {
	case *unix.SockaddrInet4:
		s.at = netip.AddrPortFrom(netip.AddrFrom4(address.Addr), uint16(address.Port))
	case *unix.SockaddrInet6:
		s.at = netip.AddrPortFrom(netip.AddrFrom16(address.Addr), uint16(address.Port))
	}
	return err
}

// sockaddr returns the family and address of at; without an address the one
// of IPv6 that takes IPv4 too.
func sockaddr(at netip.AddrPort) (family int, address unix.Sockaddr) {
	if addr := at.Addr().Unmap(); addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: addr.As4()}
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

// steer makes the kernel choose among sockets by the source address alone.
func steer(sockets []*socket) error {
	program, err := bpf.Assemble(steering(len(sockets)))
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err = unix.SetsockoptSockFprog(sockets[0].fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err != nil {
		return fmt.Errorf("sharing datagrams by source over %d sockets: %w", len(sockets), err)
	}
	return nil
}

// steering is a program that returns which of n sockets gets a datagram. It
// begins to read at the UDP payload; SKF_NET_OFF (linux/filter.h) reaches back
// to the IP header. The product mixes what neighbours differ in, the low bits,
// into the high ones that are used.
func steering(n int) []bpf.Instruction {
	const ip = 0xfff00000 // SKF_NET_OFF
	const source4, source6, word = ip + 12, ip + 8, 4
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ip, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 2},
		bpf.LoadAbsolute{Off: source4, Size: word},
		bpf.Jump{Skip: 10},
		bpf.LoadAbsolute{Off: source6, Size: word},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: source6 + word, Size: word},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: source6 + 2*word, Size: word},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: source6 + 3*word, Size: word},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 0x9e3779b1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 16},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: uint32(n)},
		bpf.RetA{},
	}
}

// collect adds what the kernel dropped since the last look. SO_MEMINFO has the
// counter itself at any time; SO_RXQ_OVFL would tell of a drop only with the
// next datagram that finds room, and costs a control message for each.
func (s *socket) collect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return
	}
	const drops = 8 // SK_MEMINFO_DROPS (linux/sock_diag.h)
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < uint32(unsafe.Sizeof(info)) {
		return
	}
	news := uint64(info[drops] - s.seen)
	s.seen = info[drops]
	s.dropped += news
	s.counts.dropped.Add(news)
}

// loss returns what was dropped and received since the last call.
func (s *socket) loss(now int64) Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Loss{At: s.at, Dropped: s.dropped, Received: s.received, Now: now}
	s.dropped, s.received = 0, 0
	return l
}

func (s *socket) close() {
	s.collect()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}
