package modes

import (
	"fmt"
	"os"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"vft/correlate/fleet"
	"vft/correlate/sensor"
	"vft/modes/settings"
)

// configCommand is `vft config check|show [server|client|standalone]`.
func (a *app) configCommand() *cli.Command {
	verb := func(name string, run func(*cli.Context, settings.Mode) error, flags func(settings.Mode) []cli.Flag) *cli.Command {
		of := func(name string, mode settings.Mode) *cli.Command {
			return &cli.Command{Name: name, Flags: append(flags(mode), helpFlag()), CustomHelpTemplate: overview, HideHelp: true,
				Action: func(c *cli.Context) error {
					if c.Args().Present() {
						return badUsage(fmt.Errorf("%q is not understood; after it may stand server, client or standalone", c.Args().First()))
					}
					return run(c, mode)
				}}
		}
		command := of(name, settings.All)
		command.Subcommands = []*cli.Command{of("server", settings.ServerMode), of("client", settings.ClientMode), of("standalone", settings.StandaloneMode)}
		return command
	}
	return &cli.Command{
		Name: "config",
		Subcommands: []*cli.Command{
			verb("check", a.checkConfig, func(m settings.Mode) []cli.Flag { return a.flags(m) }),
			verb("show", a.showConfig, func(m settings.Mode) []cli.Flag {
				return append(a.flags(m, "rules", "sensors"), &cli.BoolFlag{Name: "rules"}, &cli.BoolFlag{Name: "sensors"})
			}),
		},
		Action: func(*cli.Context) error {
			return badUsage(fmt.Errorf("what to do with the configuration? vft config check, or vft config show"))
		},
	}
}

// checkConfig does every check that the mode itself does before it opens
// anything.
func (a *app) checkConfig(_ *cli.Context, mode settings.Mode) error {
	v, err := a.load(mode)
	if err != nil {
		return err
	}
	if mode == settings.All {
		err = checkCommon(v)
	}
	// What means one thing on a server and another on a client is checked when
	// the mode is named.
	p := deps{build: a.build, streams: a.streams, settings: v, log: zerolog.Nop(), level: &levelHook{}}
	switch {
	case err != nil:
	case mode == settings.ServerMode:
		_, err = newServer(p)
	case mode == settings.ClientMode:
		_, err = newClient(p)
	case mode == settings.StandaloneMode:
		_, err = newStandalone(p)
	}
	if err == nil {
		_, err = fmt.Fprintln(a.streams.Err, "the configuration is in order")
	}
	return err
}

// checkCommon checks what means the same in every mode that has it.
func checkCommon(s *settings.Settings) error {
	for _, check := range []func() error{
		func() error { _, err := loadRules(s); return err },
		func() error { _, err := newNotifier(s, zerolog.Nop()); return err },
		func() error { _, err := destinations(s); return err },
		func() error { _, err := trapSettings(s); return err },
		func() error { _, err := newWatcher(s, zerolog.Nop(), nil, nil, nil); return err },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// showConfig prints every value and where it came from, a JSON object a line;
// with --rules the built-in rules, with --sensors the built-in sensors.
func (a *app) showConfig(c *cli.Context, mode settings.Mode) error {
	for _, at := range c.Lineage() { // these flags may stand before and after the mode
		for name, text := range map[string]func() []byte{"rules": fleet.DefaultRulesText, "sensors": sensor.BuiltIn} {
			if at.Command != nil && at.Command.Name != "" && at.Bool(name) {
				_, err := a.streams.Out.Write(text())
				return err
			}
		}
	}
	v, err := a.load(mode)
	if err != nil {
		return err
	}
	for _, setting := range v.Show() {
		if err := writeLine(a.streams.Out, setting); err != nil {
			return err
		}
	}
	return nil
}

// loadRules reads the rules that --rules names, or the built-in ones.
func loadRules(v *settings.Settings) (fleet.Rules, error) {
	path := v.Rules
	if path == "" {
		return fleet.DefaultRules(), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fleet.Rules{}, v.Invalid(&v.Rules, "cannot read %s: %v; vft config show --rules prints a file to start from", path, pathReason(err))
	}
	rules, err := fleet.ParseRules(path, text)
	if err != nil {
		return rules, badUsage(err)
	}
	return rules, nil
}

// pathReason cuts the operation and path, which the message has already, from
// an *os.PathError.
func pathReason(err error) error {
	if inner, ok := err.(*os.PathError); ok {
		return inner.Err
	}
	return err
}
