// Package flow keeps bidirectional flows: who spoke with whom, how much, from
// when to when. Table is the bounded, pointer-free memory of the live ones and
// emits a Record when one ends.
package flow

import (
	"math/bits"
	"time"

	"vft/capture/packet"
	"vft/ipproto"
)

// Key is the 5-tuple of one direction. Protocols without ports, and later
// fragments whose first one was not seen, have Ports false and both ports 0;
// ICMP is one flow per pair of addresses. Keys are comparable.
type Key struct {
	Src, Dst         packet.Addr
	SrcPort, DstPort uint16
	Proto            uint8
	Ports            bool
}

// KeyOf returns the key of an IP packet, and false for any other.
func KeyOf(p *packet.Parsed) (Key, bool) {
	if !p.IP() {
		return Key{}, false
	}
	return Key{p.Src, p.Dst, p.SrcPort, p.DstPort, p.Proto, p.HasPorts}, true
}

// Reverse returns the key of the other direction.
func (k Key) Reverse() Key {
	k.Src, k.Dst, k.SrcPort, k.DstPort = k.Dst, k.Src, k.DstPort, k.SrcPort
	return k
}

// Canonical returns the one of k and its reverse that both directions share:
// the lower address, then the lower port, is the source.
func (k Key) Canonical() Key {
	if k.Dst.Less(k.Src) || k.Src == k.Dst && k.DstPort < k.SrcPort {
		return k.Reverse()
	}
	return k
}

// Hash returns a hash that is equal for both directions. A seed that strangers
// do not know keeps them from choosing keys that collide.
func (k *Key) Hash(seed uint64) uint64 {
	const addr, port, rest = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 0xa0761d6478bd642f
	x := k.Src.Lo ^ k.Src.Hi*addr ^ uint64(k.SrcPort)*port
	y := k.Dst.Lo ^ k.Dst.Hi*addr ^ uint64(k.DstPort)*port
	x, y = x*addr^seed^rest, y*addr^seed^rest
	hi, lo := bits.Mul64(x, y) // neither product nor sum knows the order; the sum saves a product with 0
	h := (hi ^ lo) + (x+y)*port ^ uint64(k.Proto)*rest
	if k.Ports {
		h ^= port
	}
	hi, lo = bits.Mul64(h^seed, rest)
	return hi ^ lo
}

// Side is one direction of a flow.
type Side struct {
	Packets uint64
	Bytes   uint64       // on the wire, link headers included
	Payload uint64       // behind the transport headers, as the headers state it
	Flags   packet.Flags // all TCP flags seen
	TTL     uint8        // of the first packet
}

// End says why a flow was reported.
type End uint8

// The ends of a flow.
const (
	Alive    End = iota // it has not ended: a view of a live flow
	Idle                // no packet for the idle timeout
	Active              // longer than the active timeout; what follows is a new record
	Evicted             // the table was full
	Overflow            // a counter was full; what follows is a new record
	Finished            // the capture ended
)

// String returns the reason as a label.
func (e End) String() string {
	names := [...]string{"alive", "idle", "active", "evicted", "overflow", "finished"}
	if int(e) < len(names) {
		return names[e]
	}
	return "unknown"
}

// Record is one flow: of both directions when vft captured it, mostly of one
// when an exporter sent it. Key is the direction of its first packet, which Fwd
// counts; then Rev is empty.
type Record struct {
	Key
	Fwd, Rev    Side
	First, Last int64 // packet time, nanoseconds since 1970
	End         End
	Export      Export
	LinkHeader  uint8 // bytes of link headers that each packet has in Side.Bytes; see NetworkBytes
}

// Export says where a record came from; it is zero for vft's own captures.
type Export struct {
	Exporter packet.Addr // who sent the datagram
	Domain   uint32      // source id, observation domain, engine or sub-agent of the exporter
	Sampling uint32      // one of so many packets was counted; Side is corrected by it. 0 and 1: all
	ICMP     uint16      // type and code, of ICMP and ICMPv6: type<<8 | code; 0 is also one that was not told
	Version  Version
}

// Version is the protocol of an export.
type Version uint8

// The protocols.
const (
	Captured Version = iota // none: vft saw the packets itself
	NetFlow1
	NetFlow5
	NetFlow7
	NetFlow9
	IPFIX
	SFlow5
)

// String returns the protocol as vft.flow.version has it; "" for Captured.
func (v Version) String() string {
	names := [...]string{"", "netflow1", "netflow5", "netflow7", "netflow9", "ipfix", "sflow5"}
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// Packets returns the packets of both directions.
func (r *Record) Packets() uint64 { return r.Fwd.Packets + r.Rev.Packets }

// Bytes returns the bytes of both directions: on the wire where vft or an sFlow
// agent saw the frames, from the IP header on where NetFlow and IPFIX count so.
func (r *Record) Bytes() uint64 { return r.Fwd.Bytes + r.Rev.Bytes }

// NetworkBytes returns the bytes of s, a side of r, from the IP header on, as
// NetFlow counts them. UDP frames may be padded, so where the payload is known
// it tells more than the frame.
func (r *Record) NetworkBytes(s *Side) uint64 {
	const header4, header6 = 20 + 8, 40 + 8
	switch link := uint64(r.LinkHeader) * s.Packets; {
	case link == 0 || s.Bytes < link:
		return s.Bytes
	case r.Proto == ipproto.UDP && r.Ports && r.Src.Is4():
		return s.Payload + header4*s.Packets
	case r.Proto == ipproto.UDP && r.Ports:
		return s.Payload + header6*s.Packets
	default:
		return s.Bytes - link
	}
}

// Duration returns the time from the first packet to the last.
func (r *Record) Duration() time.Duration { return time.Duration(r.Last - r.First) }
