package watch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"vft/capture/flow"
	"vft/correlate/anomalyzer"
	"vft/event"
	"vft/ipproto"
)

// Transfer watches the payload bytes that each direction of each flow carries per
// interval. One goroutine uses it at a time. See the package comment for how it is
// fed.
type Transfer struct {
	cfg        TransferConfig
	find       event.Find
	judge      *anomalyzer.Detector
	gate       *anomalyzer.Detector // magnitude alone; nil when that is no method
	floor      float64
	limit      int // values of a series
	flows      pipes
	begun      bool
	start      int64 // of the open interval
	interval   int64
	due        []candidate
	excursions map[candidate]*flowExcursion
	count      transferCounts
}

type transferCounts struct{ records, bytes, intervals, values, gated, evaluated, skipped, falling, unconcerned, anomalies, episodes, suppressed uint64 }

// flowExcursion is an excursion of one direction of a flow.
type flowExcursion struct {
	excursion
	past    uint64 // a bit for each of the newest intervals: it was abnormal
	carried uint64 // bytes of the abnormal intervals
	quiet   int    // usual intervals since the last abnormal one
	slot    uint32
}

// NewTransfer returns a Transfer that has seen nothing. What is abnormal goes through
// find. It refuses a TransferConfig that does not validate.
func NewTransfer(cfg TransferConfig, find event.Find) (*Transfer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	judge, err := anomalyzer.New(cfg.Anomalyzer)
	if err != nil {
		return nil, err
	}
	t := &Transfer{cfg: cfg, find: find, judge: judge, interval: int64(cfg.Interval),
		flows: newPipes(cfg.Flows), excursions: map[candidate]*flowExcursion{}}
	if slices.Contains(cfg.Anomalyzer.Methods, anomalyzer.Magnitude.String()) || len(cfg.Anomalyzer.Methods) == 0 {
		only := judge.Config()
		only.Methods = []string{anomalyzer.Magnitude.String()}
		if t.gate, err = anomalyzer.New(only); err != nil {
			return nil, err
		}
	}
	t.flows.leaves, t.limit = t.forgetSpells, judge.Config().Cap
	if t.floor = cfg.Floor; t.floor == 0 {
		t.floor = cfg.Anomalyzer.UpperBound / 100
	}
	return t, nil
}

// Flow takes the state of a flow: a live one at any time, and one that ended before a
// new one of the same key is shown. What it carried since it was last shown counts in
// the open interval. It does not keep r.
func (t *Transfer) Flow(r *flow.Record) {
	if !t.begun {
		t.begin(r.First)
	}
	t.count.records++
	carried := t.flows.add(r)
	t.count.bytes += carried[0] + carried[1]
	if t.cfg.Carried != nil && carried != [2]uint64{} {
		t.cfg.Carried(&r.Key, carried[0], carried[1], r.Last)
	}
}

// begin opens the first interval, the one that holds now.
func (t *Transfer) begin(now int64) {
	t.begun = true
	t.open(now - (now%t.interval+t.interval)%t.interval)
}

func (t *Transfer) open(start int64) { t.start, t.flows.start = start, start }

// Advance closes the intervals that ended at or before now. Times that go back
// change nothing.
func (t *Transfer) Advance(now int64) {
	if !t.begun {
		return
	}
	for now-t.start >= t.interval {
		t.close()
		t.open(t.start + t.interval)
		if len(t.flows.used) == 0 && now-t.start >= t.interval {
			t.begin(now)
		}
	}
}

// Flush closes the open interval, at the end of a capture.
func (t *Transfer) Flush() {
	if t.begun {
		t.close()
		t.tellRest(func(*flowExcursion) bool { return true })
		t.begun = false
	}
}

// candidate is one direction of a flow whose series must be evaluated.
type candidate struct {
	slot  uint32
	side  uint8
	bytes uint64
	key   flow.Key
}

// id is a candidate as a key of excursions.
func (c candidate) id() candidate { return candidate{slot: c.slot, side: c.side, key: c.key} }

// compare orders the largest first, then by key: the slots depend on the order in
// which flows came.
func (c candidate) compare(o candidate) int {
	if n := cmp.Compare(o.bytes, c.bytes); n != 0 {
		return n
	}
	return compareKeys(&c.key, &o.key)
}

func compareKeys(a, b *flow.Key) int {
	pack := func(k *flow.Key) (p [38]byte) {
		binary.BigEndian.PutUint64(p[0:], k.Src.Hi)
		binary.BigEndian.PutUint64(p[8:], k.Src.Lo)
		binary.BigEndian.PutUint64(p[16:], k.Dst.Hi)
		binary.BigEndian.PutUint64(p[24:], k.Dst.Lo)
		binary.BigEndian.PutUint16(p[32:], k.SrcPort)
		binary.BigEndian.PutUint16(p[34:], k.DstPort)
		p[36] = k.Proto
		return p
	}
	x, y := pack(a), pack(b)
	return bytes.Compare(x[:], y[:])
}

