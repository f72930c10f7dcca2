package detect

import (
	"math/bits"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// Floods: packets per destination and second that nothing answers. Each kind
// has a floor, and a destination that usually gets more needs ten times that,
// until its own baseline is known (see baselines).
// What few sources spread over very many ports is a scan and left to it, unless
// it is very much.
const (
	maxTargets    = 1 << 13
	severityFlood = 70
	floodQuiet    = 30 * second
	usualFactor   = 10 // how far above its average second a destination must be
	scanPorts     = 32 // of 64 hashed ports: spread like a scan
	scanSources   = 24 // of 64 hashed sources: a scan with its decoys has fewer
	scanFactor    = 40 // such needs so many times the floor
)

// floodKind is what is counted per destination.
type floodKind uint8

const (
	floodSYN    floodKind = iota // connections opened, less those completed
	floodUDP                     // UDP flows begun, less those answered
	floodICMP                    // echo requests and replies got, less requests sent
	strayACK                     // ACK segments of no connection that begin a flow, less those answered
	strayRST                     // RST segments of no connection
	strayFIN                     // FIN segments of no connection, and flags that no stack sends
	straySYNACK                  // SYN/ACK segments that nobody asked for
	volumeUDP                    // UDP packets got, less those sent
	volumeACK                    // segments without data of no connection
	floodKinds
)

var floodSpecs = [floodKinds]struct {
	floor      int32
	name, scan string
	transport  string
}{
	floodSYN:    {150, "syn_flood", "syn", "tcp"},
	floodUDP:    {300, "udp_flood", "udp", "udp"},
	floodICMP:   {250, "icmp_flood", "icmp", "icmp"},
	strayACK:    {300, "tcp_flood", "ack", "tcp"},
	strayRST:    {300, "tcp_flood", "rst", "tcp"},
	strayFIN:    {300, "tcp_flood", "fin", "tcp"},
	straySYNACK: {300, "tcp_flood", "syn_ack", "tcp"},
	volumeUDP:   {20000, "udp_flood", "udp", "udp"},
	volumeACK:   {20000, "tcp_flood", "ack", "tcp"},
}

// target is one destination in one second. What each packet looks at stands in its
// first two of three lines of the processor's cache.
type target struct {
	second  int64
	count   [floodKinds]int32
	total   int32
	ports   uint64 // a bit for each hashed port
	sources uint64 // a bit for each hashed source

	suspect packet.Addr // the source of most packets (Boyer and Moore's vote)
	votes   int32
	port    uint16 // of the last
	noted   uint16 // a bit for each kind that is among the busy ones of this second
	warm    bool   // usual is not all zero
	listed  bool   // among the candidates of this second
	held    bool   // a flood is running: usual does not learn
	addr    packet.Addr
	told    int64               // when a flood of SYN was told last
	usual   [floodKinds]float32 // moving average over seconds without a flood
	_       [36]byte
}

type floods struct {
	hash     hasher
	episodes *episodes
	targets  *cache[target]
	suspects []uint64 // keys of targets above a floor in this second
	usual    *baselines
}

func newFloods(h hasher, e *episodes) *floods {
	return &floods{hash: h, episodes: e, targets: newCache[target](maxTargets), suspects: make([]uint64, 0, 256), usual: newBaselines()}
}

func (f *floods) key(a packet.Addr) uint64 { return f.hash.of(a, packet.Addr{}, 5<<32) }

// target returns the entry of a host, moved on to the second of now.
func (f *floods) target(a packet.Addr, now int64) *target {
	t, fresh := f.targets.get(f.key(a), now)
	sec := now / second
	if fresh {
		t.second, t.addr = sec, a
	} else if t.second != sec {
		t.roll(sec)
	}
	return t
}

// roll ends the second of a target; the seconds without a packet count as
// empty, at most ten of them.
func (t *target) roll(sec int64) {
	const weight = 0.1
	const quiet = 64 // packets that are not worth an average
	if !t.held && (t.total >= quiet || t.warm) {
		t.warm = true
		for k := range t.count {
			t.usual[k] += weight * (float32(max(t.count[k], 0)) - t.usual[k])
		}
		for range min(sec-t.second-1, 10) {
			for k := range t.usual {
				t.usual[k] -= weight * t.usual[k]
			}
		}
	}
	t.count = [floodKinds]int32{}
	t.second, t.ports, t.sources, t.listed, t.noted, t.held, t.votes, t.total = sec, 0, 0, false, 0, false, 0, 0
}

// hit counts a packet against its destination.
func (f *floods) hit(p *packet.Parsed, kind floodKind, now int64) {
	if !many(p.Dst) {
		f.add(f.target(p.Dst, now), p, kind)
	}
}

func (f *floods) add(t *target, p *packet.Parsed, kind floodKind) {
	t.count[kind]++
	t.total++
	t.ports |= 1 << (uint32(p.DstPort) * 0x9e3779b1 >> 26)
	t.sources |= 1 << (uint32(p.Src.Lo^p.Src.Hi) * 0x9e3779b1 >> 26)
	t.port = p.DstPort
	switch {
	case t.suspect == p.Src:
		t.votes++
	case t.votes == 0:
		t.suspect, t.votes = p.Src, 1
	default:
		t.votes--
	}
	if t.count[kind] >= floodSpecs[kind].floor/baselineShare {
		f.busy(t, kind)
	}
}

// busy lists a target that gets much in this second: for its baseline, and once more
// when it is above the floor.
func (f *floods) busy(t *target, kind floodKind) {
	if t.noted>>kind&1 == 0 {
		t.noted |= 1 << kind
		f.usual.note(baselineKey{f.key(t.addr), kind})
	}
	if t.count[kind] >= floodSpecs[kind].floor && !t.listed && len(f.suspects) < cap(f.suspects) {
		t.listed = true
		f.suspects = append(f.suspects, f.key(t.addr))
	}
}

// less takes back one count of a host.
func (t *target) less(kind floodKind) {
	if t.count[kind] > -1<<30 {
		t.count[kind]--
	}
}

func (f *floods) opened(p *packet.Parsed, now int64) { f.hit(p, floodSYN, now) }

// completed takes the segment of a client that completes a handshake.
func (f *floods) completed(p *packet.Parsed, now int64) { f.target(p.Dst, now).less(floodSYN) }

func (f *floods) stray(p *packet.Parsed, kind floodKind, now int64) { f.hit(p, kind, now) }

// answered takes the first packet that answers a flow.
func (f *floods) answered(p *packet.Parsed, kind floodKind, now int64) {
	f.target(p.Src, now).less(kind)
}

// ack takes a segment without data of no connection.
func (f *floods) ack(p *packet.Parsed, now int64) { f.hit(p, volumeACK, now) }

func (f *floods) udp(p *packet.Parsed, touch flow.Touch, now int64) {
	if !many(p.Dst) {
		to := f.target(p.Dst, now)
		f.add(to, p, volumeUDP)
		if touch&flow.NewFlow != 0 {
			f.add(to, p, floodUDP)
		}
	}
	from := f.target(p.Src, now)
	from.less(volumeUDP)
	if touch&(flow.NewFlow|flow.NewSide|flow.Reverse) == flow.NewSide|flow.Reverse {
		from.less(floodUDP)
	}
}

func (f *floods) icmp(p *packet.Parsed, request bool, now int64) {
	f.hit(p, floodICMP, now)
	if request {
		f.target(p.Src, now).less(floodICMP)
	}
}

// advance judges the second that ended.
func (f *floods) advance(now int64) {
	for _, key := range f.suspects {
		if t := f.targets.find(key, now); t != nil {
			f.judge(t, min(now, (t.second+1)*second-1))
		}
	}
	f.suspects = f.suspects[:0]
	f.usual.advance(f, now)
}

func (f *floods) close(now int64) { f.advance(now) }

func (f *floods) judge(t *target, now int64) {
	told := [floodKinds]bool{}
	for k, spec := range floodSpecs {
		n := t.count[k]
		if n < spec.floor {
			continue
		}
		limit, learned := f.usual.limit(t, baselineKey{f.key(t.addr), floodKind(k)})
		found := t.finding(floodKind(k), limit)
		goesOn := !learned || float64(n) >= limit/baselineGoesOn
		if float64(n) < limit && !(goesOn && f.episodes.running(found)) {
			continue
		}
		if bits.OnesCount64(t.ports) >= scanPorts && bits.OnesCount64(t.sources) < scanSources && n < scanFactor*spec.floor {
			continue
		}
		if floodKind(k) == volumeACK && told[strayACK] || floodKind(k) == volumeUDP && told[floodUDP] || spec.name == "udp_flood" && f.episodes.running(amplified(t.addr)) {
			continue
		}
		told[k], t.held = true, true
		if floodKind(k) == floodSYN {
			t.told = now
		}
		f.episodes.note(found, now)
	}
}

func (t *target) finding(k floodKind, limit float64) *finding {
	spec := floodSpecs[k]
	return &finding{
		kind: spec.name, sensor: "flood", key: t.addr.String(), anyone: true, scan: spec.scan, transport: spec.transport, offender: t.suspect, spoofed: t.votes < t.total/2,
		severity: severityFlood, evidence: event.E0, target: t.addr, port: t.port, hasPort: k != floodICMP, count: uint64(t.count[k]),
		value: float64(t.count[k]), threshold: limit, window: time.Second, memory: floodQuiet, more: []detail{{"usual", float64(t.usual[k])}},
	}
}

// told reports whether a flood of SYN at a host was told of so lately that what it
// does not answer belongs to that.
func (f *floods) told(host packet.Addr, now int64) bool {
	t := f.targets.find(f.key(host), now)
	return t != nil && t.told != 0 && now-t.told <= floodedTime
}

func (f *floods) counts(yield func(string, uint64)) {
	yield("flood_targets_evicted", f.targets.evicted)
	yield("flood_baselines_refused", f.usual.refused)
}
