package ecs

import "vft/event"

// process writes the program that holds the local end, if it is known.
func (r record) process(p *event.Process) record {
	if p == nil {
		return r
	}
	r = r.key("process").open().key("pid").int(int64(max(0, p.PID))).key("name").string(p.Name)
	r = r.optional("command_line", p.CommandLine).close()
	if p.User != "" {
		r = r.key("user").open().key("name").string(p.User).close()
	}
	if p.Container != "" {
		r = r.key("container").open().key("id").string(p.Container).close()
	}
	return r
}