// close ends the open interval: every series gets its value, those that may be
// abnormal are evaluated.
func (t *Transfer) close() {
	t.count.intervals++
	t.due = t.due[:0]
	for _, b := range t.excursions {
		b.past <<= 1
	}
	if t.floor > 0 {
		for _, slot := range t.flows.active {
			if p := &t.flows.slots[slot]; p.active {
				t.collect(slot, p)
			}
		}
	} else { // what carried nothing may be abnormal too
		for _, slot := range t.flows.used {
			t.collect(slot, &t.flows.slots[slot])
		}
	}
	t.evaluate()
	t.settle()
	t.rest()
}

// rest begins the next interval and forgets the flows that were idle for too long.
func (t *Transfer) rest() {
	f := &t.flows
	for _, slot := range f.active {
		if f.slots[slot].active {
			f.slots[slot].active = false
			f.rest(slot)
		}
	}
	f.active = f.active[:0]
	for f.oldest != noSlot && f.number-f.slots[f.oldest].seen >= uint32(t.cfg.Idle) {
		t.forget(f.oldest)
	}
	f.number++
}

// collect appends the bytes of the interval to the series of a flow and notes
// those that must be evaluated.
func (t *Transfer) collect(slot uint32, p *pipe) {
	passed := t.flows.passed(p)
	t.count.values += passed
	t.count.gated += passed
	p.write(t.flows.number, t.limit)
	for side := range p.series {
		if !t.push(p, side) {
			continue
		}
		c := candidate{slot, uint8(side), p.pending[side], p.direction(side)}
		if t.cfg.Concerns != nil && !t.cfg.Concerns(&c.key, t.start+t.interval) {
			t.count.unconcerned++
			continue
		}
		t.due = append(t.due, c)
	}
}

// push appends the bytes of the interval to the series of one direction, and reports
// whether it must be evaluated. A direction that never carried anything has none.
func (t *Transfer) push(p *pipe, side int) bool {
	s := &p.series[side]
	if p.pending[side] == 0 && len(*s) == 0 {
		return false
	}
	t.count.values++
	s.push(float64(p.pending[side]), t.limit)
	if float64(p.pending[side]) < t.floor {
		t.count.gated++
		return false
	}
	if t.gate != nil && t.gate.Eval(*s).Gate != anomalyzer.GateOpen {
		t.count.gated++
		return false
	}
	return true
}

// evaluate judges the candidates, the largest first, as many as may be.
func (t *Transfer) evaluate() {
	slices.SortFunc(t.due, candidate.compare)
	if extra := len(t.due) - t.cfg.Evaluations; extra > 0 {
		t.count.skipped += uint64(extra)
		t.due = t.due[:t.cfg.Evaluations]
	}
	began := 0
	for _, c := range t.due {
		series := t.flows.slots[c.slot].series[c.side]
		r := t.judge.Eval(series)
		t.count.evaluated++
		if !t.judge.Anomalous(r) {
			continue
		}
		if rose, known := t.rose(series); t.cfg.Rising && known && !rose {
			t.count.falling++
			continue
		}
		t.count.anomalies++
		b := t.excursions[c.id()]
		if b == nil {
			if began++; began > t.cfg.Episodes {
				t.count.suppressed++
				continue
			}
		}
		t.abnormal(c, b, t.anomaly(c, series, &r), t.usual(series))
	}
}

// anomaly describes an abnormal interval.
func (t *Transfer) anomaly(c candidate, series []float64, r *anomalyzer.Result) event.Anomaly {
	side := "up"
	if rose, known := t.rose(series); known && !rose {
		side = "down"
	}
	return event.Anomaly{
		Detector: "anomalyzer", Value: float64(c.bytes), Threshold: t.judge.Config().Threshold, Probability: r.Probability,
		Side: side, Window: t.cfg.Interval, Bytes: c.bytes,
		Methods: r.Probabilities(), Series: slices.Clone(series),
	}
}

// rose compares the means of the active and the reference window.
func (t *Transfer) rose(series []float64) (rose, known bool) {
	before, active := t.windows(series)
	if len(before) == 0 {
		return false, false
	}
	return mean(active) >= mean(before), true
}

// usual is the mean of the reference window, 0 when it is empty.
func (t *Transfer) usual(series []float64) float64 {
	before, _ := t.windows(series)
	if len(before) == 0 {
		return 0
	}
	return mean(before)
}

func (t *Transfer) windows(series []float64) (reference, active []float64) {
	cfg := t.judge.Config()
	n := len(series) - min(cfg.ActiveSize, len(series))
	return series[max(0, n-cfg.ActiveSize*cfg.NSeasons):n], series[n:]
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, x := range values {
		sum += x
	}
	return sum / float64(len(values))
}

