package modes

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"vft/modes/settings"
)

// newLog returns the log of a run, for people on a terminal, JSON otherwise,
// and what changes its level while it runs.
func newLog(s Streams, v *settings.Settings) (zerolog.Logger, *levelHook) {
	level := &levelHook{}
	level.set(v)
	format := v.Log.Format
	if format == "auto" {
		format = "json"
		if isatty.IsTerminal(s.Err.Fd()) {
			format = "console"
		}
	}
	log := zerolog.New(s.Err)
	if format == "console" {
		log = zerolog.New(zerolog.ConsoleWriter{Out: s.Err, NoColor: !wantsColour(s), TimeFormat: time.TimeOnly})
	}
	return log.Hook(level).With().Timestamp().Logger(), level
}

// levelHook drops what is less important than the level, which may change
// while others log. What has no level is always written.
type levelHook struct{ least atomic.Int32 }

func (h *levelHook) set(v *settings.Settings) {
	level, _ := zerolog.ParseLevel(v.Log.Level) // checked by its kind
	h.least.Store(int32(level))
}

// debug reports whether debug messages are written now.
func (h *levelHook) debug() bool { return zerolog.Level(h.least.Load()) <= zerolog.DebugLevel }

// Run implements zerolog.Hook.
func (h *levelHook) Run(e *zerolog.Event, level zerolog.Level, _ string) {
	if level < zerolog.Level(h.least.Load()) {
		e.Discard()
	}
}

// wantsColour honours NO_COLOR (no-color.org): set to anything, it means no.
func wantsColour(s Streams) bool {
	value, _ := s.Env("NO_COLOR")
	return value == "" && isatty.IsTerminal(s.Err.Fd()) && os.Getenv("TERM") != "dumb"
}
