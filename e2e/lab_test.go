// Package e2e runs the real vft beside real programs, on hosts that are
// network namespaces of this machine.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vft/siem/ecs/ecstest"
)

// binary is the vft under test, built once.
var binary string

func TestMain(m *testing.M) {
	if run, ok := helpers[os.Getenv("VFT_E2E_HELPER")]; ok {
		run()
		return
	}
	dir, err := os.MkdirTemp("", "vft-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "vft")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build vft: %v\n%s", err, out)
		os.Exit(1)
	}
	state := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(state)
}

// need ends a test that cannot run here: skipped on a desk, failed where
// nothing may be skipped.
func need(t *testing.T, what string, there bool) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("CI") == "true":
		t.Fatalf("this test needs %s", what)
	default:
		t.Skipf("this test needs %s", what)
	}
}

func needProgram(t *testing.T, name, pkg string) {
	t.Helper()
	_, err := exec.LookPath(name)
	need(t, name+" (Debian package "+pkg+")", err == nil)
}

// lab is a switch with hosts on it, each in a network namespace of its own.
// Host number i (from 1) has the addresses 10.77.0.i and fd77::i.
type lab struct {
	t      *testing.T
	prefix string
	hosts  map[string]int
}

// labs numbers them, so that a test may have several.
var labs atomic.Int32

func newLab(t *testing.T, hosts ...string) *lab {
	t.Helper()
	needProgram(t, "ip", "iproute2")
	need(t, "root, for network namespaces", os.Geteuid() == 0)
	l := &lab{t: t, prefix: fmt.Sprintf("vft%d-%d-", os.Getpid(), labs.Add(1)), hosts: map[string]int{}}
	l.namespace("switch")
	l.ip("-n", l.ns("switch"), "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.ns("switch"), "link", "set", "br0", "up")
	for i, host := range hosts {
		l.hosts[host] = i + 1
		l.namespace(host)
		port := fmt.Sprintf("port%d", i+1)
		l.ip("link", "add", port, "netns", l.ns("switch"), "type", "veth", "peer", "name", "eth0", "netns", l.ns(host))
		l.ip("-n", l.ns("switch"), "link", "set", port, "master", "br0", "up")
		l.ip("-n", l.ns(host), "addr", "add", l.addr(host)+"/24", "dev", "eth0")
		l.ip("-n", l.ns(host), "addr", "add", fmt.Sprintf("fd77::%d/64", i+1), "dev", "eth0", "nodad")
		l.ip("-n", l.ns(host), "link", "set", "eth0", "up")
	}
	return l
}

func (l *lab) ns(host string) string { return l.prefix + host }

// addr is the IPv4 address of a host; more of them can be added with ip.
func (l *lab) addr(host string) string { return fmt.Sprintf("10.77.0.%d", l.hosts[host]) }

func (l *lab) namespace(host string) {
	l.ip("netns", "add", l.ns(host))
	l.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.ns(host)).Run() })
	l.ip("-n", l.ns(host), "link", "set", "lo", "up")
}

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// on makes a command that runs on a host of the lab.
func (l *lab) on(host, name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", l.ns(host), name}, args...)...)
}

// run runs a command on a host to its end and returns what it printed.
func (l *lab) run(host, name string, args ...string) string {
	l.t.Helper()
	out, err := l.on(host, name, args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s on %s: %v\n%s", name, host, err, out)
	}
	return string(out)
}

// vft starts vft on a host.
func (l *lab) vft(host string, args ...string) *process {
	l.t.Helper()
	return start(l.t, host, l.on(host, binary, args...))
}

// helper starts a function of this test binary as a program on a host.
func (l *lab) helper(host, name string, args ...string) *process {
	l.t.Helper()
	cmd := l.on(host, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "VFT_E2E_HELPER="+name)
	return start(l.t, host+" "+name, cmd)
}

// process is a running program whose output is kept line by line.
type process struct {
	t        *testing.T
	name     string
	cmd      *exec.Cmd
	out, err *lines
	done     chan struct{} // closed when it has ended
	state    error         // valid when done is closed
}

