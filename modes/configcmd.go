package modes

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"vft/correlate"
	"vft/modes/config"
)

// configCommand is `vft config check|show [server|client|standalone]`.
func (a *app) configCommand() *cli.Command {
	verb := func(name string, run func(*config.Values, config.Mode) error, flags func(config.Mode) []cli.Flag) *cli.Command {
		of := func(name string, mode config.Mode) *cli.Command {
			return &cli.Command{Name: name, Flags: append(flags(mode), helpFlag()), CustomHelpTemplate: overview, HideHelp: true,
				Action: func(c *cli.Context) error { return a.onConfig(c, mode, run) }}
		}
		command := of(name, config.All)
		command.Subcommands = []*cli.Command{of("server", config.Server), of("client", config.Client), of("standalone", config.Standalone)}
		return command
	}
	return &cli.Command{
		Name: "config",
		Subcommands: []*cli.Command{
			verb("check", a.checkConfig, func(m config.Mode) []cli.Flag { return a.flags(m) }),
			verb("show", a.showConfig, func(m config.Mode) []cli.Flag { return append(a.flags(m, "rules"), &cli.BoolFlag{Name: "rules"}) }),
		},
		Action: func(*cli.Context) error {
			return badUsage(fmt.Errorf("what to do with the configuration? vft config check, or vft config show"))
		},
	}
}

func (a *app) onConfig(c *cli.Context, mode config.Mode, run func(*config.Values, config.Mode) error) error {
	if c.Args().Present() {
		return badUsage(fmt.Errorf("%q is not understood; after it may stand server, client or standalone", c.Args().First()))
	}
	if c.Command.Name == "show" && c.Bool("rules") {
		_, err := a.streams.Out.Write(correlate.DefaultRulesText())
		return err
	}
	values, err := a.load(mode)
	if err != nil {
		return err
	}
	return run(values, mode)
}

// checkConfig does every check that the mode itself does before it opens
// anything.
func (a *app) checkConfig(v *config.Values, mode config.Mode) error {
	if mode == config.Server {
		if err := checkTLS(v); err != nil {
			return err
		}
	}
	if mode&(config.Server|config.Standalone) != 0 {
		if _, err := loadRules(v); err != nil {
			return err
		}
	}
	if mode&config.Standalone != 0 {
		if _, err := destinations(v); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(a.streams.Err, "the configuration is in order")
	return err
}

// showConfig prints every value and where it came from, a JSON object a line.
func (a *app) showConfig(v *config.Values, _ config.Mode) error {
	for _, setting := range v.All() {
		if err := writeLine(a.streams.Out, setting); err != nil {
			return err
		}
	}
	return nil
}

// loadRules reads the rules that --rules names, or the built-in ones.
func loadRules(v *config.Values) (correlate.Rules, error) {
	path := v.Text("rules")
	if path == "" {
		return correlate.DefaultRules(), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return correlate.Rules{}, v.Invalid("rules", "cannot read %s: %v; vft config show --rules prints a file to start from", path, pathReason(err))
	}
	rules, err := correlate.ParseRules(path, text)
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
