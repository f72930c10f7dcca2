package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests of this file hold, one by one, what the README of VFT promises.

// inNamespace is a lab of one host, with nothing but loopback in use.
func inNamespace(t *testing.T) *lab { return newLab(t, "host") }

// listening returns the addresses on which TCP listens on a host.
func (l *lab) listening(host string) []string {
	var all []string
	for line := range strings.Lines(l.run(host, "ss", "-ltnH")) {
		if fields := strings.Fields(line); len(fields) >= 4 {
			all = append(all, fields[3])
		}
	}
	slices.Sort(all)
	return all
}

func TestServerListensWhereItIsPromised(t *testing.T) {
	l := inNamespace(t)
	for _, c := range []struct {
		why, name string
		args      []string
		want      string
	}{
		{"the default is loopback", "vft", []string{"server"}, "127.0.0.1:9999"},
		{"a flag before the subcommand", "vft", []string{"--bind", "127.0.0.1:9111", "server"}, "127.0.0.1:9111"},
		{"a flag after the subcommand, one dash", "vft", []string{"server", "-bind", "127.0.0.1:9112"}, "127.0.0.1:9112"},
		{"under the name vft-server it is every address", "vft-server", nil, "0.0.0.0:9999"},
		{"a container's command names it twice", "vft", []string{"vft-server"}, "0.0.0.0:9999"},
		{"--bind holds under the name vft-server too", "vft-server", []string{"--bind", "127.0.0.1:9113"}, "127.0.0.1:9113"},
	} {
		program := filepath.Join(t.TempDir(), c.name)
		if err := os.Symlink(binary, program); err != nil {
			t.Fatal(err)
		}
		cmd := l.on("host", program, c.args...)
		cmd.Env = append(os.Environ(), "VFT_DATA_DIR="+t.TempDir())
		p := start(t, c.why, cmd)
		p.waitFor(p.err, 10*time.Second, "listening on "+c.want)
		if got := l.listening("host"); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: listens on %v, not on %s alone", c.why, got, c.want)
		}
		if state := p.stop(); state != 0 {
			t.Errorf("%s: ended with %d", c.why, state)
		}
	}
}

