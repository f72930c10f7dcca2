package detect

import (
	"vft/capture/flow"
	"vft/capture/packet"
)

// Floods in exported flows: packets per destination and second that nothing
// answers. The packets of a record are spread over its time. What is usual is
// counted for each exporter alone, so that packets that pass three routers do
// not count three times. A destination is followed second by second once it got
// a tenth of what a flood is; most never do.
const (
	maxExportTargets = 1 << 15 // 64 bytes each, with its key
	maxExportCourses = 1 << 10 // 3.5 KiB each
	heatWindow       = 10      // seconds
	heatFollowed     = 10      // a destination is followed from this part of a floor on
	heatMost         = 1 << 30
	settleTime       = 2 * second // until the other direction of what came is there
	headerOnly4      = 60         // bytes of a segment without data, IP header included
	headerOnly6      = 80
)

// exportKind is what is counted per destination.
type exportKind uint8

const (
	halfSYN    exportKind = iota // SYN segments of connections that were not completed
	begunUDP                     // UDP flows begun, less those answered
	echoICMP                     // ICMP got, less what was asked for
	loneACK                      // flows of ACK segments without data, less what was sent
	loneRST                      // flows of RST segments, less what was sent
	loneFIN                      // flows of FIN segments, or of flags that no stack sends, less what was sent
	loneSYNACK                   // flows of SYN/ACK segments, less what was sent
	packetsUDP                   // UDP packets got, less those sent
	packetsACK                   // TCP segments without data got, less what was sent
	exportKinds
)

var exportSpecs = [exportKinds]struct {
	floor      int32 // packets or flows per second
	name, scan string
	transport  string
}{
	halfSYN:    {150, "syn_flood", "syn", "tcp"},
	begunUDP:   {300, "udp_flood", "udp", "udp"},
	echoICMP:   {250, "icmp_flood", "icmp", "icmp"},
	loneACK:    {300, "tcp_flood", "ack", "tcp"},
	loneRST:    {300, "tcp_flood", "rst", "tcp"},
	loneFIN:    {300, "tcp_flood", "fin", "tcp"},
	loneSYNACK: {300, "tcp_flood", "syn_ack", "tcp"},
	packetsUDP: {20000, "udp_flood", "udp", "udp"},
	packetsACK: {20000, "tcp_flood", "ack", "tcp"},
}

// heat is how near a destination is to a flood: what it got in one window.
type heat struct {
	window int64 // of heatWindow seconds
	sum    [exportKinds]int32
	hot    bool // it has a course
}

// suspectCourse is a destination that must be judged.
type suspectCourse struct {
	key uint64
	at  int64
}

type exportFloods struct {
	hash     hasher
	episodes *episodes
	heats    *cache[heat]
	courses  *cache[course]
	suspects []suspectCourse
	late     uint64
	unlisted uint64
	folded   uint64
}

func newExportFloods(h hasher, e *episodes) *exportFloods {
	return &exportFloods{
		hash: h, episodes: e, heats: newCache[heat](maxExportTargets), courses: newCache[course](maxExportCourses),
		suspects: make([]suspectCourse, 0, 256),
	}
}

// flooded counts a record that begins a flow to a destination where a flood is
// long running, and reports whether it is one: what many false sources send need
// not be followed each for itself, and would drive out what must be.
func (f *exportFloods) flooded(r *flow.Record, now int64) bool {
	kind := begunUDP
	if r.Proto == protoTCP && opens(r.Fwd.Flags) {
		kind = halfSYN
	} else if r.Proto != protoUDP {
		return false
	}
	h := f.heats.peek(f.key(r.Dst, r.Export.Exporter))
	if h == nil || h.window != r.Last/second/heatWindow || h.sum[kind] < heatWindow*exportSpecs[kind].floor {
		return false
	}
	n := int64(min(r.Fwd.Packets, 1<<40))
	if kind == halfSYN {
		f.count(r, r.Dst, halfSYN, n, now)
	} else {
		f.count(r, r.Dst, packetsUDP, n, now)
		f.count(r, r.Dst, begunUDP, int64(max(r.Export.Sampling, 1)), now)
	}
	f.folded++
	return true
}

