package detect

import (
	"net/netip"
	"slices"
	"time"

	"vft/capture/packet"
	"vft/correlate/window"
)

// Strangers in numbers. An address that the internet reaches is probed by hundreds of
// sources a day, with some ports each: its background, told as one finding that counts.
// Where strangers are rare, many of them at once are one scan from many sources: at many
// ports of one host, or at one port of many hosts.
const (
	crowdWindow    = 3600 // seconds
	crowdHost      = 30   // sources at one host
	crowdPort      = 60   // sources at one port
	crowdSpread    = 6    // ports of the host, or hosts of the port, among the newest sixteen
	crowdMemory    = 6 * 3600 * second
	noisyTime      = 24 * 3600 // seconds for which a host that met a crowd has a background
	severityCrowd  = 50
	noiseDay       = 24 * 3600 // seconds
	noiseSources   = 40        // in a day that make a background
	noiseEvery     = 3600      // seconds between two looks
	noiseMemory    = 24 * 3600 * second
	severityNoise  = 10
	noisePorts     = 8       // that are told, the commonest by their share of late
	maxShares      = 1 << 12 // prefixes whose new sources are counted
	shareHour      = 3600    // seconds
	sourcesOfShare = 512     // new ones of one prefix in an hour
)

// background is what strangers tried where they are no news.
type background struct {
	episodes *episodes
	sources  window.Vector
	hosts    window.Vector
	ports    [noisePorts]portCount // the commonest (Misra and Gries 1982)
	probes   uint64
	begin    uint32 // second
	looked   uint32
}

type portCount struct {
	port uint16
	n    uint32
}

// noisy reports whether strangers are no news to a host.
func (s *slowScans) noisy(host packet.Addr, now int64) bool {
	if !private(host) {
		return true
	}
	r := s.services.Find(s.key(&reach{host: host, kind: reachHost}))
	return r != nil && int64(r.noisy) > seconds(now)
}

// heard takes a contact of a stranger that failed.
func (b *background) heard(s *slowScans, from, dst packet.Addr, port uint16, now int64) {
	if !s.noisy(dst, now) {
		return
	}
	at := uint32(seconds(now))
	if b.begin == 0 {
		b.begin, b.looked = at, at
	}
	b.sources.Add(s.hashOf(from, 0, reachKinds), at)
	b.hosts.Add(s.hashOf(dst, 0, reachKinds), at)
	b.probes++
	b.common(port)
	if at-b.looked >= noiseEvery {
		b.looked = at
		b.judge(dst, now)
	}
}

// common counts a port among the commonest.
func (b *background) common(port uint16) {
	for i := range b.ports {
		if p := &b.ports[i]; p.n == 0 || p.port == port {
			p.port = port
			p.n++
			return
		}
	}
	for i := range b.ports {
		b.ports[i].n--
	}
}

func (b *background) judge(dst packet.Addr, now int64) {
	at := uint32(seconds(now))
	n := b.sources.Count(at, noiseDay)
	if n < noiseSources {
		return
	}
	hosts := b.hosts.Count(at, noiseDay)
	f := &finding{
		kind: "background", sensor: "background", anyone: true, spoofed: true, severity: severityNoise, value: float64(n), threshold: noiseSources, unit: "sources",
		window: noiseDay * time.Second, memory: noiseMemory,
		more: []detail{{"sources", n}, {"probed_hosts", hosts}, {"probes", b.probes}, {"common_ports", b.commonest()}},
	}
	if hosts == 1 {
		f.target = dst
	}
	b.episodes.note(f, now)
	b.probes = 0
}

func (b *background) commonest() (ports []uint16) {
	all := b.ports
	slices.SortFunc(all[:], func(x, y portCount) int { return int(y.n) - int(x.n) })
	for _, p := range all {
		if p.n > 0 {
			ports = append(ports, p.port)
		}
	}
	return ports
}

// judgeMany tells of a crowd of strangers at a host or a port.
func (s *slowScans) judgeMany(r *reach, key window.Key, now int64) {
	limit, newest := crowdHost, r.newest()
	if r.kind == reachPort {
		limit = crowdPort
	}
	if !r.counted || r.spread() < crowdSpread {
		return
	}
	n := s.count(r, key, crowdWindow, now)
	if n < limit || r.kind == reachHost && (!private(r.host) || s.episodes.running(amplified(r.host))) {
		return
	}
	f := &finding{
		kind: "vertical_scan", sensor: "scan", key: "distributed", anyone: true, spoofed: true, severity: severityCrowd, value: float64(n), threshold: float64(limit), unit: "sources",
		scan: "syn", transport: "tcp", window: crowdWindow * time.Second, memory: crowdMemory,
		more: []detail{{"distributed", true}, {"distinct_sources", n}, {"sources", r.sources()}, {"last_source", newest.addr.String()}},
	}
	if r.kind == reachPort {
		f.kind, f.key, f.port, f.hasPort = "horizontal_scan", "distributed to port "+netip.AddrPortFrom(netip.IPv4Unspecified(), r.port).String()[len("0.0.0.0:"):], r.port, true
	} else {
		f.key, f.target = "distributed to "+r.host.String(), r.host
		for _, m := range r.members[:r.n] {
			f.pastPorts = append(f.pastPorts, m.port)
		}
		r.noisy = uint32(seconds(now)) + noisyTime
	}
	if !s.episodes.running(f) && !s.mayBegin(now) {
		s.untold++
		return
	}
	s.episodes.note(f, now)
}

// spread is how many ports of a host, or hosts of a port, the newest strangers tried.
func (r *reach) spread() (n int) {
	for i, m := range r.members[:r.n] {
		known := false
		for _, o := range r.members[:i] {
			known = known || o.port == m.port
		}
		if !known {
			n++
		}
	}
	return n
}

// share counts the new sources of one prefix.
type share struct {
	hour  uint32
	count uint32
}

// admit reports whether one more contact of a stranger may take a place: the networks
// of one IPv6 prefix must not drive out all others.
func (s *slowScans) admit(from packet.Addr, now int64) bool {
	if from.Is4() || s.sources.Find(s.key(&reach{host: from, kind: reachInside})) != nil {
		return true
	}
	v, _ := s.shares.get(s.hash.of(packet.Addr{Hi: from.Hi &^ 0xffff}, packet.Addr{}, 16<<32), now)
	if hour := uint32(seconds(now) / shareHour); v.hour != hour {
		*v = share{hour: hour}
	}
	if v.count++; v.count > sourcesOfShare {
		s.refused++
		return false
	}
	return true
}