// ports returns the ports of listening sockets of a host, each once.
func (l *lab) ports(host string) []string {
	var ports []string
	for _, at := range l.listening(host) {
		port := at[strings.LastIndexByte(at, ':')+1:]
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

func TestClientOpensFiveTrapsOfThePool(t *testing.T) {
	l := inNamespace(t)
	choices := map[string]bool{}
	for range 20 {
		dir := t.TempDir()
		p := l.vft("host", "client", "--data-dir", dir)
		p.waitFor(p.err, 10*time.Second, "5 traps are open")
		ports := l.ports("host")
		for _, port := range ports {
			if !slices.Contains(strings.Split(pool, ","), port) {
				t.Errorf("port %s is not of the pool", port)
			}
		}
		if len(ports) != 5 {
			t.Errorf("%d ports listen, not 5: %v", len(ports), ports)
		}
		choices[strings.Join(ports, " ")] = true
		p.kill()
	}
	if len(choices) < 2 {
		t.Error("20 fresh data directories gave the same ports each time")
	}
}

func TestClientKeepsItsChoiceOverARestart(t *testing.T) {
	l := inNamespace(t)
	dir := t.TempDir()
	first := l.vft("host", "client", "--data-dir", dir)
	first.waitFor(first.err, 10*time.Second, "5 traps are open")
	want := l.ports("host")
	if state := first.stop(); state != 0 {
		t.Errorf("the client ended with %d", state)
	}
	second := l.vft("host", "client", "--data-dir", dir)
	second.waitFor(second.err, 10*time.Second, "5 traps are open")
	if got := l.ports("host"); !slices.Equal(got, want) {
		t.Errorf("after a restart the traps are %v, before they were %v", got, want)
	}
}

func TestBusyPoolLeavesWhatIsFree(t *testing.T) {
	l := inNamespace(t)
	busy := strings.Split(pool, ",")[:36]
	l.helper("host", "listen", busy...)
	eventually(t, 10*time.Second, "the pool is not busy", func() bool { return len(l.ports("host")) == 36 })
	p := l.vft("host", "client", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "only 4 of 5 traps are open")
	if got := len(l.ports("host")); got != 40 {
		t.Errorf("%d ports listen, not 36 busy ones and 4 traps", got)
	}
	if state := p.stop(); state != 0 {
		t.Errorf("the client ended with %d", state)
	}
}

func TestSilentPeersAreClosedAndReported(t *testing.T) {
	l := inNamespace(t)
	p := l.vft("host", "standalone", "--trap-ports", "8080", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	silent := l.helper("host", "silent", "127.0.0.1:8080", "1000")
	if state := silent.wait(30 * time.Second); state != 0 {
		t.Fatalf("the silent peers ended with %d", state)
	}
	eventually(t, 20*time.Second, "not every connection gave a record", func() bool { return len(trapRecords(t, p.out)) >= 1000 })
	want, got := strings.Fields(silent.out.tail(2000)), []string{}
	for _, r := range trapRecords(t, p.out) {
		got = append(got, fmt.Sprintf("%s:%d", r.Source.IP, r.Source.Port))
		if r.Destination.Port != 8080 || r.Destination.IP != "127.0.0.1" || time.Since(r.Timestamp) > time.Minute {
			t.Errorf("a record says %s:%d at %s", r.Destination.IP, r.Destination.Port, r.Timestamp)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("%d records for %d connections, or other sources", len(got), len(want))
	}
	if left := l.run("host", "ss", "-tnH", "state", "established", "state", "close-wait", "sport", "=", ":8080"); strings.TrimSpace(left) != "" {
		t.Errorf("connections are left:\n%s", left)
	}
}

// trapRecords returns the vft.trap records so far.
func trapRecords(t *testing.T, l *lines) []record {
	return slices.DeleteFunc(records(t, l), func(r record) bool { return r.Event.Dataset != "vft.trap" })
}

func TestPayloadReadingOffClosesAtOnce(t *testing.T) {
	l := inNamespace(t)
	p := l.vft("host", "standalone", "--trap-ports", "8080", "--trap-hold", "0", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	if state := l.helper("host", "silent", "127.0.0.1:8080", "1").wait(2 * time.Second); state != 0 {
		t.Errorf("the silent peer ended with %d", state)
	}
	p.waitFor(p.out, 5*time.Second, `"vft.trap"`)
}

func TestServerAndClientWithoutFlagsWorkTogether(t *testing.T) {
	for _, order := range [][]string{{"server", "client"}, {"client", "server"}} {
		l := inNamespace(t)
		home := t.TempDir()
		ps := map[string]*process{}
		for _, mode := range order {
			cmd := l.on("host", binary, mode)
			cmd.Env = append(os.Environ(), "VFT_DATA_DIR="+home)
			ps[mode] = start(t, mode, cmd)
			ps[mode].waitFor(ps[mode].err, 10*time.Second, map[string]string{"server": "listening on", "client": "traps are open"}[mode])
		}
		c := ps["client"]
		c.waitFor(c.err, 30*time.Second, `"connected"`)
		if at := slices.DeleteFunc(l.listening("host"), func(at string) bool { return strings.HasSuffix(at, ":9999") }); len(at) > 0 {
			l.helper("host", "touch", "127.0.0.1", "127.0.0.1:"+at[0][strings.LastIndexByte(at[0], ':')+1:]).wait(5 * time.Second)
		}
		ps["server"].waitFor(ps["server"].out, 5*time.Second, `"vft.alert"`, `"firing"`)
		for _, p := range ps {
			p.stop()
		}
	}
}

func TestServerMayComeLateAndGo(t *testing.T) {
	l := inNamespace(t)
	secret, serverDir := secretFile(t), t.TempDir()
	c := l.vft("host", "client", "--secret-file", secret, "--trap-ports", "8080", "--data-dir", t.TempDir())
	c.waitFor(c.err, 10*time.Second, "1 traps are open")
	hit := func(n int) {
		for range n {
			if l.helper("host", "touch", "127.0.0.1", "127.0.0.1:8080").wait(5*time.Second) != 0 {
				t.Fatal("the trap does not answer")
			}
		}
	}
	hit(3)
	serve := func() *process {
		s := l.vft("host", "server", "--events", "--secret-file", secret, "--data-dir", serverDir)
		s.waitFor(s.err, 10*time.Second, "listening on")
		return s
	}
	s := serve()
	eventually(t, 70*time.Second, "the hits of before the server came did not arrive", func() bool { return len(trapRecords(t, s.out)) == 3 })
	s.kill()
	hit(2)
	s = serve()
	eventually(t, 70*time.Second, "the hits of when the server was away did not arrive", func() bool { return len(trapRecords(t, s.out)) >= 2 })
	hit(1)
	eventually(t, 10*time.Second, "the newest hit did not arrive", func() bool { return len(trapRecords(t, s.out)) >= 3 })
	got := trapRecords(t, s.out)
	if len(got) != 3 || !slices.IsSortedFunc(got, func(a, b record) int { return a.Timestamp.Compare(b.Timestamp) }) {
		t.Errorf("%d records came, not 3 in order", len(got))
	}
	select {
	case <-c.done:
		t.Error("the client ended because its server was away")
	default:
	}
}

func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKilledClientIsMissedUntilItReturns(t *testing.T) {
	l := inNamespace(t)
	secret, dir := secretFile(t), t.TempDir()
	s := l.vft("host", "server", "--heartbeat", "300ms", "--secret-file", secret, "--data-dir", t.TempDir())
	s.waitFor(s.err, 10*time.Second, "listening on")
	run := func() (*process, string) {
		c := l.vft("host", "client", "--secret-file", secret, "--trap-ports", "8080", "--data-dir", dir)
		line := c.waitFor(c.err, 20*time.Second, `"connected"`)
		return c, line[strings.Index(line, `"client":"`):strings.Index(line, `,"server"`)]
	}
	c, name := run()
	c.kill()
	s.waitFor(s.out, 10*time.Second, `"sensor-lost"`, `"firing"`)
	_, again := run()
	if name != again {
		t.Errorf("the client came back as %s, it was %s", again, name)
	}
	s.waitFor(s.out, 10*time.Second, `"sensor-lost"`, `"resolved"`)
}

func TestStandaloneNeverTalksToAServer(t *testing.T) {
	l := inNamespace(t)
	server := l.helper("host", "sink", "127.0.0.1:9999")
	sink := l.helper("host", "sink", "127.0.0.1:6000")
	eventually(t, 10*time.Second, "the sinks do not listen", func() bool { return len(l.listening("host")) == 2 })
	p := l.vft("host", "--dest", "127.0.0.1:6000", "standalone", "--trap-ports", "8080", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	for range 3 {
		l.helper("host", "touch", "127.0.0.1", "127.0.0.1:8080").wait(5 * time.Second)
	}
	eventually(t, 10*time.Second, "the destination did not get three hits", func() bool { return len(trapRecords(t, sink.out)) == 3 })
	if state := p.stop(); state != 0 {
		t.Errorf("standalone ended with %d", state)
	}
	if all, _ := server.out.from(0); len(all) != 0 {
		t.Errorf("something came to port 9999: %q", all)
	}
}

func TestLateListenerGetsTheHitOnce(t *testing.T) {
	l := inNamespace(t)
	p := l.vft("host", "standalone", "--dest", "127.0.0.1:6000", "--trap-ports", "8080", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	l.helper("host", "touch", "127.0.0.1", "127.0.0.1:8080").wait(5 * time.Second)
	<-time.After(5 * time.Second) // what is promised is a listener that starts 5 s late
	sink := l.helper("host", "sink", "127.0.0.1:6000")
	eventually(t, 20*time.Second, "the hit did not arrive", func() bool { return len(trapRecords(t, sink.out)) >= 1 })
	sink.kill()
	sink = l.helper("host", "sink", "127.0.0.1:6000", "reset") // resets its first connection
	l.helper("host", "touch", "127.0.0.1", "127.0.0.1:8080").wait(5 * time.Second)
	eventually(t, 30*time.Second, "the hit after the restart did not arrive", func() bool { return len(trapRecords(t, sink.out)) >= 1 })
	ids := map[string]bool{}
	for _, r := range trapRecords(t, sink.out) {
		ids[r.Event.ID] = true
	}
	if len(ids) != 1 {
		t.Errorf("one hit after the restart arrived as %d", len(ids))
	}
	if state := p.stop(); state != 0 {
		t.Errorf("standalone ended with %d", state)
	}
}

func TestRsyslogTakesEveryRecord(t *testing.T) {
	needProgram(t, "rsyslogd", "rsyslog")
	l := inNamespace(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "records")
	config := fmt.Sprintf(`module(load="imtcp" maxMessageSize="64k")
global(workDirectory=%q maxMessageSize="64k")
input(type="imtcp" address="127.0.0.1" port="6000" ruleset="vft")
template(name="raw" type="string" string="%%rawmsg%%\n")
ruleset(name="vft") { action(type="omfile" file=%q template="raw" asyncWriting="off") }
`, dir, file)
	path := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "rsyslogd", l.on("host", "rsyslogd", "-n", "-f", path, "-i", filepath.Join(dir, "pid")))
	eventually(t, 10*time.Second, "rsyslog does not listen", func() bool { return len(l.listening("host")) > 0 })
	p := l.vft("host", "standalone", "--dest", "tcp://127.0.0.1:6000", "--trap-ports", "8080", "--trap-hold", "0", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "1 traps are open")
	for range 20 {
		l.helper("host", "touch", "127.0.0.1", "127.0.0.1:8080").wait(5 * time.Second)
	}
	got := newLines()
	eventually(t, 20*time.Second, "rsyslog did not write 20 hits", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		got = newLines()
		_, _ = got.Write(text)
		return len(trapRecords(t, got)) >= 20
	})
	if n := len(trapRecords(t, got)); n != 20 {
		t.Errorf("20 hits are %d records in rsyslog's file", n)
	}
}

// vftFails runs vft to its end and holds its exit state and its one line.
func (l *lab) vftFails(state int, parts []string, args ...string) {
	l.t.Helper()
	cmd := l.on("host", binary, args...)
	cmd.Env = append(os.Environ(), "VFT_DATA_DIR="+l.t.TempDir())
	p := start(l.t, strings.Join(args, " "), cmd)
	if got := p.wait(20 * time.Second); got != state {
		l.t.Errorf("%q ended with %d, not %d: %s", args, got, state, p.err.tail(3))
	}
	said, _ := p.err.from(0)
	if len(said) == 0 || !containsAll(said[len(said)-1], parts) {
		l.t.Errorf("%q said %q; it should say %q", args, said, parts)
	}
}

func TestWhoIsRefused(t *testing.T) {
	needProgram(t, "openssl", "openssl")
	l := inNamespace(t)
	secret := secretFile(t)
	cert, key := certificate(t)
	other, _ := certificate(t)
	s := l.vft("host", "server", "--bind", "0.0.0.0:9999", "--cert", cert, "--key", key, "--secret-file", secret, "--data-dir", t.TempDir(), "--events")
	s.waitFor(s.err, 10*time.Second, "listening on")
	l.vftFails(4, []string{"authentication failed"}, "client", "--secret", "something else", "--traps", "0")
	l.vftFails(4, []string{"--cert"}, "client", "--cert", other, "--secret-file", secret, "--traps", "0")
	l.vftFails(4, []string{"--join", "--secret"}, "client", "--server", l.addr("host")+":9999", "--cert", cert, "--traps", "0")
	s.waitFor(s.err, 5*time.Second, "authentication failed")

	right := l.vft("host", "client", "--cert", cert, "--secret-file", secret, "--trap-ports", "8080", "--data-dir", t.TempDir())
	right.waitFor(right.err, 10*time.Second, `"connected"`)
	enrolled := t.TempDir()
	first := l.vft("host", "client", "--secret-file", secret, "--traps", "0", "--data-dir", enrolled)
	first.waitFor(first.err, 10*time.Second, `"connected"`)
	first.stop()
	l.vftFails(4, []string{"authentication failed"}, "client", "--secret", "something else", "--traps", "0", "--data-dir", enrolled)
	garbage := l.helper("host", "garbage", "127.0.0.1:9999", "1000")
	if state := garbage.wait(60 * time.Second); state != 0 {
		t.Fatalf("the garbage ended with %d", state)
	}
	l.helper("host", "touch", "127.0.0.1", "127.0.0.1:8080").wait(5 * time.Second)
	s.waitFor(s.out, 10*time.Second, `"vft.trap"`)
	logged, _ := s.err.from(0)
	if len(logged) > 40 {
		t.Errorf("1,000 pieces of garbage made %d lines of log", len(logged))
	}
	for _, line := range logged {
		if strings.Contains(line, "correct horse") {
			t.Errorf("the secret is in the log: %s", line)
		}
	}
}

// certificate makes a certificate and its key with openssl, as a person would.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=vft.example", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	return cert, key
}

func TestJoinLineWorksAsPrinted(t *testing.T) {
	l := inNamespace(t)
	s := l.vft("host", "server", "--data-dir", t.TempDir())
	line := s.waitFor(s.err, 10*time.Second, "vft client --join vft1:")
	words := strings.Fields(line[strings.Index(line, "vft client --join"):])
	c := l.vft("host", append(words[1:4], "--traps", "0", "--data-dir", t.TempDir())...)
	c.waitFor(c.err, 10*time.Second, `"connected"`)
}

func TestTLSIsWhatIsSpoken(t *testing.T) {
	l := inNamespace(t)
	cert, key := certificate(t)
	s := l.vft("host", "server", "--cert", cert, "--key", key, "--data-dir", t.TempDir())
	s.waitFor(s.err, 10*time.Second, "listening on")
	out, _ := l.on("host", "openssl", "s_client", "-connect", "127.0.0.1:9999", "-brief").CombinedOutput()
	if !strings.Contains(string(out), "TLSv1.3") || !strings.Contains(string(out), "vft.example") {
		t.Errorf("openssl sees:\n%s", out)
	}
	out, _ = l.on("host", "openssl", "s_client", "-connect", "127.0.0.1:9999", "-brief", "-tls1_2").CombinedOutput()
	if strings.Contains(string(out), "Protocol version: TLSv1.2") {
		t.Errorf("TLS 1.2 is taken:\n%s", out)
	}
}

func init() {
	helpers["listen"], helpers["silent"], helpers["sink"], helpers["garbage"] = listenOn, silentPeers, sinkTCP, sendGarbage
}

// listenOn PORT... keeps ports busy.
func listenOn() {
	var all sync.WaitGroup
	for _, port := range os.Args[1:] {
		listener, err := net.Listen("tcp", ":"+port)
		fail(err)
		all.Go(func() {
			for {
				conn, err := listener.Accept()
				fail(err)
				fail(conn.Close())
			}
		})
	}
	all.Wait()
}

// silentPeers TARGET N connects N times, 50 at a time, prints each of its own
// addresses, says nothing and waits until the other side closes.
func silentPeers() {
	var n int
	_, err := fmt.Sscan(os.Args[2], &n)
	fail(err)
	slots, done := make(chan struct{}, 50), make(chan string, n)
	for range n {
		slots <- struct{}{}
		go func() {
			conn, err := net.Dial("tcp", os.Args[1])
			fail(err)
			fail(conn.SetReadDeadline(time.Now().Add(3500 * time.Millisecond)))
			_, err = conn.Read(make([]byte, 1))
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				fail(fmt.Errorf("%s was not closed within 3.5 s", conn.LocalAddr()))
			}
			done <- conn.LocalAddr().String()
			_ = conn.Close()
			<-slots
		}()
	}
	for range n {
		fmt.Println(<-done)
	}
}

// sinkTCP ADDRESS [reset] prints what it is sent; with reset it resets its
// first connection unread.
func sinkTCP() {
	listener, err := net.Listen("tcp", os.Args[1])
	fail(err)
	reset := len(os.Args) > 2
	for {
		conn, err := listener.Accept()
		fail(err)
		if reset {
			reset = false
			fail(conn.(*net.TCPConn).SetLinger(0))
			fail(conn.Close())
			continue
		}
		go func() {
			lines := bufio.NewReader(conn)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				fmt.Print(line)
			}
		}()
	}
}

// sendGarbage TARGET N sends N times bytes that are no handshake.
func sendGarbage() {
	var n int
	_, err := fmt.Sscan(os.Args[2], &n)
	fail(err)
	junk := []string{"", "\x00", "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", strings.Repeat("A", 70000)}
	for i := range n {
		conn, err := net.Dial("tcp", os.Args[1])
		fail(err)
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write([]byte(junk[i%len(junk)]))
		_ = conn.Close()
	}
}
