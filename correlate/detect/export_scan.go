package detect

import (
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// Scans in exported flows. A contact failed when its client never sent an ACK,
// when it broke off half open, when it was refused, or when it has flags that no
// stack sends. Horizontal: distinct hosts on one port that failed, or, where the
// failure is certain since the answer came too, the random walk (see
// horizontal.go) of the source on that port: successes are told later than
// failures here, so ports are not mixed. Vertical: distinct ports of one host.
// Where an exporter samples, an ACK may only not have been seen: there the
// packets of connections that live must be fewer than the contacts that failed.
const (
	exportHosts  = 25
	exportPorts  = 15
	exportWindow = 5 * time.Minute

	maxExportContacts = 1 << 16 // 32 bytes each, with its key
	maxExportFans     = 1 << 13 // 176 bytes each
	maxExportPairs    = 1 << 14 // 80 bytes each

	plainSYN4 = 20 + 32 // a SYN of a stack has options: 12 bytes at least
	plainSYN6 = 40 + 32
	fewProbes = 3 // packets: more are no probe
)

// attempt is a port of a host that a source tried with one technique.
type attempt struct {
	at      int64 // when it counted last
	certain int64 // when it counted as failed for certain; 0: never
}

// portFan is what one source tried on one port of all hosts.
type portFan struct {
	failed halves // distinct hosts
	alive  uint16 // sampled packets of connections
	ratio  int8   // of the walk, in halves of a step
	sure   uint8  // distinct hosts that failed for certain
	listed uint8
	begin  int64
	hosts  [walkHosts]packet.Addr
}

// hostPair is what one source tried on one host.
type hostPair struct {
	failed halves // distinct ports
	alive  uint16 // sampled packets of connections
	half   bool   // one was broken off half open
	listed uint8
	ports  [maxListed]uint16
}

type exportScans struct {
	hash     hasher
	episodes *episodes
	slow     *slowScans
	floods   *exportFloods
	attempts *cache[attempt]
	fans     *cache[portFan]
	pairs    *cache[hostPair]
	found    finding // what was told last: used again, as a scan is told with each of its probes
}

func newExportScans(h hasher, e *episodes, slow *slowScans, floods *exportFloods) *exportScans {
	return &exportScans{
		hash: h, episodes: e, slow: slow, floods: floods, attempts: newCache[attempt](maxExportContacts),
		fans: newCache[portFan](maxExportFans), pairs: newCache[hostPair](maxExportPairs),
	}
}

// try is a contact that failed.
type try struct {
	src, dst packet.Addr
	port     uint16
	how      technique
	plain    bool // the SYN has no options of a stack
	half     bool // broken off half open: the source gets the answers
	certain  bool // it failed for certain
	sampled  bool
	at       int64
}

// direction judges one direction of a flow, if it is of TCP, by its flags.
func (s *exportScans) direction(r *flow.Record, now int64) {
	if r.Proto != protoTCP || !r.Ports || many(r.Dst) || r.Src == r.Dst {
		return
	}
	t := try{src: r.Src, dst: r.Dst, port: r.DstPort, sampled: sampled(r), at: r.First}
	flags := r.Fwd.Flags & tcpFlags
	few := r.Fwd.Packets <= fewProbes*uint64(max(r.Export.Sampling, 1))
	outward := !t.sampled && r.SrcPort > r.DstPort // as clients do: the rest may be answers
	switch {
	case opens(flags):
		t.how, t.plain, t.half = synProbe, plainSYN(r), flags&packet.RST != 0
		t.certain = t.half
	case !few:
		return
	case flags == packet.FIN:
		t.how = finProbe
	case flags == 0:
		t.how = nullProbe
	case flags == packet.FIN|packet.PSH|packet.URG:
		t.how = xmasProbe
	case flags == packet.ACK && outward:
		t.how = ackProbe
	case flags == packet.FIN|packet.ACK && outward:
		t.how = maimonProbe
	case t.sampled && flags&packet.ACK != 0:
		s.lives(r, now)
		return
	default:
		return
	}
	s.failed(&t, now)
}

func plainSYN(r *flow.Record) bool {
	least := uint64(plainSYN4)
	if !r.Src.Is4() {
		least = plainSYN6
	}
	return r.NetworkBytes(&r.Fwd) < least*r.Fwd.Packets
}

// lives counts a sampled packet of a connection against the contacts of its
// source that look failed.
func (s *exportScans) lives(r *flow.Record, now int64) {
	if p := s.pairs.find(s.pairKey(r.Src, r.Dst), now); p != nil {
		p.alive = min(p.alive, 1<<15) + 1
	}
	if f := s.fans.find(s.fanKey(r.Src, r.DstPort, synProbe), now); f != nil {
		f.alive = min(f.alive, 1<<15) + 1
	}
}

// met judges a whole flow, whose answer came or did not for long enough.
func (s *exportScans) met(r *flow.Record, now int64) {
	if !r.Ports || many(r.Dst) || r.Src == r.Dst || sampled(r) {
		return
	}
	t := try{src: r.Src, dst: r.Dst, port: r.DstPort, at: r.First}
	answered := r.Rev.Packets > 0
	switch {
	case r.Proto == protoUDP && !answered:
		if r.SrcPort < portsServed && r.DstPort >= portsServed || traced(r.DstPort) {
			return // an answer whose question was not seen, or traceroute
		}
		t.how = udpProbe
		s.failed(&t, now)
	case r.Proto != protoTCP:
	case opens(r.Fwd.Flags):
		if answered && r.Rev.Flags&(packet.SYN|packet.RST) == packet.RST {
			t.how, t.plain, t.certain = synProbe, plainSYN(r), true
			s.failed(&t, now)
		}
		if !s.floods.pressed(r) {
			s.slow.contact(r.Src, r.Dst, r.DstPort, true, r.Last)
		}
	case answered && r.Fwd.Flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK:
		s.succeeded(r, now)
	}
}

// traced reports whether a port is one of those that traceroute counts through.
func traced(port uint16) bool { return port >= 33434 && port < 33534 }

func (s *exportScans) pairKey(src, dst packet.Addr) uint64 {
	return s.hash.of(source(src), dst, 21<<32)
}

func (s *exportScans) fanKey(src packet.Addr, port uint16, how technique) uint64 {
	return s.hash.of(source(src), packet.Addr{}, 22<<32|uint64(how)<<16|uint64(port))
}

// succeeded moves the walk of a source that had failed on this port.
func (s *exportScans) succeeded(r *flow.Record, now int64) {
	if f := s.fans.find(s.fanKey(r.Src, r.DstPort, synProbe), now); f != nil {
		f.ratio = max(f.ratio-step, creditMost)
	}
	s.slow.contact(r.Src, r.Dst, r.DstPort, false, r.Last)
}

// failed counts a contact: once in the window, and once more when it turns out
// that it failed for certain.
func (s *exportScans) failed(t *try, now int64) {
	key := s.hash.of(source(t.src), t.dst, 23<<32|uint64(t.how)<<16|uint64(t.port))
	a, fresh := s.attempts.get(key, now)
	again := fresh || t.at-a.at >= int64(exportWindow)
	surer := t.certain && (a.certain == 0 || t.at-a.certain >= forgetTime)
	if !again && !surer {
		return
	}
	if again {
		a.at = t.at
	}
	if surer {
		a.certain = t.at
	}
	p, _ := s.pairs.get(s.pairKey(t.src, t.dst), now)
	p.half = p.half || t.half
	if again {
		s.vertical(t, p)
	}
	if t.how != ackProbe && t.how != maimonProbe { // what follows the end of a connection looks like them
		s.horizontal(t, p, again, surer, now)
	}
}

func (s *exportScans) vertical(t *try, p *hostPair) {
	if p.listed < maxListed {
		p.ports[p.listed] = t.port
		p.listed++
	}
	n := p.failed.add(t.at, int64(exportWindow))
	if n < exportPorts || t.sampled && int(p.alive) >= n {
		return
	}
	f := s.finding("vertical_scan", t, p, float64(n), exportPorts, exportWindow)
	f.pastPorts = p.ports[:p.listed]
	s.episodes.note(f, t.at)
}

func (s *exportScans) horizontal(t *try, p *hostPair, again, surer bool, now int64) {
	f, _ := s.fans.get(s.fanKey(t.src, t.port, t.how), now)
	if t.at-f.begin > forgetTime {
		*f = portFan{}
	}
	f.begin = max(f.begin, t.at)
	if again {
		f.list(t.dst)
		n := f.failed.add(t.at, int64(exportWindow))
		if n >= exportHosts && !(t.sampled && int(f.alive) >= n) {
			s.tellFan(t, p, f, float64(n), exportHosts, exportWindow)
		}
	}
	if surer {
		f.ratio = min(f.ratio+step, 60)
		f.sure = bump(f.sure)
		if f.ratio >= flagAt && f.sure >= leastHosts {
			s.tellFan(t, p, f, power4(f.ratio), walkThreshold, time.Duration(forgetTime))
		}
	}
}

func (f *portFan) list(host packet.Addr) {
	if f.listed < walkHosts {
		f.hosts[f.listed] = host
		f.listed++
	}
}

func (s *exportScans) tellFan(t *try, p *hostPair, fan *portFan, value, threshold float64, window time.Duration) {
	f := s.finding("horizontal_scan", t, p, value, threshold, window)
	f.pastHosts = fan.hosts[:fan.listed]
	s.episodes.note(f, t.at)
}

// finding returns what is to be told, valid until the next.
func (s *exportScans) finding(kind string, t *try, p *hostPair, value, threshold float64, window time.Duration) *finding {
	f := &s.found
	*f = finding{
		kind: kind, sensor: "scan", offender: t.src, scan: t.name(p), transport: transportName(t.how), severity: severityScan, target: t.dst, port: t.port, hasPort: true,
		value: value, threshold: threshold, window: window, memory: exportQuiet,
	}
	if p.half {
		f.evidence = event.E1
	}
	return f
}

// name is that of the technique in the words of nmap.
func (t *try) name(p *hostPair) string {
	if t.how == synProbe && !p.half && !t.plain {
		return "connect"
	}
	return scanName(&contact{how: t.how, plain: true}, &pair{})
}

func (s *exportScans) counts(yield func(string, uint64)) {
	yield("exported_attempts_evicted", s.attempts.evicted)
	yield("exported_scan_sources_evicted", s.fans.evicted)
	yield("exported_scan_pairs_evicted", s.pairs.evicted)
}
