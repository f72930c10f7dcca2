package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkVersion is how long vft takes to start and say which it is.
func BenchmarkVersion(b *testing.B) {
	for b.Loop() {
		if err := exec.Command(binary, "version").Run(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(20, "limit-ms/start")
}

// BenchmarkIdleClient is what a client costs that is connected and sees
// nothing, over half a minute.
func BenchmarkIdleClient(b *testing.B) {
	dir := b.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("correct horse battery staple\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	const address = "127.0.0.1:19999"
	server := exec.Command(binary, "server", "--bind", address, "--secret-file", secret, "--data-dir", filepath.Join(dir, "s"))
	client := exec.Command(binary, "client", "--server", address, "--secret-file", secret, "--data-dir", filepath.Join(dir, "c"))
	for _, cmd := range []*exec.Cmd{server, client} {
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	}
	<-time.After(5 * time.Second)
	for b.Loop() {
		before := cpuTicks(b, client.Process.Pid)
		<-time.After(30 * time.Second)
		b.ReportMetric(float64(cpuTicks(b, client.Process.Pid)-before)/100/30*100, "%-of-a-core")
	}
	b.ReportMetric(0.1, "limit-%-of-a-core")
	b.ReportMetric(residentMB(b, client.Process.Pid), "MB-resident")
	b.ReportMetric(20, "limit-MB-resident")
}

// cpuTicks is the user and system time of a process, in hundredths of a second
// (proc(5), stat).
func cpuTicks(b *testing.B, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

func residentMB(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(kb)[0])
			return float64(n) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
