package event

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The limits of an Event in JSON, in bytes or in items. AppendJSON cuts what is
// over them, so that what one vft writes another can always read; Reader.Event
// refuses what is over them.
const (
	MaxPayload = 4096 // bytes of Trap.Payload
	MaxText    = 1024 // bytes of a sentence, a banner, a server name, a command line
	MaxName    = 255  // bytes of every other string
	MaxList    = 32   // tags, ALPN names
)

// AppendJSON appends e as one JSON object to dst. It is what encoding/json
// makes of the tags of Event, without its reflection; what JSON cannot hold
// (a number that is not finite, a year beyond 9999) becomes the largest number
// or the zero time.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst, _ = e.ID.AppendText(dst)
	dst = append(dst, `","time":"`...)
	dst = appendTime(dst, e.Time)
	dst = append(dst, `","dataset":`...)
	dst = appendString(dst, string(e.Dataset), MaxName)
	dst = appendField(dst, `,"client":`, e.Client, MaxName)
	dst = appendField(dst, `,"host":`, e.Host, MaxName)
	dst = appendAddrPort(dst, `,"src":`, e.Src)
	dst = appendAddrPort(dst, `,"dst":`, e.Dst)
	dst = appendField(dst, `,"transport":`, e.Transport, MaxName)
	dst = appendUint(dst, `,"evidence":`, uint64(min(e.Evidence, E3)))
	dst = appendStrings(dst, `,"tags":`, e.Tags)
	dst = appendField(dst, `,"message":`, e.Message, MaxText)
	if e.Trap != nil {
		dst = e.Trap.appendJSON(append(dst, `,"trap":`...))
	}
	if e.Probe != nil {
		dst = e.Probe.appendJSON(append(dst, `,"probe":`...))
	}
	if e.Alert != nil {
		dst = appendAny(append(dst, `,"alert":`...), e.Alert.writable())
	}
	if e.Member != nil {
		dst = appendAny(append(dst, `,"member":`...), e.Member)
	}
	if e.Process != nil {
		dst = e.Process.appendJSON(append(dst, `,"process":`...))
	}
	return append(e.appendMeasured(dst), '}')
}

// appendMeasured appends the details that come from packets and flows.
func (e *Event) appendMeasured(dst []byte) []byte {
	if e.Stat != nil {
		dst = appendBounded(dst, `,"stat":`, e.Stat)
	}
	if e.Anomaly != nil {
		dst = appendBounded(dst, `,"anomaly":`, e.Anomaly)
	}
	if e.Threat != nil {
		dst = appendBounded(dst, `,"threat":`, e.Threat)
	}
	if e.Flow != nil {
		dst = appendBounded(dst, `,"flow":`, e.Flow)
	}
	if e.Summary != nil {
		dst = appendBounded(dst, `,"summary":`, e.Summary)
	}
	if e.Finding != nil {
		dst = appendBounded(dst, `,"finding":`, e.Finding)
	}
	return dst
}

func (t *Trap) appendJSON(dst []byte) []byte {
	start := len(dst)
	if payload := t.Payload[:min(len(t.Payload), MaxPayload)]; len(payload) > 0 {
		dst = append(dst, `,"payload":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, payload), '"')
	}
	if t.TLS != nil {
		dst = t.TLS.appendJSON(append(dst, `,"tls":`...))
	}
	if t.SSH != nil {
		at := len(dst) + len(`,"ssh":`)
		dst = appendField(append(dst, `,"ssh":`...), `,"banner":`, t.SSH.Banner, MaxText)
		dst = closeObject(appendField(dst, `,"hassh":`, t.SSH.HASSH, MaxName), at)
	}
	if t.SYN != nil {
		dst = t.SYN.appendJSON(append(dst, `,"syn":`...))
	}
	dst = appendField(dst, `,"tool":`, t.Tool, MaxName)
	if t.Held != 0 {
		dst = strconv.AppendInt(append(dst, `,"held":`...), int64(t.Held), 10)
	}
	return closeObject(appendTrue(dst, `,"late":`, t.Late), start)
}

func (t *TLS) appendJSON(dst []byte) []byte {
	start := len(dst)
	dst = appendField(dst, `,"sni":`, t.SNI, MaxText)
	dst = appendStrings(dst, `,"alpn":`, t.ALPN)
	dst = appendField(dst, `,"version":`, t.Version, MaxName)
	return closeObject(appendField(dst, `,"ja4":`, t.JA4, MaxName), start)
}

func (s *SYN) appendJSON(dst []byte) []byte {
	start := len(dst)
	dst = appendUint(dst, `,"ttl":`, uint64(s.TTL))
	dst = appendUint(dst, `,"ip_id":`, uint64(s.IPID))
	dst = appendTrue(dst, `,"df":`, s.DF)
	dst = appendUint(dst, `,"window":`, uint64(s.Window))
	dst = appendUint(dst, `,"mss":`, uint64(s.MSS))
	dst = appendUint(dst, `,"scale":`, uint64(s.Scale))
	dst = appendField(dst, `,"options":`, s.Options, MaxName)
	dst = appendField(dst, `,"ja4t":`, s.JA4T, MaxName)
	return closeObject(appendField(dst, `,"class":`, s.Class, MaxName), start)
}

func (p *Probe) appendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"scan":`...), p.Scan, MaxName)
	if p.SYN != nil {
		dst = p.SYN.appendJSON(append(dst, `,"syn":`...))
	}
	return append(appendField(dst, `,"tool":`, p.Tool, MaxName), '}')
}

