package modes

import (
	"context"

	"vft/capture/process"
)

// listConnections prints every connection of this host with the process that
// holds it.
func listConnections(ctx context.Context, p deps) error {
	method, err := process.ParseMethod(p.settings.Packets.Process)
	if err != nil {
		return p.settings.Invalid(&p.settings.Packets.Process, "%v", err)
	}
	lookup := process.New(process.Config{Method: method})
	defer lookup.Close()
	all, err := lookup.List(ctx)
	if err != nil {
		return cannotOpen(err)
	}
	if p.settings.JSON {
		for _, c := range all {
			if err := writeLine(p.streams.Out, c); err != nil {
				return err
			}
		}
		return nil
	}
	return process.WriteTable(p.streams.Out, all)
}
