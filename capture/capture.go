// Package capture turns packets into counters, flows and intervals. A source
// (File, or Live on Linux) calls a func for every Packet; a Shard behind it
// decodes, counts, keeps the flow table and closes intervals on packet time.
// One goroutine runs the whole path: no channel, no lock and no allocation per
// packet.
package capture

import "vft/capture/packet"

// Packet is one captured frame on its way from a source to a Shard. It and its
// Data are valid until the func that was called with it returns.
type Packet struct {
	Time      int64           // nanoseconds since 1970, UTC
	Link      packet.LinkType // of the interface that saw it
	Interface int             // index of that interface in its source
	Wire      int             // bytes on the wire
	Data      []byte          // what was captured of them
	untimed   bool            // the file tells no time; Time is that of the packet before
}
