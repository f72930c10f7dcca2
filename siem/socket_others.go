//go:build !linux

package siem

import (
	"net"
	"syscall"
)

// unacknowledged is not known on this system.
func unacknowledged(net.Conn) (n int, known bool) { return 0, false }

// limitSilence leaves the system's own limits.
func limitSilence(string, string, syscall.RawConn) error { return nil }
