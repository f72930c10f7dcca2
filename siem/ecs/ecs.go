// Package ecs writes events as records of the Elastic Common Schema: one JSON
// object each. Start with Append. A dataset is one file and one case there.
package ecs

import (
	"time"

	"vft/event"
)

// Version is the version of the Elastic Common Schema that the records keep
// to, written as ecs.version.
const Version = "9.0.0"

// Observer says who writes a record, and when.
type Observer struct {
	Hostname string    // host.name of events that name no host, agent.id of events that name no client
	Version  string    // of this vft
	Created  time.Time // event.created: when the record is written; zero: the time of the event
}

// Append writes e as one JSON object, without a line end, and returns the
// extended buffer. Whatever e holds, the object is valid JSON in valid UTF-8
// without control characters: bytes that are no UTF-8 become U+FFFD, and what
// a terminal would not print is escaped. A detail that is missing is written
// as if it were empty; a dataset that is not known gets the common keys only.
// For transports "icmp" and "ipv6-icmp" the ports of e are the ICMP type (source) and code
// (destination). Append does not allocate when dst has room, but for a threat
// whose details are other than encoding/json reads them.
func Append(dst []byte, e *event.Event, o Observer) []byte {
	r := record(dst).open()
	r = r.key("@timestamp").time(e.Time)
	r = r.key("ecs").raw(`{"version":"` + Version + `"}`)
	switch e.Dataset {
	case event.DatasetTrap:
		r = r.trap(e, o)
	case event.DatasetProbe:
		r = r.probe(e, o)
	case event.DatasetAlert:
		r = r.alert(e, o)
	case event.DatasetClient:
		r = r.client(e, o)
	case event.DatasetStat:
		r = r.stat(e, o)
	case event.DatasetAnomaly:
		r = r.anomaly(e, o)
	case event.DatasetThreat:
		r = r.threat(e, o)
	case event.DatasetFlow:
		r = r.flow(e, o)
	case event.DatasetSummary:
		r = r.summary(e, o)
	default:
		r = r.other(e, o)
	}
	return r.common(e, o).close()
}

// other writes an event of a dataset that this package does not know.
func (r record) other(e *event.Event, o Observer) record {
	r = r.event(e, o, `"kind":"event"`).close()
	r, given := r.message(e)
	if !given {
		r = r.text("an event of the dataset ").text(string(e.Dataset))
	}
	return r.quote().endpoints(e)
}

// event opens the event object and writes the keys that every record has in
// it. class is its kind, category, type and action, as JSON; the values of the
// first three are those that ECS allows together.
func (r record) event(e *event.Event, o Observer, class string) record {
	created := o.Created
	if created.IsZero() {
		created = e.Time
	}
	r = r.key("event").open().raw(class)
	r = r.key("dataset").string(string(e.Dataset))
	r = r.key("id").id(e.ID)
	return r.key("created").time(created)
}

// message opens the message and reports whether e brought one. If not, the
// caller adds a sentence made from the fields. The caller ends it with quote.
func (r record) message(e *event.Event) (record, bool) {
	return r.key("message").quote().text(e.Message), e.Message != ""
}

// common writes the keys that every record ends with.
func (r record) common(e *event.Event, o Observer) record {
	host := first(e.Host, o.Hostname, "unknown")
	r = r.process(e.Process).key("tags").strings(e.Tags)
	r = r.key("host").open().key("name").string(host).close()
	r = r.key("observer").open().raw(`"vendor":"vft","type":"sensor"`)
	r = r.key("hostname").string(host).key("version").string(o.Version).close()
	r = r.key("agent").open().key("id").string(first(e.Client, host)).key("type").raw(`"vft"`)
	return r.key("version").string(o.Version).close()
}

// first returns the first choice that is not empty.
func first(choices ...string) string {
	for _, s := range choices {
		if s != "" {
			return s
		}
	}
	return ""
}
