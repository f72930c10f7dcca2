//go:build !linux

package traps

// readNetstat has nothing to read here.
func readNetstat() (netstat, bool) { return netstat{}, false }
