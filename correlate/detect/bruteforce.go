package detect

import (
	"bytes"
	"encoding/binary"
	"time"

	"vft/capture/packet"
	"vft/event"
)

// Brute force: many short connections that are alike from one source to a
// service with passwords (after SSHCure, Hellemons et al. 2012), of which none
// is known to have been let in, or guesses faster than a person types: in SSH
// replies of one size in a row before a connection that stays small is closed, in
// FTP the commands themselves.
//
// What was refused is counted for each target too, over all sources: that finds who
// is slow and who guesses from many addresses. An SSH session that ends after a
// small reply, when no more went either way than keys and a few passwords, was
// refused: a session that is let in opens a channel and learns the keys of the
// host. One that ends before asked for a banner or keys only. SMB and FTP say it.
const (
	bruteConnections = 20
	bruteWindow      = 10 * time.Minute
	refusedHour      = 20      // logins at one target that were refused, over all sources, in an hour
	refusedDay       = 30      // and in a day
	sshAsked         = 900     // bytes that a client sends before it can ask for anything
	sshRefused       = 3300    // it sends no more who is refused, unless it guesses on
	sshAnswers       = 3 << 10 // nor does its server answer more, but for the guesses
	databaseBytes    = 1 << 10 // in either direction, of one question and its answer
	bruteGuesses     = 10
	guessWindow      = 3 * time.Second
	shortTime        = 60 * second // of a connection that may be a guess
	shortBytes       = 8 << 10     // in either direction
	smallReply       = 128
	maxGuessers      = 1 << 12
	maxRefusers      = 1 << 11
	severityBrute    = 60
	bruteQuiet       = 120 * second
)

func guarded(port uint16) bool {
	switch port {
	case portFTP, portSSH, portSMB, 3389, 5900:
		return true
	}
	return false
}

// storing reports whether a port is one of services that their own clients use all
// day in short sessions: only strangers are held to guess there.
func storing(port uint16) bool {
	switch port {
	case 23, 110, 143, 1433, 3306, 5432, 5985, 6379, 27017:
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

// refusals are the logins that one target refused, whoever asked.
type refusals struct {
	hour, day halves
	source    packet.Addr // the latest
	several   bool        // it was not always the same
}

type bruteForce struct {
	hash     hasher
	episodes *episodes
	inside   home
	guessers *cache[guesser]
	targets  *cache[refusals]
}

func newBruteForce(h hasher, e *episodes, inside home) *bruteForce {
	return &bruteForce{hash: h, episodes: e, inside: inside, guessers: newCache[guesser](maxGuessers), targets: newCache[refusals](maxRefusers)}
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
	switch {
	case p.DstPort == portFTP:
		if bytes.HasPrefix(p.Payload(), []byte("PASS ")) {
			c.run = uint16(bump(uint8(min(c.run, 255))))
		}
		return
	case p.SrcPort == portFTP:
		if bytes.HasPrefix(p.Payload(), []byte("230")) {
			c.state |= granted
		}
		return
	case p.SrcPort == portSMB:
		b.smb(p.Payload(), c)
		return
	}
	if size := uint16(min(p.PayloadLen, 1<<16-1)); size == c.size && size <= smallReply {
		c.run++
	} else {
		c.size, c.run = size, 1
	}
}

// smb reads the answer to a request for a session (MS-SMB2 2.2.1, 2.2.6).
func (b *bruteForce) smb(answer []byte, c *conn) {
	const header, sessionSetup, failed, wrong, unknown, locked = 24, 1, 0xc000006d, 0xc000006a, 0xc0000064, 0xc0000234
	if len(answer) < header || be32(answer[4:]) != 0xfe534d42 || binary.LittleEndian.Uint16(answer[16:]) != sessionSetup {
		return
	}
	switch binary.LittleEndian.Uint32(answer[12:]) {
	case 0:
		c.state |= granted
	case failed, wrong, unknown, locked:
		c.state |= denied
	}
}

// refusedSSH reports whether an SSH session that ended was refused, as far as sizes
// tell, and asked whether it tried to log in at all.
func refusedSSH(c *conn) (refused, asked bool) {
	from, to := c.sides[c.client()].bytes, c.sides[1-c.client()].bytes
	guesses := uint32(c.run) * uint32(c.size)
	return from <= sshRefused+2*guesses && to <= sshAnswers+guesses && c.size <= smallReply, from >= sshAsked
}

// finished takes a connection that ended.
func (b *bruteForce) finished(client, server packet.Addr, port uint16, c *conn, now int64) {
	ssh := port == portSSH || c.state&isSSH != 0
	held := guarded(port) || ssh || storing(port) && !b.inside.has(client)
	if !held || tick(now)-c.begin > uint32(shortTime>>24) || c.state&spoke == 0 || c.state&granted != 0 {
		return
	}
	most := uint32(shortBytes)
	if storing(port) && !ssh {
		most = databaseBytes
	}
	if c.sides[0].bytes > most || c.sides[1].bytes > most {
		return
	}
	switch refused, asked := refusedSSH(c); {
	case !ssh:
	case c.sides[c.client()].bytes < sshAsked && c.run < 2 && c.sides[1-c.client()].bytes > smallReply, asked && !refused:
		return
	case asked:
		b.refuse(client, server, port, now)
	}
	if port == portFTP && c.run > 0 || c.state&denied != 0 {
		b.refuse(client, server, port, now)
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
	if port != portSSH && port != portFTP && c.state&isSSH == 0 || c.run == 0 {
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

// refuse counts a login that a target refused.
func (b *bruteForce) refuse(client, server packet.Addr, port uint16, now int64) {
	t, fresh := b.targets.get(b.hash.of(packet.Addr{}, server, 12<<32|uint64(port)), now)
	if fresh {
		*t = refusals{source: client}
	}
	t.several = t.several || t.source != client
	t.source = client
	hour, day := t.hour.add(now, int64(time.Hour)), t.day.add(now, int64(24*time.Hour))
	value, threshold, window := hour, refusedHour, time.Hour
	if hour < refusedHour {
		value, threshold, window = day, refusedDay, 24*time.Hour
	}
	if value < threshold {
		return
	}
	b.targets.strengthen(b.hash.of(packet.Addr{}, server, 12<<32|uint64(port)))
	key := "" // what one source does is told of the source
	if t.several {
		key = "target " + server.String()
	}
	b.episodes.note(&finding{
		kind: "brute_force", sensor: "brute_force", key: key, offender: client, spoofed: t.several, anyone: t.several, transport: "tcp", severity: severityBrute,
		evidence: event.E2, target: server, port: port, hasPort: true, value: float64(value), threshold: float64(threshold), unit: "failed logins", window: window, memory: bruteQuiet,
	}, now)
}

func (b *bruteForce) report(client, server packet.Addr, port uint16, value, threshold float64, window time.Duration, now int64) {
	b.episodes.note(&finding{
		kind: "brute_force", sensor: "brute_force", offender: client, transport: "tcp", severity: severityBrute, evidence: event.E2, target: server, port: port, hasPort: true,
		value: value, threshold: threshold, window: window, memory: bruteQuiet,
	}, now)
}

func (b *bruteForce) counts(yield func(string, uint64)) {
	yield("brute_force_evicted", b.guessers.evicted)
	yield("brute_force_targets_evicted", b.targets.evicted)
}
