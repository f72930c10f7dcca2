package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReloadChecksFirst(t *testing.T) {
	l := inNamespace(t)
	rules, secret := filepath.Join(t.TempDir(), "rules.yaml"), secretFile(t)
	write := func(text string) {
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rules: {touch: {severity: 21}}\n")
	s := l.vft("host", "server", "--rules", rules, "--secret-file", secret, "--data-dir", t.TempDir())
	s.waitFor(s.err, 10*time.Second, "listening on")
	c := l.vft("host", "client", "--secret-file", secret, "--trap-ports", "8080", "--data-dir", t.TempDir())
	c.waitFor(c.err, 10*time.Second, `"connected"`)
	reload := func() {
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	write("rules:\n  touch: {severity: 900}\n")
	reload()
	s.waitFor(s.err, 5*time.Second, "not reloaded", "rules.yaml:2", "severity")
	touchFrom := func(source string) {
		if l.helper("host", "touch", source, "127.0.0.1:8080").wait(5*time.Second) != 0 {
			t.Fatal("the trap does not answer")
		}
	}
	touchFrom("127.0.0.2")
	s.waitFor(s.out, 5*time.Second, `"severity":21`, "127.0.0.2")
	write("rules: {touch: {severity: 22}}\n")
	reload()
	s.waitFor(s.err, 5*time.Second, `"message":"reloaded"`)
	touchFrom("127.0.0.3")
	s.waitFor(s.out, 5*time.Second, `"severity":22`, "127.0.0.3")
}

// Sensors that a configuration names later look at vft's own flows too, and what
// needs a restart is told as long as it does.
func TestReloadTakesSensorsForOwnFlows(t *testing.T) {
	l := inNamespace(t)
	dir := t.TempDir()
	config, sensors := filepath.Join(dir, "vft.yaml"), filepath.Join(dir, "sensors.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(sensors, "sensors: {knock: {filter: {dst_ports: [8080], protocol: tcp}, key: source, severity: 33}}\n")
	const first = "trap-ports: 8080\ninterface: lo\nprocess: off\n"
	write(config, first)
	p := l.vft("host", "standalone", "--config", config, "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	said := 0 // lines so far
	reload := func(parts ...string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "it does not say "+strings.Join(parts, " "), func() bool {
			lines, _ := p.err.from(said)
			i := slices.IndexFunc(lines, func(line string) bool { return containsAll(line, parts) })
			if i >= 0 {
				said += i + 1
			}
			return i >= 0
		})
	}
	write(config, first+"sensors: "+sensors+"\n")
	reload(`"message":"reloaded"`)
	if l.helper("host", "touch", "127.0.0.2", "127.0.0.1:8080").wait(5*time.Second) != 0 {
		t.Fatal("the trap does not answer")
	}
	write(config, first+"sensors: "+sensors+"\ntrap-hold: 1s\n")
	reload(`"settings":["trap-hold"]`, "need a restart")
	reload(`"settings":["trap-hold"]`, "need a restart")
	write(sensors, "sensors: {knock: {severity: 900}}\n")
	reload("not reloaded", "sensors.yaml:1", "900")
	if state := p.stop(); state != 0 {
		t.Errorf("it ended with %d", state)
	}
	p.waitFor(p.out, time.Second, `"vft.threat"`, `"type":"knock"`, "127.0.0.2") // its flow ended with the capture
}

func TestStopsInOrderWhileBusy(t *testing.T) {
	l := inNamespace(t)
	p := l.vft("host", "standalone", "--trap-ports", "8080", "--dest", "127.0.0.1:6000", "--dest", "stdout://", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	l.helper("host", "silent", "127.0.0.1:8080", "20")
	eventually(t, 5*time.Second, "nobody is held", func() bool {
		out, _ := l.on("host", "ss", "-tnH", "state", "established", "sport", "=", ":8080").Output()
		return strings.Count(string(out), "\n") >= 8
	})
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if n := len(trapRecords(t, p.out)); n < 8 {
		t.Errorf("%d held connections were written at the end, not all", n)
	}
}

func TestServersDoNotShareADataDirectory(t *testing.T) {
	l := inNamespace(t)
	dir := t.TempDir()
	s := l.vft("host", "server", "--data-dir", dir)
	s.waitFor(s.err, 10*time.Second, "listening on")
	cmd := l.on("host", binary, "server", "--bind", "127.0.0.1:9998", "--data-dir", dir)
	second := start(t, "second", cmd)
	if state := second.wait(10 * time.Second); state != 3 {
		t.Errorf("the second server ended with %d, not 3", state)
	}
	second.waitFor(second.err, time.Second, "is another vft server running?")
	third := l.vft("host", "server", "--data-dir", t.TempDir())
	if state := third.wait(10 * time.Second); state != 3 {
		t.Errorf("a server on a taken port ended with %d, not 3", state)
	}
	third.waitFor(third.err, time.Second, "cannot bind 127.0.0.1:9999", "--bind")
}

func TestBuildsAreReproducible(t *testing.T) {
	var first []byte
	for range 2 {
		dir := t.TempDir()
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", filepath.Join(dir, "vft"), "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		made, err := os.ReadFile(filepath.Join(dir, "vft"))
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && string(first) != string(made) {
			t.Error("two builds of the same source differ")
		}
		first = made
	}
}
