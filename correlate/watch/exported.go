package watch

import (
	"time"

	"vft/capture/flow"
)

// maxExportedPairs is how many pairs of hosts are counted in an interval, 120 bytes
// each.
const maxExportedPairs = 1 << 16

// DefaultExportedConfig returns DefaultTransferConfig for exported flows: pairs of hosts
// in intervals of 5 minutes, as exporters tell of a flow once a minute at best, with the
// same bound and floor per second: 6,000 MiB and 60 MiB in an interval.
func DefaultExportedConfig() TransferConfig {
	c := DefaultTransferConfig()
	const times = 60
	c.Interval *= times
	c.Anomalyzer.UpperBound *= times
	return c
}

// Exported feeds a Transfer, and through TransferConfig.Carried an Exfiltration, with
// the flows that exporters send. These come once, when they end, or once every active
// timeout, each direction for itself, so that no flow has a series of its own. What
// counts is what one host gives another in an interval of the Transfer, whatever the
// ports. A record of more than an interval is spread over as many as it lasted, from the
// present one on: its bytes come late, but as evenly as they passed.
//
// Bytes are those from the IP header on, as most exporters know no others. One flow that
// several exporters tell of counts as often; detect.Config.Exported leaves the
// duplicates out. One goroutine uses an Exported at a time.
type Exported struct {
	to       *Transfer
	interval int64
	end      int64 // of the open interval; 0: none is open
	index    pairIndex
	pairs    []exchange
	sums     []uint64 // what each of them gave: sixteen in two lines of the processor's cache
	hand     int
	count    struct{ records, bytes, leftOut, evicted uint64 }
}

// exchange is what two hosts gave each other. 0 is the direction of the key.
type exchange struct {
	key  pairKey
	now  [2]uint64 // in the open interval
	rest [2]uint64 // of long records, for this interval and those that follow
	over [2]uint32 // over so many
	side int64     // bytes of flows that the source of the key opened, less those that the other did
}

// NewExported returns an Exported that has seen nothing and feeds to, which nothing else
// may feed.
func NewExported(to *Transfer) *Exported {
	x := &Exported{to: to, interval: int64(to.cfg.Interval)}
	x.index = newPairIndex(to.cfg.Seed, func(slot uint32) *pairKey { return &x.pairs[slot].key })
	return x
}

// Flow takes an exported flow, of one direction or of both. It does not keep r.
func (x *Exported) Flow(r *flow.Record) {
	x.count.records++
	bytes := [2]uint64{r.NetworkBytes(&r.Fwd), r.NetworkBytes(&r.Rev)}
	if bytes == [2]uint64{} || r.Src == r.Dst {
		return
	}
	x.count.bytes += bytes[0] + bytes[1]
	key, opened := pairKey{r.Src, r.Dst}, opener(r)*int64(bytes[0]+bytes[1])
	if r.Dst.Less(r.Src) {
		key = pairKey{r.Dst, r.Src}
		bytes[0], bytes[1], opened = bytes[1], bytes[0], -opened
	}
	at := x.pair(&key, bytes[0]+bytes[1])
	if at < 0 {
		x.count.leftOut += bytes[0] + bytes[1]
		return
	}
	x.sums[at] += bytes[0] + bytes[1]
	p := &x.pairs[at]
	p.side += opened
	long := uint32(min((r.Last-r.First)/x.interval+1, int64(7*24*time.Hour)/x.interval+1))
	for side, n := range bytes {
		switch {
		case n == 0:
		case long == 1:
			p.now[side] += n
		default:
			p.rest[side] += n
			p.over[side] = max(p.over[side], long)
		}
	}
}

// opener guesses who opened a flow, as exporters do not say: services have the lower
// port. It is 1 for the source, -1 for the destination, 0 when nothing tells.
func opener(r *flow.Record) int64 {
	switch {
	case !r.Ports || r.SrcPort == r.DstPort:
		return 0
	case r.SrcPort > r.DstPort:
		return 1
	}
	return -1
}

