// Package modes turns a command line into a running vft: it reads the
// configuration, builds the parts of the server, the client or the standalone,
// and runs them until they are done or told to stop. It is the only place
// where the parts meet.
package modes

import (
	"errors"
	"io"
	"os"

	"vft/link"
	"vft/modes/settings"
)

// Streams are what a run reads from and writes to.
type Streams struct {
	Out io.Writer // data: one JSON object a line
	Err *os.File  // logs and errors
	Env func(string) (string, bool)
}

// Build says which vft this is.
type Build struct{ Version, Commit string }

// The exit states.
const (
	exitDone    = 0
	exitFailed  = 1 // failed while running
	exitUsage   = 2 // bad usage or configuration
	exitOpen    = 3 // an address or interface could not be opened
	exitRefused = 4 // refused by the server
)

// stateError is an error with the exit state that it leads to.
type stateError struct {
	state int
	error
}

func (e stateError) Unwrap() error { return e.error }

// cannotOpen marks err as an address, interface or directory that could not be opened.
func cannotOpen(err error) error { return stateError{exitOpen, err} }

// badUsage marks err as a mistake in what was asked.
func badUsage(err error) error { return stateError{exitUsage, err} }

// exitState returns the exit state that err leads to.
func exitState(err error) int {
	var marked stateError
	var configured *settings.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &marked):
		return marked.state
	case errors.As(err, &configured):
		return exitUsage
	case errors.Is(err, link.ErrRefused):
		return exitRefused
	}
	return exitFailed
}
