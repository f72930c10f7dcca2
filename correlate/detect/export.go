package detect

import (
	"slices"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/ipproto"
)

// Flows that exporters sent. Each record tells of one direction, mostly, and
// comes late: when the flow was idle for long enough, or once every active
// timeout. So what can be told by one direction is told at once, by TCP flags
// that are those of the whole flow: a client that never sent an ACK was not
// accepted. For what needs both, the directions meet in a bounded table.
// Windows run on the times of the flows, which are held within bounds of the
// clock that Advance brings: the arrival of the datagrams. Where nobody calls
// that, the flows move the clock themselves.
const (
	maxExporters = 1 << 10
	mostAhead    = 60 * second   // of the clock; an exporter beyond has a wrong clock
	mostLate     = 3600 * second // behind it; a record beyond is left out
	lateRun      = 64            // records in a row that are so late mean a wrong clock as well
	stillRun     = 1 << 14       // records without Advance: the clock stands still

	// Episodes of exported flows end later than others, as their records come late.
	exportQuiet = 600 * second
)

// exporter is what is known of who sends records.
type exporter struct {
	addr   packet.Addr
	hash   uint16 // of its address
	shift  int64  // what its times are corrected by
	newest int64  // latest corrected time
	late   int    // records in a row that were left out
	flags  bool   // it tells TCP flags
	types  bool   // it tells types of ICMP
}

// exports looks at exported flows. It is made by the first one.
type exports struct {
	flows     *flows
	episodes  *episodes
	hash      hasher
	clock     int64
	move      func(now int64) int64 // the clock of all detections
	still     int                   // records since Advance was called
	exporters *cache[exporter]
	latest    *exporter          // of them
	tell      func(*flow.Record) // Config.Exported
	meetings  *meetings
	scans     *exportScans
	floods    *exportFloods
	amplify   *exportAmplification
	brute     *exportBrute
	one       flow.Record // the direction that is looked at

	late    uint64
	shifted uint64
	empty   uint64
}

func newExports(d *Detections) *exports {
	x := &exports{flows: d.flows, episodes: d.episodes, hash: d.hash, clock: d.clock, move: d.at, tell: d.exported, exporters: newCache[exporter](maxExporters)}
	if d.clock == 0 {
		x.still = stillRun
	}
	x.floods = newExportFloods(d.hash, d.episodes)
	x.scans = newExportScans(d.hash, d.episodes, d.slow, x.floods)
	x.amplify = newExportAmplification(d.hash, d.episodes)
	x.brute = newExportBrute(d.brute)
	x.meetings = newMeetings(d.hash, x.met)
	d.onAdvance = append(d.onAdvance, x.advance)
	d.onClose = slices.Insert(d.onClose, 0, x.close) // the rest judges what it tells
	d.onCount = append(d.onCount, x.counts)
	return x
}

// record takes one record, of one direction or of both.
func (x *exports) record(r *flow.Record) {
	e := x.exporter(r)
	if x.still++; x.still > stillRun && r.Last+e.shift > x.clock {
		x.clock = x.move(r.Last + e.shift)
	}
	shift, ok := x.timely(e, r.Last)
	if !ok {
		x.late++
		return
	}
	x.episodes.exporter = r.Export.Exporter
	if r.Fwd.Packets > 0 {
		x.one = *r
		x.one.Rev = flow.Side{}
		x.direction(e, shift)
	}
	if r.Rev.Packets > 0 {
		x.one = *r
		x.one.Key, x.one.Fwd, x.one.Rev = r.Reverse(), r.Rev, flow.Side{}
		x.direction(e, shift)
	}
	if r.Packets() == 0 {
		x.empty++
	}
	x.episodes.exporter = packet.Addr{}
}

// direction looks at x.one.
func (x *exports) direction(e *exporter, shift int64) {
	r := &x.one
	r.Last += shift
	r.First = min(r.First+shift, r.Last)
	if r.Proto == protoTCP && r.Fwd.Flags != 0 {
		e.flags = true
	}
	if x.floods.flooded(r, x.clock) {
		x.amplify.direction(r, x.clock)
		return
	}
	kind := e.icmpOf(r)
	m, role := x.meetings.meet(r, e.hash, x.clock)
	if role == duplicate {
		return
	}
	if x.tell != nil {
		x.tell(r)
	}
	x.floods.direction(r, m, role, kind, x.clock)
	x.amplify.direction(r, x.clock)
	if e.flags && (role != more || sampled(r)) {
		x.scans.direction(r, x.clock)
	}
	if role == answer && !m.told {
		x.meetings.answered(m)
	}
}

