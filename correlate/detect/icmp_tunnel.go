package detect

import (
	"bytes"
	"time"

	"vft/capture/packet"
	"vft/event"
	"vft/ipproto"
)

// ICMP tunnel: echo requests and replies that carry data. What a ping carries is
// the same each time but for a time stamp and a counter, or a pattern, and the reply
// repeats it (RFC 792). A payload is unlike when it differs from the two before it of
// its pair in more than those could, and is no pattern; a reply is when it also
// repeats no request. (ptunnel, hans, icmptunnel, icmpsh, hping3 --file.)
const (
	tunnelPayloads     = 200 // unlike ones of a pair
	tunnelBytes        = 64 << 10
	tunnelLeast        = 20 // payloads, however large
	icmpTunnelWindow   = 10 * time.Minute
	maxEchoPairs       = 1 << 11
	echoKept           = 96 // bytes of a payload that are held against the next
	echoStamp          = 16 // bytes in which two payloads of a ping may differ
	echoShort          = 12 // shorter payloads say nothing
	echoAsked          = 8  // requests whose replies are known
	severityICMPTunnel = 60
	severityBothWays   = 80 // replies carry data of their own
	icmpTunnelQuiet    = 600 * second
	echoContact        = 2 * second // unlike requests closer than that are one call, see beacons
)

// echoPair is what two hosts carry to each other in echo requests and replies.
type echoPair struct {
	begin    int64
	unlike   [2]uint32 // payloads in the half-window that runs, and in the one before
	volume   [2]uint64 // bytes of them
	replies  [2]uint32 // of them, replies
	last     int64     // unlike request
	asked    [echoAsked]uint64
	at       uint8
	kept     [2][echoKept]byte
	keptSize [2]uint8
}

type icmpTunnels struct {
	hash     hasher
	episodes *episodes
	pairs    *cache[echoPair]
	call     func(p *packet.Parsed, now int64) // an unlike request, for the beacons
}

func newICMPTunnels(h hasher, e *episodes) *icmpTunnels {
	return &icmpTunnels{hash: h, episodes: e, pairs: newCache[echoPair](maxEchoPairs), call: func(*packet.Parsed, int64) {}}
}

// echo takes an echo request or reply.
func (t *icmpTunnels) echo(p *packet.Parsed, request bool, now int64) {
	b := p.Payload()
	if len(b) < echoShort || many(p.Dst) {
		return
	}
	client, server := p.Src, p.Dst
	if !request {
		client, server = server, client
	}
	e, fresh := t.pairs.get(t.hash.of(client, server, 23<<32), now)
	const half = int64(icmpTunnelWindow) / 2
	switch age := now - e.begin; {
	case fresh:
		e.begin = now
	case age >= 2*half:
		e.begin, e.unlike, e.volume, e.replies = now, [2]uint32{}, [2]uint64{}, [2]uint32{}
	case age >= half:
		e.begin += half
		e.unlike, e.volume, e.replies = [2]uint32{0, e.unlike[0]}, [2]uint64{0, e.volume[0]}, [2]uint32{0, e.replies[0]}
	}
	if !e.carries(t.hash.bytes(b), b, request) {
		return
	}
	e.unlike[0]++
	e.volume[0] += uint64(p.PayloadLen)
	if !request {
		e.replies[0]++
	} else if now-e.last >= echoContact {
		e.last = now
		t.call(p, now)
	}
	t.judge(p, e, client, server, now)
}

// bytes is a keyed hash of b, never 0.
func (h *hasher) bytes(b []byte) uint64 {
	x := h.a ^ uint64(len(b))
	for _, c := range b {
		x = (x ^ uint64(c)) * 0x100000001b3
	}
	return fold(x^h.b, h.c) | 1
}

// carries reports whether a payload is unlike those of a ping, and keeps it.
func (e *echoPair) carries(sum uint64, b []byte, request bool) bool {
	if request {
		e.asked[e.at%echoAsked] = sum
		e.at++
	} else {
		for _, s := range e.asked {
			if s == sum {
				return false
			}
		}
	}
	b = b[:min(len(b), echoKept)]
	for i := range e.kept {
		if kept := e.kept[i][:e.keptSize[i]]; len(kept) > 0 && alikePayloads(kept, b) {
			e.keep(i, b)
			return false
		}
	}
	first := e.keptSize[0] == 0
	e.kept[1], e.keptSize[1] = e.kept[0], e.keptSize[0]
	e.keep(0, b)
	return !first && !patternPayload(b)
}

func (e *echoPair) keep(i int, b []byte) {
	e.keptSize[i] = uint8(copy(e.kept[i][:], b))
}

// alikePayloads reports whether two payloads differ by no more than a time stamp and a
// counter.
func alikePayloads(a, b []byte) bool {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		return true
	}
	differ := 0
	for i := range n {
		if a[i] != b[i] {
			differ++
		}
	}
	return differ <= echoStamp && (n > 2*echoStamp || 3*differ < 2*n)
}

// patternPayload reports whether a payload, but for a stamp at its beginning, counts up or
// repeats itself within a few bytes.
func patternPayload(b []byte) bool {
	const period = 4
	if len(b) > 2*echoStamp {
		b = b[echoStamp:]
	}
	steps, repeats := 0, 0
	for i := 2; i < len(b); i++ {
		if b[i]-b[i-1] == b[i-1]-b[i-2] {
			steps++
		}
		if i >= period && b[i] == b[i-period] {
			repeats++
		}
	}
	return 5*steps >= 4*(len(b)-2) || len(b) > period && 5*repeats >= 4*(len(b)-period)
}

func (t *icmpTunnels) judge(p *packet.Parsed, e *echoPair, client, server packet.Addr, now int64) {
	n, volume, back := e.unlike[0]+e.unlike[1], e.volume[0]+e.volume[1], e.replies[0]+e.replies[1]
	if n < tunnelLeast || n < tunnelPayloads && volume < tunnelBytes {
		return
	}
	f := &finding{
		kind: "icmp_tunnel", sensor: "icmp_tunnel", key: server.String(), offender: client, transport: ipproto.Name(p.Proto), severity: severityICMPTunnel, evidence: event.E2, target: server,
		value: float64(n), threshold: tunnelPayloads, unit: "payloads", window: icmpTunnelWindow, memory: icmpTunnelQuiet,
		more: []detail{{"bytes", volume}, {"replies", back}, {"requests", n - back}},
	}
	if n < tunnelPayloads {
		f.value, f.threshold, f.unit = float64(volume), tunnelBytes, "bytes"
	}
	if back >= tunnelLeast/2 {
		f.severity = severityBothWays
	}
	t.episodes.note(f, now)
}

func (t *icmpTunnels) counts(yield func(string, uint64)) {
	yield("icmp_pairs_evicted", t.pairs.evicted)
}
