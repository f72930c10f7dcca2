package stat

import "vft/capture/packet"

// Counts are raw counters: sums over packets. They add up over shards and
// intervals.
type Counts struct {
	Packets   uint64
	Bytes     uint64 // on the wire
	Captured  uint64 // bytes
	Malformed uint64 // headers that contradict their protocol
	ARP       uint64
	NonIP     uint64 // neither IP nor ARP
	VLAN      uint64 // tagged packets
	V4, V6    Family

	FlowsStarted uint64 // new in the flow table
}

// Family holds the counters of IPv4 or IPv6.
type Family struct {
	Packets   uint64
	Bytes     uint64                            // total lengths of the IP headers
	Fragments uint64                            // later fragments: they have no transport header
	Transport [packet.OtherTransport + 1]Volume // by packet.Transport
	Flags     [64]uint64                        // TCP packets by their low six flag bits
}

// Volume is packets and their IP bytes.
type Volume struct{ Packets, Bytes uint64 }

// Add counts one packet.
func (c *Counts) Add(p *packet.Parsed) {
	c.Packets++
	c.Bytes += uint64(p.Wire)
	c.Captured += uint64(len(p.Data))
	if p.Fault.Malformed() {
		c.Malformed++
	}
	if p.VLANs > 0 {
		c.VLAN++
	}
	switch p.Network {
	case packet.IPv4:
		c.V4.add(p)
	case packet.IPv6:
		c.V6.add(p)
	case packet.ARP:
		c.ARP++
	default:
		c.NonIP++
	}
}

func (f *Family) add(p *packet.Parsed) {
	f.Packets++
	f.Bytes += uint64(p.NetLen)
	v := &f.Transport[p.Transport]
	v.Packets++
	v.Bytes += uint64(p.NetLen)
	if p.HasFlags {
		f.Flags[p.Flags&63]++
	}
	if p.FragOffset > 0 {
		f.Fragments++
	}
}

// Merge adds the counters of another interval.
func (c *Counts) Merge(o *Counts) {
	c.Packets += o.Packets
	c.Bytes += o.Bytes
	c.Captured += o.Captured
	c.Malformed += o.Malformed
	c.ARP += o.ARP
	c.NonIP += o.NonIP
	c.VLAN += o.VLAN
	c.FlowsStarted += o.FlowsStarted
	c.V4.merge(&o.V4)
	c.V6.merge(&o.V6)
}

func (f *Family) merge(o *Family) {
	f.Packets += o.Packets
	f.Bytes += o.Bytes
	f.Fragments += o.Fragments
	for i := range f.Transport {
		f.Transport[i].Packets += o.Transport[i].Packets
		f.Transport[i].Bytes += o.Transport[i].Bytes
	}
	for i := range f.Flags {
		f.Flags[i] += o.Flags[i]
	}
}

// TCP returns the TCP packets whose flags under mask are exactly value; only
// the low six flags count.
func (f *Family) TCP(mask, value packet.Flags) (n uint64) {
	free := 63 &^ mask
	for rest := free; ; rest = (rest - 1) & free { // every choice of the flags outside mask
		n += f.Flags[rest|value&63]
		if rest == 0 {
			return n
		}
	}
}

// both adds up what of returns for the two families.
func (c *Counts) both(of func(*Family) uint64) uint64 { return of(&c.V4) + of(&c.V6) }
