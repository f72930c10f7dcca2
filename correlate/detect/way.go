package detect

import (
	"math/bits"
	"time"

	"vft/capture/packet"
)

// Outages: when nothing that is outside answers anybody any more, those who ask are no
// scanners. A way is broken when answers came, and have failed to come for four times as
// long as they usually are apart, and for ten seconds; and so is IPv6 where it never gave
// an answer while IPv4 gives them, at the same time and on the same port, as hosts try
// both (RFC 8305). One finding tells of it.
const (
	wayAnswers     = 3 // that must have come
	waySilence     = 10 * second
	wayGaps        = 4
	wayHosts       = 3 // contacts that failed before an outage is told
	wayMemory      = 600 * second
	severityOutage = 20
)

// way is how contacts of hosts inside with hosts outside fare, over one version of IP.
type way struct {
	answers uint32 // stays at its maximum
	last    int64  // answer
	gap     int64  // between answers, moving average
	lost    uint32 // contacts without an answer since the last one
	since   int64  // the first of these
	sources uint64 // a bit for each hashed one
	ports   [256]int64
}

type ways struct {
	episodes *episodes
	v4, v6   way
}

func newWays(e *episodes) *ways { return &ways{episodes: e} }

func (w *ways) of(c *contact) *way {
	if c.dst.Is4() {
		return &w.v4
	}
	return &w.v6
}

// answered takes a contact that got any answer.
func (w *ways) answered(c *contact, now int64) {
	if !c.inside || c.toInside {
		return
	}
	o := w.of(c)
	if o.last != 0 {
		o.gap += (max(now-o.last, 0) - o.gap) / 8
	}
	o.answers, o.last = min(o.answers, 1<<30)+1, now
	o.lost, o.sources = 0, 0
	if c.end == useful || c.end == connected {
		o.ports[c.port%256] = now
	}
}

// broken reports whether a contact that failed is the fault of its way.
func (w *ways) broken(c *contact, now int64) bool {
	if !c.inside || c.toInside || c.end != unanswered && c.end != unroutable || c.by != noTool {
		return false
	}
	o := w.of(c)
	if o.lost == 0 {
		o.since = c.at
	}
	o.lost++
	o.sources |= 1 << (uint32(c.src.Lo^c.src.Hi) * 0x9e3779b1 >> 26)
	silence := now - o.last
	switch {
	case c.end == unroutable:
	case o.answers >= wayAnswers && silence >= max(waySilence, wayGaps*o.gap):
	case o == &w.v6 && o.answers == 0 && w.v4.ports[c.port%256] >= c.at-second:
	default:
		return false
	}
	if o.lost >= wayHosts {
		w.tell(c, o, now)
	}
	return true
}

func (w *ways) tell(c *contact, o *way, now int64) {
	version := "IPv4"
	if o == &w.v6 {
		version = "IPv6"
	}
	w.episodes.note(&finding{
		kind: "outage", sensor: "outage", key: version, anyone: true, severity: severityOutage, target: packet.Addr{}, value: float64(o.lost), threshold: wayHosts, unit: "contacts",
		window: time.Duration(max(now-o.since, 0)), memory: wayMemory,
		more: []detail{{"network", version}, {"sources", bits.OnesCount64(o.sources)}, {"last_destination", c.dst.String()}},
	}, now)
}
