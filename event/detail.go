package event

import "time"

// Stat is the value of one statistic in one interval.
type Stat struct {
	Name  string    `json:"name"`
	Value *float64  `json:"value"` // nil when there is none: an empty denominator
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Up    *float64  `json:"up"` // the thresholds; nil while learning, or when that side is not watched
	Down  *float64  `json:"down"`
	Ready bool      `json:"ready"` // false: still learning
}

// Anomaly is a statistic, or the transfer of a flow, that left its usual range.
// One episode is written when it starts, and once more when it ends.
type Anomaly struct {
	Detector    string             `json:"detector"`            // "spot", "robust", "anomalyzer", "hour-of-week"
	Statistic   string             `json:"statistic,omitempty"` // of packets; empty for a flow
	State       AlertState         `json:"state"`               // firing, resolved
	Value       float64            `json:"value"`               // the largest of the episode, by its distance
	Threshold   float64            `json:"threshold"`
	Probability float64            `json:"probability"` // of such a value, or that it is an anomaly (anomalyzer)
	Side        string             `json:"side"`        // "up" or "down"
	Window      time.Duration      `json:"window"`      // length of an interval, nanoseconds
	Episode     string             `json:"episode"`     // the same for the start and the end of one
	Start       time.Time          `json:"start"`
	End         time.Time          `json:"end"`
	Count       uint64             `json:"count"`             // abnormal intervals so far
	Bytes       uint64             `json:"bytes,omitempty"`   // of a flow in the interval
	Methods     map[string]float64 `json:"methods,omitempty"` // probability by method (anomalyzer)
	Series      []float64          `json:"series,omitempty"`  // what the anomalyzer judged, newest last
	Reason      string             `json:"reason,omitempty"`  // "new normal", ...
	Severity    int                `json:"severity,omitempty"`
	Incident    string             `json:"incident,omitempty"` // id of the one that it belongs to
}

// Threat is what a detection or a sensor found.
type Threat struct {
	Type     string         `json:"type"`               // portscan, horizontal_scan, syn_flood, ...
	Observer string         `json:"observer,omitempty"` // exporter or interface that saw it
	Offender string         `json:"offender"`           // source address
	Sensor   string         `json:"sensor"`             // detection or sensor that fired
	State    AlertState     `json:"state"`              // firing, updated, resolved
	Episode  string         `json:"episode"`            // the same for all records of one
	Severity int            `json:"severity"`           // 0 to 100
	Start    time.Time      `json:"start"`
	End      time.Time      `json:"end"`
	Incident string         `json:"incident,omitempty"` // id of the one that it belongs to
	Details  map[string]any `json:"details,omitempty"`  // scan, ports, attacked_hosts, count, value, threshold, window_s, ...; what encoding/json can write
}

// Flow is a flow that ended, by itself or by a time-out.
type Flow struct {
	Bytes          uint64    `json:"bytes"` // both directions; corrected by the sampling rate
	Packets        uint64    `json:"packets"`
	SrcBytes       uint64    `json:"src_bytes"` // of the source alone
	SrcPackets     uint64    `json:"src_packets"`
	DstBytes       uint64    `json:"dst_bytes"`
	DstPackets     uint64    `json:"dst_packets"`
	Payload        uint64    `json:"payload,omitempty"` // bytes above the transport header, both directions
	Start          time.Time `json:"start"`
	End            time.Time `json:"end"`
	TCPFlags       uint8     `json:"tcp_flags,omitempty"`       // of all packets
	Ended          string    `json:"ended,omitempty"`           // why: "fin", "rst", "idle", "active", "evicted", "end"
	Exporter       string    `json:"exporter,omitempty"`        // address; empty: captured here
	Version        string    `json:"version,omitempty"`         // of the export: "netflow5", "netflow9", "ipfix", "sflow5"
	Sampling       uint32    `json:"sampling,omitempty"`        // one of so many packets; 0 and 1: all
	SampledPackets uint64    `json:"sampled_packets,omitempty"` // as exported
	SampledBytes   uint64    `json:"sampled_bytes,omitempty"`
}

// Summary is what a replay saw.
type Summary struct {
	Packets   uint64            `json:"packets"`
	Bytes     uint64            `json:"bytes"` // on the wire
	Flows     uint64            `json:"flows"`
	First     time.Time         `json:"first"` // zero when there was no packet
	Last      time.Time         `json:"last"`
	Malformed uint64            `json:"malformed"`
	Alerts    uint64            `json:"alerts"`  // anomalies, threats and incidents
	Seconds   float64           `json:"seconds"` // from first to last packet
	Counters  map[string]uint64 `json:"counters"`
}

// Process is the program that holds the local end of a connection.
type Process struct {
	PID         int    `json:"pid"`
	Name        string `json:"name"`
	CommandLine string `json:"command_line,omitempty"`
	User        string `json:"user,omitempty"`
	Container   string `json:"container,omitempty"`
}
