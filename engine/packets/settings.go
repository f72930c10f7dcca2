package packets

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

// Settings are what a user chooses of the capture. They do not change while an
// Engine uses them.
type Settings struct {
	Interfaces  []string // captured on; empty with Files
	Files       []string // read in place of interfaces; "-" is stdin
	Promiscuous bool
	Snaplen     int           // bytes captured of a packet
	ReadTimeout time.Duration // longest wait of a packet in a block
	Filter      capture.FilterSettings
	Shards      int  // goroutines that share the work; 0: two for files, one for interfaces
	Inner       bool // the packets inside tunnels count, not the tunnels
	MaxFlows    int
	WriteFlows  bool // each flow that ends is an event
	Process     string
	Home        []netip.Prefix // networks that are inside; empty: the private ones
	LearnPeers  time.Duration  // how long to learn who uses admin ports
	Statistics  StatisticSettings
	Transfers   TransferSettings
	PacketLog   PacketLogSettings
}

// StatisticSettings are about the statistics of the traffic.
type StatisticSettings struct {
	Names     []string      // "all", or those that are watched
	Period    time.Duration // of an interval
	Emit      bool          // each value is an event
	Budget    float64       // false alarms in a second that a host may have
	Q         float64       // chance that an ordinary value is called abnormal; 0: from Budget
	Level     float64       // quantile from which on values are the tail
	NInit     int           // intervals to learn from
	Depth     int           // intervals of the moving average
	MaxExcess int           // values of the tail that are kept
	Up, Down  bool          // values that are too large, too small
}

// TransferSettings are about the bytes that flows carry.
type TransferSettings struct {
	Interval    time.Duration
	All         bool     // each unusual transfer is told, as whoever sets the anomalyzer wants
	Methods     []string // tests of the anomalyzer; empty: transfers are not watched
	Sensitivity float64
	UpperBound  float64 // bytes per interval
	LowerBound  float64 // the same; NaN: none
	ActiveSize  int     // intervals
	NSeasons    int
	Cap         int // intervals kept of a flow; 0: what the windows need
	Threshold   float64
	Seed        int // of the permutation tests; 0: from Config.Random
}

// PacketLogSettings are about the packets that are kept.
type PacketLogSettings struct {
	On        bool
	Dir       string
	Archive   string
	MaxFile   int // megabytes
	Rotations int // files of one flow
}

// Config is what an Engine works with beside the Settings.
type Config struct {
	Settings *Settings
	Random   [32]byte // seeds and keys; zero in a replay, whose records must repeat
	Host     string   // name of this host, for its records
	Gateways []netip.Addr
	Log      zerolog.Logger
	Debug    func() bool   // whether the log takes debug messages now; nil: never
	Emit     event.Emit    // gets every record, in order
	Alerts   func() uint64 // how many incidents came of it, for the summary of a replay; nil: that is not known
	// Flows builds what judges whole flows; what that finds goes to the emit that
	// it is given.
	Flows func(emit event.Emit) (FlowAnalyzer, error)
}

// FlowAnalyzer judges flows as a whole: those of the capture, and in a replay
// also those that exporters tell of in its packets.
type FlowAnalyzer interface {
	// Packet takes a packet of a replay. It does not keep it.
	Packet(p *packet.Parsed, now int64)
	// Flow takes a flow that ended. It does not keep it.
	Flow(r *flow.Record)
	// Loss takes how many packets the kernel had and dropped since the last call.
	Loss(observer string, received, dropped uint64, now int64)
	Advance(now int64)
	Close()
	// Counts yields every counter. Any goroutine may ask.
	Counts(yield func(name string, n uint64))
	// DecoderCounts yields what it decoded of the packets.
	DecoderCounts(yield func(name string, n uint64))
}
