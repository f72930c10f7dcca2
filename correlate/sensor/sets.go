package sensor

import (
	"net/netip"
	"slices"

	"vft/capture/packet"
)

// portSet has a bit for each port.
type portSet [1 << 16 / 64]uint64

func (s *portSet) has(p uint16) bool { return s[p>>6]>>(p&63)&1 != 0 }

func (s *portSet) add(low, high uint16) {
	for p := int(low); p <= int(high); p++ {
		s[p>>6] |= 1 << (p & 63)
	}
}

// addrRange is a range of addresses, both ends included.
type addrRange struct{ low, high packet.Addr }

// addrSet is sorted, and its ranges do not touch.
type addrSet []addrRange

func (s addrSet) has(a packet.Addr) bool {
	at, found := slices.BinarySearchFunc(s, a, func(r addrRange, a packet.Addr) int {
		switch {
		case r.high.Less(a):
			return -1
		case a.Less(r.low):
			return 1
		}
		return 0
	})
	return found && at >= 0
}

// newAddrSet merges prefixes into ranges.
func newAddrSet(prefixes []netip.Prefix) (set addrSet) {
	ranges := make(addrSet, len(prefixes))
	for i, p := range prefixes {
		low := packet.AddrFrom(p.Masked().Addr())
		free := p.Addr().BitLen() - p.Bits()
		high := low
		high.Lo |= 1<<min(free, 64) - 1
		high.Hi |= 1<<max(free-64, 0) - 1
		ranges[i] = addrRange{low, high}
	}
	slices.SortFunc(ranges, func(a, b addrRange) int {
		if a.low.Less(b.low) {
			return -1
		}
		if b.low.Less(a.low) {
			return 1
		}
		return 0
	})
	for _, r := range ranges {
		if n := len(set); n > 0 && !set[n-1].high.Less(r.low) {
			if set[n-1].high.Less(r.high) {
				set[n-1].high = r.high
			}
			continue
		}
		set = append(set, r)
	}
	return set
}
