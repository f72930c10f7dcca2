package packetlog

import (
	"os"
	"slices"

	"vft/capture/flow"
	"vft/capture/packet"
)

// logged is a flow whose packets are logged.
type logged struct {
	links   [places]links
	id      flow.Key // canonical
	key     flow.Key // of its first packet
	start   int64    // time of its first packet
	base    string   // of its file names; see name
	seq     int      // number of its newest file
	files   []file   // oldest first; the last is written to, unless fresh
	fresh   bool     // the next packet begins a file
	devices devices
	buf     []byte // what the newest file does not hold yet, laid out for its place behind it
	packets int    // in buf
	crosses bool   // a block in buf crosses a line, so that the file is rewritten
	busy    bool   // it filled a buffer in this tick
	handle  *os.File

	alerted bool
	until   int64 // packets go to the archive
	since   int   // files begun since it alerted
	full    bool  // no file may be begun any more
}

type file struct {
	path     string
	size     int64
	archived bool
}

// devices are the link types of the interfaces of the newest file.
type devices struct {
	link   [maxDevices]packet.LinkType
	len    int
	stored int // of len; the others are in the buffer
}

// find returns the number of the interface with a link type, or -1.
func (d *devices) find(link packet.LinkType) int { return slices.Index(d.link[:d.len], link) }

// name returns what the names of its files begin with. Most flows end before
// they need it.
func (f *logged) name() string {
	if f.base == "" {
		f.base = baseName(f.key, f.start)
	}
	return f.base
}

// offset is where the next byte of the buffer goes in the newest file.
func (f *logged) offset() int64 { return f.size() + int64(len(f.buf)) }

// size is what the newest file holds.
func (f *logged) size() int64 {
	if f.fresh {
		return 0
	}
	return f.newest().size
}

// newest is the file that is written to; valid unless fresh.
func (f *logged) newest() *file { return &f.files[len(f.files)-1] }
