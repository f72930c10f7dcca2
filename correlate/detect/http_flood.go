package detect

import (
	"math"
	"math/bits"
	"time"

	"vft/capture/packet"
	"vft/correlate/spot"
	"vft/event"
)

// HTTP flood: requests, or TLS handshakes, far beyond what the server usually gets
// in a second, by extreme value theory over its own seconds (Siffer et al. 2017, as
// the other floods), and at least 200. Until a server was watched for a minute
// nobody knows what it usually gets; then a flood is one client that opens
// connections to ask for the same few things again and again, for some seconds. A
// proxy in front of a server asks for many things, and a benchmark is a flood.
const (
	floodRequests     = 200 // a second, at least
	floodUsual        = 10  // times the average second, until its tail is known; and at most then
	floodLeast        = 2   // times the average second, at least
	floodWarm         = 60 * second
	floodNewRun       = 3 // seconds in a row before that
	floodFewPaths     = 3 // of 64 hashed
	maxWebServers     = 1 << 10
	maxWebTails       = 256 // 2 KB each
	webTailIdle       = 600 // seconds after which another may take the place
	severityHTTPFlood = 70
	httpFloodQuiet    = 30 * second
)

// webServer is one server in one second.
type webServer struct {
	second  int64
	first   int64 // when its first request was seen
	addr    packet.Addr
	suspect packet.Addr // the client of most requests (Boyer and Moore's vote)
	key     uint64
	sources uint64 // a bit for each hashed client
	paths   uint64 // a bit for each hashed path
	count   int32
	opened  int32 // of them on connections whose beginning was seen
	votes   int32
	usual   float32
	port    uint16
	run     uint8 // seconds in a row beyond the limit, before it was warm
	listed  bool
	held    bool // a flood is running: it does not teach
	plain   bool // the paths can be read
}

// webTail is what a busy server usually gets.
type webTail struct {
	key  uint64
	last int64 // second that was learned last
	spot *spot.Spot
}

type httpFlood struct {
	hash     hasher
	episodes *episodes
	servers  *cache[webServer]
	busy     []uint64 // keys of servers that got something in this second worth a look
	tails    []webTail
	index    map[uint64]int
	refused  uint64
}

func newHTTPFlood(h hasher, e *episodes) *httpFlood {
	return &httpFlood{hash: h, episodes: e, servers: newCache[webServer](maxWebServers), busy: make([]uint64, 0, 256), index: map[uint64]int{}}
}

// request counts a request; path is 0 when nobody can read it, and opened says that
// the beginning of its connection was seen.
func (f *httpFlood) request(p *packet.Parsed, path uint64, opened bool, now int64) {
	key := f.hash.of(p.Dst, packet.Addr{}, 22<<32|uint64(p.DstPort))
	s, fresh := f.servers.get(key, now)
	sec := now / second
	switch {
	case fresh:
		*s = webServer{key: key, addr: p.Dst, port: p.DstPort, second: sec, first: now}
	case s.second != sec:
		s.roll(sec)
	}
	s.count++
	if opened {
		s.opened++
	}
	s.plain = path != 0
	s.paths |= 1 << (path >> 58)
	s.sources |= 1 << (uint32(p.Src.Lo^p.Src.Hi) * 0x9e3779b1 >> 26)
	switch {
	case s.suspect == p.Src:
		s.votes++
	case s.votes == 0:
		s.suspect, s.votes = p.Src, 1
	default:
		s.votes--
	}
	if s.count >= floodRequests/8 && !s.listed && len(f.busy) < cap(f.busy) {
		s.listed = true
		f.busy = append(f.busy, key)
	}
}

// roll ends the second of a server; the seconds without a request count as empty, at
// most ten of them.
func (s *webServer) roll(sec int64) {
	const weight = 0.1
	if !s.held {
		s.usual += weight * (float32(s.count) - s.usual)
		for range min(sec-s.second-1, 10) {
			s.usual -= weight * s.usual
		}
	}
	if sec-s.second > 1 || s.count < floodRequests {
		s.run = 0
	}
	s.second, s.count, s.opened, s.votes, s.sources, s.paths, s.listed, s.held = sec, 0, 0, 0, 0, 0, false, false
}

