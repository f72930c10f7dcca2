// Package exporter makes what a busy router exports, to measure a collector: the
// datagrams of NetFlow 5, NetFlow 9 and IPFIX about ordinary flows of tens of
// thousands of hosts, most of them answered, and of a few that scan.
package exporter

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// RecordsPerDatagram is how many records a full datagram has.
const RecordsPerDatagram = 30

// Version is 5, 9 or 10, for IPFIX.
type Version uint16

const (
	clients  = 40_000 // hosts inside, of all exporters
	peers    = 8      // servers that each client speaks with
	servers  = 1 << 13
	scanners = 16
	waiting  = 256 // directions whose record is not sent yet
	template = 256

	tcp, udp, icmp = 6, 17, 1
)

// record is one direction of a flow.
type record struct {
	src, dst         uint32
	srcPort, dstPort uint16
	proto, flags     uint8
	packets, bytes   uint32
	age, long        uint32 // milliseconds: since its end, and from its beginning to that
}

// Exporter is one router. One goroutine uses it at a time.
type Exporter struct {
	version   Version
	number    uint32
	exporters uint32
	random    *rand.Rand
	boot      time.Time
	sequence  uint32
	sent      int
	later     [waiting]record // the other directions
	queued    int
	scan      uint32
}

// New returns the exporter of a number below that of all, which share the clients.
func New(v Version, number, all int, now time.Time) *Exporter {
	return &Exporter{
		version: v, number: uint32(number), exporters: uint32(all), random: rand.New(rand.NewPCG(uint64(v), uint64(number))),
		boot: now.Add(-24 * time.Hour).Truncate(time.Second),
	}
}

// Datagram appends the next datagram, of RecordsPerDatagram records, to b.
func (x *Exporter) Datagram(b []byte, now time.Time) []byte {
	begin := len(b)
	uptime := uint32(now.Sub(x.boot).Milliseconds())
	switch x.version {
	case 5:
		b = x.header5(b, now, uptime)
	case 9:
		b = x.header9(b, now, uptime)
	default:
		b = x.headerIPFIX(b, now)
	}
	set := len(b)
	if x.version != 5 {
		b = be.AppendUint16(b, template)
		b = append(b, 0, 0)
	}
	for range RecordsPerDatagram {
		r := x.next()
		switch x.version {
		case 5:
			b = r.append5(b, uptime)
		case 9:
			b = r.append9(b)
			b = be.AppendUint32(b, uptime-r.age-r.long)
			b = be.AppendUint32(b, uptime-r.age)
		default:
			b = r.append9(b)
			end := uint64(now.UnixMilli()) - uint64(r.age)
			b = be.AppendUint64(b, end-uint64(r.long))
			b = be.AppendUint64(b, end)
		}
	}
	if x.version != 5 {
		for (len(b)-set)%4 != 0 {
			b = append(b, 0)
		}
		be.PutUint16(b[set+2:], uint16(len(b)-set))
	}
	if x.version == 10 {
		be.PutUint16(b[begin+2:], uint16(len(b)-begin))
	}
	x.sent++
	return b
}

var be = binary.BigEndian

func (x *Exporter) header5(b []byte, now time.Time, uptime uint32) []byte {
	b = append(b, 0, 5, 0, RecordsPerDatagram)
	b = be.AppendUint32(b, uptime)
	b = be.AppendUint32(b, uint32(now.Unix()))
	b = be.AppendUint32(b, uint32(now.Nanosecond()))
	b = be.AppendUint32(b, x.sequence)
	x.sequence += RecordsPerDatagram
	return append(b, 0, byte(x.number), 0, 0)
}

const templateEvery = 1000 // datagrams

func (x *Exporter) header9(b []byte, now time.Time, uptime uint32) []byte {
	tell := x.sent%templateEvery == 0
	count := uint16(RecordsPerDatagram)
	if tell {
		count++
	}
	b = append(b, 0, 9)
	b = be.AppendUint16(b, count)
	b = be.AppendUint32(b, uptime)
	b = be.AppendUint32(b, uint32(now.Unix()))
	b = be.AppendUint32(b, x.sequence)
	x.sequence++
	b = be.AppendUint32(b, x.number)
	if tell {
		b = appendTemplate(b, 0, 22, 4, 21, 4)
	}
	return b
}

func (x *Exporter) headerIPFIX(b []byte, now time.Time) []byte {
	b = append(b, 0, 10, 0, 0)
	b = be.AppendUint32(b, uint32(now.Unix()))
	b = be.AppendUint32(b, x.sequence)
	x.sequence += RecordsPerDatagram
	b = be.AppendUint32(b, x.number)
	if x.sent%templateEvery == 0 {
		b = appendTemplate(b, 2, 152, 8, 153, 8)
	}
	return b
}