// abnormal takes the interval into the excursion, which is told of once it has lasted.
func (t *Transfer) abnormal(c candidate, b *flowExcursion, a event.Anomaly, usual float64) {
	end := t.start + t.interval
	if b == nil {
		b = &flowExcursion{excursion: excursion{Since: t.start}, slot: c.slot}
		t.excursions[c.id()] = b
	}
	b.extend(&a, usual, a.Value, end)
	b.past |= 1
	b.carried += c.bytes
	b.quiet = -1 // the one that is being closed
	switch {
	case b.told() && b.waits():
		return
	case !b.told() && (bits.OnesCount64(b.past&(1<<t.cfg.Among-1)) < t.cfg.Needed || b.carried < t.cfg.Least):
		return
	case !b.told():
		t.count.episodes++
	}
	t.tell(c, b)
}

// tell tells of a transfer: what the abnormal intervals carried, beside what is usual
// for the time that it has lasted.
func (t *Transfer) tell(c candidate, b *flowExcursion) {
	lasted := b.Until - b.Since
	usual := b.Usual * float64(lasted/t.interval)
	f := b.finding()
	f.Value, f.Threshold, f.Window = float64(b.carried), 0, time.Duration(lasted)
	f.Type, f.Unit, f.Usual, f.Severity = transferFinding, "bytes", &usual, t.cfg.Severity
	f.Memory = findingMemory(t.cfg.Quiet, t.cfg.Interval)
	f.Src, f.Dst, f.Transport = ends(c.key.Src.Netip(), c.key.SrcPort), ends(c.key.Dst.Netip(), c.key.DstPort), ipproto.Name(c.key.Proto)
	f.Offender, f.Victims = f.Src.Addr(), []netip.Addr{f.Dst.Addr()}
	f.Key = f.Src.String() + " " + f.Dst.String() + " " + f.Transport
	if f.Transport == "tcp" { // who has carried so much has a connection
		f.Evidence = event.E1
	}
	t.find(&f)
}

// transferFinding is the type of the findings.
const transferFinding = "transfer"

func ends(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// settle tells what is new of excursions that were told some time ago, and forgets those
// that have been quiet long enough.
func (t *Transfer) settle() {
	end := t.start + t.interval
	t.tellRest(func(b *flowExcursion) bool { return b.quiet >= 0 && end-b.Told >= repeatEvery })
	for c, b := range t.excursions {
		if b.quiet++; b.quiet >= t.cfg.Quiet && !b.untold() {
			delete(t.excursions, c)
		}
	}
}

// tellRest tells what is new of those excursions that were told and are due, in the order
// of their keys.
func (t *Transfer) tellRest(due func(*flowExcursion) bool) {
	var rest []candidate
	for c, b := range t.excursions {
		if b.untold() && due(b) {
			rest = append(rest, c)
		}
	}
	slices.SortFunc(rest, candidate.compare)
	for _, c := range rest {
		t.tell(c, t.excursions[c])
	}
}

// forget frees the slot of a flow and forgets its excursions.
func (t *Transfer) forget(slot uint32) {
	t.forgetSpells(slot)
	t.flows.free(slot)
}

// forgetSpells forgets what a flow has to tell, which leaves now.
func (t *Transfer) forgetSpells(slot uint32) {
	passed := t.flows.passed(&t.flows.slots[slot])
	t.count.values += passed
	t.count.gated += passed
	if len(t.excursions) == 0 {
		return
	}
	t.tellRest(func(b *flowExcursion) bool { return b.slot == slot })
	for side := range 2 {
		delete(t.excursions, candidate{slot: slot, side: uint8(side), key: t.flows.slots[slot].direction(side)})
	}
}

// Len returns the number of flows that are kept.
func (t *Transfer) Len() int { return len(t.flows.used) }

// Counts yields every counter by its name.
func (t *Transfer) Counts(yield func(name string, n uint64)) {
	c := t.count
	for _, slot := range t.flows.used {
		passed := t.flows.passed(&t.flows.slots[slot])
		c.values += passed
		c.gated += passed
	}
	yield("records", c.records)
	yield("payload_bytes", c.bytes)
	yield("intervals", c.intervals)
	yield("values", c.values)
	yield("values_gated", c.gated)
	yield("evaluations", c.evaluated)
	yield("evaluations_skipped", c.skipped)
	yield("evaluations_unconcerned", c.unconcerned)
	yield("anomalies_falling", c.falling)
	yield("anomalies", c.anomalies)
	yield("episodes", c.episodes)
	yield("episodes_suppressed", c.suppressed)
	yield("flows", uint64(len(t.flows.used)))
	yield("flows_evicted", t.flows.evictedFlows)
	yield("flows_rejoined", t.flows.rejoined)
}
