// Package settings turns flags, environment, a YAML file and defaults into
// checked settings, a struct for each room. An option has one name everywhere:
// --trap-ports, the variable VFT_TRAP_PORTS and the key trap-ports of the file
// are the same.
//
// Precedence: flag, environment, file, default. Every value remembers where
// it came from, and an error names that place.
package settings

import (
	"net/netip"
	"slices"

	"vft/capture"
	"vft/engine/fleet"
	"vft/engine/flows"
	"vft/engine/host"
	"vft/engine/packets"
)

// Settings are all of one run. Those that are not of its mode are zero. Which
// option set a field is asked with a pointer to it.
type Settings struct {
	*layers

	Server  Server
	Client  Client
	Link    Link
	Output  Output
	Broker  Broker
	Log     Log
	Fleet   fleet.Settings
	Traps   host.Settings
	Packets packets.Settings
	Flows   flows.Settings

	DataDir         string
	Rules, Sensors  string // files; empty: the built-in ones
	Config          string // the file that these are from
	HTTP            string
	ListConnections bool
	JSON            bool // with ListConnections

	filter  networkFilter
	collect collected
	daq     string
}

// Server is what only a server has.
type Server struct {
	Bind string // HOST:PORT
	Key  string // file
}

// Client is what only a client has.
type Client struct {
	Server string // HOST:PORT
	Join   string // address, pin and token in one
}

// Link is how server and client trust each other.
type Link struct {
	TLS            bool
	AllowPlaintext bool   // also on an address that is not loopback
	Cert           string // file: the server's own; what a client trusts
	Secret         string
	SecretFile     string
}

// Output is where the records of a standalone go.
type Output struct {
	Destinations []string
	Format       string
}

// Broker is the AMQP broker that threats go to.
type Broker struct {
	URL      string // empty: none
	Exchange string
	Queue    string
}

// Log is what vft says of itself.
type Log struct {
	Level  string
	Format string
}

// networkFilter is what capture.NetworkRule is made of.
type networkFilter struct {
	networks     []netip.Prefix
	on, mode     string
	ip           []netip.Prefix // as Wherefore had it
	src, dst     bool
	dropsWhatsIn bool
}

// rules are the rules that the options mean.
func (f *networkFilter) rules() (all []capture.NetworkRule) {
	if len(f.networks) > 0 {
		all = append(all, capture.NetworkRule{Networks: f.networks, Src: f.on != "dst", Dst: f.on != "src", Both: f.on == "both", Drop: f.mode == "drop"})
	}
	if len(f.ip) > 0 && (f.src || f.dst) {
		all = append(all, capture.NetworkRule{Networks: f.ip, Src: f.src, Dst: f.dst, Drop: f.dropsWhatsIn})
	}
	return all
}

// collected is what flows.Settings.Listen is made of.
type collected struct{ netflow, ipfix, sflow []netip.AddrPort }

// Load reads and checks settings. Its error is an *Error that names the flag,
// the variable, or file, line and key.
func Load(src Source) (*Settings, error) {
	s := &Settings{}
	var err error
	if s.layers, err = read(s.options(), &src); err != nil {
		return nil, err
	}
	s.Packets.Filter.Networks = s.filter.rules()
	s.Flows.Filter.Networks = s.Packets.Filter.Networks
	for _, at := range slices.Concat(s.collect.netflow, s.collect.ipfix, s.collect.sflow) {
		if !slices.Contains(s.Flows.Listen, at) {
			s.Flows.Listen = append(s.Flows.Listen, at)
		}
	}
	t := &s.Packets.Transfers
	for _, field := range []any{&t.Methods, &t.Sensitivity, &t.UpperBound, &t.LowerBound, &t.ActiveSize, &t.NSeasons, &t.Cap, &t.Threshold, &t.Seed} {
		t.All = t.All || s.Given(field)
	}
	if !s.Given(&s.Packets.Transfers.Cap) {
		s.Packets.Transfers.Cap = 0 // what the windows need
	}
	return s, nil
}

// Options returns all options, in the order in which --help prints them.
func Options() []Option { return new(Settings).options() }

// Restart returns the names of the options that other has different and that
// need a restart.
func (s *Settings) Restart(other *Settings) []string { return s.restart(other.layers) }

// Live reports whether packets are captured.
func (s *Settings) Live() bool { return len(s.Packets.Interfaces) > 0 }

// Replay reports whether files are read in place of listening.
func (s *Settings) Replay() bool { return len(s.Packets.Files) > 0 }

// GivenCapture reports whether somebody set an option of the capture.
func (s *Settings) GivenCapture() bool {
	return slices.ContainsFunc(s.captureOptions(), func(o Option) bool { return s.Given(o.Value.fields[0]) })
}
