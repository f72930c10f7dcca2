package stat

import (
	"time"

	"vft/capture/packet"
)

// The bounds of distinct counts: exact up to three quarters of these numbers,
// estimated behind. A place takes 8 bytes.
const (
	IntervalPlaces = 1 << 18 // 2 MiB for each of five sets at most
	TotalPlaces    = 1 << 20 // 8 MiB for each of three
)

// Interval is what passed between Start and End. One shard fills one; those of
// several shards are merged. Addresses and ports count by direction: what a
// packet came from and went to.
type Interval struct {
	Start, End int64 // nanoseconds since 1970, End excluded
	Counts
	Flows uint64        // distinct flows with a packet in it, later fragments left out
	Sides uint64        // the same, each direction for itself
	Busy  time.Duration // spent on processing it, as its owner measured; for PERF alone

	Src4, Dst4, Src6, Dst6 *Set // addresses
	Pairs                  *Set // source and destination, either family
	FragmentTuples         *Set // addresses and protocol of later fragments, both directions as one
	FragmentSides          *Set // the same, each direction for itself
	TCPSrc4, TCPDst4       Ports
	TCPSrc6, TCPDst6       Ports
	UDPSrc, UDPDst         Ports // either family
}

// NewInterval returns an empty interval.
func NewInterval() *Interval {
	set := func() *Set { return NewSet(IntervalPlaces) }
	return &Interval{Src4: set(), Dst4: set(), Src6: set(), Dst6: set(), Pairs: set(), FragmentTuples: set(), FragmentSides: set()}
}

// AddEnds counts the addresses and ports of an IP packet. Once per flow,
// direction and interval is enough.
func (iv *Interval) AddEnds(p *packet.Parsed) {
	src, dst := hashAddr(p.Src), hashAddr(p.Dst)
	v4 := p.Network == packet.IPv4
	if v4 {
		iv.Src4.Add(src)
		iv.Dst4.Add(dst)
	} else {
		iv.Src6.Add(src)
		iv.Dst6.Add(dst)
	}
	iv.Pairs.Add(mix(src + dst<<1))
	switch {
	case p.Transport == packet.TCP && v4:
		iv.TCPSrc4.Add(p.SrcPort)
		iv.TCPDst4.Add(p.DstPort)
	case p.Transport == packet.TCP:
		iv.TCPSrc6.Add(p.SrcPort)
		iv.TCPDst6.Add(p.DstPort)
	case p.Transport == packet.UDP:
		iv.UDPSrc.Add(p.SrcPort)
		iv.UDPDst.Add(p.DstPort)
	}
}

// UniqueFlows returns the distinct 5-tuples, both directions as one. A later
// fragment has a 5-tuple without ports.
func (iv *Interval) UniqueFlows() uint64 { return iv.Flows + iv.FragmentTuples.Count() }

// UniqueSides returns the distinct 5-tuples, each direction for itself.
func (iv *Interval) UniqueSides() uint64 { return iv.Sides + iv.FragmentSides.Count() }

// AddFragment counts a later fragment, which has a 5-tuple without ports; hash is
// that of its tuple, equal for both directions.
func (iv *Interval) AddFragment(p *packet.Parsed, hash uint64) {
	iv.FragmentTuples.Add(hash)
	iv.FragmentSides.Add(mix(hash + hashAddr(p.Src)))
}

// Reset empties the interval and moves it to other times.
func (iv *Interval) Reset(start, end int64) {
	iv.Start, iv.End = start, end
	iv.Counts, iv.Flows, iv.Sides, iv.Busy = Counts{}, 0, 0, 0
	for _, s := range iv.sets() {
		s.Reset()
	}
	for _, p := range iv.ports() {
		p.Reset()
	}
}

func (iv *Interval) sets() [7]*Set {
	return [7]*Set{iv.Src4, iv.Dst4, iv.Src6, iv.Dst6, iv.Pairs, iv.FragmentTuples, iv.FragmentSides}
}

func (iv *Interval) ports() [6]*Ports {
	return [6]*Ports{&iv.TCPSrc4, &iv.TCPDst4, &iv.TCPSrc6, &iv.TCPDst6, &iv.UDPSrc, &iv.UDPDst}
}

// hashAddr is exact for IPv4: different addresses have different hashes.
func hashAddr(a packet.Addr) uint64 {
	if a.Is4() {
		return mix(a.Lo)
	}
	return mix(mix(a.Hi^0x9e3779b97f4a7c15) + a.Lo)
}
