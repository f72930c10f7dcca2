package detect

import (
	"math/bits"
	"time"

	"vft/capture/packet"
	"vft/event"
)

// Slow HTTP: requests that never end, because the client sends a few bytes now and
// then (slowloris, R-U-Dead-Yet), or answers that never end, because it keeps its
// window shut (slow read; all three as slowhttptest makes them). An exchange is
// held when that goes on for some time at next to no bytes a second. Who waits for an
// answer sends nothing meanwhile, and who uploads over a bad line still sends more.
const (
	heldConnections  = 50  // of one client, or mostly of one, at one server
	heldDistributed  = 200 // of many: as many streaming devices are ordinary
	heldWindow       = 5 * time.Minute
	heldTime         = 10 * second // before an exchange counts as held
	heldRate         = 500         // bytes a second, at most
	heldPart         = 1024        // bytes of a late part, at most
	heldGap          = second      // between two parts
	maxHeldServers   = 1 << 10
	severitySlowHTTP = 60
	slowHTTPQuiet    = 120 * second
)

// holder is a server whose exchanges are held.
type holder struct {
	begin   int64
	now     int32 // held, in the half-window that runs
	before  int32
	suspect packet.Addr // the client of most of them (Boyer and Moore's vote)
	votes   int32
	sources uint64 // a bit for each hashed client
	reading uint32 // of them, answers that are not taken
}

type slowHTTP struct {
	hash     hasher
	episodes *episodes
	servers  *cache[holder]
}

func newSlowHTTP(h hasher, e *episodes) *slowHTTP {
	return &slowHTTP{hash: h, episodes: e, servers: newCache[holder](maxHeldServers)}
}

// part takes a further part of a request that was not answered.
func (s *slowHTTP) part(x *exchange, size int, now int64) {
	if now-x.part >= heldGap && size <= heldPart && x.parts < 255 {
		x.parts++
	}
	x.part = now
	x.bytes = uint32(min(uint64(x.bytes)+uint64(size), 1<<31))
	if x.parts >= 1 && !x.held && now-x.began >= heldTime && int64(x.bytes)*second <= heldRate*(now-x.began) {
		s.hold(x, false, now)
	}
}

// shut takes the word of a client that it takes no more than was sent before ack.
func (s *slowHTTP) shut(x *exchange, ack uint32, now int64) {
	if x.stalled == 0 {
		x.stalled, x.taken = now, ack
		return
	}
	age := now - x.stalled
	if int64(ack-x.taken)*second > heldRate*max(age, second) { // it read meanwhile
		x.stalled, x.taken = now, ack
		return
	}
	if age >= heldTime && !x.held {
		s.hold(x, true, now)
	}
}

func (s *slowHTTP) server(x *exchange, now int64) *holder {
	h, fresh := s.servers.get(s.hash.of(x.server, packet.Addr{}, 21<<32|uint64(x.port)), now)
	const half = int64(heldWindow) / 2
	switch age := now - h.begin; {
	case fresh || age >= 2*half:
		*h = holder{begin: now}
	case age >= half:
		h.begin, h.before, h.now = h.begin+half, max(h.now, 0), 0
	}
	return h
}

func (s *slowHTTP) hold(x *exchange, reading bool, now int64) {
	x.held = true
	h := s.server(x, now)
	h.now++
	h.sources |= 1 << (uint32(x.client.Lo^x.client.Hi) * 0x9e3779b1 >> 26)
	if reading {
		h.reading++
	}
	switch {
	case h.suspect == x.client:
		h.votes++
	case h.votes == 0:
		h.suspect, h.votes = x.client, 1
	default:
		h.votes--
	}
	n, limit := h.now+h.before, int32(heldConnections)
	mostly := h.votes >= n/2
	if !mostly {
		limit = heldDistributed
	}
	if n >= limit {
		s.report(x, h, n, limit, mostly, now)
	}
}

// released takes an exchange that goes on, or ends.
func (s *slowHTTP) released(x *exchange, now int64) {
	if h := s.server(x, now); h.now > 0 {
		h.now--
	} else if h.before > 0 {
		h.before--
	}
}

func (s *slowHTTP) report(x *exchange, h *holder, n, limit int32, mostly bool, now int64) {
	scan := "slow_request"
	if int32(min(h.reading, 1<<30)) > n/2 {
		scan = "slow_read"
	}
	s.episodes.note(&finding{
		kind: "slow_http", sensor: "slow_http", key: x.server.String(), anyone: !mostly, offender: h.suspect, spoofed: !mostly, scan: scan, transport: "tcp", severity: severitySlowHTTP, evidence: event.E2,
		target: x.server, port: x.port, hasPort: true, value: float64(n), threshold: float64(limit), unit: "connections", window: heldWindow, memory: slowHTTPQuiet,
		more: []detail{{"clients", max(1, bits.OnesCount64(h.sources))}},
	}, now)
}

func (s *slowHTTP) counts(yield func(string, uint64)) {
	yield("slow_http_servers_evicted", s.servers.evicted)
}
