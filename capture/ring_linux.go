package capture

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A ring is one packet socket with the TPACKET_V3 ring that it shares with the
// kernel (Documentation/networking/packet_mmap.rst): the kernel fills a block,
// hands it over by its status word, and gets it back the same way.
type ring struct {
	index  int // of the interface; 0 is all
	memory []byte
	block  int // bytes of one
	next   int // offset of the block to read

	mu     sync.Mutex // guards fd against a close while its counters are read
	fd     int        // -1 when closed
	counts *ringCounts
}

// ringCounts is what the kernel counted, over the rings of a Live.
type ringCounts struct{ received, dropped, frozen atomic.Uint64 }

// headroom is kept free before the link header, for a VLAN tag.
const headroom = 4

// newRing makes a socket that receives nothing yet and maps its ring.
func newRing(bytes int, c *LiveConfig, counts *ringCounts) (*ring, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r := &ring{fd: fd, counts: counts}
	if err := r.prepare(bytes, c); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *ring) prepare(bytes int, c *LiveConfig) error {
	for option, value := range map[int]int{unix.PACKET_VERSION: unix.TPACKET_V3, unix.PACKET_RESERVE: headroom} {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, option, value); err != nil {
			return fmt.Errorf("packet ring: %w", err)
		}
	}
	if c.HardwareTime {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE); err != nil {
			return fmt.Errorf("hardware time stamps: %w", err)
		}
	}
	r.block = blockSize(bytes)
	blocks := max(bytes/r.block, 2)
	const frame = 2048 // only divides the block: frames of TPACKET_V3 have any length
	err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
		Block_size: uint32(r.block), Block_nr: uint32(blocks),
		Frame_size: frame, Frame_nr: uint32(r.block / frame * blocks),
		Retire_blk_tov: uint32(c.BlockTimeout.Milliseconds()),
	})
	if err != nil {
		return fmt.Errorf("packet ring of %d bytes: %w", blocks*r.block, err)
	}
	r.memory, err = unix.Mmap(r.fd, 0, r.block*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("packet ring of %d bytes: %w", blocks*r.block, err)
	}
	return nil
}

// blockSize returns a power of two of whole pages of every Linux (64 KiB), at
// most 2 MiB, so that a ring has eight blocks or more when it can. Large blocks
// wake the reader less often, which costs more than reading.
func blockSize(bytes int) int {
	size := 2 << 20
	for size > 64<<10 && bytes/size < 8 {
		size /= 2
	}
	return size
}

// attach replaces the filter of the socket.
func (r *ring) attach(program []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err != nil {
		return fmt.Errorf("filter of %d instructions: %w", len(program), err)
	}
	return nil
}

// bind lets packets in.
func (r *ring) bind(index int) error {
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network order
	r.index = index
	return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
}

func (r *ring) promiscuous() error {
	err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
		&unix.PacketMreq{Ifindex: int32(r.index), Type: unix.PACKET_MR_PROMISC})
	if err != nil {
		return fmt.Errorf("promiscuous mode: %w", err)
	}
	return nil
}

// ready returns the next block when the kernel has handed it over. It belongs
// to vft until release.
func (r *ring) ready() ([]byte, bool) {
	block := r.memory[r.next : r.next+r.block]
	return block, atomic.LoadUint32(&header(block).Block_status)&unix.TP_STATUS_USER != 0
}

// release gives the block of ready back.
func (r *ring) release(block []byte) {
	atomic.StoreUint32(&header(block).Block_status, unix.TP_STATUS_KERNEL)
	if r.next += r.block; r.next == len(r.memory) {
		r.next = 0
	}
}

func header(block []byte) *unix.TpacketHdrV1 {
	const before = 8 // version and offset_to_priv
	return (*unix.TpacketHdrV1)(unsafe.Pointer(&block[before]))
}

// collect adds what the kernel counted since the last time.
func (r *ring) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd < 0 {
		return
	}
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return
	}
	r.counts.received.Add(uint64(s.Packets))
	r.counts.dropped.Add(uint64(s.Drops))
	r.counts.frozen.Add(uint64(s.Freeze_q_cnt))
}

func (r *ring) close() {
	r.collect()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.memory != nil {
		unix.Munmap(r.memory)
		r.memory = nil
	}
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}
