//go:build !linux

package capture

import (
	"context"
	"errors"
	"strings"
)

// Live captures from network interfaces, on Linux only.
type Live struct{ config LiveConfig }

// NewLive prepares a capture. Nothing is opened.
func NewLive(c LiveConfig) *Live { return &Live{config: c.withDefaults()} }

// Open returns an *OpenError: there is no live capture on this system.
func (l *Live) Open() error {
	return &OpenError{
		Interface: strings.Join(l.config.Interfaces, ", "),
		Err:       errors.ErrUnsupported,
		Remedy:    "live capture is not on this system, it needs Linux; read a file with --pcapfile",
	}
}

// Run returns the error of Open.
func (l *Live) Run(context.Context, LiveHandler) error { return l.Open() }

// Close does nothing.
func (l *Live) Close() {}

// Counts yields nothing.
func (l *Live) Counts(func(name string, n uint64)) {}
