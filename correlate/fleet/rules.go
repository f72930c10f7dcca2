// Package fleet judges what the trap ports of a whole fleet saw by the fleet
// rules. Fleet takes the hits of all clients and keeps the incidents. Nothing here
// does I/O, starts a goroutine, or reads a clock: time comes with the events,
// so that a replay and a live run give the same alerts.
package fleet

import (
	_ "embed"
	"net/netip"
	"time"

	"vft/correlate/known"
)

//go:embed rules.yaml
var rulesText []byte

// DefaultRulesText returns the built-in rules file.
func DefaultRulesText() []byte { return append([]byte(nil), rulesText...) }

// DefaultRules returns the built-in rules.
func DefaultRules() Rules {
	rules, err := parseOver(Rules{}, "rules.yaml", rulesText)
	if err != nil {
		panic("BUG: the built-in rules cannot be read: " + err.Error())
	}
	return rules
}

// ParseRules reads a rules file over the built-in rules: what it leaves out
// keeps its built-in value. name is the file's, for errors, which are one line
// and say file, line, key and what is allowed.
func ParseRules(name string, text []byte) (Rules, error) {
	return parseOver(DefaultRules(), name, text)
}

// RuleID names a rule, as rule.id does.
type RuleID uint8

// The fleet rules.
const (
	Touch RuleID = iota
	SamePort
	SameSource
	SameClient
	HostScan
	PortCampaign
	Victim
	SlowScan
	Sweep
	SensorLost
	ruleCount
)

var ruleNames = [ruleCount]string{"touch", "same-port", "same-source", "same-client", "host-scan", "port-campaign", "victim", "slow-scan", "sweep", "sensor-lost"}

func (id RuleID) String() string { return ruleNames[id] }

// Rules are the fleet rules and how incidents are kept.
type Rules struct {
	Networks   []netip.Prefix // own networks, besides those of the clients
	IPv6Prefix int            // bits of an IPv6 source that key it
	Keys       int            // sources kept at most

	Hold        time.Duration // before an incident of a port or client is told of
	UpdateEvery time.Duration // between two updates of one incident
	QuietMax    time.Duration // longest quiet that an incident waits for
	MaxOpen     int           // incidents open at once
	// How many incidents of sources, of the fleet's own hosts and of lost clients
	// are raised in an hour; one incident counts the rest.
	RaisePerHour int

	Ignore []Ignore
	Known  *known.Lists // hosts that do by right what would be an attack by others; nil: none
	Rule   [ruleCount]Rule
}

// Rule is one rule. What a number means depends on the rule; those that a
// rule does not know are 0.
type Rule struct {
	Off         bool
	Title       string
	Description string
	Technique   string // MITRE ATT&CK
	Severity    int    // 0 to 100
	Threshold   float64
	Window      time.Duration

	MinClients     int           // same-port, same-source
	MinSources     int           // same-port, same-client, port-campaign
	InsideSeverity int           // touch: the source is one of ours
	PerHour        int           // touch: notices in an hour before they are folded
	Probes         int           // host-scan: closed ports
	Probability    float64       // port-campaign: largest chance of the count
	Floor          float64       // port-campaign: hits an hour that every port is granted
	Factor         float64       // victim: times the usual
	Scanner, Other float64       // slow-scan: chances of a contact
	Keep           time.Duration // slow-scan: memory of a quiet source
}

// Ignore describes what counts nowhere; see known.Ignore.
type Ignore = known.Ignore
