//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Lookup finds processes, on Linux only.
type Lookup struct{ config Config }

// New prepares a Lookup. Nothing is opened.
func New(c Config) *Lookup { return &Lookup{config: c.withDefaults()} }

var errSystem = fmt.Errorf("cannot find the process of a connection: not on this system, it needs Linux: %w", errors.ErrUnsupported)

// Check returns an error for the method EBPF, which is not on this system.
func (l *Lookup) Check() error {
	if l.config.Method == EBPF {
		return errSystem
	}
	return nil
}

// Run waits for the end of ctx.
func (l *Lookup) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Find finds nothing.
func (l *Lookup) Find(string, netip.AddrPort, netip.AddrPort) (Process, bool) {
	return Process{}, false
}

// Either finds nothing.
func (l *Lookup) Either(string, netip.AddrPort, netip.AddrPort) (p Process, second, ok bool) {
	return Process{}, false, false
}

// List returns an error: it is not on this system.
func (l *Lookup) List(context.Context) ([]Connection, error) { return nil, errSystem }

// Counts yields nothing.
func (l *Lookup) Counts(func(name string, n uint64)) {}

// Close does nothing.
func (l *Lookup) Close() {}
