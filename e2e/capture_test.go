package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// flowLine is what the tests compare of a flow.
func flowLine(t *testing.T, line string) (text string, ok bool) {
	t.Helper()
	var r struct {
		Event struct {
			Dataset string `json:"dataset"`
		} `json:"event"`
		Source      endpoint `json:"source"`
		Destination endpoint `json:"destination"`
		Network     struct {
			Transport      string
			Packets, Bytes uint64
		} `json:"network"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%q is no record: %v", line, err)
	}
	return fmt.Sprintf("%s %v %v %d %d", r.Network.Transport, r.Source, r.Destination, r.Network.Packets, r.Network.Bytes), r.Event.Dataset == "vft.flow"
}

func flowLines(t *testing.T, text string) (flows []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if flow, ok := flowLine(t, line); ok {
			flows = append(flows, flow)
		}
	}
	slices.Sort(flows)
	return flows
}

// wire is two hosts joined by a cable, on which nothing speaks by itself.
func wire(t *testing.T) *lab {
	l := newLab(t)
	for _, end := range []string{"left", "right"} {
		l.namespace(end)
		l.run(end, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	}
	l.ip("link", "add", "wire", "netns", l.ns("left"), "type", "veth", "peer", "name", "wire", "netns", l.ns("right"))
	for _, end := range []string{"left", "right"} {
		l.ip("-n", l.ns(end), "link", "set", "wire", "up")
	}
	return l
}

func TestLiveEqualsFile(t *testing.T) {
	needProgram(t, "tcpreplay", "tcpreplay")
	l := wire(t)
	for _, name := range []string{"mixed.pcap", "scan.pcap"} {
		file, err := filepath.Abs(filepath.Join("..", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := command(binary, "standalone", "--pcapfile", file, "--flows", "--data-dir", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		p := l.vft("right", "standalone", "-i", "wire", "--traps", "0", "--flows", "--process", "off", "--data-dir", t.TempDir())
		p.waitFor(p.err, 10*time.Second, "0 traps are open")
		l.run("left", "tcpreplay", "-q", "--pps=20000", "-i", "wire", file)
		if state := p.stop(); state != 0 {
			t.Errorf("standalone ended with %d", state)
		}
		all, _ := p.out.from(0)
		if got := flowLines(t, strings.Join(all, "\n")); !slices.Equal(got, flowLines(t, want)) {
			t.Errorf("%s: %d flows live, %d from the file, or they differ", name, len(got), len(flowLines(t, want)))
		}
		p.waitFor(p.err, time.Second, `"message":"counters of capture"`)
		if strings.Contains(p.err.tail(20), `"capture_dropped"`) {
			t.Errorf("%s: the kernel dropped packets: %s", name, p.err.tail(3))
		}
		if !strings.Contains(p.err.tail(60), "flow") {
			t.Error("there is no table of the top flows")
		}
	}
}

func TestCaptureAsAnOrdinaryUser(t *testing.T) {
	needProgram(t, "setpriv", "util-linux")
	l := wire(t)
	home := t.TempDir()
	for dir := home; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(binary), 0o755); err != nil {
		t.Fatal(err)
	}
	args := func(caps string) []string {
		return []string{"--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=" + caps, "--ambient-caps=" + caps,
			binary, "standalone", "-i", "wire", "--traps", "0", "--data-dir", filepath.Join(home, "d")}
	}
	p := start(t, "with cap_net_raw", l.on("right", "setpriv", args("+net_raw")...))
	p.waitFor(p.err, 10*time.Second, "0 traps are open")
	if state := p.stop(); state != 0 {
		t.Errorf("with cap_net_raw it ended with %d", state)
	}
	p = start(t, "without", l.on("right", "setpriv", args("-all")...))
	if state := p.wait(10 * time.Second); state != 3 {
		t.Errorf("without privilege it ended with %d, not 3", state)
	}
	p.waitFor(p.err, time.Second, "cap_net_raw")
}

func TestListConnectionsNamesTheProcess(t *testing.T) {
	l := inNamespace(t)
	l.helper("host", "sink", "127.0.0.1:6000")
	eventually(t, 10*time.Second, "the sink does not listen", func() bool { return len(l.listening("host")) == 1 })
	out := l.run("host", binary, "standalone", "--list-connections", "--json")
	if !strings.Contains(out, `"local":"127.0.0.1:6000"`) || !strings.Contains(out, `"pid":`) {
		t.Errorf("the list does not name the listener:\n%s", out)
	}
}

func TestClientReportsAScanOfItsInterface(t *testing.T) {
	needProgram(t, "nmap", "nmap")
	needProgram(t, "capinfos", "tshark")
	l := newLab(t, "server", "watched", "attacker")
	secret, packets := secretFile(t), t.TempDir()
	s := l.vft("server", "server", "--bind", "0.0.0.0:9999", "--secret-file", secret, "--data-dir", t.TempDir())
	s.waitFor(s.err, 10*time.Second, "listening on")
	c := l.vft("watched", "client", "-i", "eth0", "--traps", "0", "--server", l.addr("server")+":9999", "--secret-file", secret,
		"--data-dir", t.TempDir(), "--log-packets", "--log-dir", packets, "--archive-dir", filepath.Join(packets, "archive"))
	c.waitFor(c.err, 10*time.Second, `"connected"`)
	l.run("attacker", "nmap", "-n", "-Pn", "-sX", "-p", "1-200", l.addr("watched"))
	line := s.waitFor(s.out, 20*time.Second, `"vft.threat"`, "vertical_scan", `"xmas"`)
	if !strings.Contains(line, l.addr("attacker")) {
		t.Errorf("the threat does not name the attacker: %s", line)
	}
	if state := c.stop(); state != 0 {
		t.Errorf("the client ended with %d", state)
	}
	files, err := filepath.Glob(filepath.Join(packets, "archive", "*.pcapng"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no packets of the scan are in the archive: %v", err)
	}
	if out, err := command("capinfos", append([]string{"-c", "-M"}, files[:min(len(files), 20)]...)...); err != nil {
		t.Errorf("capinfos cannot read the archive: %v\n%s", err, out)
	}
}

func TestShortConnectionNamesItsProcess(t *testing.T) {
	l := inNamespace(t)
	l.helper("host", "sink", "127.0.0.1:6000")
	eventually(t, 10*time.Second, "the sink does not listen", func() bool { return len(l.listening("host")) == 1 })
	p := l.vft("host", "standalone", "-i", "lo", "--traps", "0", "--flows", "--process", "netlink", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "0 traps are open")
	start(t, "nc", l.on("host", "sh", "-c", "(echo hello; sleep 2) | timeout 4 nc 127.0.0.1 6000; true")).wait(10 * time.Second)
	p.stop()
	found := false
	for _, line := range strings.Split(p.out.tail(100), "\n") {
		found = found || strings.Contains(line, `"port":6000`) && strings.Contains(line, `"process":{"pid":`)
	}
	if !found {
		t.Errorf("no flow to port 6000 names its process:\n%s", p.out.tail(5))
	}
}
