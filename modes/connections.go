package modes

import (
	"context"
	"fmt"
	"text/tabwriter"

	"vft/capture/process"
)

// listConnections prints every connection of this host with the process that
// holds it.
func listConnections(ctx context.Context, p parts) error {
	method, err := process.ParseMethod(p.values.Text("process"))
	if err != nil {
		return p.values.Invalid("process", "%v", err)
	}
	lookup := process.New(process.Config{Method: method})
	defer lookup.Close()
	all, err := lookup.List(ctx)
	if err != nil {
		return cannotOpen(err)
	}
	if p.values.Bool("json") {
		for _, c := range all {
			if err := writeLine(p.streams.Out, c); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(p.streams.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "PROTO\tSTATE\tLOCAL\tREMOTE\tPID\tUSER\tCONTAINER\tCOMMAND")
	for _, c := range all {
		holder := process.Process{}
		if c.Process != nil {
			holder = *c.Process
		}
		command := holder.CommandLine
		if command == "" {
			command = holder.Name
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Proto, c.State, c.Local, c.Remote, number(holder.PID), dash(holder.User), dash(holder.Container), dash(command))
	}
	return table.Flush()
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
