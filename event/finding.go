package event

import (
	"net/netip"
	"time"
)

// Finding is what a detector saw, and no more: who did what to whom, how much of
// what in what time, how sure it is. It has no life of its own. Findings of one
// type, party and key continue each other; the room incident gives them their
// beginning and their end, and joins them into incidents.
//
// A detector that goes on seeing the same tells it again, not more often than
// once a second, with what is new since it last did.
type Finding struct {
	Type   string `json:"type,omitempty"`   // vft.threat.type, the id of a fleet rule, "statistic" or "transfer"; empty: it only adds to an open incident
	Sensor string `json:"sensor,omitempty"` // the detection, sensor or rule that says so
	Key    string `json:"key,omitempty"`    // tells findings of one type and party apart; mostly empty

	Time   time.Time     `json:"time"`             // event time of the newest observation in it
	Since  time.Time     `json:"since,omitzero"`   // of the oldest one that counts; zero: Time
	Memory time.Duration `json:"memory,omitempty"` // how long the detector remembers what made it fire: quiet for longer is over
	Over   bool          `json:"over,omitempty"`   // what was found is over now; nothing new was seen

	Offender netip.Addr   `json:"offender,omitzero"`  // invalid: none is known, or many
	Name     string       `json:"name,omitempty"`     // of an offender that has no address, as a MAC
	Many     bool         `json:"many,omitempty"`     // the offenders are many or forged, none worth an incident
	Sources  []netip.Addr `json:"sources,omitempty"`  // some of many, heaviest first
	Victims  []netip.Addr `json:"victims,omitempty"`  // seen since the last telling
	Ports    []uint16     `json:"ports,omitempty"`    // of the victims, seen since the last telling
	Hosts    int          `json:"hosts,omitempty"`    // distinct victims so far, where Victims do not list all
	Distinct int          `json:"distinct,omitempty"` // distinct ports so far, where Ports do not list all
	Client   string       `json:"client,omitempty"`   // the host that saw it; the server stamps it from the connection
	Clients  []string     `json:"clients,omitempty"`  // other hosts that saw it too
	Observer string       `json:"observer,omitempty"` // exporter or interface that saw it

	// By and Party say what it is about when that is not Offender: a port, a
	// client, what vft cannot see.
	By    AlertKind `json:"by,omitempty"`
	Party string    `json:"party,omitempty"`

	// Rule says that Type is a rule over events that are records already: it is
	// told only in the incident. Event is the one that made it hold.
	Rule  bool `json:"rule,omitempty"`
	Event ID   `json:"event,omitzero"`

	// Notice says that it is a first sign only: it gives way to what explains it.
	Notice bool `json:"notice,omitempty"`

	// Src and Dst are the ends of the one flow that it is about, if it is.
	Src       netip.AddrPort `json:"src,omitzero"`
	Dst       netip.AddrPort `json:"dst,omitzero"`
	Transport string         `json:"transport,omitempty"` // as Event.Transport

	Value     float64       `json:"value"`               // what was measured
	Threshold float64       `json:"threshold,omitempty"` // beyond which it is a finding
	Usual     *float64      `json:"usual,omitempty"`     // nil: not known
	Unit      string        `json:"unit,omitempty"`      // of the three: "ports", "hosts", "packets/s", "bytes", "failed logins"
	Window    time.Duration `json:"window,omitempty"`    // in which it was measured
	Count     uint64        `json:"count,omitempty"`     // new observations that it stands for; 0: only more is known of the old ones

	Severity int      `json:"severity"` // 0 to 100
	Evidence Evidence `json:"evidence,omitempty"`

	Title       string `json:"title,omitempty"` // of the Type; empty: the room incident knows it
	Description string `json:"description,omitempty"`
	Technique   string `json:"technique,omitempty"` // MITRE ATT&CK id; empty: the room incident knows it

	Scan    string   `json:"scan,omitempty"`    // technique of a scan: "syn", "connect", "fin", ...
	Tool    string   `json:"tool,omitempty"`    // recognised program
	Details []Detail `json:"details,omitempty"` // what else vft.threat.details says
	Anomaly *Anomaly `json:"anomaly,omitempty"` // set when it is told as vft.anomaly; State, Episode, Start, End and Count are not its business
	Process *Process `json:"process,omitempty"`
}

// Detail is one entry of vft.threat.details.
type Detail struct {
	Name  string `json:"name"`
	Value any    `json:"value"` // a string, a number, a bool, or a list of them
}

// Find takes a Finding to the next part. It must neither block for long nor keep
// the Finding or its slices.
type Find func(*Finding)
