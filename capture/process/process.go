// Package process tells which process holds the local end of a connection: on
// Linux by sock_diag(7) and the files of /proc, and for connections that ended
// by what it remembers of them, which an eBPF program makes complete.
package process

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/rs/zerolog"
)

// Process is a running program, or one that ran.
type Process struct {
	PID         int    `json:"pid"`
	Name        string `json:"name"`                   // as the kernel knows it, at most 15 bytes
	CommandLine string `json:"command_line,omitempty"` // arguments joined by a space, at most 1024 bytes; empty when it could not be read
	UID         uint32 `json:"uid"`                    // effective user
	User        string `json:"user,omitempty"`         // its name, if it has one
	Container   string `json:"container,omitempty"`    // id; empty on the host itself
	Runtime     string `json:"runtime,omitempty"`      // what runs the container: docker, podman, containerd, cri-o, lxc, nspawn
	Pod         string `json:"pod,omitempty"`          // UID of its Kubernetes pod
}

// Connection is one socket that has a peer or waits for one.
type Connection struct {
	Proto   string         `json:"proto"` // "tcp" or "udp"
	State   string         `json:"state"` // as ss writes it: "ESTAB", "LISTEN", "UNCONN", ...
	Local   netip.AddrPort `json:"local"`
	Remote  netip.AddrPort `json:"remote"`
	Process *Process       `json:"process,omitempty"` // nil: none holds it any more, or it may not be seen
}

// Method says how a process is found.
type Method string

// The methods. Each falls back to /proc/net where netlink is not there.
const (
	Auto    Method = "auto"    // EBPF where kernel and privileges allow, else Netlink
	Netlink Method = "netlink" // sock_diag
	EBPF    Method = "ebpf"    // and a program in the kernel that sees TCP connections of any length
	Off     Method = "off"     // nothing is found
)

// ParseMethod reads a Method.
func ParseMethod(text string) (Method, error) {
	switch m := Method(text); m {
	case Auto, Netlink, EBPF, Off:
		return m, nil
	}
	return "", fmt.Errorf("%q is no way to find a process; there are: auto, netlink, ebpf, off", text)
}

// Config says how a Lookup works. The zero value of a field means its default.
type Config struct {
	Method     Method
	Proc       string           // where /proc is mounted
	Now        func() time.Time // time.Now
	MaxSockets int              // sockets of which the holder is kept; 65536, about 40 bytes each
	MaxRecent  int              // ended connections that are remembered; 16384, about 150 bytes each
	Refresh    time.Duration    // between the looks of Run at all connections; 1 s
	Log        zerolog.Logger
}

func (c Config) withDefaults() Config {
	if c.Method == "" {
		c.Method = Auto
	}
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxSockets <= 0 {
		c.MaxSockets = 65536
	}
	if c.MaxRecent <= 0 {
		c.MaxRecent = 16384
	}
	if c.Refresh <= 0 {
		c.Refresh = time.Second
	}
	return c
}

// tuple is a connection from its local end. Addresses are never 4-in-6.
type tuple struct {
	proto         proto
	local, remote netip.AddrPort
}

// proto is a transport protocol by its number in IP.
type proto uint8

const (
	tcp proto = 6
	udp proto = 17
)

func (p proto) String() string {
	if p == udp {
		return "udp"
	}
	return "tcp"
}

// transports maps the names that an event uses.
var transports = map[string]proto{"tcp": tcp, "udp": udp}

func newTuple(p proto, local, remote netip.AddrPort) tuple {
	return tuple{p, unmap(local), unmap(remote)}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// states are the names that ss has for the states of a socket (net/tcp_states.h).
var states = [...]string{"UNKNOWN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2",
	"TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "SYN-RECV"}

func stateName(s uint8) string {
	if int(s) >= len(states) {
		s = 0
	}
	return states[s]
}
