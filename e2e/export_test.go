package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// corpus is a capture of the reference data.
func corpus(t testing.TB, elements ...string) string {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(append([]string{root, "corpus"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/", err)
		}
		t.Skipf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/", err)
	}
	return path
}

// labels are the attacks in the mixed capture, as (type, offender).
var labels = []string{"vertical_scan 10.77.0.66", "syn_flood 10.77.0.66", "horizontal_scan 203.0.113.66", "icmp_flood 10.77.0.67"}

// TestExportersShowTheLabelledAttacks lets real exporters read a capture and
// send what they make of it to a server.
func TestExportersShowTheLabelledAttacks(t *testing.T) {
	needProgram(t, "softflowd", "softflowd")
	needProgram(t, "pmacctd", "pmacct")
	capture := corpus(t, "attack", "lab_mixed_240s_snap128.pcap")
	dir := t.TempDir()
	softflowd := func(version string) []string {
		return []string{"softflowd", "-r", capture, "-n", "127.0.0.1:2055", "-v", version, "-d", "-p", filepath.Join(dir, "pid"+version), "-c", "none"} // its control socket may block it for ever
	}
	pmacctd := func(name, plugin string) []string {
		conf := filepath.Join(dir, name)
		text := fmt.Sprintf("daemonize: false\npcap_savefile: %s\npcap_savefile_wait: 1\n%s", capture, plugin)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"pmacctd", "-f", conf}
	}
	for _, c := range []struct {
		why, version string
		exporter     []string
	}{
		{"NetFlow 5 of softflowd", "netflow5", softflowd("5")},
		{"NetFlow 9 of softflowd", "netflow9", softflowd("9")},
		{"IPFIX of softflowd", "ipfix", softflowd("10")},
		{"NetFlow 9 of pmacctd", "netflow9", pmacctd("nf9", "plugins: nfprobe\nnfprobe_receiver: 127.0.0.1:2055\nnfprobe_version: 9\n")},
		{"IPFIX of pmacctd", "ipfix", pmacctd("nf10", "plugins: nfprobe\nnfprobe_receiver: 127.0.0.1:2055\nnfprobe_version: 10\n")},
	} {
		t.Run(c.version+" "+c.exporter[0], func(t *testing.T) {
			t.Parallel() // each has a namespace of its own, and pmacctd sleeps at start and end
			l := inNamespace(t)
			p := l.vft("host", "server", "--netflow", "127.0.0.1:2055", "--data-dir", t.TempDir())
			p.waitFor(p.err, 10*time.Second, "collecting flows on 127.0.0.1:2055")
			l.run("host", c.exporter[0], c.exporter[1:]...)
			eventually(t, 20*time.Second, c.why+": "+strings.Join(labels, ", "), func() bool {
				found := threats(t, p.out)
				return !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(found, l) })
			})
			t.Log(threats(t, p.out))
			if state := p.stop(); state != 0 {
				t.Errorf("the server ended with %d", state)
			}
		})
	}
}

// threats are the threats that fired so far, each as its type and offender,
// and all of them seen by the exporter on loopback.
func threats(t *testing.T, l *lines) (found []string) {
	t.Helper()
	for _, r := range records(t, l) {
		if th := r.VFT.Threat; r.Event.Dataset == "vft.threat" && th.State == "firing" {
			if th.Observer != "127.0.0.1" {
				t.Errorf("observer %q of %s", th.Observer, th.Type)
			}
			found = append(found, th.Type+" "+th.Offender)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
