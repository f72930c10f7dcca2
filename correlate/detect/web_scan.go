package detect

import (
	"time"

	"vft/capture/packet"
	"vft/event"
)

// Web scan: one client asks one server for many distinct paths that it refuses or
// does not have, and for little that it has (forced browsing: OWASP calls it so;
// dirb, gobuster, nikto). Answers that ask for a password, or say that the server
// is overloaded or broken, are no failures: a client whose token ran out, or a
// crawler at a server that is down, looks for nothing.
const (
	scanPaths       = 50 // distinct ones that fail
	scanPathsWindow = 10 * time.Minute
	scanPathsShare  = 0.5 // of all answers
	maxVisitors     = 1 << 12
	pathBits        = 1024 // of the sketch that tells paths apart
	severityWebScan = 50
	webScanQuiet    = 120 * second
)

// visitor is one client at one server.
type visitor struct {
	begin    int64
	answers  uint32
	failed   uint32
	distinct uint32 // paths that failed
	sketch   [pathBits / 64]uint64
}

type webScan struct {
	hash     hasher
	episodes *episodes
	visitors *cache[visitor]
}

func newWebScan(h hasher, e *episodes) *webScan {
	return &webScan{hash: h, episodes: e, visitors: newCache[visitor](maxVisitors)}
}

// answered takes the status that answers a request.
func (s *webScan) answered(x *exchange, status int, now int64) {
	v, fresh := s.visitors.get(s.hash.of(source(x.client), x.server, 20<<32|uint64(x.port)), now)
	if fresh || now-v.begin > int64(scanPathsWindow) {
		*v = visitor{begin: now}
	}
	v.answers++
	if !pathFails(status) {
		return
	}
	v.failed++
	bit := x.path % pathBits
	if v.sketch[bit/64]>>(bit%64)&1 == 1 {
		return
	}
	v.sketch[bit/64] |= 1 << (bit % 64)
	v.distinct++
	if v.distinct >= scanPaths && float64(v.failed) >= scanPathsShare*float64(v.answers) {
		s.report(x.client, x.server, x.port, v, status, now)
	}
}

// pathFails reports whether a status says that there is no such path, or that it is
// not for this client.
func pathFails(status int) bool {
	switch status {
	case 401, 407, 408, 425, 429:
		return false
	}
	return status >= 400 && status < 500
}

func (s *webScan) report(client, server packet.Addr, port uint16, v *visitor, status int, now int64) {
	s.episodes.note(&finding{
		kind: "web_scan", sensor: "web_scan", key: server.String(), offender: client, transport: "tcp", severity: severityWebScan, evidence: event.E2, target: server, port: port, hasPort: true,
		value: float64(v.distinct), threshold: scanPaths, unit: "paths", window: scanPathsWindow, memory: webScanQuiet,
		more: []detail{{"answers", v.answers}, {"failed", v.failed}, {"status", status}},
	}, now)
}

func (s *webScan) counts(yield func(string, uint64)) {
	yield("web_visitors_evicted", s.visitors.evicted)
}