// direction counts one direction of a flow, m.
func (f *exportFloods) direction(r *flow.Record, m *meeting, as role, kind icmpKind, now int64) {
	if many(r.Dst) {
		return
	}
	n := int64(min(r.Fwd.Packets, 1<<40))
	switch {
	case r.Proto == protoUDP:
		f.count(r, r.Dst, packetsUDP, n, now)
		f.count(r, r.Src, packetsUDP, -n, now)
		switch as {
		case first:
			f.count(r, r.Dst, begunUDP, int64(max(r.Export.Sampling, 1)), now)
			f.refusable(r, n, now)
		case answer:
			f.count(r, r.Src, begunUDP, -int64(max(r.Export.Sampling, 1)), now)
		}
	case r.Proto == protocolICMP || r.Proto == protocolICMPv6:
		f.ping(r, m, as, kind, n, now)
	case r.Proto == protoTCP:
		f.segments(r, n, now)
	case as == first:
		f.refusable(r, n, now)
	}
}

// refusable takes back the ICMP errors that what a host began may bring it.
func (f *exportFloods) refusable(r *flow.Record, n, now int64) {
	const errors = 4 // for one flow: who is refused gives up
	f.count(r, r.Src, echoICMP, -min(n, errors*int64(max(r.Export.Sampling, 1))), now)
}

// ping counts ICMP, and takes back what a host got for its requests. Where
// records do not tell which is which, the direction that began first asked.
func (f *exportFloods) ping(r *flow.Record, m *meeting, as role, kind icmpKind, n, now int64) {
	f.count(r, r.Dst, echoICMP, n, now)
	asks := kind == icmpRequest
	if kind == icmpUntold {
		asks = m.key == r.Key
		if turned := m.packets[1] > 0 && m.firsts[1] < m.firsts[0]; turned {
			if as == answer { // what came before was taken for the requests
				f.count(r, r.Dst, echoICMP, int64(m.packets[0]), now)
			}
			asks = !asks
		}
	}
	if asks {
		f.count(r, r.Src, echoICMP, -n, now)
	}
}

// segments counts one direction of a TCP flow by its flags.
func (f *exportFloods) segments(r *flow.Record, n, now int64) {
	flags := r.Fwd.Flags & tcpFlags
	bare := headerOnly(r)
	if bare && flags&packet.SYN == 0 {
		f.count(r, r.Dst, packetsACK, n, now)
	}
	switch {
	case flags == 0:
	case opens(flags):
		if flags&packet.RST != 0 { // one RST for each SYN
			n = (n + 1) / 2
		}
		f.count(r, r.Dst, halfSYN, n, now)
	case flags == packet.SYN|packet.ACK && bare:
		f.count(r, r.Dst, loneSYNACK, n, now)
	case flags&^packet.ACK == packet.RST && bare:
		f.count(r, r.Dst, loneRST, n, now)
		return // who only refuses has sent nothing
	case flags == packet.ACK && bare:
		f.count(r, r.Dst, loneACK, n, now)
	case flags&packet.SYN == 0 && (flags&packet.ACK == 0 || flags == packet.FIN|packet.ACK) && bare:
		f.count(r, r.Dst, loneFIN, n, now)
	case sampled(r): // a connection lives: as many SYN segments were no failure
		f.count(r, r.Dst, halfSYN, -n, now)
	}
	f.sent(r, n, now)
}

// sent takes back what a host got in answer to what it sent.
func (f *exportFloods) sent(r *flow.Record, n, now int64) {
	h := f.heat(r, r.Src, now)
	for k := loneACK; k <= loneSYNACK; k++ {
		f.add(h, r, r.Src, k, -n, now)
	}
	f.add(h, r, r.Src, packetsACK, -n, now)
}

// pressed reports whether so many connections to the destination of r are not
// completed that it may be a flood: then what fails there is no scan.
func (f *exportFloods) pressed(r *flow.Record) bool {
	key := f.key(r.Dst, r.Export.Exporter)
	h := f.heats.peek(key)
	if h == nil || !h.hot {
		return false
	}
	if h.sum[halfSYN] >= exportSpecs[halfSYN].floor/heatFollowed {
		return true
	}
	c := f.courses.peek(key)
	return c != nil && c.told[halfSYN] != 0 && r.Last/second-c.newest < exportQuiet/second
}