func (p *Process) appendJSON(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"pid":`...), int64(max(0, min(p.PID, math.MaxInt32))), 10)
	dst = appendString(append(dst, `,"name":`...), p.Name, MaxName)
	dst = appendField(dst, `,"command_line":`, p.CommandLine, MaxText)
	dst = appendField(dst, `,"user":`, p.User, MaxName)
	return append(appendField(dst, `,"container":`, p.Container, MaxName), '}')
}

// writable returns a, or a copy in which everything can be written as JSON.
func (a *Alert) writable() *Alert {
	good := *a
	good.Start, good.End = writableTime(a.Start), writableTime(a.End)
	good.Rules = slices.Clone(a.Rules)
	for i := range good.Rules {
		rule := &good.Rules[i]
		rule.Value, rule.Threshold = finite(rule.Value), finite(rule.Threshold)
		rule.Since = writableTime(rule.Since)
	}
	return &good
}

func finite(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return max(-math.MaxFloat64, min(x, math.MaxFloat64))
}

// writableTime returns t in UTC, or the zero time when RFC 3339 cannot hold it.
func writableTime(t time.Time) time.Time {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return time.Time{}
	}
	return t
}

// appendAny appends what encoding/json makes of v: for the rare details, where
// its time does not count.
func appendAny(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}

// closeObject ends the object whose fields, each with a comma before it, were
// appended from start on: the first comma becomes its opening brace.
func closeObject(dst []byte, start int) []byte {
	if len(dst) == start {
		return append(dst, "{}"...)
	}
	dst[start] = '{'
	return append(dst, '}')
}

func appendTime(dst []byte, t time.Time) []byte {
	return writableTime(t).AppendFormat(dst, time.RFC3339Nano)
}

func appendUint(dst []byte, key string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, key...), n, 10)
}

func appendTrue(dst []byte, key string, is bool) []byte {
	if !is {
		return dst
	}
	return append(append(dst, key...), "true"...)
}

func appendField(dst []byte, key, s string, limit int) []byte {
	if s == "" {
		return dst
	}
	return appendString(append(dst, key...), s, limit)
}

func appendStrings(dst []byte, key string, list []string) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(append(dst, key...), '[')
	for _, s := range list[:min(len(list), MaxList)] {
		dst = append(appendString(dst, s, MaxName), ',')
	}
	dst[len(dst)-1] = ']'
	return dst
}

func appendAddrPort(dst []byte, key string, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return dst
	}
	if zone := a.Addr().Zone(); zone != "" {
		// A zone is any text, so it is written as text is.
		if len(zone) > MaxName/2 {
			a = netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
		}
		return appendString(append(dst, key...), a.String(), MaxName)
	}
	dst = append(append(dst, key...), '"')
	return append(Unmap(a).AppendTo(dst), '"')
}

// appendString appends s, cut to limit bytes, as a JSON string.
func appendString(dst []byte, s string, limit int) []byte {
	if len(s) > limit || !isPlain(s) {
		return appendAny(dst, boundText(s, limit))
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// isPlain reports whether s needs no escape in JSON and is ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// cut returns at most limit bytes of s, whole characters only.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