// appendTemplate appends a set with the fields of append9 and those of the times.
func appendTemplate(b []byte, set uint16, times ...uint16) []byte {
	fields := append([]uint16{8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 6, 1, 5, 1, 10, 4, 14, 4, 2, 4, 1, 4}, times...)
	b = be.AppendUint16(b, set)
	b = be.AppendUint16(b, uint16(8+2*len(fields)))
	b = be.AppendUint16(b, template)
	b = be.AppendUint16(b, uint16(len(fields)/2))
	for _, f := range fields {
		b = be.AppendUint16(b, f)
	}
	return b
}

func (r *record) append5(b []byte, uptime uint32) []byte {
	b = be.AppendUint32(b, r.src)
	b = be.AppendUint32(b, r.dst)
	b = append(b, 10, 255, 0, 1, 0, 1, 0, 2)
	b = be.AppendUint32(b, r.packets)
	b = be.AppendUint32(b, r.bytes)
	b = be.AppendUint32(b, uptime-r.age-r.long)
	b = be.AppendUint32(b, uptime-r.age)
	b = be.AppendUint16(b, r.srcPort)
	b = be.AppendUint16(b, r.dstPort)
	return append(b, 0, r.flags, r.proto, 0, 0, 0, 0, 0, 16, 16, 0, 0)
}

// append9 appends the fields of the template without the times.
func (r *record) append9(b []byte) []byte {
	b = be.AppendUint32(b, r.src)
	b = be.AppendUint32(b, r.dst)
	b = be.AppendUint16(b, r.srcPort)
	b = be.AppendUint16(b, r.dstPort)
	b = append(b, r.proto, r.flags, 0, 0, 0, 0, 1, 0, 0, 0, 2)
	b = be.AppendUint32(b, r.packets)
	return be.AppendUint32(b, r.bytes)
}

// next returns a direction that waited or the first of a new flow.
func (x *Exporter) next() record {
	if x.queued > 0 && (x.queued == waiting || x.random.Uint32()&1 == 0) {
		at := x.random.IntN(x.queued)
		r := x.later[at]
		x.queued--
		x.later[at] = x.later[x.queued]
		return r
	}
	return x.begin()
}

// begin returns the client's direction of a new flow, and has that of the server
// wait. Of 100 flows 4 are probes that nothing answers, 20 ask for a name, 1 is a
// ping, 1 is mail and the rest is of the web.
func (x *Exporter) begin() record {
	n := x.random.Uint64()
	kind, n := n%100, n/100
	client := uint32(n%(clients/uint64(x.exporters)))*x.exporters + x.number
	n /= clients
	server := (client*2654435761>>8 + uint32(n%peers)*uint32(n%peers)*977) % servers
	n /= peers
	r := record{src: 10<<24 | client, dst: 198<<24 | 18<<16 | server, srcPort: uint16(n)&0x7fff | 0x8000, dstPort: 443, proto: tcp, flags: 0x1b}
	size := uint32(n>>16) % 64
	r.age, r.long = uint32(n>>24)%15_000, uint32(n>>32)%2000
	r.packets = 6 + size
	r.bytes = r.packets*52 + 700
	back := 1 + size*size/4
	switch {
	case kind < 4:
		x.scan++
		r.src, r.dst, r.flags, r.packets, r.bytes, r.long = 203<<24|113<<8|x.scan%scanners*x.exporters+x.number, 10<<24|x.scan*40503%(1<<20), 2, 1, 44, 0
		r.dstPort = [4]uint16{23, 445, 22, 3389}[x.scan/scanners%4]
		return r
	case kind < 24:
		r.proto, r.flags, r.dstPort, r.packets, r.bytes, r.long, back = udp, 0, 53, 1, 70, size, 0
		r.dst = 10<<24 | 254<<16 | client%64
	case kind < 25:
		r.proto, r.flags, r.srcPort, r.dstPort, r.packets, r.bytes, back = icmp, 0, 0, 8<<8, 3, 252, 0
	case kind < 26:
		r.src, r.dstPort = 10<<24|253<<16|client%64, 25
	case kind < 40:
		r.dstPort = 80
	}
	answer := r
	answer.src, answer.dst, answer.srcPort, answer.dstPort = r.dst, r.src, r.dstPort, r.srcPort
	answer.packets += back
	answer.bytes += back * 1400
	if r.proto == icmp {
		answer.srcPort, answer.dstPort = 0, 0
	}
	x.later[x.queued] = answer
	x.queued++
	return r
}