// headerOnly reports whether the segments of a record carry no data.
func headerOnly(r *flow.Record) bool {
	most := uint64(headerOnly4)
	if !r.Src.Is4() {
		most = headerOnly6
	}
	return r.NetworkBytes(&r.Fwd) <= most*r.Fwd.Packets
}

func (f *exportFloods) key(host, exporter packet.Addr) uint64 {
	return f.hash.of(host, exporter, 24<<32)
}

func (f *exportFloods) heat(r *flow.Record, host packet.Addr, now int64) *heat {
	h, _ := f.heats.get(f.key(host, r.Export.Exporter), now)
	if w := r.Last / second / heatWindow; w > h.window {
		*h = heat{window: w, hot: h.hot}
	}
	return h
}

// count adds n of a kind to a host; less than 0 takes back.
func (f *exportFloods) count(r *flow.Record, host packet.Addr, kind exportKind, n, now int64) {
	f.add(f.heat(r, host, now), r, host, kind, n, now)
}

func (f *exportFloods) add(h *heat, r *flow.Record, host packet.Addr, kind exportKind, n, now int64) {
	before := h.sum[kind]
	h.sum[kind] = int32(min(max(int64(before)+inWindow(r, n), -heatMost), heatMost))
	floor := exportSpecs[kind].floor
	if !h.hot {
		if n < 0 || h.sum[kind] < floor/heatFollowed {
			return
		}
		h.hot = true
		n += int64(max(before, 0))
	}
	key := f.key(host, r.Export.Exporter)
	c, fresh := f.courses.get(key, now)
	if fresh {
		c.addr, c.exporter, c.newest = host, r.Export.Exporter, r.Last/second
	}
	if !c.follow(r, kind, n) {
		f.late++
	}
	if n > 0 && h.sum[kind] >= floor && !c.listed {
		f.list(c, key, now)
	}
}

// inWindow is how much of n is in one window.
func inWindow(r *flow.Record, n int64) int64 {
	if long := (r.Last - r.First) / second; long > heatWindow {
		return n * heatWindow / long
	}
	return n
}

func (f *exportFloods) list(c *course, key uint64, now int64) {
	if len(f.suspects) == cap(f.suspects) {
		f.unlisted++
		return
	}
	c.listed = true
	f.suspects = append(f.suspects, suspectCourse{key, now})
}

// advance judges what was listed long enough ago for its answers to be there.
func (f *exportFloods) advance(now int64) {
	n := 0
	for ; n < len(f.suspects) && now-f.suspects[n].at >= settleTime; n++ {
		f.judge(f.suspects[n].key, now)
	}
	f.suspects = append(f.suspects[:0], f.suspects[n:]...)
}

func (f *exportFloods) close() {
	for _, s := range f.suspects {
		f.judge(s.key, s.at)
	}
	f.suspects = f.suspects[:0]
}

func (f *exportFloods) judge(key uint64, now int64) {
	c := f.courses.find(key, now)
	if c == nil {
		return
	}
	c.listed = false
	f.episodes.exporter = c.exporter
	told := [exportKinds]bool{}
	for k := range exportKinds {
		doubled := k == packetsACK && told[loneACK] || k == packetsUDP && told[begunUDP]
		if !doubled && !(exportSpecs[k].name == "udp_flood" && f.episodes.running(amplified(c.addr))) {
			told[k] = f.tell(c, k)
		}
	}
	f.episodes.exporter = packet.Addr{}
}

// tell notes the seconds of a course that are a flood of a kind.
func (f *exportFloods) tell(c *course, k exportKind) bool {
	p := c.above(k, f.episodes.running(c.finding(k, peak{})))
	if p.count == 0 {
		return false
	}
	f.episodes.note(c.finding(k, p), (p.last+1)*second-1)
	return true
}

func (f *exportFloods) counts(yield func(string, uint64)) {
	yield("exported_targets_evicted", f.heats.evicted)
	yield("exported_courses_evicted", f.courses.evicted)
	yield("exported_too_late_for_floods", f.late)
	yield("exported_floods_unjudged", f.unlisted)
	yield("exported_flood_records", f.folded)
}
