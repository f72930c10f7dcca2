package detect

import (
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

// Amplification in exported flows: see amplification.go. Records are too coarse
// for seconds, so bytes are counted in ten of them, against those that the host
// sent to the service in the same time.
const (
	maxExportReflected = 1 << 12 // 120 bytes each, with its key
	exportReflectTime  = 10      // seconds
	exportReflected    = exportReflectTime * reflectedBytes
	exportReflectMore  = exportReflectTime * reflectedMore
)

// reflection is what one host got from one service, by one exporter, in one
// window.
type reflection struct {
	window           int64
	bytes, asked     uint64
	packets, orders  uint64
	usual            float32 // bytes in a window, moving average
	host             packet.Addr
	exporter         packet.Addr
	last             packet.Addr
	sampling         uint32
	port             uint16
	distinct, listed bool
}

type exportAmplification struct {
	hash     hasher
	episodes *episodes
	victims  *cache[reflection]
	suspects []suspectCourse
	unlisted uint64
}

func newExportAmplification(h hasher, e *episodes) *exportAmplification {
	return &exportAmplification{hash: h, episodes: e, victims: newCache[reflection](maxExportReflected), suspects: make([]suspectCourse, 0, 256)}
}

// direction counts one direction of a flow, if it is of UDP and comes from such a
// service or goes to one.
func (a *exportAmplification) direction(r *flow.Record, now int64) {
	if r.Proto != protoUDP {
		return
	}
	from, to := reflects(r.SrcPort), reflects(r.DstPort)
	if from == to {
		return
	}
	packets, bytes := r.Fwd.Packets, r.NetworkBytes(&r.Fwd)
	if long := uint64((r.Last - r.First) / second); long > exportReflectTime {
		packets, bytes = packets*exportReflectTime/long, bytes*exportReflectTime/long
	}
	if to {
		v, _ := a.victim(r, r.Src, r.DstPort, now)
		v.asked += bytes
		v.orders += packets
		return
	}
	if many(r.Dst) {
		return
	}
	v, key := a.victim(r, r.Dst, r.SrcPort, now)
	if v.packets > 0 && v.last != r.Src {
		v.distinct = true
	}
	v.bytes += bytes
	v.packets += packets
	v.last, v.sampling = r.Src, max(v.sampling, r.Export.Sampling)
	if v.bytes >= exportReflected && !v.listed {
		a.list(v, key, now)
	}
}

func (a *exportAmplification) list(v *reflection, key uint64, now int64) {
	if len(a.suspects) == cap(a.suspects) {
		a.unlisted++
		return
	}
	v.listed = true
	a.suspects = append(a.suspects, suspectCourse{key, now})
}

func (a *exportAmplification) victim(r *flow.Record, host packet.Addr, port uint16, now int64) (*reflection, uint64) {
	key := a.hash.of(host, r.Export.Exporter, 25<<32|uint64(port))
	v, fresh := a.victims.get(key, now)
	w := r.Last / second / exportReflectTime
	switch {
	case fresh:
		*v = reflection{window: w, host: host, exporter: r.Export.Exporter, port: port}
	case w > v.window && !v.listed:
		v.roll(w)
	}
	return v, key
}

// roll begins another window; one that was told does not teach what is usual,
// since it was rolled after that.
func (v *reflection) roll(to int64) {
	v.usual += usualWeight * (float32(v.bytes) - v.usual)
	for range min(to-v.window-1, 10) {
		v.usual *= 1 - usualWeight
	}
	v.window, v.bytes, v.asked, v.packets, v.orders, v.distinct, v.sampling = to, 0, 0, 0, 0, false, 0
}

// advance judges what was listed long enough ago for the requests to be there.
func (a *exportAmplification) advance(now int64) {
	n := 0
	for ; n < len(a.suspects) && now-a.suspects[n].at >= settleTime; n++ {
		a.judge(a.suspects[n].key, now)
	}
	a.suspects = append(a.suspects[:0], a.suspects[n:]...)
}

func (a *exportAmplification) close() {
	for _, s := range a.suspects {
		a.judge(s.key, s.at)
	}
	a.suspects = a.suspects[:0]
}

func (a *exportAmplification) judge(key uint64, now int64) {
	v := a.victims.find(key, now)
	if v == nil {
		return
	}
	v.listed = false
	f := v.finding()
	unasked := v.packets > reflectedRatio*v.orders
	switch {
	case f.value <= reflectedRatio, !unasked && v.bytes < exportReflectMore, v.packets < fewSamples*uint64(v.sampling):
		return
	case float32(v.bytes) < usualFactor*v.usual && !a.episodes.running(f):
		return
	}
	a.episodes.exporter = v.exporter
	a.episodes.note(f, min(now, (v.window+1)*exportReflectTime*second-1))
	a.episodes.exporter = packet.Addr{}
	v.bytes, v.packets = 0, 0 // told: what comes next is counted anew
}

func (v *reflection) finding() *finding {
	ratio := float64(v.bytes) / float64(max(v.asked, 1))
	return &finding{
		kind: "amplification", sensor: "amplification", key: v.host.String(), anyone: true, offender: v.last, spoofed: v.distinct, scan: "udp", transport: "udp", severity: severityReflect,
		target: v.host, port: v.port, hasPort: true, count: v.packets, value: min(ratio, 1e6), threshold: reflectedRatio, window: exportReflectTime * time.Second, memory: exportQuiet,
		more: []detail{{"bytes", v.bytes}, {"requests", v.orders}, {"source_port", v.port}},
	}
}

func (a *exportAmplification) counts(yield func(string, uint64)) {
	yield("exported_reflections_evicted", a.victims.evicted)
	yield("exported_reflections_unjudged", a.unlisted)
}
