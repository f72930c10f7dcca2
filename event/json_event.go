package event

import (
	"encoding/json"
	"errors"
	"math"
	"time"
)

// What makes an Event unusable for everything after the Reader.
var (
	errNoDataset = errors.New("an event has no dataset")
	errNoTime    = errors.New("an event has no time")
	errDetail    = errors.New("an event's detail is not the one of its dataset")
)

// Check returns an error when e has no dataset or no time, or when a detail is
// missing or is not the one that the dataset asks for. A threat or an anomaly
// may have a Finding in place of its own detail, or beside it. Process is no
// detail in this sense: any dataset may have it.
func (e *Event) Check() error {
	if e.Dataset == "" {
		return errNoDataset
	}
	if e.Time.IsZero() {
		return errNoTime
	}
	threat, anomaly := e.Threat != nil, e.Anomaly != nil
	switch {
	case e.Finding == nil:
	case e.Dataset == DatasetThreat:
		threat = true
	case e.Dataset == DatasetAnomaly:
		anomaly = true
	default:
		return errDetail
	}
	if (e.Trap != nil) != (e.Dataset == DatasetTrap) || (e.Probe != nil) != (e.Dataset == DatasetProbe) ||
		(e.Alert != nil) != (e.Dataset == DatasetAlert) || (e.Member != nil) != (e.Dataset == DatasetClient) ||
		(e.Stat != nil) != (e.Dataset == DatasetStat) || anomaly != (e.Dataset == DatasetAnomaly) ||
		threat != (e.Dataset == DatasetThreat) || (e.Flow != nil) != (e.Dataset == DatasetFlow) ||
		(e.Summary != nil) != (e.Dataset == DatasetSummary) {
		return errDetail
	}
	return nil
}

// Event reads the next value into e, which it overwrites. Keys that it does
// not know are skipped, so that an older vft understands a newer one; of a key
// that comes twice the last one counts. What e then refers to is its own,
// except for names that are shared between events and never change.
func (r *Reader) Event(e *Event) {
	*e = Event{}
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "id":
			r.id(&e.ID)
		case "time":
			e.Time = r.Time()
		case "dataset":
			e.Dataset = Dataset(r.Name())
		case "client":
			e.Client = r.Name()
		case "host":
			e.Host = r.Name()
		case "src":
			e.Src = r.AddrPort()
		case "dst":
			e.Dst = r.AddrPort()
		case "transport":
			e.Transport = r.Name()
		case "evidence":
			e.Evidence = Evidence(r.small(uint64(E3)))
		case "tags":
			e.Tags = r.Names(MaxList)
		case "message":
			e.Message = r.Text(MaxText)
		case "trap":
			e.Trap = r.trap()
		case "probe":
			e.Probe = r.probe()
		case "alert":
			e.Alert = slowly[Alert](r)
		case "member":
			e.Member = slowly[Member](r)
		case "process":
			e.Process = r.process()
		case "stat":
			e.Stat = readBounded[Stat](r)
		case "anomaly":
			e.Anomaly = readBounded[Anomaly](r)
		case "threat":
			e.Threat = readBounded[Threat](r)
		case "flow":
			e.Flow = readBounded[Flow](r)
		case "summary":
			e.Summary = readBounded[Summary](r)
		case "finding":
			e.Finding = readBounded[Finding](r)
		default:
			r.Skip()
		}
	}
}

// id reads the next value into id.
func (r *Reader) id(id *ID) {
	const size = len(`"0190a0b0-1234-7abc-8def-001122334455"`)
	if rest := r.data[r.at:]; len(rest) > size && rest[0] == '"' && rest[size-1] == '"' && parseID(rest[1:size-1], id) {
		r.at += size
		return
	}
	if err := id.UnmarshalText(r.text(MaxName)); err != nil {
		r.Fail(err)
	}
}

// parseID is ID.UnmarshalText in one pass. It reports whether text is an id.
func parseID(text []byte, id *ID) bool {
	if text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return false
	}
	for i, at := range [len(ID{})]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		high, low := text[at], text[at+1]
		if !isHex(high) || !isHex(low) {
			return false
		}
		id[i] = hexValue(high)<<4 | hexValue(low)
	}
	return true
}

