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
// missing or is not the one that the dataset asks for.
func (e *Event) Check() error {
	if e.Dataset == "" {
		return errNoDataset
	}
	if e.Time.IsZero() {
		return errNoTime
	}
	if (e.Trap != nil) != (e.Dataset == DatasetTrap) || (e.Probe != nil) != (e.Dataset == DatasetProbe) ||
		(e.Alert != nil) != (e.Dataset == DatasetAlert) || (e.Member != nil) != (e.Dataset == DatasetClient) {
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
			e.Evidence = Evidence(r.Uint(uint64(E3)))
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
		default:
			r.Skip()
		}
	}
}

func (r *Reader) id(id *ID) {
	if err := id.UnmarshalText(r.text(MaxName)); err != nil {
		r.Fail(err)
	}
}

// slowly lets encoding/json read the next value: for the rare details, where
// its time does not count.
func slowly[T any](r *Reader) (v *T) {
	raw := r.Raw()
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
			s.TTL = uint8(r.Uint(math.MaxUint8))
		case "ip_id":
			s.IPID = uint16(r.Uint(math.MaxUint16))
		case "df":
			s.DF = r.Bool()
		case "window":
			s.Window = uint16(r.Uint(math.MaxUint16))
		case "mss":
			s.MSS = uint16(r.Uint(math.MaxUint16))
		case "scale":
			s.Scale = uint8(r.Uint(math.MaxUint8))
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