// exportedLook is how many pairs are looked at to find one that makes room.
const exportedLook = 16

// pair returns the place of a pair that gave so many bytes, -1 when there is no room
// and none of those that are looked at gave less.
func (x *Exported) pair(key *pairKey, bytes uint64) int {
	if at, known := x.index.find(key); known {
		return int(at)
	}
	at := len(x.pairs)
	if at < maxExportedPairs {
		x.pairs = append(x.pairs, exchange{})
		x.sums = append(x.sums, 0)
	} else if at = x.smallest(); x.sums[at] < bytes {
		x.count.evicted++
		x.count.leftOut += x.sums[at]
		x.index.remove(&x.pairs[at].key)
	} else {
		return -1
	}
	x.pairs[at], x.sums[at] = exchange{key: *key}, 0
	x.index.put(key, uint32(at))
	return at
}

// smallest returns which of the next pairs gave least.
func (x *Exported) smallest() int {
	least := -1
	for range exportedLook {
		if x.hand++; x.hand >= len(x.sums) {
			x.hand = 0
		}
		if least < 0 || x.sums[x.hand] < x.sums[least] {
			least = x.hand
		}
	}
	return least
}

// Advance tells that it is now, by the clock on which flows arrive, and closes the
// intervals that ended. Times that go back change nothing.
func (x *Exported) Advance(now int64) {
	if x.end == 0 {
		x.end = now - now%x.interval + x.interval
	}
	for x.end <= now {
		x.close()
		x.end += x.interval
		if len(x.pairs) == 0 && x.end <= now { // nothing is due until now
			x.end = now - now%x.interval + x.interval
			x.to.Advance(x.end - x.interval)
		}
	}
}

// close gives the open interval to the Transfer.
func (x *Exported) close() {
	kept := 0
	for i := range x.pairs {
		p := &x.pairs[i]
		x.tell(p)
		x.index.remove(&p.key)
		if p.rest == [2]uint64{} {
			continue
		}
		x.pairs[kept], x.sums[kept] = *p, p.rest[0]+p.rest[1]
		x.index.put(&p.key, uint32(kept))
		kept++
	}
	x.pairs, x.sums = x.pairs[:kept], x.sums[:kept]
	x.to.Advance(x.end)
}

// tell shows the Transfer what a pair gave in the open interval, as a flow that began
// with it.
func (x *Exported) tell(p *exchange) {
	for side := range p.now {
		if p.over[side] > 0 {
			part := p.rest[side] / uint64(p.over[side])
			p.now[side] += part
			p.rest[side] -= part
			p.over[side]--
		}
	}
	r := flow.Record{
		Key: flow.Key{Src: p.key.src, Dst: p.key.dst}, Fwd: flow.Side{Payload: p.now[0]}, Rev: flow.Side{Payload: p.now[1]},
		First: x.end - x.interval, Last: x.end - 1, End: flow.Finished,
	}
	if p.side < 0 { // who opened most of it is the source
		r.Key, r.Fwd, r.Rev = r.Key.Reverse(), r.Rev, r.Fwd
	}
	x.to.Flow(&r)
	p.now, p.side = [2]uint64{}, p.side/2
}

// Flush closes the open interval, at the end of a capture.
func (x *Exported) Flush() {
	if x.end != 0 {
		x.close()
	}
	x.to.Flush()
}

// Counts yields every counter by its name, those of the Transfer too.
func (x *Exported) Counts(yield func(name string, n uint64)) {
	yield("exported_records", x.count.records)
	yield("exported_bytes", x.count.bytes)
	yield("exported_bytes_left_out", x.count.leftOut)
	yield("exported_pairs", uint64(len(x.pairs)))
	yield("exported_pairs_evicted", x.count.evicted)
	x.to.Counts(yield)
}
