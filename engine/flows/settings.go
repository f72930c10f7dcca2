package flows

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/correlate/sensor"
	"vft/event"
)

// Settings are what a user chooses of the flows that exporters send. They do not
// change while they are used.
type Settings struct {
	Listen     []netip.AddrPort // UDP addresses to collect on; without an address every one
	Exporters  []netip.Prefix   // those that are heard; empty: all
	Sampling   []SamplingRate   // in place of what exporters say themselves
	Workers    int              // sockets per address
	Files      []string         // captures that are read in place of listening
	Filter     capture.FilterSettings
	MaxFlows   int            // of the flows of packets that sensors are tried on
	WriteFlows bool           // each record is an event
	Home       []netip.Prefix // networks that are inside; empty: the private ones
	LearnPeers time.Duration  // how long to learn who uses admin ports
}

// SamplingRate says that an exporter looks at one packet of Rate.
type SamplingRate struct {
	Exporter netip.Addr
	Rate     uint32
}

// Config is what an Analyzer works with beside the Settings.
type Config struct {
	Settings *Settings
	Sensors  Sensors
	Random   [32]byte // seeds and keys; zero in a replay, whose records must repeat
	Host     string   // name of this host, for its records
	Log      zerolog.Logger
	Emit     event.Emit    // gets every record, one at a time
	Alerts   func() uint64 // how many incidents came of it, for the summary of a replay; nil: that is not known
	// SensorsOnly leaves detections and transfers out.
	SensorsOnly bool
}

// Sensors are what users look for.
type Sensors struct {
	Exported sensor.Definitions // in what exporters send
	Captured sensor.Definitions // in the flows of vft's own capture
}

// subSeed makes a seed of its own for each part out of one.
func subSeed(random [32]byte, n byte) [32]byte {
	random[31] ^= n
	return random
}
