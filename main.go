// Command vft finds who touches what nobody should touch: it opens trap ports
// on ordinary hosts, correlates what a whole fleet sees, and raises one alert
// for each attacker.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"vft/modes"
)

// version and commit are stamped by build.sh.
var version, commit = "devel", "unknown"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A closed stdout is an error like any other, not the end without a word.
	signal.Ignore(syscall.SIGPIPE)
	// A second signal ends vft at once: the first one gives the default back.
	defer context.AfterFunc(ctx, stop)()
	return modes.Main(ctx, os.Args, modes.Build{Version: version, Commit: commit},
		modes.Streams{Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv})
}
