package traps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary starts itself again for parts that need a process of their
// own: a network namespace, a limit of descriptors, or a peer whose processor
// time is not the server's. The role says which; its task comes as JSON.
const (
	roleVariable = "VFT_TRAPS_ROLE"
	taskVariable = "VFT_TRAPS_TASK"
)

// task is what a role is asked to do.
type task struct {
	Port    uint16  // where the trap listens
	Count   int     // connections
	Rate    int     // a second; 0: as fast as it goes
	Keep    int     // connections kept open by the generator
	Hold    string  // of the traps, as time.ParseDuration reads it
	Network bool    // bring the loopback interface up first
	Stay    bool    // the generator keeps its connections until its input ends
	Seconds float64 // how long a flood lasts
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m)
	}
	var t task
	if err := json.Unmarshal([]byte(os.Getenv(taskVariable)), &t); err != nil {
		fail(err)
	}
	if t.Network {
		if err := loopbackUp(); err != nil {
			fail(err)
		}
	}
	roles := map[string]func(task) any{
		"serve":    serveRole,
		"connect":  connectRole,
		"flood":    floodRole,
		"silent":   silentRole,
		"starve":   starveRole,
		"halfopen": halfOpenRole,
		"lowport":  lowPortRole,
	}
	result := roles[role](t)
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// self prepares the command of a role; the child ends with this process.
func self(role string, t task) *exec.Cmd {
	text, err := json.Marshal(t)
	if err != nil {
		fail(err)
	}
	program, err := os.Executable()
	if err != nil {
		fail(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), roleVariable+"="+role, taskVariable+"="+string(text))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Stderr = os.Stderr
	return command
}

// inNamespace runs a role in a network namespace of its own and decodes what
// it returns into result.
func inNamespace(t testing.TB, role string, work task, result any) {
	t.Helper()
	work.Network = true
	command := self(role, work)
	command.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	if os.Getuid() != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var errors bytes.Buffer
	command.Stderr = &errors
	output, err := command.Output()
	if err != nil && (os.IsPermission(err) || strings.Contains(err.Error(), "not permitted")) {
		missing(t, "the privilege to make a network namespace (CAP_SYS_ADMIN)")
	}
	if err != nil {
		t.Fatalf("role %s: %v\n%s", role, err, errors.String())
	}
	if err := json.Unmarshal(output, result); err != nil {
		t.Fatalf("role %s returned %q: %v", role, output, err)
	}
}

// missing skips a test for want of what, and fails it where nothing may be
// skipped.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s", what)
	}
	t.Skipf("this test needs %s", what)
}

// run runs a role as a child of this process and decodes what it returns.
func run(role string, t task, result any) {
	output, err := self(role, t).Output()
	if err == nil {
		err = json.Unmarshal(output, result)
	}
	if err != nil {
		fail(fmt.Errorf("role %s: %w", role, err))
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// processorTime returns the user and system time of this process so far.
func processorTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
