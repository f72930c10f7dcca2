package detect

import (
	"math/bits"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// A course follows one destination second by second. The packets of a record are
// spread evenly over its time: where it begins the rate rises, where it ends it
// falls, so that an hour costs no more than a second.
const (
	courseTime  = 64 // seconds; one of them is where the last second ends
	crowdTime   = 8  // seconds
	crowdCount  = courseTime/crowdTime + 1
	courseUnit  = 8   // parts of a packet per second, so that long flows are not rounded to nothing
	fewSamples  = 10  // sampled packets in a second that say nothing
	usualWeight = 0.1 // of a second in what is usual
)

// course is what one destination got, second by second.
type course struct {
	addr, exporter packet.Addr
	newest         int64 // second
	change         [exportKinds][courseTime]int32
	base           [exportKinds]int32   // in the second before the oldest
	usual          [exportKinds]float32 // moving average of the seconds that left
	told           [exportKinds]uint64  // a bit for each second
	crowds         [2][crowdCount]crowd // of flows, and of packets that are counted whatever they are
	sampling       uint32
	listed         bool
}

// crowd is who sent to a destination, in a few seconds.
type crowd struct {
	total, votes   int64       // packets
	suspect        packet.Addr // the source of most (Boyer and Moore's vote)
	ports, sources uint64      // a bit for each hashed one
	port           uint16      // of the last
}

// peak is what a course has above the threshold.
type peak struct {
	most, count int32 // packets in one second, and in all
	at          int64 // second of most
	last        int64
}

// follow spreads n of a kind over the seconds of the record, and reports false when
// they are too old.
func (c *course) follow(r *flow.Record, kind exportKind, n int64) bool {
	from, to := r.First/second, r.Last/second
	c.move(to)
	to = min(to, from+max((r.Last-r.First+second/2)/second, 1)-1) // a record that begins and ends within seconds is no longer for that
	oldest := c.newest - courseTime + 2
	if to < oldest {
		return false
	}
	rate := int32(min(max(n*courseUnit/(to-from+1), -heatMost), heatMost))
	c.change[kind][max(from, oldest)%courseTime] += rate
	c.change[kind][(to+1)%courseTime] -= rate
	if n < 0 {
		return true
	}
	c.sampling = max(c.sampling, r.Export.Sampling)
	for s := max(from, oldest) / crowdTime; s <= to/crowdTime; s++ {
		c.crowd(kind, s*crowdTime).add(r, n)
	}
	return true
}

// crowd returns who sent in the seconds around at.
func (c *course) crowd(kind exportKind, at int64) *crowd {
	all := &c.crowds[0]
	if kind >= packetsUDP {
		all = &c.crowds[1]
	}
	return &all[uint64(at/crowdTime)%uint64(len(all))]
}

func (c *crowd) add(r *flow.Record, n int64) {
	c.ports |= 1 << (uint32(r.DstPort) * 0x9e3779b1 >> 26)
	c.sources |= 1 << (uint32(r.Src.Lo^r.Src.Hi) * 0x9e3779b1 >> 26)
	c.port = r.DstPort
	c.total += n
	if c.suspect == r.Src {
		c.votes += n
	} else if c.votes -= n; c.votes < 0 {
		c.suspect, c.votes = r.Src, -c.votes
	}
}

// move makes room for a second that is newer than all; those that leave teach
// what is usual.
func (c *course) move(to int64) {
	if to <= c.newest {
		return
	}
	leave := min(to-c.newest, courseTime-1)
	for s := c.newest - courseTime + 2; s < c.newest-courseTime+2+leave; s++ {
		c.leave(uint64(s) % courseTime)
	}
	for s := c.newest/crowdTime + 1; s <= min(to/crowdTime, c.newest/crowdTime+crowdCount); s++ {
		*c.crowd(halfSYN, s*crowdTime), *c.crowd(packetsUDP, s*crowdTime) = crowd{}, crowd{}
	}
	for range min(to-c.newest-leave, 10) { // seconds without anything
		for k := range c.usual {
			c.usual[k] *= 1 - usualWeight
		}
	}
	c.newest = to
}

func (c *course) leave(at uint64) {
	for k := range c.base {
		c.base[k] += c.change[k][at]
		c.change[k][at] = 0
		if c.told[k]>>at&1 == 0 {
			c.usual[k] += usualWeight * (float32(max(c.base[k], 0))/courseUnit - c.usual[k])
		}
		c.told[k] &^= 1 << at
	}
}

// least is how many of a kind in a second may be a flood.
func (c *course) least(k exportKind) int32 {
	return max(exportSpecs[k].floor, fewSamples*int32(min(c.sampling, 1<<20)))
}

// scans reports whether few sources reach very many ports, or as good as one
// with each packet that was sampled.
func (c *crowd) scans(sampling uint32) bool {
	ports := min(scanPorts, int(min(c.total/int64(max(sampling, 1)), 1<<20))/2)
	return bits.OnesCount64(c.ports) >= ports && bits.OnesCount64(c.sources) < scanSources
}

// above finds the seconds that have too many of a kind, and were not told.
func (c *course) above(k exportKind, running bool) (p peak) {
	sum := c.base[k]
	for s := c.newest - courseTime + 2; s <= c.newest; s++ {
		at := uint64(s) % courseTime
		sum += c.change[k][at]
		v, least := sum/courseUnit, c.least(k)
		if v < least || c.told[k]>>at&1 != 0 || !running && float32(v) < usualFactor*c.usual[k] || c.crowd(k, s).scans(c.sampling) && v/scanFactor < least {
			continue
		}
		c.told[k] |= 1 << at
		p.count, p.last = p.count+v, s
		if v > p.most {
			p.most, p.at = v, s
		}
	}
	return p
}

func (c *course) finding(k exportKind, p peak) *finding {
	spec, who := exportSpecs[k], c.crowd(k, p.at)
	return &finding{
		kind: spec.name, sensor: "flood", key: c.addr.String(), anyone: true, scan: spec.scan, transport: spec.transport, offender: who.suspect, spoofed: who.votes < who.total/2,
		severity: severityFlood, evidence: event.E0, target: c.addr, port: who.port, hasPort: k != echoICMP, count: uint64(p.count),
		value: float64(p.most), threshold: float64(c.least(k)), window: time.Second, memory: exportQuiet,
	}
}
