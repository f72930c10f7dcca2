package detect

import (
	"bytes"
	"time"

	"vft/capture/packet"
	"vft/event"
)

// Brute force: many short connections that are alike from one source to a
// service with passwords (after SSHCure, Hellemons et al. 2012), or guesses
// faster than a person types: in SSH replies of one size in a row before a
// connection that stays small is closed, in FTP the commands themselves.
const (
	bruteConnections = 20
	bruteWindow      = 10 * time.Minute
	bruteGuesses     = 10
	guessWindow      = 3 * time.Second
	shortTime        = 60 * second // of a connection that may be a guess
	shortBytes       = 8 << 10     // in either direction
	smallReply       = 128
	maxGuessers      = 1 << 12
	severityBrute    = 60
	bruteQuiet       = 120 * second
)

func guarded(port uint16) bool {
	switch port {
	case 21, 22, 445, 3389, 5900:
		return true
	}
	return false
}

// guesser is one source at one service, of whatever hosts.
type guesser struct {
	begin       int64
	now, before uint16 // connections in the half-window that runs, and in the last
	mean        float32
	burst       int64 // when the guesses began
	guesses     uint16
}

type bruteForce struct {
	hash     hasher
	episodes *episodes
	guessers *cache[guesser]
}

func newBruteForce(h hasher, e *episodes) *bruteForce {
	return &bruteForce{hash: h, episodes: e, guessers: newCache[guesser](maxGuessers)}
}

func (b *bruteForce) guesser(client packet.Addr, port uint16, now int64) *guesser {
	g, fresh := b.guessers.get(b.hash.of(source(client), packet.Addr{}, 11<<32|uint64(port)), now)
	const half = int64(bruteWindow) / 2
	switch age := now - g.begin; {
	case fresh || age >= 2*half:
		*g = guesser{begin: now, burst: g.burst, guesses: g.guesses}
	case age >= half:
		g.begin, g.before, g.now = g.begin+half, g.now, 0
	}
	return g
}

// segment takes data to or from a service whose guesses can be told.
func (b *bruteForce) segment(p *packet.Parsed, c *conn, now int64) {
	if p.DstPort == portFTP {
		if bytes.HasPrefix(p.Payload(), []byte("PASS ")) {
			c.run = uint16(bump(uint8(min(c.run, 255))))
		}
		return
	}
	if size := uint16(min(p.PayloadLen, 1<<16-1)); size == c.size && size <= smallReply {
		c.run++
	} else {
		c.size, c.run = size, 1
	}
}

// finished takes a connection that ended.
func (b *bruteForce) finished(client, server packet.Addr, port uint16, c *conn, now int64) {
	if !guarded(port) || tick(now)-c.begin > uint32(shortTime>>24) || c.sides[0].bytes > shortBytes || c.sides[1].bytes > shortBytes || c.state&spoke == 0 {
		return
	}
	g, n := b.tried(client, port, float32(c.sides[0].bytes+c.sides[1].bytes), now)
	if g == nil {
		return
	}
	if n >= bruteConnections {
		b.report(client, server, port, float64(n), bruteConnections, bruteWindow, now)
	}
	b.guessed(g, client, server, port, c, now)
}

// tried counts a short connection of so many bytes, and returns how many that
// are alike its source made; nil when it is not like the others.
func (b *bruteForce) tried(client packet.Addr, port uint16, size float32, now int64) (g *guesser, n uint16) {
	g = b.guesser(client, port, now)
	if g.now+g.before > 0 && (size > 2*g.mean || size < g.mean/2) {
		return nil, 0
	}
	g.now = min(g.now, 1<<15) + 1
	n = g.now + g.before
	g.mean += (size - g.mean) / float32(n)
	return g, n
}

// guessed counts the passwords that a connection tried.
func (b *bruteForce) guessed(g *guesser, client, server packet.Addr, port uint16, c *conn, now int64) {
	if port != portSSH && port != portFTP || c.run == 0 {
		return
	}
	if now-g.burst > int64(guessWindow) {
		g.burst, g.guesses = now, 0
	}
	g.guesses = min(g.guesses+min(c.run, 16), 1<<14)
	if g.guesses >= bruteGuesses {
		b.report(client, server, port, float64(g.guesses), bruteGuesses, guessWindow, now)
	}
}

func (b *bruteForce) report(client, server packet.Addr, port uint16, value, threshold float64, window time.Duration, now int64) {
	b.episodes.note(&finding{
		kind: "brute_force", sensor: "brute_force", offender: client, transport: "tcp", severity: severityBrute, evidence: event.E2, target: server, port: port, hasPort: true,
		value: value, threshold: threshold, window: window, memory: bruteQuiet,
	}, now)
}

func (b *bruteForce) counts(yield func(string, uint64)) {
	yield("brute_force_evicted", b.guessers.evicted)
}
