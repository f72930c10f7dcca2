package modes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"vft/engine/flows"
	"vft/modes/settings"
)

// sensorsCommand is `vft sensors test FILE --pcapfile CAPTURE`.
func (a *app) sensorsCommand() *cli.Command {
	test := &cli.Command{
		Name: "test", Flags: append(a.flags(settings.ServerMode), helpFlag()), CustomHelpTemplate: overview, HideHelp: true,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return badUsage(errors.New("which sensors? vft sensors test FILE --pcapfile CAPTURE"))
			}
			v, err := a.load(settings.ServerMode)
			if err != nil {
				return err
			}
			return a.testSensors(c.Context, v, c.Args().First())
		},
	}
	return &cli.Command{
		Name: "sensors", Subcommands: []*cli.Command{test},
		Action: func(*cli.Context) error {
			return badUsage(errors.New("what to do with the sensors? vft sensors test FILE --pcapfile CAPTURE"))
		},
	}
}

// fileLast moves the FILE of `vft sensors test FILE --pcapfile CAPTURE` behind
// the flags, where the parser wants it.
func fileLast(args []string) []string {
	i := slices.Index(args, "sensors")
	if i < 0 || len(args) < i+3 || args[i+1] != "test" || strings.HasPrefix(args[i+2], "-") {
		return args
	}
	return append(slices.Delete(slices.Clone(args), i+2, i+3), args[i+2])
}

// testSensors shows what the sensors of a file would have found in captures: in
// the exported flows in them, and in the flows of their packets.
func (a *app) testSensors(ctx context.Context, v *settings.Settings, path string) error {
	if len(v.Packets.Files) == 0 {
		return badUsage(errors.New("in which capture? vft sensors test FILE --pcapfile CAPTURE"))
	}
	log, level := newLog(a.streams, v)
	s := &server{deps: deps{build: a.build, streams: a.streams, settings: v, log: log, level: level}}
	definitions, err := readSensors(path, func(err error) error {
		return badUsage(fmt.Errorf("cannot read %s: %v; vft config show --sensors prints a file to start from", path, err))
	})
	if err != nil {
		return err
	}
	return s.judgeFiles(ctx, flows.Sensors{Exported: definitions, Captured: definitions}, true)
}
