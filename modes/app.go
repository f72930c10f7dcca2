package modes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"vft/datadir"
	"vft/modes/settings"
)

// Main runs the vft that args ask for (args[0] is the name it was started
// under) and returns its exit state. Everything that goes wrong is one line on
// stderr.
func Main(ctx context.Context, args []string, build Build, s Streams) int {
	a := &app{build: build, streams: s, inputs: map[string]*settings.Input{}}
	err := a.cli().RunContext(ctx, fileLast(expandAlias(args)))
	if err != nil {
		fmt.Fprintf(s.Err, "vft: %s\n", oneLine(err))
	}
	return exitState(err)
}

// app is one run of the command line.
type app struct {
	build    Build
	streams  Streams
	inputs   map[string]*settings.Input // shared by the flags before and after the subcommand
	defaults map[string]string          // what the name vft was started under changes
}

// expandAlias turns the names vft-server and vft-client, as program or as first
// word, into the subcommand.
func expandAlias(args []string) []string {
	if len(args) == 0 {
		return []string{"vft"}
	}
	name := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	if name != "vft-server" && name != "vft-client" {
		return args
	}
	rest := args[1:]
	if len(rest) > 0 && rest[0] == name { // a container whose entry point and command both name it
		rest = rest[1:]
	}
	return append([]string{"vft", name}, rest...)
}

func (a *app) cli() *cli.App {
	usage := func(_ *cli.Context, err error, _ bool) error { return badUsage(usageText(err)) }
	stop := func(*cli.Context, error) {} // Main prints the error and sets the exit state
	app := &cli.App{
		Name: "vft", Usage: "network anomaly detection", HideHelp: true, HideVersion: true,
		Writer: a.streams.Out, ErrWriter: a.streams.Err, ExitErrHandler: stop, OnUsageError: usage,
		CustomAppHelpTemplate: overview,
		Flags:                 append(a.flags(settings.All), helpFlag(), versionFlag()),
		Action:                a.noCommand,
		Commands: []*cli.Command{
			a.mode("server", settings.ServerMode, runServer),
			a.mode("client", settings.ClientMode, runClient),
			a.mode("standalone", settings.StandaloneMode, runStandalone),
			a.configCommand(),
			a.sensorsCommand(),
			{Name: "version", Flags: []cli.Flag{&cli.BoolFlag{Name: "json"}}, Action: a.version},
			{Name: "help", Action: a.help},
		},
	}
	for _, c := range app.Commands {
		if c.CustomHelpTemplate == "" {
			c.CustomHelpTemplate = overview
		}
	}
	eachCommand(app.Commands, func(c *cli.Command) {
		c.HideHelp, c.OnUsageError, c.Action = true, usage, a.unlessVersion(c.Action)
	})
	return app
}

func eachCommand(commands []*cli.Command, visit func(*cli.Command)) {
	for _, c := range commands {
		visit(c)
		eachCommand(c.Subcommands, visit)
	}
}

// flags makes a flag of each name of each option of the mode. Every name
// writes into the one Input of its option, so a flag means the same before and
// after the subcommand and under each of its names.
func (a *app) flags(mode settings.Mode, without ...string) []cli.Flag {
	var flags []cli.Flag
	for _, o := range settings.Options() {
		if o.Modes&mode == 0 || slices.Contains(without, o.Name) {
			continue
		}
		if a.inputs[o.Name] == nil {
			a.inputs[o.Name] = &settings.Input{IsBool: o.Value.Bool}
		}
		for _, name := range o.Flags() {
			flags = append(flags, &cli.GenericFlag{Name: name, Value: a.inputs[o.Name]})
		}
	}
	return flags
}

// helpFlag makes the parser print the help text of the command.
func helpFlag() cli.Flag { return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}} }

func versionFlag() cli.Flag { return &cli.BoolFlag{Name: "version", Aliases: []string{"v"}} }

// unlessVersion is the action of a command, but for --version, before or after
// its name: then which vft this is is all that was asked.
func (a *app) unlessVersion(action cli.ActionFunc) cli.ActionFunc {
	if action == nil {
		return nil
	}
	return func(c *cli.Context) error {
		if slices.ContainsFunc(c.Lineage(), func(c *cli.Context) bool { return c.Bool("version") }) {
			return a.version(c)
		}
		return action(c)
	}
}

// deps are what a mode is started with.
type deps struct {
	build    Build
	streams  Streams
	settings *settings.Settings
	log      zerolog.Logger
	level    *levelHook
	reload   func() (*settings.Settings, error) // reads the configuration again
}

// dataDir is the path of the data directory.
func (p *deps) dataDir() (string, error) {
	if p.settings.DataDir != "" {
		return p.settings.DataDir, nil
	}
	dir, err := datadir.Default(p.streams.Env)
	if err != nil {
		return "", cannotOpen(err)
	}
	return dir, nil
}

func (a *app) mode(name string, mode settings.Mode, run func(context.Context, deps) error) *cli.Command {
	alias := "vft-" + name
	return &cli.Command{
		Name: name, Aliases: []string{alias},
		Flags: append(a.flags(mode), helpFlag(), versionFlag()), CustomHelpTemplate: modeHelp(name, mode),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return badUsage(fmt.Errorf("%q is not understood after vft %s; see vft %s --help", c.Args().First(), name, name))
			}
			if c.Command.HasName(alias) && slices.Contains(c.Lineage()[1].Args().Slice()[:1], alias) {
				a.defaults = map[string]string{"bind": "0.0.0.0:9999"}
			}
			s, err := a.load(mode)
			if err != nil {
				return err
			}
			reload := func() (*settings.Settings, error) { return a.load(mode) }
			log, level := newLog(a.streams, s)
			return run(c.Context, deps{a.build, a.streams, s, log, level, reload})
		},
	}
}

func (a *app) load(mode settings.Mode) (*settings.Settings, error) {
	if a.defaults == nil {
		a.defaults = map[string]string{}
	}
	if dir, err := datadir.Default(a.streams.Env); err == nil {
		a.defaults["data-dir"] = dir // else dataDir says why there is none
	}
	return settings.Load(settings.Source{Flags: a.inputs, Env: a.streams.Env, Mode: mode, Changes: a.defaults})
}

func (a *app) noCommand(c *cli.Context) error {
	switch {
	case c.Bool("version"):
		return a.version(c)
	case c.Args().Present():
		return badUsage(fmt.Errorf("%q is not a command; use server, client, standalone, config, sensors or version", c.Args().First()))
	}
	return badUsage(errors.New("which command? server, client, standalone, config, sensors or version; see vft --help"))
}

func (a *app) version(c *cli.Context) error {
	if !c.Bool("json") {
		_, err := fmt.Fprintf(a.streams.Out, "vft %s (%s, %s, %s/%s)\n", a.build.Version, a.build.Commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
	return writeLine(a.streams.Out, struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
		Go      string `json:"go"`
		System  string `json:"system"`
	}{a.build.Version, a.build.Commit, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
}

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// usageText makes the parser's errors speak of what to do.
func usageText(err error) error {
	text := err.Error()
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return fmt.Errorf("--%s is not an option of this command; see --help", strings.TrimLeft(flag, "-"))
	}
	if flag, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("--%s needs a value; see --help", strings.TrimLeft(flag, "-"))
	}
	return err
}

// oneLine keeps an error on one line whatever stands in it.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
