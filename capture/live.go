package capture

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/bpf"

	"vft/capture/packet"
)

// AnyInterface as the name of an interface means all of them, those to come
// included.
const AnyInterface = "any"

// LiveConfig says what a Live captures. The zero value of every field but
// Interfaces means its default.
type LiveConfig struct {
	Interfaces   []string      // names, or AnyInterface alone
	Promiscuous  bool          // also what is not for this host; no effect on AnyInterface
	Snaplen      int           // bytes kept of a packet; 65536
	BlockTimeout time.Duration // longest wait of a packet in a block that is not full; 100 ms, at least 1 ms
	RingBytes    int           // memory of the kernel's ring per interface; 32 MiB
	HardwareTime bool          // prefer the time stamps of the network card; its clock need not be the system's
	Filter       func(packet.LinkType) (LiveFilter, error)
	Now          func() time.Time // time.Now; asked when nothing arrived, never for a packet
	Log          zerolog.Logger
}

// LiveFilter picks packets of one link type. The kernel runs Raw over what it
// can judge, and Match, which must agree with it, has the rest: packets of
// another link type than most, and those whose VLAN tag the kernel keeps apart.
// A LiveConfig without one takes every packet.
type LiveFilter struct {
	Raw   []bpf.RawInstruction
	Match func(data []byte, wire int) bool // over the whole frame, its VLAN tag put back
	Exact bool                             // Raw judges a tagged frame as Match does, by the tag beside it
}

// LiveHandler is what a Live calls, always from one goroutine.
type LiveHandler struct {
	Packet func(*Packet)
	// Tick is called after each block and at least every 100 ms. No packet
	// before upTo (nanoseconds since 1970) will come any more, so intervals up
	// to it may close. It may be nil.
	Tick func(upTo int64)
}

// OpenError is an interface that cannot be captured from.
type OpenError struct {
	Interface string
	Err       error  // what the system said
	Remedy    string // what to do about it
}

// Error is one line: what could not be done, on what, why, and what to do.
func (e *OpenError) Error() string {
	return fmt.Sprintf("cannot capture on %s: %v; %s", e.Interface, e.Err, e.Remedy)
}

// Unwrap returns what the system said.
func (e *OpenError) Unwrap() error { return e.Err }

// Device is a network interface of this host.
type Device struct {
	Name      string         `json:"name"`
	Index     int            `json:"index"`
	Up        bool           `json:"up"`
	Loopback  bool           `json:"loopback"`
	MTU       int            `json:"mtu"`
	MAC       string         `json:"mac,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
}

// Devices lists the interfaces of this host by index.
func Devices() ([]Device, error) {
	found, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("cannot list the network interfaces: %w", err)
	}
	devices := make([]Device, 0, len(found))
	for _, i := range found {
		devices = append(devices, Device{
			Name: i.Name, Index: i.Index, MTU: i.MTU, MAC: i.HardwareAddr.String(),
			Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0, Addresses: addresses(i),
		})
	}
	return devices, nil
}

func addresses(i net.Interface) []netip.Prefix {
	var list []netip.Prefix
	found, _ := i.Addrs()
	for _, a := range found {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, prefix)
		}
	}
	return list
}

// noInterface tells which interfaces there are.
func noInterface() string {
	devices, _ := Devices()
	names := make([]string, 0, len(devices))
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return "there are: " + strings.Join(append(names, AnyInterface), ", ")
}

func (c LiveConfig) withDefaults() LiveConfig {
	if c.Snaplen <= 0 {
		c.Snaplen = 65536
	}
	if c.BlockTimeout <= 0 {
		c.BlockTimeout = 100 * time.Millisecond
	}
	c.BlockTimeout = max(c.BlockTimeout, time.Millisecond)
	if c.RingBytes <= 0 {
		c.RingBytes = 32 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
