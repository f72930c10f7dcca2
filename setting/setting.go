// Package setting lets a room say which of its settings cannot be used, without
// knowing under which name, and in which file or variable, a user wrote it.
package setting

import "fmt"

// Error is a setting that cannot be used.
type Error struct {
	Field any // pointer to the field of the settings that the room was given
	Err   error
}

// Error says what is wrong; whoever knows the names adds which setting it is.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Invalid returns an *Error about the setting that field points to.
func Invalid(field any, format string, args ...any) error {
	return &Error{field, fmt.Errorf(format, args...)}
}
