package modes

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"vft/modes/settings"
)

const overview = `vft finds who touches what nobody should touch.

  vft server      correlate what a fleet of clients sees; one alert per attacker
  vft client      open trap ports on this host and report to a server
  vft standalone  the same without a server: JSON lines to --dest
  vft config check|show [--rules|--sensors]
  vft sensors test FILE --pcapfile CAPTURE
  vft version [--json]

Try it on one machine, in three terminals:

  vft server
  vft client
  nc 127.0.0.1 PORT      a port that the client says it opened

Flags may stand before or after the command, with one dash or two. Each is also
a variable (--trap-ports: VFT_TRAP_PORTS) and a key of the --config file.
vft server --help (client, standalone) lists them.
`

var helpModes = map[string]settings.Mode{
	"server": settings.ServerMode, "vft-server": settings.ServerMode,
	"client": settings.ClientMode, "vft-client": settings.ClientMode,
	"standalone": settings.StandaloneMode,
}

// help prints the overview, or the options of the command that is named.
func (a *app) help(c *cli.Context) error {
	text := overview
	if mode, ok := helpModes[c.Args().First()]; ok {
		text = modeHelp(c.Args().First(), mode)
	}
	_, err := io.WriteString(a.streams.Out, text)
	return err
}

// modeHelp lists the options of a mode.
func modeHelp(command string, mode settings.Mode) string {
	var b strings.Builder
	fmt.Fprintf(&b, "vft %s [flags]\n\n", command)
	for _, o := range settings.Options() {
		if o.Modes&mode != 0 {
			fmt.Fprintf(&b, "  %s\n        %s%s\n", flagNames(&o), o.Usage, defaultText(&o))
		}
	}
	return b.String()
}

// flagNames are the flags of an option, its own name last. That underscores
// mean dashes is left out.
func flagNames(o *settings.Option) string {
	var names []string
	for _, alias := range o.Aliases {
		dash := "--"
		if len(alias) == 1 {
			dash = "-"
		}
		names = append(names, dash+alias)
	}
	return strings.Join(append(names, "--"+o.Name), ", ")
}

func defaultText(o *settings.Option) string {
	switch {
	case o.Default == "":
		return ""
	case o.Name == "trap-pool":
		return fmt.Sprintf(" (default: the %d of vft config show)", strings.Count(o.Default, ",")+1)
	}
	return " (default " + o.Default + ")"
}
