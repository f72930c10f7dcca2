package process

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes connections for people to read, one a line.
func WriteTable(out io.Writer, all []Connection) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "PROTO\tSTATE\tLOCAL\tREMOTE\tPID\tUSER\tCONTAINER\tCOMMAND")
	for _, c := range all {
		holder := Process{}
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
