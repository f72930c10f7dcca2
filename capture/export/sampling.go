package export

import (
	"math"
	"math/bits"
	"slices"

	"vft/capture/flow"
)

// sampling is what is known of the sampling of an exporter.
type sampling struct {
	override uint32 // of the configuration; 0: none
	general  uint32 // of the exporter as a whole; 0: not known
	some     []sampler
}

// sampler is a rate that holds for some of the records of an exporter.
type sampler struct {
	scope slot // selector, forTemplate or ofInterface
	id    uint64
	rate  uint32
}

// maxSamplers is how many samplers of one exporter are remembered; the oldest
// gives way.
const maxSamplers = 64

// rateSlots are those that a rate is read from or found by.
const rateSlots = 1<<interval | 1<<randomOneOf | 1<<taken | 1<<sampleSize | 1<<probability | 1<<selector | 1<<ofInterface

// option takes what an options record says: the sampling rate of the exporter or
// of a part of it, and when the exporter started.
func (d *Decoder) option(e *exporter, t *template) {
	d.counts[optionRecords]++
	v := &d.values
	if t.fills(bootTime) && v[bootTime] != 0 {
		e.started = v[bootTime]
	}
	rate := stated(t, v)
	if rate == 0 {
		return
	}
	for _, scope := range [...]slot{selector, forTemplate, ofInterface} {
		if t.fills(scope) {
			e.sampling.learn(sampler{scope, v[scope], rate})
			return
		}
	}
	e.sampling.general = rate
}

// learn remembers a sampler, in place of what was known of it.
func (s *sampling) learn(sampler sampler) {
	for i := range s.some {
		if s.some[i].scope == sampler.scope && s.some[i].id == sampler.id {
			s.some[i].rate = sampler.rate
			return
		}
	}
	if len(s.some) >= maxSamplers {
		s.some = slices.Delete(s.some, 0, 1)
	}
	s.some = append(s.some, sampler)
}

// stated returns the sampling rate that the fields of a record state, rounded;
// 0: none.
func stated(t *template, v *values) uint32 {
	switch {
	case t.fills(randomOneOf) && v[randomOneOf] != 0:
		return whole(v[randomOneOf], 1)
	case t.fills(interval) && v[interval] != 0:
		return whole(v[interval], 1)
	case t.fills(taken) && v[taken] != 0:
		return whole(min(v[taken], math.MaxUint32)+min(v[space], math.MaxUint32), min(v[taken], math.MaxUint32))
	case t.fills(sampleSize) && v[sampleSize] != 0:
		return whole(v[population], v[sampleSize])
	case t.fills(probability):
		if p := math.Float64frombits(v[probability]); p > 1.0/math.MaxUint32 && p <= 1 {
			return uint32(math.Round(1 / p))
		}
	}
	return 0
}

// whole returns a/b, rounded, at most what a rate can be.
func whole(a, b uint64) uint32 {
	n := a / b
	if a%b >= b-b/2 {
		n++
	}
	return uint32(min(n, math.MaxUint32))
}

// rate returns the rate for records that state own; 0: nothing.
func (e *exporter) rate(own uint32) uint32 {
	switch {
	case e.sampling.override != 0:
		return e.sampling.override
	case own != 0:
		return own
	}
	return e.sampling.general
}

// rateOf returns the rate for a record: what it states itself, that of its
// sampler, that of its template, that of the interface where it came in, that of
// the exporter, and for records that name no sampler, that of the only one.
func (e *exporter) rateOf(t *template, v *values) uint32 {
	s := &e.sampling
	own := stated(t, v)
	switch {
	case own != 0 || s.override != 0 || len(s.some) == 0:
		return e.rate(own)
	case t.fills(selector) && v[selector] != 0:
		return e.rate(s.find(selector, v[selector]))
	}
	if rate := s.find(forTemplate, uint64(t.id)); rate != 0 {
		return rate
	}
	if rate := s.find(ofInterface, v[ofInterface]); rate != 0 && t.fills(ofInterface) {
		return rate
	}
	if s.general == 0 && len(s.some) == 1 && s.some[0].scope == selector {
		return s.some[0].rate
	}
	return s.general
}

// find returns the rate of a sampler; 0: not known.
func (s *sampling) find(scope slot, id uint64) uint32 {
	for i := range s.some {
		if s.some[i].scope == scope && s.some[i].id == id {
			return s.some[i].rate
		}
	}
	return 0
}

// MaxCounter is the most packets or bytes that a record has: in bytes, what 400
// Gbit/s carry in an hour and a half. Larger ones are no traffic, and the sums of
// many would not fit the numbers of those that read records.
const MaxCounter = 1 << 48

// times returns n multiplied by a sampling rate, at most MaxCounter.
func times(n uint64, rate uint32) uint64 {
	high, low := bits.Mul64(n, uint64(max(rate, 1)))
	if high != 0 {
		return MaxCounter
	}
	return min(low, MaxCounter)
}

// bounded counts a record whose counters reached MaxCounter.
func (d *Decoder) bounded(r *flow.Record) {
	if (r.Fwd.Packets|r.Fwd.Bytes|r.Rev.Packets|r.Rev.Bytes)&MaxCounter != 0 {
		d.counts[badCounter]++
	}
}