func start(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, out: newLines(), err: newLines(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.err
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", name, err)
	}
	go func() {
		p.state = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s stdout:\n%s", name, p.out.tail(40))
			t.Logf("%s stderr:\n%s", name, p.err.tail(40))
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process in order and returns its exit state.
func (p *process) stop() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait(15 * time.Second)
}

// wait waits for the end of the process and returns its exit state.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%s does not end within %s", p.name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// lines keeps what is written to it, whole lines only.
type lines struct {
	mu   sync.Mutex // guards all below
	rest []byte
	all  []string
	more chan struct{} // closed, and replaced, when a line comes
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		l.all = append(l.all, string(l.rest[:i]))
		l.rest = l.rest[i+1:]
		close(l.more)
		l.more = make(chan struct{})
	}
}

func (l *lines) from(n int) ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[n:], l.more
}

func (l *lines) tail(n int) string {
	all, _ := l.from(0)
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// waitFor returns the first line that has all of the parts.
func (p *process) waitFor(l *lines, limit time.Duration, parts ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for n := 0; ; {
		fresh, more := l.from(n)
		for _, line := range fresh {
			if containsAll(line, parts) {
				return line
			}
		}
		n += len(fresh)
		select {
		case <-more:
		case <-p.done:
			if again, _ := l.from(n); len(again) == 0 {
				p.t.Fatalf("%s ended without a line with %q", p.name, parts)
			}
		case <-ctx.Done():
			p.t.Fatalf("%s has no line with %q within %s", p.name, parts, limit)
		}
	}
}

func containsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// command runs a program to its end and returns what it wrote to stdout.
func command(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return string(out), err
}

// eventually waits until hold is true.
func eventually(t *testing.T, limit time.Duration, what string, hold func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !hold() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after %s: %s", limit, what)
		}
	}
}

// record is what the tests read of a record; every record is held against its
// schema.
type record struct {
	Timestamp time.Time `json:"@timestamp"`
	Message   string    `json:"message"`
	Event     struct {
		ID       string `json:"id"`
		Dataset  string `json:"dataset"`
		Kind     string `json:"kind"`
		Action   string `json:"action"`
		Severity int    `json:"severity"`
	} `json:"event"`
	Source      endpoint `json:"source"`
	Destination endpoint `json:"destination"`
	Agent       struct {
		ID string `json:"id"`
	} `json:"agent"`
	Rule struct {
		ID string `json:"id"`
	} `json:"rule"`
	VFT struct {
		Evidence string `json:"evidence"`
		Trap     struct {
			Payload string `json:"payload"`
			Tool    string `json:"tool"`
		} `json:"trap"`
		Alert  alert  `json:"alert"`
		Threat threat `json:"threat"`
		Flow   struct {
			Exporter, Version string
			Sampling          int
		} `json:"flow"`
	} `json:"vft"`
}

type endpoint struct {
	IP   string `json:"ip"`
	Port int    `json:"port"`
}

type alert struct {
	ID, State, Kind, Key, Reason, Evidence string
	Rules                                  []struct {
		ID               string
		Value, Threshold float64
	}
	Count   int
	Clients []string
	Sources []string
	Ports   []int
}

type threat struct {
	Type, Observer, Offender, Sensor, State string
	Details                                 map[string]any
}

// records parses every line so far.
func records(t *testing.T, l *lines) []record {
	t.Helper()
	all, _ := l.from(0)
	var out []record
	for _, line := range all {
		var r record
		if err := json.NewDecoder(bufio.NewReader(strings.NewReader(line))).Decode(&r); err != nil {
			t.Fatalf("stdout holds a line that is no record: %q: %v", line, err)
		}
		ecstest.Validate(t, []byte(line))
		out = append(out, r)
	}
	return out
}

// alerts returns the alert records so far that are in one of the states.
func alerts(t *testing.T, l *lines, states ...string) []record {
	t.Helper()
	var out []record
	for _, r := range records(t, l) {
		for _, state := range states {
			if r.Event.Dataset == "vft.alert" && r.VFT.Alert.State == state {
				out = append(out, r)
			}
		}
	}
	return out
}