// icmpKind is what a record tells of ICMP.
type icmpKind uint8

const (
	icmpUntold icmpKind = iota
	icmpRequest
	icmpOther
)

const (
	protocolICMP   = ipproto.ICMP
	protocolICMPv6 = ipproto.ICMPv6
)

// icmpOf tells what an exporter said of the type of a record.
func (e *exporter) icmpOf(r *flow.Record) icmpKind {
	if r.Ports || r.Proto != protocolICMP && r.Proto != protocolICMPv6 {
		return icmpUntold
	}
	told := r.Export.ICMP
	e.types = e.types || told != 0
	switch {
	case !e.types: // 0 is the echo reply of IPv4, or nothing
		return icmpUntold
	case r.Proto == protocolICMP && told>>8 == echoRequest, r.Proto == protocolICMPv6 && told>>8 == echoRequest6:
		return icmpRequest
	}
	return icmpOther
}

// met takes a flow whose directions met, or that waited long enough for the
// other one. It goes from client to server as far as can be told.
func (x *exports) met(r *flow.Record) {
	was := x.episodes.exporter
	x.episodes.exporter = r.Export.Exporter
	x.scans.met(r, x.clock)
	x.brute.met(r, x.clock)
	x.flows.begun(r)
	x.episodes.exporter = was
}

func (x *exports) exporter(r *flow.Record) *exporter {
	if x.latest != nil && x.latest.addr == r.Export.Exporter {
		return x.latest
	}
	key := x.hash.of(r.Export.Exporter, packet.Addr{}, 20<<32)
	x.latest, _ = x.exporters.get(key, x.clock)
	x.latest.addr, x.latest.hash = r.Export.Exporter, uint16(key>>48)
	return x.latest
}

// timely returns what the times of a record are corrected by, and false when it
// comes too late to say anything of the present.
func (x *exports) timely(e *exporter, last int64) (shift int64, ok bool) {
	at := last + e.shift
	switch {
	case at-x.clock > mostAhead:
		x.correct(e, last)
	case x.clock-at > mostLate:
		sane := e.newest != 0 && x.clock-e.newest <= mostLate
		if e.late++; sane && e.late < lateRun {
			return 0, false
		}
		x.correct(e, last)
	default:
		e.late = 0
	}
	e.newest = max(e.newest, last+e.shift)
	return e.shift, true
}

// correct takes a time of an exporter for the present.
func (x *exports) correct(e *exporter, last int64) {
	e.shift, e.newest, e.late = x.clock-last, x.clock, 0
	if e.shift > -mostAhead && e.shift < mostLate { // its clock is right again
		e.shift = 0
	}
	x.shifted++
}

func (x *exports) advance(now int64) {
	x.clock = now
	x.meetings.advance(now)
	x.amplify.advance(now) // before the floods, which it may explain
	x.floods.advance(now)
}

func (x *exports) close(now int64) {
	x.meetings.close()
	x.amplify.close()
	x.floods.close()
}

func (x *exports) counts(yield func(string, uint64)) {
	yield("exported_late", x.late)
	yield("exported_clocks_corrected", x.shifted)
	yield("exported_empty", x.empty)
	yield("exporters_evicted", x.exporters.evicted)
	x.meetings.counts(yield)
	x.scans.counts(yield)
	x.floods.counts(yield)
	x.amplify.counts(yield)
}

// sampled reports whether an exporter saw only some of the packets: then a flow
// without an ACK may well have been accepted.
func sampled(r *flow.Record) bool { return r.Export.Sampling > 1 }

// halves counts in a sliding window, by its two halves: it never counts too
// many, and may miss some of the older half. Times that go back a little count
// in the half that runs.
type halves struct {
	begin       int64
	now, before uint16
}

func (h *halves) add(at, window int64) int {
	half := window / 2
	switch age := at - h.begin; {
	case h.begin == 0 || age >= 2*half || age < -window:
		*h = halves{begin: at}
	case age >= half:
		*h = halves{begin: h.begin + half, before: h.now}
	}
	h.now = min(h.now, 1<<15) + 1
	return int(h.now) + int(h.before)
}

// count returns how many were added within the window before at.
func (h *halves) count(at, window int64) int {
	switch age := at - h.begin; {
	case h.begin == 0 || age >= window+window/2 || age < -window:
		return 0
	case age >= window:
		return int(h.now)
	}
	return int(h.now) + int(h.before)
}
