// Package export decodes what routers, switches and probes tell about their
// traffic: NetFlow 1, 5, 7 and 9, IPFIX and sFlow 5. A Decoder turns datagrams
// into flow records; collectors bring the datagrams.
//
// Templates belong to an exporter: to its address, its source id or observation
// domain, and its protocol; where two ports give an id two meanings, to the port.
// All memory that datagrams can make grow is bounded.
package export

import (
	"encoding/binary"
	"net/netip"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

// Config sets the limits of a Decoder. Zero values mean the defaults.
type Config struct {
	// Sampling gives the sampling rate of an exporter in place of what it says
	// itself: n for one packet of n, 1 for all of them, 0 to believe the exporter.
	// It is asked once for each exporter. nil: believe everybody.
	Sampling func(exporter packet.Addr) uint32

	MaxExporters int           // remembered at once; a newcomer gives way, the one not heard for longest
	MaxTemplates int           // of one exporter; the oldest gives way
	MaxFields    int           // of all templates of all exporters together, 16 bytes each
	MaxPending   int           // bytes of data that wait for their template, of all exporters together; one takes at most a quarter
	PendingAge   time.Duration // how long data wait for their template

	// MaxSkew is how far the clock of an exporter may be from the arrival of its
	// datagrams. The times of a clock that is off by more are moved by the
	// difference, so that flows keep their distances. Negative: any clock is right.
	MaxSkew time.Duration
}

// The defaults of Config.
const (
	DefaultMaxExporters = 4096
	DefaultMaxTemplates = 512
	DefaultMaxFields    = 1 << 19
	DefaultMaxPending   = 4 << 20
	DefaultPendingAge   = 5 * time.Minute
	DefaultMaxSkew      = 5 * time.Minute
)

// MaxRecords is how many records of one datagram are read; a full UDP datagram
// of the shortest records that say anything has fewer.
const MaxRecords = 8192

// Decoder turns datagrams into flow records. One goroutine owns it.
type Decoder struct {
	cfg       Config
	exporters exporters
	pending   pending
	counts    counts

	values  values        // of the record that is decoded
	section []byte        // of a packet in it
	sampled packet.Parsed // of section, or of the header in an sFlow sample
}

// NewDecoder returns a Decoder that has heard of no exporter.
func NewDecoder(cfg Config) *Decoder {
	cfg.MaxExporters = or(cfg.MaxExporters, DefaultMaxExporters)
	cfg.MaxTemplates = or(cfg.MaxTemplates, DefaultMaxTemplates)
	cfg.MaxFields = or(cfg.MaxFields, DefaultMaxFields)
	cfg.MaxPending = or(cfg.MaxPending, DefaultMaxPending)
	cfg.PendingAge = or(cfg.PendingAge, DefaultPendingAge)
	cfg.MaxSkew = or(cfg.MaxSkew, DefaultMaxSkew)
	return &Decoder{cfg: cfg, exporters: newExporters()}
}

// Datagram decodes the payload b of a UDP datagram that from sent and that
// arrived at now, nanoseconds since 1970, and appends its records to into. It
// keeps nothing of b and never fails: what cannot be read is counted.
//
// Counters of packets and bytes are multiplied by the sampling rate. Bytes are
// those of the network layer, and LinkHeader is 0, except for sFlow. Times are
// those of the exporter; see Config.MaxSkew. A record without times has the
// time at which the exporter sent it.
func (d *Decoder) Datagram(from netip.AddrPort, b []byte, now int64, into []flow.Record) []flow.Record {
	d.counts[datagrams]++
	before := len(into)
	switch protocol(b) {
	case flow.NetFlow1, flow.NetFlow5, flow.NetFlow7:
		into = d.fixed(from, b, now, into)
	case flow.NetFlow9:
		into = d.netflow9(from, b, now, into)
	case flow.IPFIX:
		into = d.ipfix(from, b, now, into)
	case flow.SFlow5:
		into = d.sflow(from, b, now, into)
	default:
		d.counts[unknownVersion]++
	}
	d.counts[records] += uint64(len(into) - before)
	return into
}

// protocol tells the protocol by the first bytes. NetFlow and IPFIX have their
// version in the first two, sFlow in the first four.
func protocol(b []byte) flow.Version {
	if len(b) < 4 {
		return flow.Captured
	}
	switch binary.BigEndian.Uint16(b) {
	case 1:
		return flow.NetFlow1
	case 5:
		return flow.NetFlow5
	case 7:
		return flow.NetFlow7
	case 9:
		return flow.NetFlow9
	case 10:
		return flow.IPFIX
	case 0:
		if binary.BigEndian.Uint16(b[2:]) == 5 {
			return flow.SFlow5
		}
	}
	return flow.Captured
}

func or[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