// advance judges the second that ended.
func (f *httpFlood) advance(now int64) {
	for _, key := range f.busy {
		if s := f.servers.peek(key); s != nil {
			f.judge(s, min(now, (s.second+1)*second-1))
			f.admit(key, s.second)
		}
	}
	f.busy = f.busy[:0]
	for i := range f.tails {
		f.learn(&f.tails[i], now/second)
	}
}

func (f *httpFlood) judge(s *webServer, now int64) {
	s.listed = false
	if s.count < floodRequests {
		return
	}
	limit, warm := f.limit(s), now-s.first >= floodWarm
	found := s.finding(limit)
	switch {
	case f.episodes.running(found) && float64(s.count) >= max(floodRequests, limit/floodUsual):
	case warm && float64(s.count) >= limit:
	case !warm && s.alike():
		if s.run++; s.run < floodNewRun {
			return
		}
		found.threshold = floodRequests
	default:
		return
	}
	s.held = true
	f.episodes.note(found, now)
}

// alike reports whether most requests of a second are those of one client that opened
// connections to ask for the same few things.
func (s *webServer) alike() bool {
	return s.votes > s.count/2 && s.opened > s.count/2 && bits.OnesCount64(s.paths) <= floodFewPaths
}

func (f *httpFlood) limit(s *webServer) float64 {
	usual := float64(s.usual)
	if i, known := f.index[s.key]; known {
		if z, ok := f.tails[i].spot.Threshold(spot.Up); ok {
			return min(max(z, floodRequests, floodLeast*usual), floodUsual*max(floodRequests, usual))
		}
	}
	return max(floodRequests, floodUsual*usual)
}

func (f *httpFlood) learn(t *webTail, sec int64) {
	s := f.servers.peek(t.key)
	if s == nil || s.second == t.last || s.second >= sec || s.held {
		return
	}
	t.last = s.second
	t.spot.Step(math.Max(float64(s.count), 0) + jitter(s.second))
}

// admit gives a busy server a place among those whose tail is learned: a free one, or
// that of one that was not asked for long.
func (f *httpFlood) admit(key uint64, sec int64) {
	if _, known := f.index[key]; known {
		return
	}
	at := len(f.tails)
	if at >= maxWebTails {
		at = 0
		for i := range f.tails {
			if f.tails[i].last < f.tails[at].last {
				at = i
			}
		}
		if sec-f.tails[at].last < webTailIdle {
			f.refused++
			return
		}
		delete(f.index, f.tails[at].key)
	}
	fresh, err := spot.New(baselineConfig())
	if err != nil {
		return // the settings are constant, and a test holds that they are valid
	}
	one := webTail{key: key, last: sec, spot: fresh}
	if at == len(f.tails) {
		f.tails = append(f.tails, one)
	} else {
		f.tails[at] = one
	}
	f.index[key] = at
}

func (s *webServer) finding(limit float64) *finding {
	mostly := s.votes > s.count/2
	f := &finding{
		kind: "http_flood", sensor: "http_flood", key: s.addr.String(), anyone: true, offender: s.suspect, spoofed: !mostly, scan: "requests", transport: "tcp",
		severity: severityHTTPFlood, evidence: event.E2, target: s.addr, port: s.port, hasPort: true, count: uint64(s.count), value: float64(s.count), threshold: limit, unit: "requests/s",
		usual: float64(s.usual), isUsual: true, window: time.Second, memory: httpFloodQuiet, more: []detail{{"clients", max(1, bits.OnesCount64(s.sources))}},
	}
	if !s.plain {
		f.scan = "handshakes"
	}
	return f
}

func (f *httpFlood) counts(yield func(string, uint64)) {
	yield("http_servers_evicted", f.servers.evicted)
	yield("http_tails_refused", f.refused)
}