func isHex(c byte) bool { return c-'0' <= 9 || (c|0x20)-'a' <= 5 }

// hexValue returns the value of a hex digit: a letter has the bit 6 set and its
// low bits begin with 1 where its value is 10.
func hexValue(c byte) byte { return c&15 + c>>6*9 }

// slowly lets encoding/json read the next value: for the rare details, where
// its time does not count.
func slowly[T any](r *Reader) *T { return slowlyWithin[T](r, math.MaxInt) }

// slowlyWithin is slowly for a value of at most limit bytes of JSON.
func slowlyWithin[T any](r *Reader, limit int) (v *T) {
	raw := r.bounded(r.Raw(), limit)
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		r.Fail(errors.New("a detail of an event has a value of the wrong kind"))
		return nil
	}
	return v
}

// trap reads the detail that nearly every event has: it and the SYN that
// nearly every one of them has are one allocation.
func (r *Reader) trap() *Trap {
	if r.Null() {
		return nil
	}
	whole := new(struct {
		trap Trap
		syn  SYN
	})
	t := &whole.trap
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "payload":
			t.Payload = r.Bytes(MaxPayload)
		case "tls":
			t.TLS = r.tls()
		case "ssh":
			t.SSH = r.ssh()
		case "syn":
			t.SYN = r.syn(&whole.syn)
		case "tool":
			t.Tool = r.Name()
		case "held":
			t.Held = time.Duration(r.Int())
		case "late":
			t.Late = r.Bool()
		default:
			r.Skip()
		}
	}
	return t
}

func (r *Reader) tls() *TLS {
	if r.Null() {
		return nil
	}
	t := new(TLS)
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "sni":
			t.SNI = r.Text(MaxText)
		case "alpn":
			t.ALPN = r.Names(MaxList)
		case "version":
			t.Version = r.Name()
		case "ja4":
			t.JA4 = r.Name()
		default:
			r.Skip()
		}
	}
	return t
}

func (r *Reader) ssh() *SSH {
	if r.Null() {
		return nil
	}
	s := new(SSH)
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "banner":
			s.Banner = r.Text(MaxText)
		case "hassh":
			s.HASSH = r.Name()
		default:
			r.Skip()
		}
	}
	return s
}

// syn reads the next value into s, which it returns.
func (r *Reader) syn(s *SYN) *SYN {
	if r.Null() {
		return nil
	}
	*s = SYN{}
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "ttl":
			s.TTL = uint8(r.small(math.MaxUint8))
		case "ip_id":
			s.IPID = uint16(r.small(math.MaxUint16))
		case "df":
			s.DF = r.Bool()
		case "window":
			s.Window = uint16(r.small(math.MaxUint16))
		case "mss":
			s.MSS = uint16(r.small(math.MaxUint16))
		case "scale":
			s.Scale = uint8(r.small(math.MaxUint8))
		case "options":
			s.Options = r.Name()
		case "ja4t":
			s.JA4T = r.Name()
		case "class":
			s.Class = r.Name()
		default:
			r.Skip()
		}
	}
	return s
}

func (r *Reader) probe() *Probe {
	if r.Null() {
		return nil
	}
	p := new(Probe)
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "scan":
			p.Scan = r.Name()
		case "syn":
			p.SYN = r.syn(new(SYN))
		case "tool":
			p.Tool = r.Name()
		default:
			r.Skip()
		}
	}
	return p
}

func (r *Reader) process() *Process {
	if r.Null() {
		return nil
	}
	p := new(Process)
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "pid":
			p.PID = int(r.Uint(math.MaxInt32))
		case "name":
			p.Name = r.Name()
		case "command_line":
			p.CommandLine = r.Text(MaxText)
		case "user":
			p.User = r.Name()
		case "container":
			p.Container = r.Name()
		default:
			r.Skip()
		}
	}
	return p
}
