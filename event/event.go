// Package event defines the record that the parts of vft exchange and that
// crosses from a client to the server. It imports only the standard library.
package event

import (
	"net/netip"
	"time"
)

// Dataset names what an Event reports. The values are part of the interface:
// they appear as event.dataset in every record.
type Dataset string

// The datasets.
const (
	DatasetTrap   Dataset = "vft.trap"   // a completed connection to a trap port
	DatasetProbe  Dataset = "vft.probe"  // a packet that probed a port
	DatasetAlert  Dataset = "vft.alert"  // an incident was raised, changed or resolved
	DatasetClient Dataset = "vft.client" // a client came, went, was lost or dropped events

	DatasetStat    Dataset = "vft.stat"    // the value of a statistic in one interval
	DatasetAnomaly Dataset = "vft.anomaly" // a statistic or a flow is abnormal
	DatasetThreat  Dataset = "vft.threat"  // a detection or a sensor fired
	DatasetFlow    Dataset = "vft.flow"    // a flow ended
	DatasetSummary Dataset = "vft.summary" // a replay ended
)

// Evidence grades how far an observation can be trusted.
type Evidence uint8

// The levels of evidence, weakest first.
const (
	E0 Evidence = iota // a packet only: its source may be forged
	E1                 // a completed handshake: the source answers
	E2                 // payload or protocol dialogue
	E3                 // two or more hosts agree on E1 or E2
)

// String returns "E0" to "E3".
func (e Evidence) String() string {
	if e > E3 {
		e = E3
	}
	return [...]string{"E0", "E1", "E2", "E3"}[e]
}

// Event is one observation or finding. It is a value: copy it. What its
// pointers and slices refer to is never changed after the Event was emitted.
// At most one of the detail pointers is set; Dataset says which. An Event without a
// Dataset only tells that it is Time: a replay has no other clock.
type Event struct {
	ID        ID             `json:"id"`
	Time      time.Time      `json:"time"` // event time, UTC
	Dataset   Dataset        `json:"dataset"`
	Client    string         `json:"client,omitempty"`    // reporting client; the server stamps it from the connection
	Host      string         `json:"host,omitempty"`      // host name of the observer
	Src       netip.AddrPort `json:"src,omitzero"`        // never 4-in-6: see Unmap
	Dst       netip.AddrPort `json:"dst,omitzero"`        // never 4-in-6
	Transport string         `json:"transport,omitempty"` // the name of its protocol in package ipproto: "tcp", "udp", "icmp", "ipv6-icmp"; empty when it has none
	Evidence  Evidence       `json:"evidence,omitempty"`
	Tags      []string       `json:"tags,omitempty"`
	Message   string         `json:"message,omitempty"` // one human sentence; empty: made from the fields when written

	Trap   *Trap   `json:"trap,omitempty"`
	Probe  *Probe  `json:"probe,omitempty"`
	Alert  *Alert  `json:"alert,omitempty"`
	Member *Member `json:"member,omitempty"`

	Stat    *Stat    `json:"stat,omitempty"`
	Anomaly *Anomaly `json:"anomaly,omitempty"`
	Threat  *Threat  `json:"threat,omitempty"`
	Flow    *Flow    `json:"flow,omitempty"`
	Summary *Summary `json:"summary,omitempty"`
	Process *Process `json:"process,omitempty"` // what holds the local end; any dataset may have it
	Finding *Finding `json:"finding,omitempty"` // of a detector, before it is told as Threat or Anomaly
}

// Emit hands an Event to the next part. It must not block for long.
type Emit func(Event)

// Unmap returns a with a 4-in-6 address turned into plain IPv4, so that one
// host has one key. Apply it once, where an address enters vft.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Trap is what a trap port learned of a connection.
type Trap struct {
	Payload []byte        `json:"payload,omitempty"` // first bytes, at most 4 KiB
	TLS     *TLS          `json:"tls,omitempty"`     // set when Payload begins with a TLS ClientHello
	SSH     *SSH          `json:"ssh,omitempty"`     // set when Payload begins with an SSH banner
	SYN     *SYN          `json:"syn,omitempty"`     // set when the kernel kept the SYN
	Tool    string        `json:"tool,omitempty"`    // recognised program: "nmap", "masscan", "zmap", "mirai", ...
	Held    time.Duration `json:"held,omitempty"`    // from accept to close, nanoseconds
	Late    bool          `json:"late,omitempty"`    // too late for the windows of the fleet rules
}

// TLS is what a ClientHello says of its sender.
type TLS struct {
	SNI     string   `json:"sni,omitempty"`
	ALPN    []string `json:"alpn,omitempty"`
	Version string   `json:"version,omitempty"` // highest offered, "1.3"
	JA4     string   `json:"ja4,omitempty"`
}

