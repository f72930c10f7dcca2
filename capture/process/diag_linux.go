package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// diag asks the kernel for sockets, sock_diag(7). It is opened when it is first
// used.
type diag struct {
	dial  func() (*netlink.Conn, error) // dialDiag
	conn  *netlink.Conn                 // nil: not open
	knows [256]bool                     // protocols that this kernel has the answers for
}

func dialDiag() (*netlink.Conn, error) { return netlink.Dial(unix.NETLINK_SOCK_DIAG, nil) }

const (
	requestLength = 56 // struct inet_diag_req_v2
	replyLength   = 72 // struct inet_diag_msg
	everyState    = 0xffffffff
)

// open makes sure that the kernel can be asked about a protocol. One that it
// does not know (its module is not there) looks like a socket that is not there,
// so a list of nothing is asked for first.
func (d *diag) open(p proto) error {
	if d.conn == nil {
		conn, err := d.dial()
		if err != nil {
			return fmt.Errorf("cannot ask the kernel for its sockets: %w", err)
		}
		d.conn, d.knows = conn, [256]bool{}
	}
	if d.knows[p] {
		return nil
	}
	nothing := request(anyTuple(p, netip.IPv4Unspecified()), netlink.Request|netlink.Dump)
	binary.NativeEndian.PutUint32(nothing.Data[4:], 0)
	if _, err := d.conn.Execute(nothing); err != nil {
		d.close()
		return fmt.Errorf("cannot ask the kernel for its %s sockets: %v", p, err)
	}
	d.knows[p] = true
	return nil
}

func anyTuple(p proto, a netip.Addr) tuple {
	end := netip.AddrPortFrom(a, 0)
	return tuple{p, end, end}
}

func (d *diag) close() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// one returns the socket that takes what comes from t.remote to t.local.
// os.ErrNotExist: there is none.
func (d *diag) one(t tuple) (socket, error) {
	if err := d.open(t.proto); err != nil {
		return socket{}, err
	}
	reply, err := d.conn.Execute(request(t, netlink.Request))
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			d.close()
		}
		return socket{}, err
	}
	for _, m := range reply {
		if s, ok := parseReply(t.proto, m.Data); ok {
			return s, nil
		}
	}
	return socket{}, os.ErrNotExist
}

// all yields the sockets of one protocol and both families.
func (d *diag) all(p proto) iter.Seq2[socket, error] {
	return func(yield func(socket, error) bool) {
		for _, address := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			list, err := d.dump(anyTuple(p, address))
			if err != nil {
				yield(socket{}, err)
				return
			}
			for _, m := range list {
				if s, ok := parseReply(p, m.Data); ok && !yield(s, nil) {
					return
				}
			}
		}
	}
}

func (d *diag) dump(t tuple) ([]netlink.Message, error) {
	if err := d.open(t.proto); err != nil {
		return nil, err
	}
	list, err := d.conn.Execute(request(t, netlink.Request|netlink.Dump))
	if err != nil {
		d.close()
		return nil, fmt.Errorf("cannot list the sockets of the kernel: %w", err)
	}
	return list, nil
}

// request is a struct inet_diag_req_v2 (linux/inet_diag.h).
func request(t tuple, flags netlink.HeaderFlags) netlink.Message {
	source, destination := t.local, t.remote
	if t.proto == udp && flags&netlink.Dump == 0 {
		// The kernel looks a datagram socket up as an arriving packet would.
		source, destination = destination, source
	}
	b := make([]byte, requestLength)
	b[0] = unix.AF_INET
	if source.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	b[1] = byte(t.proto)
	binary.NativeEndian.PutUint32(b[4:], everyState)
	binary.BigEndian.PutUint16(b[8:], source.Port())
	binary.BigEndian.PutUint16(b[10:], destination.Port())
	copy(b[12:28], source.Addr().AsSlice())
	copy(b[28:44], destination.Addr().AsSlice())
	binary.NativeEndian.PutUint64(b[48:], 1<<64-1) // INET_DIAG_NOCOOKIE, twice
	return netlink.Message{Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: flags}, Data: b}
}

// parseReply reads a struct inet_diag_msg.
func parseReply(p proto, b []byte) (s socket, ok bool) {
	if len(b) < replyLength {
		return s, false
	}
	size := 4
	if b[0] == unix.AF_INET6 {
		size = 16
	} else if b[0] != unix.AF_INET {
		return s, false
	}
	end := func(address, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(address[:size])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	}
	return socket{
		tuple: newTuple(p, end(b[8:24], b[4:]), end(b[24:40], b[6:])),
		state: b[1],
		uid:   binary.NativeEndian.Uint32(b[64:]),
		inode: uint64(binary.NativeEndian.Uint32(b[68:])),
	}, true
}
