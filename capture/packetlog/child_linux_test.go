package packetlog

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"vft/capture/packet"
)

func child(part string) {
	dir := os.Getenv("VFT_PACKETLOG_DIR")
	if part != "disks" {
		endless(dir, sizesOf(part))
	}
	if err := disks(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// disks logs to a small file system of its own, until it is full, and archives
// to another one.
func disks(dir string) error {
	logDir, archive := filepath.Join(dir, "log"), filepath.Join(dir, "archive")
	for path, size := range map[string]string{logDir: "size=256k", archive: "size=160k"} {
		if err := errors.Join(os.Mkdir(path, 0o700), unix.Mount("tmpfs", path, "tmpfs", 0, size)); err != nil {
			return fmt.Errorf("cannot mount: %w", err)
		}
	}
	var logged strings.Builder
	l := New(Config{Dir: logDir, Archive: archive, MaxFile: 64 << 10, Log: zerolog.New(&logged)})
	if err := l.Open(); err != nil {
		return err
	}
	send := func(k, n, size int) {
		l.Packet(key(k), packet.LinkEthernet, timeOf(n), size, frame(size, n))
	}
	for n := range 100 {
		send(1, n, 1000)
	}
	l.Archive(key(1)) // onto the other disk
	for n := range 1000 {
		send(2, n, []int{1000, 9000}[n%2])
	}
	l.Archive(key(2)) // there is not room for all
	report := map[string]uint64{}
	l.Counts(func(name string, n uint64) { report[name] = n })
	var problem error
	if report["errors_write"] == 0 || report["errors_archive"] == 0 || report["packets_dropped_error"] == 0 {
		problem = fmt.Errorf("no error of a full disk: %v", report)
	}
	if lines := strings.Count(logged.String(), "\n"); lines != 2 || !strings.Contains(logged.String(), "no space left on device") {
		problem = errors.Join(problem, fmt.Errorf("%d lines of log, not one for each kind:\n%s", lines, &logged))
	}
	for _, from := range []string{logDir, archive} {
		if err := exec.Command("cp", "-r", from, filepath.Join(dir, "kept-"+filepath.Base(from))).Run(); err != nil {
			problem = errors.Join(problem, err)
		}
	}
	l.Close()
	return problem
}

func TestDisks(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=disks", "VFT_PACKETLOG_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil && (errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "cannot mount")) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("user namespaces are missing: %v %s", err, out)
		}
		t.Skipf("user namespaces are missing: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left, archived := filesIn(t, filepath.Join(dir, "kept-log")), filesIn(t, filepath.Join(dir, "kept-archive"))
	whole(t, append(left, archived...))
	var first []int
	for _, path := range archived {
		if strings.Contains(path, "10.0.0.1.") {
			first = append(first, numbers(t, []string{path})...)
		}
	}
	consecutive(t, first, 0, 99)
	if len(left) == 0 {
		t.Error("what did not fit into the archive is lost")
	}
}

func TestLock(t *testing.T) {
	l := open(t, Config{})
	second := New(Config{Dir: l.cfg.Dir})
	if err := second.Open(); err == nil || !strings.Contains(err.Error(), "another vft") {
		t.Errorf("two at once: %v", err)
	}
	l.close()
	if err := second.Open(); err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
