package amqp

import (
	"cmp"
	"encoding/json"
	"time"

	"vft/event"
)

// message is one threat as it is published.
type message struct {
	number uint64 // its place since the start
	id     event.ID
	at     int64  // time of the flow, seconds since 1970
	body   []byte // JSON
}

// overhead is what a message takes besides its body, in bytes, rounded up.
const overhead = 160

func (m *message) size() int { return len(m.body) + overhead }

// body is what a consumer of the queue reads: these five keys, no others.
type body struct {
	Type      string         `json:"type"`
	Observer  string         `json:"observer"`
	Offender  string         `json:"offender"`
	Timestamp string         `json:"timestamp"` // RFC 3339, UTC
	Details   map[string]any `json:"details"`
}

// newMessage makes the message of a threat. The time is that of the flow which
// made the threat, not of its arrival.
func newMessage(e *event.Event) message {
	t := e.Threat
	at := t.End
	if at.IsZero() {
		at = e.Time
	}
	b := body{
		Type: t.Type, Observer: cmp.Or(t.Observer, e.Client, e.Host), Offender: t.Offender,
		Timestamp: at.UTC().Format(time.RFC3339Nano), Details: t.Details,
	}
	if b.Details == nil {
		b.Details = map[string]any{}
	}
	text, err := json.Marshal(b)
	if err != nil {
		b.Details = writable(b.Details)
		text, _ = json.Marshal(b) // strings and what was just written cannot fail
	}
	return message{id: e.ID, at: at.Unix(), body: text}
}

// writable returns the details that JSON can say: a value that is not a number
// must not cost the threat.
func writable(details map[string]any) map[string]any {
	kept := make(map[string]any, len(details))
	for name, value := range details {
		if text, err := json.Marshal(value); err == nil {
			kept[name] = json.RawMessage(text)
		}
	}
	return kept
}
