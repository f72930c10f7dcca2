package capture

import (
	"vft/capture/flow"
	"vft/capture/packet"
)

// Batch holds decoded packets together with their bytes, so that they outlive
// the call that brought them. Packet i is Parsed[i] at Times[i]; what it meant to its flow stands in
// Touches[i] after Shard.Batched.
type Batch struct {
	Parsed  []packet.Parsed
	Times   []int64      // nanoseconds since 1970
	Touches []flow.Touch // what each packet meant to its flow, see Shard.Batched
	hashes  []uint64     // of their flows
	n       int
	bytes   []byte
}

// NewBatch returns an empty Batch for so many packets and bytes. Inner says to
// decode the packets inside tunnels.
func NewBatch(packets, bytes int, inner bool) *Batch {
	b := &Batch{Parsed: make([]packet.Parsed, packets), Times: make([]int64, packets), Touches: make([]flow.Touch, packets), hashes: make([]uint64, packets), bytes: make([]byte, 0, bytes)}
	for i := range b.Parsed {
		b.Parsed[i].Inner = inner
	}
	return b
}

// Len returns the number of packets.
func (b *Batch) Len() int { return b.n }

// Reset empties the Batch.
func (b *Batch) Reset() { b.n, b.bytes = 0, b.bytes[:0] }

// Fits reports whether a packet can be added. An empty Batch takes any.
func (b *Batch) Fits(pkt *Packet) bool {
	return b.n == 0 || b.n < len(b.Parsed) && len(pkt.Data) <= cap(b.bytes)-len(b.bytes)
}

// Add copies and decodes a packet that fits.
func (b *Batch) Add(pkt *Packet) {
	at := len(b.bytes)
	b.bytes = append(b.bytes, pkt.Data...)
	b.Times[b.n] = pkt.Time
	b.Parsed[b.n].Decode(pkt.Link, b.bytes[at:len(b.bytes):len(b.bytes)], pkt.Wire)
	b.n++
}
