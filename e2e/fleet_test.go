package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const pool = "21,22,23,25,80,110,111,135,139,143,443,445,554,873,1080,1433,1521,1723,1883,2049,2222,2323,2375,3306,3389," +
	"5000,5060,5432,5555,5900,5985,6379,8000,8080,8081,8443,8888,9200,11211,27017"

// fleet is a server and three clients in a lab, each on a host of its own.
type fleet struct {
	*lab
	server  *process
	clients map[string]*process
}

// shortRules are the built-in rules with incidents that end after few seconds
// of quiet, so that a test can see their end.
func shortRules(t *testing.T, quiet time.Duration) string {
	t.Helper()
	text, err := command(binary, "config", "show", "--rules")
	if err != nil {
		t.Fatalf("config show --rules: %v", err)
	}
	changed := regexp.MustCompile(`(?m)^(\s*quiet-max:).*$`).ReplaceAllString(text, fmt.Sprintf("${1} %s", quiet))
	if changed == text {
		t.Fatal("the built-in rules have no quiet-max")
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newFleet starts the server, then the clients with the given further flags,
// and returns when every client has the traps that the server dealt.
func newFleet(t *testing.T, hosts []string, serverFlags []string, clientFlags map[string][]string) *fleet {
	t.Helper()
	f := &fleet{lab: newLab(t, append([]string{"server", "alpha", "beta", "gamma"}, hosts...)...), clients: map[string]*process{}}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"server", "--bind", "0.0.0.0:9999", "--events", "--secret-file", secret, "--data-dir", t.TempDir()}, serverFlags...)
	f.server = f.vft("server", args...)
	f.server.waitFor(f.server.err, 10*time.Second, "9999")
	for _, host := range []string{"alpha", "beta", "gamma"} {
		args := append([]string{"client", "--server", f.addr("server") + ":9999", "--secret-file", secret, "--data-dir", t.TempDir()}, clientFlags[host]...)
		f.clients[host] = f.vft(host, args...)
		f.clients[host].waitFor(f.clients[host].err, 10*time.Second, `"connected"`)
	}
	for host, c := range f.clients {
		if clientFlags[host] == nil {
			eventually(t, 10*time.Second, "the server dealt "+host+" no ports", c.wasDealt)
		}
		eventually(t, 10*time.Second, "the traps of "+host+" are not open", func() bool { return len(f.traps(host)) >= 5 })
	}
	return f
}

// wasDealt reports whether the client has opened the ports that the server
// dealt: those of before are closed then.
func (p *process) wasDealt() bool {
	all, _ := p.err.from(0)
	connected := slices.IndexFunc(all, func(line string) bool { return strings.Contains(line, `"message":"connected"`) })
	return connected >= 0 && slices.ContainsFunc(all[connected:], func(line string) bool { return strings.Contains(line, `traps are open"`) })
}

