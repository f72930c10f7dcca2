package packetlog

import (
	"encoding/binary"
	"math"

	"vft/capture/packet"
)

// The files are pcapng (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/)
// laid out so that a killed writer leaves whole blocks. The kernel copies a write
// into the page cache page by page and lets SIGKILL end it between two pages, so
// no block crosses a multiple of line, the smallest page there is: what would,
// goes behind a filler. A packet too long for a line makes a block that crosses;
// it gets into a file by other means, see rewriteFile.
const line = 4096

const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6          // enhanced packet block
	blockFiller    = 0x80000001 // the upper half of the types is for local use; readers skip what they do not know

	minBlock      = 12 // type, length, and the length again
	packetHeader  = 28 // before the data
	packetRest    = packetHeader + 4
	sectionSize   = 40
	interfaceSize = 32
	maxLinkType   = math.MaxUint16
)

var le = binary.LittleEndian

// appendSection appends what a file begins with.
func appendSection(b []byte) []byte {
	b = le.AppendUint32(b, blockSection)
	b = le.AppendUint32(b, sectionSize)
	b = le.AppendUint32(b, 0x1a2b3c4d)     // byte order
	b = le.AppendUint32(b, 1)              // version 1.0
	b = le.AppendUint64(b, math.MaxUint64) // the section ends where the file does
	b = appendOption(b, 4, 'v', 'f', 't')  // application
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, sectionSize)
}

// appendInterface appends an interface for offset at of the file. Its packets
// have the number of interfaces before it; their times are nanoseconds.
func appendInterface(b []byte, at int64, link packet.LinkType, snaplen int) []byte {
	before, _ := fillers(at, interfaceSize)
	b = appendFiller(b, before)
	b = le.AppendUint32(b, blockInterface)
	b = le.AppendUint32(b, interfaceSize)
	b = le.AppendUint32(b, uint32(link)) // 16 bits of it, then 16 that are reserved
	b = le.AppendUint32(b, uint32(snaplen))
	b = appendOption(b, 9, 9) // resolution: 10^-9 seconds
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, interfaceSize)
}

// appendOption appends an option with a value of at most four bytes.
func appendOption(b []byte, code uint16, value ...byte) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, uint16(len(value)))
	var padded [4]byte
	copy(padded[:], value)
	return append(b, padded[:]...)
}

// blockSize is the size of the block of a packet of n bytes.
func blockSize(n int) int { return packetRest + (n+3)&^3 }

// crosses reports whether a block cannot lie within a line so that what is left
// of it takes a filler.
func crosses(size int) bool { return size != line && size > line-minBlock }

// fillers returns the bytes of filler before and behind a block that is to go to
// offset at, which a whole line or room for a filler follows.
func fillers(at int64, size int) (before, behind int) {
	left := line - int(at%line)
	if crosses(size) {
		left = line - int((at+int64(size))%line)
		if left < minBlock {
			return 0, left + line // crosses a line, as the block before it does
		}
		return 0, 0
	}
	if size == left || size+minBlock <= left {
		return 0, 0
	}
	return left, 0
}

// blockEnd returns the offset behind a block that is to go to offset at.
func blockEnd(at int64, size int) int64 {
	before, behind := fillers(at, size)
	return at + int64(before+size+behind)
}

// record is a packet as its block tells it.
type record struct {
	device uint32 // number of the interface in the file
	ts     int64  // nanoseconds since 1970; before that counts as then
	wire   int
	data   []byte
}

// appendPacket appends the block of a packet, and its fillers, for offset at of
// the file.
func appendPacket(b []byte, at int64, r record) []byte {
	size := blockSize(len(r.data))
	before, behind := fillers(at, size)
	b = appendFiller(b, before)
	ts := uint64(max(r.ts, 0))
	b = le.AppendUint32(b, blockPacket)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, r.device)
	b = le.AppendUint32(b, uint32(ts>>32))
	b = le.AppendUint32(b, uint32(ts))
	b = le.AppendUint32(b, uint32(len(r.data)))
	b = le.AppendUint32(b, uint32(max(r.wire, len(r.data))))
	b = append(b, r.data...)
	b = appendZeros(b, -len(r.data)&3)
	b = le.AppendUint32(b, uint32(size))
	return appendFiller(b, behind)
}

func appendFiller(b []byte, size int) []byte {
	if size == 0 {
		return b
	}
	b = le.AppendUint32(b, blockFiller)
	b = le.AppendUint32(b, uint32(size))
	b = appendZeros(b, size-minBlock)
	return le.AppendUint32(b, uint32(size))
}

func appendZeros(b []byte, n int) []byte {
	return append(b, make([]byte, n)...) // the compiler extends b in place
}
