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
	n, to := packetsOf(r), f.account(r, r.Dst, now)
	if kind == halfSYN {
		to.add(halfSYN, n)
	} else {
		to.add(packetsUDP, n)
		to.add(begunUDP, oneFlow(r))
	}
	f.folded++
	return true
}

func packetsOf(r *flow.Record) int64 { return int64(min(r.Fwd.Packets, 1<<40)) }

// oneFlow is how many flows a record stands for.
func oneFlow(r *flow.Record) int64 { return int64(max(r.Export.Sampling, 1)) }

// direction counts one direction of a flow, m.
func (f *exportFloods) direction(r *flow.Record, m *meeting, as role, kind icmpKind, now int64) {
	if many(r.Dst) {
		return
	}
	switch {
	case r.Proto == protoUDP:
		f.datagrams(r, as, now)
	case r.Proto == protocolICMP || r.Proto == protocolICMPv6:
		f.ping(r, m, as, kind, now)
	case r.Proto == protoTCP:
		f.segments(r, now)
	case as == first:
		from := f.account(r, r.Src, now)
		from.refusable()
	}
}

// datagrams counts one direction of a UDP flow.
func (f *exportFloods) datagrams(r *flow.Record, as role, now int64) {
	n := packetsOf(r)
	to := f.account(r, r.Dst, now)
	to.add(packetsUDP, n)
	if as == first {
		to.add(begunUDP, oneFlow(r))
	}
	from := f.account(r, r.Src, now)
	from.add(packetsUDP, -n)
	switch as {
	case first:
		from.refusable()
	case answer:
		from.add(begunUDP, -oneFlow(r))
	}
}

// ping counts ICMP, and takes back what a host got for its requests. Where
// records do not tell which is which, the direction that began first asked.
func (f *exportFloods) ping(r *flow.Record, m *meeting, as role, kind icmpKind, now int64) {
	to := f.account(r, r.Dst, now)
	to.add(echoICMP, packetsOf(r))
	asks := kind == icmpRequest
	if kind == icmpUntold {
		asks = m.key == r.Key
		if turned := m.packets[1] > 0 && m.firsts[1] < m.firsts[0]; turned {
			if as == answer { // what came before was taken for the requests
				to.add(echoICMP, int64(m.packets[0]))
			}
			asks = !asks
		}
	}
	if asks {
		from := f.account(r, r.Src, now)
		from.add(echoICMP, -packetsOf(r))
	}
}

// segments counts one direction of a TCP flow by its flags.
func (f *exportFloods) segments(r *flow.Record, now int64) {
	n, flags, bare := packetsOf(r), r.Fwd.Flags&tcpFlags, headerOnly(r)
	kind := lone(flags)
	switch {
	case opens(flags):
		if kind = halfSYN; flags&packet.RST != 0 { // one RST for each SYN
			n = (n + 1) / 2
		}
	case bare:
	case sampled(r) && flags&packet.ACK != 0: // a connection lives: as many SYN segments were no failure
		to := f.account(r, r.Dst, now)
		to.add(halfSYN, -n)
		kind = exportKinds
	default:
		kind = exportKinds
	}
	if kind < exportKinds {
		to := f.account(r, r.Dst, now)
		to.add(kind, n)
		if flags&packet.SYN == 0 {
			to.add(packetsACK, n)
		}
	}
	if kind != loneRST { // who only refuses has sent nothing
		from := f.account(r, r.Src, now)
		from.sent(n)
	}
}

// lone is what segments with such flags and without data are, where they are not
// part of a connection.
func lone(flags packet.Flags) exportKind {
	switch {
	case flags == packet.SYN|packet.ACK:
		return loneSYNACK
	case flags&^packet.ACK == packet.RST:
		return loneRST
	case flags == packet.ACK:
		return loneACK
	case flags != 0 && flags&packet.SYN == 0 && (flags&packet.ACK == 0 || flags == packet.FIN|packet.ACK):
		return loneFIN
	}
	return exportKinds
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

// account counts what one record means to one host. It is valid until the next one.
type account struct {
	f    *exportFloods
	heat *heat
	r    *flow.Record
	host packet.Addr
	key  uint64
	now  int64
}

func (f *exportFloods) account(r *flow.Record, host packet.Addr, now int64) account {
	key := f.key(host, r.Export.Exporter)
	h, _ := f.heats.get(key, now)
	if w := r.Last / second / heatWindow; w > h.window {
		*h = heat{window: w, hot: h.hot}
	}
	return account{f, h, r, host, key, now}
}

// refusable takes back the ICMP errors that what a host began may bring it.
func (t *account) refusable() {
	const errors = 4 // for one flow: who is refused gives up
	t.add(echoICMP, -min(packetsOf(t.r), errors*oneFlow(t.r)))
}

// sent takes back what a host got in answer to what it sent.
func (t *account) sent(n int64) {
	for k := loneACK; k <= loneSYNACK; k++ {
		t.add(k, -n)
	}
	t.add(packetsACK, -n)
}

// add counts n of a kind; less than 0 takes back.
func (t *account) add(kind exportKind, n int64) {
	f, h := t.f, t.heat
	before := h.sum[kind]
	h.sum[kind] = int32(min(max(int64(before)+inWindow(t.r, n), -heatMost), heatMost))
	floor := exportSpecs[kind].floor
	if !h.hot {
		if n < 0 || h.sum[kind] < floor/heatFollowed {
			return
		}
		h.hot = true
		n += int64(max(before, 0)) // what came before counts too
	}
	c, fresh := f.courses.get(t.key, t.now)
	if fresh {
		c.addr, c.exporter, c.newest = t.host, t.r.Export.Exporter, t.r.Last/second
	}
	if !c.follow(t.r, kind, n) {
		f.late++
	}
	if n > 0 && h.sum[kind] >= floor && !c.listed {
		f.list(c, t.key, t.now)
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
	f.courses.strengthen(key) // others, that get answers for it, must not drive it out
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
	told, any := [exportKinds]bool{}, false
	for k := range exportKinds {
		doubled := k == packetsACK && told[loneACK] || k == packetsUDP && told[begunUDP]
		if !doubled && !(exportSpecs[k].name == "udp_flood" && f.episodes.running(amplified(c.addr))) {
			told[k] = f.tell(c, k)
			any = any || told[k]
		}
	}
	if !any {
		f.courses.weaken(key)
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
