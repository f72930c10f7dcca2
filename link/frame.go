package link

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"vft/event"
)

// Hello is what a client says of itself when it connects.
type Hello struct {
	Version   string         `json:"version"`
	Client    string         `json:"client,omitempty"` // the id that the server dealt; in the server it is the proven one
	Hostname  string         `json:"hostname"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // its own, with the length of their networks; at most 64
	Boot      string         `json:"boot"`                // new each time the client starts
	Time      time.Time      `json:"time"`                // its clock
	Traps     []uint16       `json:"traps,omitempty"`     // open now
	Want      int            `json:"want"`                // how many trap ports it wants dealt; 0: its ports are fixed
	Pool      []uint16       `json:"pool,omitempty"`      // to deal from
	Failed    []uint16       `json:"failed,omitempty"`    // ports that it could not bind
	Features  []string       `json:"features,omitempty"`
}

// Heartbeat is what a client says of itself from time to time.
type Heartbeat struct {
	Time     time.Time `json:"time"`
	Spooled  uint64    `json:"spooled"`            // events that wait for their acknowledgement
	Dropped  uint64    `json:"dropped"`            // events lost since it started
	SelfTest string    `json:"selftest,omitempty"` // "ok", what went wrong, or empty when nothing was tested
	Load     float64   `json:"load,omitempty"`
	Traps    []uint16  `json:"traps,omitempty"`
	Failed   []uint16  `json:"failed,omitempty"`

	// Offset is what the server adds to the client's clock; the server sets it.
	Offset time.Duration `json:"-"`
}

// SelfTestOK is the SelfTest of a Heartbeat when the trap saw itself.
const SelfTestOK = "ok"

// Settings are what a server asks of a client.
type Settings struct {
	Heartbeat int64 `json:"heartbeat_ms"`
}

// The frames. Type comes first in all of them.
type (
	proofFrame struct {
		Type  string `json:"type"`
		Proof string `json:"proof,omitempty"` // empty from a server that its certificate proves
		Nonce string `json:"nonce,omitempty"` // of the server, plain text only
	}
	helloFrame struct {
		Type string `json:"type"`
		Hello
		Key       string `json:"key"`       // public key of the identity
		Signature string `json:"signature"` // by it, over the binding
	}
	welcomeFrame struct {
		Type     string         `json:"type"`
		Client   string         `json:"client"`
		Ports    []uint16       `json:"ports,omitempty"`
		Ignore   []netip.Prefix `json:"ignore,omitempty"`
		Settings Settings       `json:"settings"`
		Seq      uint64         `json:"seq"` // highest stored of this boot
	}
	heartbeatFrame struct {
		Type string `json:"type"`
		Heartbeat
	}
	// controlFrame is any frame from a server after the welcome.
	controlFrame struct {
		Type   string   `json:"type"`
		Seq    uint64   `json:"seq,omitempty"`    // ack
		Ports  []uint16 `json:"ports,omitempty"`  // deal
		Millis int64    `json:"ms,omitempty"`     // retry_after
		Reason string   `json:"reason,omitempty"` // bye, refused
	}
)

// marshal returns a frame as JSON. Every type of frame can be written.
func marshal(frame any) []byte {
	b, err := json.Marshal(frame)
	if err != nil {
		panic("BUG: a frame cannot be written: " + err.Error())
	}
	return b
}

// appendEvents appends the beginning of an events frame: the events, with a
// comma between them, and endEvents follow.
func appendEvents(dst []byte, first uint64) []byte {
	dst = strconv.AppendUint(append(dst, `{"type":"events","first_seq":`...), first, 10)
	return append(dst, `,"events":[`...)
}

const endEvents = "]}"

func appendAck(dst []byte, seq uint64) []byte {
	return append(strconv.AppendUint(append(dst, `{"type":"ack","seq":`...), seq, 10), '}')
}

// decoder reads the frames that a client sends after its hello. Decoders are
// pooled, not kept per connection, so that an idle client costs no buffer; the
// names they remember are shared by all clients.
type decoder struct {
	reader *event.Reader
	buf    []byte
	kind   string
	first  uint64
	events []event.Event
	beat   Heartbeat
}

func newDecoder() *decoder { return &decoder{reader: event.NewReader()} }

// decode reads one frame. The keys of a frame may come in any order, and those
// that are unknown are skipped. Events are valid until the next call.
func (d *decoder) decode(frame []byte) error {
	r := d.reader
	d.kind, d.first, d.events, d.beat = "", 0, d.events[:0], Heartbeat{}
	r.Reset(frame)
	r.Object()
	for key, ok := r.Key(); ok; key, ok = r.Key() {
		switch string(key) {
		case "type":
			d.kind = r.Name()
		case "first_seq":
			d.first = r.Uint(maxSeq)
		case "events":
			d.decodeEvents()
		case "time":
			d.beat.Time = r.Time()
		case "spooled":
			d.beat.Spooled = r.Uint(1 << 63)
		case "dropped":
			d.beat.Dropped = r.Uint(1 << 63)
		case "selftest":
			d.beat.SelfTest = r.Text(event.MaxText)
		case "load":
			d.beat.Load = r.Float()
		case "traps":
			d.beat.Traps = ports(r)
		case "failed":
			d.beat.Failed = ports(r)
		default:
			r.Skip()
		}
	}
	return r.End()
}

// maxSeq keeps first_seq plus the events of a frame from wrapping around.
const maxSeq = 1 << 62

func (d *decoder) decodeEvents() {
	r := d.reader
	if r.Null() {
		return
	}
	for r.Array(); r.More(); {
		if len(d.events) == maxEvents {
			r.Fail(errTooManyEvents)
			return
		}
		d.events = slices.Grow(d.events, 1)[:len(d.events)+1] // Event overwrites what is there
		e := &d.events[len(d.events)-1]
		r.Event(e)
		if r.Err() != nil {
			return
		}
		if err := e.Check(); err != nil {
			r.Fail(err)
		}
	}
}

// ports reads an array of port numbers.
func ports(r *event.Reader) (list []uint16) {
	if r.Null() {
		return nil
	}
	for r.Array(); r.More(); {
		if len(list) == maxPorts {
			r.Fail(errTooManyPorts)
			return nil
		}
		list = append(list, uint16(r.Uint(65535)))
	}
	return list
}

// recycle makes d ready for the pool: it holds on to nothing of the events,
// nor to a buffer that only a rare big frame needed.
func (d *decoder) recycle() {
	clear(d.events)
	if cap(d.buf) > keptBuffer {
		d.buf = nil
	}
	if cap(d.events) > keptEvents {
		d.events = nil
	}
	d.beat = Heartbeat{}
}
