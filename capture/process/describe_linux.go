package process

import (
	"bytes"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// describer reads what a process is from its files, and keeps it while it runs
// the same program.
type describer struct {
	proc  string
	known map[int]described
	users map[uint32]string
}

type described struct {
	*Process        // never changed once it is here
	start    uint64 // ticks after boot, which tells two processes with one pid apart
}

// Limits of what is kept; a full table is emptied.
const (
	maxKnown       = 8192
	maxUsers       = 1024
	maxCommandLine = 1024
)

// of describes the process pid. When it has ended, what was known of it counts.
func (d *describer) of(pid int) (described, bool) {
	had, ok := d.known[pid]
	name, start, alive := d.stat(pid)
	if !alive {
		return had, ok
	}
	if ok && had.start == start && had.Name == name {
		return had, true
	}
	p := &Process{PID: pid, Name: name, CommandLine: d.commandLine(pid)}
	p.UID = d.uid(pid)
	p.User = d.user(p.UID)
	if text, err := d.read(pid, "cgroup"); err == nil {
		p.Container, p.Runtime, p.Pod = container(text)
	}
	if d.known == nil || len(d.known) >= maxKnown {
		d.known = map[int]described{}
	}
	d.known[pid] = described{p, start}
	return d.known[pid], true
}

func (d *describer) read(pid int, file string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.proc, strconv.Itoa(pid), file))
}

// stat reads name and start of a process (proc_pid_stat(5)). The name stands in
// parentheses and may hold some itself.
func (d *describer) stat(pid int) (name string, start uint64, ok bool) {
	text, err := d.read(pid, "stat")
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if err != nil || open < 0 || end < open {
		return "", 0, false
	}
	const field = 22 - 3 // of those behind the name
	fields := bytes.Fields(text[end+1:])
	if len(fields) <= field {
		return "", 0, false
	}
	start, err = strconv.ParseUint(string(fields[field]), 10, 64)
	return clean(text[open+1 : end]), start, err == nil
}

func (d *describer) commandLine(pid int) string {
	text, _ := d.read(pid, "cmdline")
	text = bytes.TrimRight(text, "\x00")
	text = text[:min(len(text), maxCommandLine)]
	return clean(bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
}

func clean(text []byte) string { return strings.ToValidUTF8(string(text), "\uFFFD") }

// uid returns the effective user of a process.
func (d *describer) uid(pid int) uint32 {
	text, _ := d.read(pid, "status")
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) > 2 && string(fields[0]) == "Uid:" {
			n, _ := strconv.ParseUint(string(fields[2]), 10, 32)
			return uint32(n)
		}
	}
	return 0
}

func (d *describer) user(uid uint32) string {
	if name, ok := d.users[uid]; ok {
		return name
	}
	if d.users == nil || len(d.users) >= maxUsers {
		d.users = map[uint32]string{}
	}
	name := ""
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		name = u.Username
	}
	d.users[uid] = name
	return name
}
