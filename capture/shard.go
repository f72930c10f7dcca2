package capture

import (
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/capture/stat"
)

// ShardConfig says what a Shard does with its packets. The funcs are called on
// the goroutine that calls Packet; what they are given is valid until they
// return.
type ShardConfig struct {
	Period time.Duration // of the intervals; 0 means one second
	// Origin moves the borders of the intervals: they lie at Origin plus whole
	// periods. 0 aligns them to the clock.
	Origin int64
	Inner  bool // count the packets inside tunnels
	Flow   flow.Config
	Places int // of the distinct counts of Totals, see stat.NewTotals

	// Packet is nil, or gets each packet after it was counted, with what it meant
	// to its flow; 0 for one that belongs to none.
	Packet   func(p *packet.Parsed, touch flow.Touch, now int64)
	Interval func(*stat.Interval) // nil, or gets each closed interval, in order
}

// Limits of what a jump in the times of a file can cause.
const (
	maxEmptyRun = 24 * 3600 // empty intervals in a row that are emitted
	maxEmptyAll = 1 << 21   // in all
)

// Shard counts the packets of one source or of one part of it. One goroutine
// owns it.
type Shard struct {
	cfg      ShardConfig
	period   int64
	parsed   packet.Parsed
	table    *flow.Table
	interval *stat.Interval
	totals   *stat.Totals
	started  bool
	seed     uint64
	count    ShardCounters
}

// ShardCounters tell what was odd about the times of the packets.
type ShardCounters struct {
	Late    uint64 // packets older than the interval that was open; they count in it
	Empty   uint64 // empty intervals emitted
	Skipped uint64 // empty intervals not emitted: the gap was too long
}

// NewShard returns a Shard that has seen nothing.
func NewShard(cfg ShardConfig) *Shard {
	if cfg.Period <= 0 {
		cfg.Period = time.Second
	}
	return &Shard{
		cfg:      cfg,
		period:   int64(cfg.Period),
		parsed:   packet.Parsed{Inner: cfg.Inner},
		table:    flow.NewTable(cfg.Flow),
		interval: stat.NewInterval(),
		totals:   stat.NewTotals(cfg.Places),
		seed:     cfg.Flow.Seed,
	}
}

// Packet decodes and counts one packet. Its time may close intervals first. It
// does not keep pkt.
func (s *Shard) Packet(pkt *Packet) {
	p := &s.parsed
	p.Decode(pkt.Link, pkt.Data, pkt.Wire)
	s.begin(p, pkt.Time)
	touch := s.table.Packet(p, pkt.Time)
	s.distinct(p, touch)
	if s.cfg.Packet != nil {
		s.cfg.Packet(p, touch, pkt.Time)
	}
}

// Ahead prepares the packets of b from the given one on for Batched, so that the
// cache misses of their flows overlap.
func (s *Shard) Ahead(b *Batch, from int) {
	s.table.Ahead(b.Parsed[from:b.n], b.hashes[from:b.n])
}

// Batched is Packet for packet i of b, after Ahead. ShardConfig.Packet is not
// called.
func (s *Shard) Batched(b *Batch, i int) {
	p, now := &b.Parsed[i], b.Times[i]
	s.begin(p, now)
	b.Touches[i] = s.table.Hashed(p, b.hashes[i], now)
	s.distinct(p, b.Touches[i])
}

// begin counts a packet in its interval.
func (s *Shard) begin(p *packet.Parsed, now int64) {
	if now >= s.interval.End || !s.started {
		s.advance(now)
	} else if now < s.interval.Start {
		s.count.Late++
	}
	s.interval.Counts.Add(p)
}

// distinct counts what is distinct about a packet when it is the first of its
// kind. A later fragment says little of its flow, so it is looked at each time.
func (s *Shard) distinct(p *packet.Parsed, touch flow.Touch) {
	if touch == 0 && p.FragOffset == 0 && p.IP() {
		return
	}
	if !p.IP() {
		s.broken(p)
		return
	}
	iv := s.interval
	if touch&flow.NewFlow != 0 {
		iv.FlowsStarted++
	}
	if p.LaterFragment() {
		hash := s.tuple(p)
		s.totals.AddEnds(p)
		s.totals.Tuples.Add(hash)
		iv.AddEnds(p)
		iv.AddFragment(p, hash)
		return
	}
	if touch&flow.FirstOfFlow != 0 {
		iv.Flows++
	}
	if touch&flow.FirstOfSide != 0 {
		iv.Sides++
		iv.AddEnds(p)
	}
	if touch&flow.NewSide != 0 {
		s.totals.AddEnds(p)
	}
	if touch&flow.NewFlow != 0 {
		s.totals.Tuples.Add(s.tuple(p))
	}
}

// broken counts a packet that belongs to no flow. A header too broken to hold
// addresses: in the totals the empty address is one more, as it is for tshark.
func (s *Shard) broken(p *packet.Parsed) {
	if p.Network == packet.IPv4 || p.Network == packet.IPv6 {
		s.totals.AddEnds(p)
		s.totals.Tuples.Add(s.tuple(p))
	}
}

// tuple is the 5-tuple as the packet alone tells it: where no transport header
// was read, the protocol is that of the IP header.
func (s *Shard) tuple(p *packet.Parsed) uint64 {
	if p.HasPorts { // then it is the key of the flow
		return s.table.Hash()
	}
	k := flow.Key{Src: p.Src, Dst: p.Dst, SrcPort: p.SrcPort, DstPort: p.DstPort, Proto: p.Proto, Ports: p.HasPorts}
	if p.Transport == packet.NoTransport || p.Transport == packet.OtherTransport {
		k.Proto = p.NextHeader
	}
	return k.Hash(s.seed)
}

// Advance closes the intervals that ended at or before now, for a source that
// is quiet. Times that go back change nothing.
func (s *Shard) Advance(now int64) {
	if s.started && now >= s.interval.End {
		s.advance(now)
	}
}

// advance closes the open interval and the empty ones up to the one that holds
// now.
func (s *Shard) advance(now int64) {
	start := now - mod(now-s.cfg.Origin, s.period)
	if !s.started {
		s.started = true
		s.interval.Reset(start, start+s.period)
		return
	}
	s.close()
	missing := (start - s.interval.End) / s.period
	if missing > maxEmptyRun || s.count.Empty+uint64(missing) > maxEmptyAll {
		s.count.Skipped += uint64(missing)
	} else {
		for range missing {
			s.interval.Reset(s.interval.End, s.interval.End+s.period)
			s.count.Empty++
			s.emit()
		}
	}
	s.table.Advance(start)
	s.interval.Reset(start, start+s.period)
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }

func (s *Shard) close() {
	s.totals.Counts.Merge(&s.interval.Counts)
	s.emit()
	s.table.Mark()
}

func (s *Shard) emit() {
	if s.cfg.Interval != nil {
		s.cfg.Interval(s.interval)
	}
}

// Close closes the open interval and ends all flows. The Shard can be read
// afterwards, and not be used again.
func (s *Shard) Close() {
	if s.started {
		s.close()
		s.started = false
	}
	s.table.Flush()
}

// Totals returns the sums of the closed intervals.
func (s *Shard) Totals() *stat.Totals { return s.totals }

// Flows returns the flow table, to look at between two packets.
func (s *Shard) Flows() *flow.Table { return s.table }

// Counters returns what was odd so far.
func (s *Shard) Counters() ShardCounters { return s.count }