// SSH is what an SSH client said before it had an answer.
type SSH struct {
	Banner string `json:"banner,omitempty"` // without the line end
	HASSH  string `json:"hassh,omitempty"`  // MD5 in hex, when a KEXINIT came too
}

// SYN is the header of the packet that opened a connection.
type SYN struct {
	TTL     uint8  `json:"ttl,omitempty"` // hop limit for IPv6
	IPID    uint16 `json:"ip_id,omitempty"`
	DF      bool   `json:"df,omitempty"`
	Window  uint16 `json:"window,omitempty"`
	MSS     uint16 `json:"mss,omitempty"`     // 0 when the option is absent
	Scale   uint8  `json:"scale,omitempty"`   // window scale shift
	Options string `json:"options,omitempty"` // kinds in order, "2-4-8-1-3"
	JA4T    string `json:"ja4t,omitempty"`    // window_options_mss_scale
	Class   string `json:"class,omitempty"`   // kind of network stack, "linux", "windows", ...
}

// Probe is one packet that tried a port.
type Probe struct {
	Scan string `json:"scan"` // syn, fin, null, xmas, ack, udp, ...
	SYN  *SYN   `json:"syn,omitempty"`
	Tool string `json:"tool,omitempty"`
}

// AlertState says what happened to an incident.
type AlertState string

// The states: firing exactly once, then any number of updates, then resolved.
const (
	Firing   AlertState = "firing"
	Updated  AlertState = "updated"
	Resolved AlertState = "resolved"
)

// AlertKind says what an incident is keyed by.
type AlertKind string

// The kinds of incident.
const (
	BySource AlertKind = "source" // Key is an address, or an IPv6 prefix
	ByPort   AlertKind = "port"   // Key is a port number
	ByClient AlertKind = "client" // Key is a client
	BySensor AlertKind = "sensor" // Key names a sensor, or what vft cannot see
)

// Alert is the state of one incident at Event.Time.
type Alert struct {
	ID          string       `json:"id"` // the same for the life of the incident
	State       AlertState   `json:"state"`
	Kind        AlertKind    `json:"kind"`
	Key         string       `json:"key"`
	Rule        string       `json:"rule"` // id of the strongest rule
	Name        string       `json:"name"` // its title
	Description string       `json:"description,omitempty"`
	Severity    int          `json:"severity"` // 0 to 100
	Start       time.Time    `json:"start"`    // first event
	End         time.Time    `json:"end"`      // last event so far
	Rules       []Match      `json:"rules"`    // strongest first
	Count       uint64       `json:"count"`    // events in all
	Clients     []string     `json:"clients,omitempty"`
	Sources     []netip.Addr `json:"sources,omitempty"`
	Ports       []uint16     `json:"ports,omitempty"`
	Evidence    Evidence     `json:"evidence"`
	Reason      string       `json:"reason,omitempty"`    // why this state: "raised", "stronger rule", "quiet", "joined ID", ...
	Events      []ID         `json:"events,omitempty"`    // at most 20
	Technique   string       `json:"technique,omitempty"` // MITRE ATT&CK id
	Victims     []netip.Addr `json:"victims,omitempty"`   // hosts that it was done to
	Findings    []string     `json:"findings,omitempty"`  // ids of its findings, as vft.threat.episode has them
}

// Match is one fleet rule that holds for an incident, or one type of finding in it.
type Match struct {
	ID        string        `json:"id"`
	Unit      string        `json:"unit,omitempty"`    // of Value and Threshold
	Message   string        `json:"message,omitempty"` // what was seen, in one sentence
	Value     float64       `json:"value"`             // largest seen
	Threshold float64       `json:"threshold"`
	Window    time.Duration `json:"window"` // nanoseconds; 0 when the rule has none
	Since     time.Time     `json:"since"`
}

// MemberState says what happened to a client.
type MemberState string

// The states of a client.
const (
	Connected    MemberState = "connected"
	Disconnected MemberState = "disconnected"
	Lost         MemberState = "lost"    // silent for three heartbeats
	Dropping     MemberState = "dropped" // its queue was full
)

// Member is the state of one client.
type Member struct {
	ID      string        `json:"id"`
	State   MemberState   `json:"state"`
	Version string        `json:"version,omitempty"`
	Traps   []uint16      `json:"traps,omitempty"`
	Dropped uint64        `json:"dropped"` // events lost since it started
	Spooled uint64        `json:"spooled"` // events that wait
	Lag     time.Duration `json:"lag"`     // its clock behind ours, nanoseconds
}