// traps asks the host, not vft, which ports are open there.
func (f *fleet) traps(host string) []int {
	f.t.Helper()
	var ports []int
	for line := range strings.Lines(f.run(host, "ss", "-ltnHp")) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.Contains(line, `"vft"`) {
			continue
		}
		port, err := strconv.Atoi(fields[3][strings.LastIndexByte(fields[3], ':')+1:])
		if err != nil {
			f.t.Fatalf("ss printed %q", line)
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return ports
}

// all returns every address:port on which a trap stands.
func (f *fleet) all() (targets []string, ports []int) {
	for host := range f.clients {
		for _, port := range f.traps(host) {
			targets = append(targets, fmt.Sprintf("%s:%d", f.addr(host), port))
			if !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	slices.Sort(ports)
	return targets, ports
}

// hits returns the trap records that the server printed.
func (f *fleet) hits() []record {
	var hits []record
	for _, r := range records(f.t, f.server.out) {
		if r.Event.Dataset == "vft.trap" {
			hits = append(hits, r)
		}
	}
	return hits
}

// raised waits until an incident with this key shows a rule, and returns its
// newest record.
func (f *fleet) raised(kind, key, rule string) record {
	f.t.Helper()
	var found record
	eventually(f.t, 15*time.Second, fmt.Sprintf("no incident of %s %s by rule %s", kind, key, rule), func() bool {
		for _, r := range alerts(f.t, f.server.out, "firing", "updated") {
			if r.VFT.Alert.Kind == kind && r.VFT.Alert.Key == key && slices.Contains(ruleIDs(r), rule) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

func ruleIDs(r record) []string {
	var ids []string
	for _, rule := range r.VFT.Alert.Rules {
		ids = append(ids, rule.ID)
	}
	return ids
}

func TestScanOfThreeHostsIsOneIncident(t *testing.T) {
	needProgram(t, "nmap", "nmap")
	f := newFleet(t, []string{"attacker"}, []string{"--rules", shortRules(t, 3*time.Second)}, nil)
	targets, ports := f.all()
	start := time.Now()
	f.run("attacker", "nmap", "-n", "-Pn", "-sT", "-p", pool, f.addr("alpha"), f.addr("beta"), f.addr("gamma"))
	attacker := f.addr("attacker")

	final := f.raised("source", attacker, "sweep")
	first := alerts(t, f.server.out, "firing")[0]
	if hit := f.hits()[0]; first.Timestamp.Sub(hit.Timestamp) > time.Second {
		t.Errorf("the first alert came %s after the first hit", first.Timestamp.Sub(hit.Timestamp))
	}
	eventually(t, 20*time.Second, "the incident does not end", func() bool { return len(alerts(t, f.server.out, "resolved")) > 0 })
	t.Logf("scan to end of incident: %s", time.Since(start))
	final = alerts(t, f.server.out, "resolved")[0]

	if got := alerts(t, f.server.out, "firing"); len(got) != 1 {
		t.Errorf("%d incidents were raised, not one: %+v", len(got), got)
	}
	if final.Rule.ID != "sweep" || final.VFT.Alert.Key != attacker {
		t.Errorf("the strongest rule is %s of %s", final.Rule.ID, final.VFT.Alert.Key)
	}
	for _, rule := range []string{"touch", "host-scan", "slow-scan", "same-source", "same-client", "sweep"} {
		if !slices.Contains(ruleIDs(final), rule) {
			t.Errorf("the incident does not list the rule %s: %v", rule, ruleIDs(final))
		}
	}
	if len(final.VFT.Alert.Clients) != 3 || final.VFT.Alert.Count != len(targets) {
		t.Errorf("the incident names %d clients and %d events; there were 3 and %d", len(final.VFT.Alert.Clients), final.VFT.Alert.Count, len(targets))
	}
	if got := slices.Sorted(slices.Values(final.VFT.Alert.Ports)); !slices.Equal(got, ports) {
		t.Errorf("the incident names ports %v, not %v", got, ports)
	}
	f.checkHits(attacker, targets)
}

// checkHits holds that every target was hit once, by source, as the right client.
func (f *fleet) checkHits(source string, targets []string) {
	f.t.Helper()
	var hit []string
	names := map[string]string{} // address of a client -> its name
	for _, r := range f.hits() {
		hit = append(hit, fmt.Sprintf("%s:%d", r.Destination.IP, r.Destination.Port))
		if r.Source.IP != source || r.Event.Action != "trap_hit" || r.VFT.Evidence < "E1" {
			f.t.Errorf("a trap record says source %s, action %s, evidence %s", r.Source.IP, r.Event.Action, r.VFT.Evidence)
		}
		if before := names[r.Destination.IP]; before != "" && before != r.Agent.ID {
			f.t.Errorf("hits on %s come from two clients: %s and %s", r.Destination.IP, before, r.Agent.ID)
		}
		names[r.Destination.IP] = r.Agent.ID
	}
	slices.Sort(hit)
	slices.Sort(targets)
	if !slices.Equal(hit, targets) {
		f.t.Errorf("trap records for %v, connections to %v", hit, targets)
	}
}

func TestTwoAttackersAreTwoIncidents(t *testing.T) {
	needProgram(t, "nmap", "nmap")
	f := newFleet(t, []string{"mallory", "trudy"}, nil, nil)
	scan := func(host string) *process {
		return start(t, host, f.on(host, "nmap", "-n", "-Pn", "-sT", "-p", pool, f.addr("alpha"), f.addr("beta"), f.addr("gamma")))
	}
	a, b := scan("mallory"), scan("trudy")
	a.wait(time.Minute)
	b.wait(time.Minute)
	f.raised("source", f.addr("mallory"), "sweep")
	f.raised("source", f.addr("trudy"), "sweep")
	open := map[string]bool{}
	for _, r := range alerts(t, f.server.out, "firing") {
		open[r.VFT.Alert.ID] = true
	}
	for _, r := range alerts(t, f.server.out, "resolved") {
		delete(open, r.VFT.Alert.ID)
	}
	if len(open) != 2 {
		t.Errorf("%d incidents are open, not two", len(open))
	}
}

func TestThreeSourcesOnOnePortAreAnIncidentOfThePort(t *testing.T) {
	port := map[string][]string{}
	for _, host := range []string{"alpha", "beta", "gamma"} {
		port[host] = []string{"--trap-ports", "8080,21,22,23,25"}
	}
	f := newFleet(t, []string{"one", "two", "three"}, nil, port)
	for source, target := range map[string]string{"one": "alpha", "two": "beta", "three": "gamma"} {
		f.helper(source, "touch", f.addr(source), f.addr(target)+":8080").wait(10 * time.Second)
	}
	incident := f.raised("port", "8080", "same-port")
	if incident.VFT.Alert.Count != 3 || len(incident.VFT.Alert.Clients) != 3 || len(incident.VFT.Alert.Sources) != 3 {
		t.Errorf("the incident counts %d hits, %d clients, %d sources; there were 3 of each",
			incident.VFT.Alert.Count, len(incident.VFT.Alert.Clients), len(incident.VFT.Alert.Sources))
	}
	raised := map[string]bool{}
	for _, r := range alerts(t, f.server.out, "firing") {
		if r.VFT.Alert.ID != incident.VFT.Alert.ID {
			raised[r.VFT.Alert.ID] = true
		}
	}
	for _, r := range alerts(t, f.server.out, "resolved") {
		if raised[r.VFT.Alert.ID] && strings.Contains(r.VFT.Alert.Reason, "joined "+incident.VFT.Alert.ID) {
			delete(raised, r.VFT.Alert.ID)
		}
	}
	if len(raised) != 0 {
		t.Errorf("%d notices are still open beside the incident of the port", len(raised))
	}
}

func TestOrdinaryTrafficRaisesNothing(t *testing.T) {
	needProgram(t, "ssh-keyscan", "openssh-client")
	needProgram(t, "sshd", "openssh-server")
	ports := map[string][]string{}
	for _, host := range []string{"alpha", "beta", "gamma"} {
		ports[host] = []string{"--trap-ports", "21,23,8080,3306,6379"}
	}
	f := newFleet(t, nil, nil, ports)
	f.helper("alpha", "web", f.addr("alpha")+":80")
	f.helper("server", "names", f.addr("server")+":53")
	f.sshd("beta")
	eventually(t, 10*time.Second, "the web server does not answer", func() bool {
		return f.helper("beta", "fetch", "http://"+f.addr("alpha")+"/", "1").wait(10*time.Second) == 0
	})
	traffic := []*process{
		f.helper("gamma", "fetch", "http://"+f.addr("alpha")+"/", "500"),
		f.helper("alpha", "resolve", f.addr("server")+":53", "200"),
	}
	eventually(t, 10*time.Second, "the SSH server does not answer", func() bool {
		return f.on("alpha", "ssh-keyscan", "-T", "5", f.addr("beta")).Run() == nil
	})
	for range 5 {
		f.run("alpha", "ssh-keyscan", "-T", "5", f.addr("beta"))
	}
	for _, p := range traffic {
		if state := p.wait(30 * time.Second); state != 0 {
			t.Errorf("%s ended with %d", p.name, state)
		}
	}
	// What the clients saw has reached the server when they have left in order.
	for _, c := range f.clients {
		if state := c.stop(); state != 0 {
			t.Errorf("a client ended with %d", state)
		}
	}
	if all := records(t, f.server.out); len(slices.DeleteFunc(all, func(r record) bool { return r.Event.Dataset == "vft.client" })) != 0 {
		t.Errorf("an idle fleet raised %+v", all)
	}
}

// sshd runs a real SSH server on a host.
func (f *fleet) sshd(host string) {
	f.t.Helper()
	dir := f.t.TempDir()
	f.run(host, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key"))
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		f.t.Fatal(err)
	}
	start(f.t, "sshd", f.on(host, "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", filepath.Join(dir, "key"), "-o", "PidFile=none"))
}
