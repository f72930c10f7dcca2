package export

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call reads at most.
const batchSize = 64

// A slot holds the longest UDP payload, so no datagram is cut. Its pages are
// given by the kernel when they are first written: exporters send 1,500 bytes
// mostly, then a batch of slots takes 256 KiB. The odd 1,536 bytes keep the
// beginnings of the slots from meeting in the same lines of the cache.
const slotSize = 1<<16 + 1536

// batch is where recvmmsg(2) puts datagrams and their senders. It is reused.
type batch struct {
	messages [batchSize]unix.Mmsghdr
	vectors  [batchSize]unix.Iovec
	peers    [batchSize]unix.RawSockaddrInet6 // the longest of both families
	slots    []byte
}

func newBatch() *batch {
	b := &batch{slots: make([]byte, batchSize*slotSize)}
	for i := range b.messages {
		b.vectors[i].Base = &b.slots[i*slotSize]
		b.vectors[i].SetLen(slotSize)
		header := &b.messages[i].Hdr
		header.Iov = &b.vectors[i]
		header.SetIovlen(1)
		header.Name = (*byte)(unsafe.Pointer(&b.peers[i]))
	}
	return b
}

// receive reads what fd has, up to batchSize datagrams, without waiting. The
// kernel writes how long an address is, so it is told the room again each time.
func (b *batch) receive(fd int) (int, unix.Errno) {
	for i := range b.messages {
		b.messages[i].Hdr.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])),
		batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// payload returns datagram i, valid until the next receive.
func (b *batch) payload(i int) []byte {
	return b.slots[i*slotSize:][:b.messages[i].Len:b.messages[i].Len]
}

// from returns the sender of datagram i. Ports are big endian.
func (b *batch) from(i int) netip.AddrPort {
	six := &b.peers[i]
	port := (*[2]byte)(unsafe.Pointer(&six.Port)) // in the same place for both families
	at := uint16(port[0])<<8 | uint16(port[1])
	if six.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(six))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), at)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(six.Addr).Unmap(), at)
}
