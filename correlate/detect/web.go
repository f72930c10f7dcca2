package detect

import (
	"bytes"

	"vft/capture/packet"
)

// HTTP/1 (RFC 9112) is known by the first bytes of a request, on any port. An
// exchange is a request and what comes back. Only the first bytes of a request
// and of its answer are read, so the segments of a body pass with one comparison.
const (
	maxExchanges = 1 << 13
	minRequest   = 16 // bytes: "GET / HTTP/1.0\r\n"
)

// exchange is the request of a connection that came last.
type exchange struct {
	client, server packet.Addr
	path           uint64 // keyed hash of what was asked for, without its query; 0: encrypted
	began          int64
	part           int64 // when the client sent the latest part of the request
	bytes          uint32
	port           uint16
	parts          uint8 // small ones that came a second or more after the one before
	held           bool  // counted by slowHTTP
	stalled        int64 // since when the client's window is shut; 0: it is not
	taken          uint32
}

type web struct {
	hash      hasher
	exchanges *cache[exchange]
	scan      *webScan
	slow      *slowHTTP
	flood     *httpFlood
}

func newWeb(h hasher, e *episodes) *web {
	return &web{hash: h, exchanges: newCache[exchange](maxExchanges), scan: newWebScan(h, e), slow: newSlowHTTP(h, e), flood: newHTTPFlood(h, e)}
}

// The first four bytes of methods and answers, as numbers.
const (
	textGET  = 'G'<<24 | 'E'<<16 | 'T'<<8 | ' '
	textPOST = 'P'<<24 | 'O'<<16 | 'S'<<8 | 'T'
	textHEAD = 'H'<<24 | 'E'<<16 | 'A'<<8 | 'D'
	textPUT  = 'P'<<24 | 'U'<<16 | 'T'<<8 | ' '
	textDELE = 'D'<<24 | 'E'<<16 | 'L'<<8 | 'E'
	textOPTI = 'O'<<24 | 'P'<<16 | 'T'<<8 | 'I'
	textPATC = 'P'<<24 | 'A'<<16 | 'T'<<8 | 'C'
	textPROP = 'P'<<24 | 'R'<<16 | 'O'<<8 | 'P'
	textCONN = 'C'<<24 | 'O'<<16 | 'N'<<8 | 'N'
	textHTTP = 'H'<<24 | 'T'<<16 | 'T'<<8 | 'P'
	tlsHello = 0x16<<24 | 3<<16 // a TLS record of a handshake; the low byte is the minor version
)

// data takes a segment with payload. Most are neither the first of a request nor
// of an answer, and their connections wait for nothing.
func (w *web) data(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	b := p.Payload()
	if len(b) < minRequest {
		if c.state&asking != 0 && sender == c.client() {
			w.part(p, key, now)
		}
		return
	}
	switch v := be32(b); v {
	case textGET, textPOST, textHEAD, textPUT, textDELE, textOPTI, textPATC, textPROP, textCONN:
		w.request(p, c, key, sender, b, now)
	case textHTTP:
		if c.state&asking != 0 && sender != c.client() {
			w.answer(p, c, key, b, now)
		}
	case tlsHello | 1, tlsHello | 3:
		if c.state&spoke != 0 && c.sides[sender].bytes == uint32(p.PayloadLen) && sender == c.client() {
			w.flood.request(p, 0, c.state&opened != 0, now)
		}
	default:
		if c.state&asking == 0 {
			return
		}
		if sender == c.client() {
			w.part(p, key, now)
		} else if x := w.exchanges.find(key, now); x != nil { // an answer of HTTP/0.9, or in a form that nobody knows
			w.answered(c, x, now)
		}
	}
}

// request takes the first segment of a request.
func (w *web) request(p *packet.Parsed, c *conn, key uint64, sender int, b []byte, now int64) {
	path, ok := pathOf(b)
	if !ok || c.state&opened != 0 && sender != c.client() {
		return
	}
	if c.state&opened == 0 && sender == 1 { // its beginning was not seen; who asks is the client
		c.state |= fromHigh
	}
	x, fresh := w.exchanges.get(key, now)
	if !fresh && x.held {
		w.slow.released(x, now)
	}
	*x = exchange{client: p.Src, server: p.Dst, port: p.DstPort, path: w.pathKey(path), began: now, part: now, bytes: uint32(min(p.PayloadLen, 1<<16))}
	c.state |= asking | requested
	w.flood.request(p, x.path, c.state&opened != 0, now)
}

// pathOf returns what a request asks for, without its query; false when b is no
// request. A path that the capture cut ends where the capture does.
func pathOf(b []byte) ([]byte, bool) {
	begin := bytes.IndexByte(b[:min(len(b), 10)], ' ') + 1
	if begin == 0 || begin == len(b) || b[begin] != '/' && b[begin] != '*' && (b[begin]|0x20 < 'a' || b[begin]|0x20 > 'z') {
		return nil, false
	}
	path := b[begin:]
	if end := bytes.IndexAny(path, " ?\r\n"); end >= 0 {
		path = path[:end]
	}
	return path, true
}

// pathKey is never 0.
func (w *web) pathKey(path []byte) uint64 {
	x := w.hash.a
	for _, c := range path[:min(len(path), 256)] {
		x = (x ^ uint64(c)) * 0x100000001b3
	}
	return fold(x^w.hash.b, w.hash.c) | 1
}

// part takes a further segment of a request that was not answered.
func (w *web) part(p *packet.Parsed, key uint64, now int64) {
	x := w.exchanges.find(key, now)
	if x == nil {
		return
	}
	w.slow.part(x, p.PayloadLen, now)
}

// answer takes the first segment of an answer.
func (w *web) answer(p *packet.Parsed, c *conn, key uint64, b []byte, now int64) {
	x := w.exchanges.find(key, now)
	if x == nil {
		c.state &^= asking
		return
	}
	status, ok := statusOf(b)
	if !ok || status == 100 { // 100: go on
		return
	}
	w.scan.answered(x, status, now)
	w.answered(c, x, now)
}

func (w *web) answered(c *conn, x *exchange, now int64) {
	c.state &^= asking
	if x.held {
		w.slow.released(x, now)
		x.held = false
	}
}

// statusOf reads "HTTP/1.1 404".
func statusOf(b []byte) (status int, ok bool) {
	if len(b) < 12 || b[4] != '/' || b[8] != ' ' {
		return 0, false
	}
	for _, c := range b[9:12] {
		if c < '0' || c > '9' {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	return status, true
}

// shut takes a segment without data by which a side says that it takes no more.
func (w *web) shut(p *packet.Parsed, c *conn, key uint64, sender int, now int64) {
	if c.state&requested == 0 || sender != c.client() {
		return
	}
	if x := w.exchanges.find(key, now); x != nil {
		w.slow.shut(x, p.Ack, now)
	}
}

// finished takes a connection that ends.
func (w *web) finished(c *conn, key uint64, now int64) {
	if c.state&requested == 0 {
		return
	}
	if x := w.exchanges.find(key, now); x != nil && x.held {
		w.slow.released(x, now)
		x.held = false
	}
}

func (w *web) counts(yield func(string, uint64)) {
	yield("http_exchanges_evicted", w.exchanges.evicted)
	w.scan.counts(yield)
	w.slow.counts(yield)
	w.flood.counts(yield)
}
