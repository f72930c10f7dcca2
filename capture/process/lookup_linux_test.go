package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The test program is also the other process: TestMain does what this variable
// says in place of the tests.
const roleVariable = "VFT_TEST_ROLE"

func TestMain(m *testing.M) {
	role := strings.Fields(os.Getenv(roleVariable))
	if len(role) == 0 {
		os.Exit(m.Run())
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play opens a connection, tells its ends, and closes it when stdin ends.
func play(role []string) error {
	switch role[0] {
	case "dial":
		conn, err := net.Dial(role[1], role[2])
		if err != nil {
			return err
		}
		return hold(conn.LocalAddr(), conn.RemoteAddr(), conn)
	case "flash": // a connection that is over before anyone can look
		conn, err := net.Dial(role[1], role[2])
		if err != nil {
			return err
		}
		conn.Close()
		fmt.Println(conn.LocalAddr(), conn.RemoteAddr())
		return nil
	case "accept":
		var plain net.ListenConfig
		plain.SetMultipathTCP(false)
		listener, err := plain.Listen(context.Background(), role[1], role[2])
		if err != nil {
			return err
		}
		fmt.Println(listener.Addr(), listener.Addr())
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		listener.Close()
		io.Copy(io.Discard, conn)
		return conn.Close()
	case "elsewhere":
		for _, command := range []string{"link set lo up", "addr add 10.99.0.1/32 dev lo"} {
			if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		listener, err := net.Listen("tcp", "10.99.0.1:7777")
		if err != nil {
			return err
		}
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		return hold(conn.LocalAddr(), conn.RemoteAddr(), conn)
	case "unprivileged":
		return checkUnprivileged()
	}
	return errors.New("no such role")
}

func hold(local, remote net.Addr, conn io.Closer) error {
	fmt.Println(local, remote)
	io.Copy(io.Discard, os.Stdin)
	return conn.Close()
}

// actor is the other process.
type actor struct {
	*exec.Cmd
	local, remote netip.AddrPort
	stop          io.Closer
}

func (a *actor) end(t *testing.T) {
	t.Helper()
	a.stop.Close()
	if err := a.Wait(); err != nil {
		t.Error(err)
	}
}

func act(t *testing.T, flags uintptr, role ...string) *actor {
	t.Helper()
	c := exec.Command(os.Args[0], "in", "a", "role")
	c.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "))
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("role %v: %v", role, err)
	}
	ends := strings.Fields(line)
	return &actor{c, netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1]), in}
}

// inNamespace runs the rest of the test in a process, a network namespace and a
// mount namespace of its own; see the same in package capture.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const mark = "VFT_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return true
	}
	needRoot(t)
	need(t, "ip")
	child := exec.Command(os.Args[0], "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), mark+"="+t.Name())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	return false
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "root")
	}
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		missing(t, "the program "+program)
	}
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s", what)
	}
	t.Skipf("this test needs %s", what)
}

// listen is a TCP listener that accepts and keeps what it accepts.
func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
	}()
	return l
}

func lookup(t *testing.T, c Config) *Lookup {
	l := New(c)
	t.Cleanup(l.Close)
	return l
}

func counts(l *Lookup) map[string]uint64 {
	m := map[string]uint64{}
	l.Counts(func(name string, n uint64) { m[name] = n })
	return m
}

// noNetlink makes a Lookup use the files of /proc.
func noNetlink(l *Lookup) *Lookup {
	l.diag.dial = func() (*netlink.Conn, error) { return nil, syscall.EPROTONOSUPPORT }
	return l
}

func TestFindsTheProcessOfAConnection(t *testing.T) {
	both := listen(t, "tcp", "[::]:0")
	_, port, _ := net.SplitHostPort(both.Addr().String())
	datagrams, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	_, datagramPort, _ := net.SplitHostPort(datagrams.LocalAddr().String())
	for _, c := range []struct{ why, network, to string }{
		{"TCP over IPv4, the other end on a socket for both", "tcp4", "127.0.0.1:" + port},
		{"TCP over IPv6", "tcp6", "[::1]:" + port},
		{"UDP over IPv4", "udp4", "127.0.0.1:" + datagramPort},
		{"UDP over IPv6", "udp6", "[::1]:" + datagramPort},
	} {
		other := act(t, 0, "dial", c.network, c.to)
		transport := c.network[:3]
		for name, l := range map[string]*Lookup{
			"netlink": lookup(t, Config{Method: Netlink}),
			"proc":    noNetlink(lookup(t, Config{Method: Netlink})),
		} {
			p, ok := l.Find(transport, other.local, other.remote)
			if !ok || p.PID != other.Process.Pid {
				t.Errorf("%s, %s: %v, %v, not pid %d", c.why, name, p, ok, other.Process.Pid)
				continue
			}
			if p.UID != uint32(os.Getuid()) || p.Name == "" || !strings.HasSuffix(p.CommandLine, " in a role") {
				t.Errorf("%s, %s: %+v", c.why, name, p)
			}
			if p, ok := l.Find(transport, other.remote, other.local); !ok || p.PID != os.Getpid() {
				t.Errorf("%s, %s: the other end is of %v, %v, not %d", c.why, name, p, ok, os.Getpid())
			}
			in6 := func(a netip.AddrPort) netip.AddrPort {
				return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
			}
			if p, ok := l.Find(transport, in6(other.local), in6(other.remote)); !ok || p.PID != other.Process.Pid {
				t.Errorf("%s, %s: asked as 4-in-6: %v, %v", c.why, name, p, ok)
			}
			far := netip.MustParseAddrPort("192.0.2.1:9")
			if _, ok := l.Find(transport, far, far); ok {
				t.Errorf("%s, %s: found a connection that is not there", c.why, name)
			}
			if c := counts(l); name == "netlink" && c["process_system_errors"] != 0 {
				t.Errorf("netlink is not there: %v", c)
			}
		}
		other.end(t)
	}
}

func TestEitherEndMayBeHere(t *testing.T) {
	l := lookup(t, Config{Method: Netlink})
	server := listen(t, "tcp4", "127.0.0.1:0")
	far := netip.MustParseAddrPort("192.0.2.1:9")
	here := netip.MustParseAddrPort(server.Addr().String())
	if p, second, ok := l.Either("tcp", far, here); !ok || !second || p.PID != os.Getpid() {
		t.Errorf("the second end: %v, %v, %v", p, second, ok)
	}
	if p, second, ok := l.Either("tcp", here, far); !ok || second || p.PID != os.Getpid() {
		t.Errorf("the first end: %v, %v, %v", p, second, ok)
	}
	if _, second, ok := l.Either("tcp", far, far); ok || second {
		t.Error("no end is here, and one was found")
	}
}

func TestFindsNothingWhereThereIsNothing(t *testing.T) {
	here := netip.MustParseAddrPort(listen(t, "tcp4", "127.0.0.1:0").Addr().String())
	far := netip.MustParseAddrPort("192.0.2.1:9")
	if _, ok := lookup(t, Config{Method: Off}).Find("tcp", here, far); ok {
		t.Error("off found a process")
	}
	l := lookup(t, Config{Method: Netlink})
	for _, transport := range []string{"", "icmp", "sctp", "TCP"} {
		if _, ok := l.Find(transport, here, far); ok {
			t.Errorf("transport %q has a process", transport)
		}
	}
	if _, ok := l.Find("tcp", netip.AddrPort{}, far); ok {
		t.Error("no address has a process")
	}
}

func TestAsksProcOnlySoOften(t *testing.T) {
	clock := &step{time.Unix(1000, 0)}
	l := lookup(t, Config{Method: Netlink, Now: clock.Now})
	for range 100 {
		l.hold.of(1, clock.now) // no socket has it
	}
	if c := counts(l); c["process_proc_scans"] != 5 || c["process_proc_scans_refused"] != 95 {
		t.Errorf("counts are %v", c)
	}
	clock.now = clock.now.Add(2 * time.Second)
	for range 100 {
		l.hold.of(1, clock.now)
	}
	if c := counts(l); c["process_proc_scans"] != 7 {
		t.Errorf("two seconds later: %v", c)
	}
}

func TestKeepsNoMoreSocketsThanItsLimit(t *testing.T) {
	server := listen(t, "tcp4", "127.0.0.1:0")
	act(t, 0, "dial", "tcp4", server.Addr().String())
	l := lookup(t, Config{Method: Netlink, MaxSockets: 1})
	l.hold.scan(time.Unix(1, 0))
	if c := counts(l); len(l.hold.byInode) != 1 || c["process_sockets_untracked"] == 0 {
		t.Errorf("%d sockets, counts %v", len(l.hold.byInode), c)
	}
}

func TestDoesNotBelieveAFileThatIsAnotherNow(t *testing.T) {
	l := lookup(t, Config{Method: Netlink})
	l.hold.byInode = map[uint64]holder{7: {int32(os.Getpid()), 0}}
	if pid, ok := l.hold.known(7); ok {
		t.Errorf("process %d holds a socket that is not there", pid)
	}
}

func TestDescribesAProcess(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(root, "7", file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "7"), 0o700); err != nil {
		t.Fatal(err)
	}
	stat := func(name, start string) string {
		return "7 (" + name + ") S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " + start + " 1 1\n"
	}
	write("stat", stat("a) b (c", "100"))
	write("cmdline", "prog\x00-x\x00two words\xff\x00")
	write("status", "Name:\ta\nUid:\t1000\t4000000000\t1000\t1000\n")
	write("cgroup", "0::/docker/"+strings.Repeat("0", 64)+"\n")
	d := describer{proc: root}
	p, ok := d.of(7)
	want := Process{PID: 7, Name: "a) b (c", CommandLine: "prog -x two words\uFFFD", UID: 4000000000,
		Container: strings.Repeat("0", 64), Runtime: "docker"}
	if !ok || *p.Process != want {
		t.Errorf("%+v, not %+v", p.Process, want)
	}

	write("cmdline", strings.Repeat("x", 5000))
	if p, _ := d.of(7); p.CommandLine != want.CommandLine {
		t.Error("a process that runs the same program was read again")
	}
	write("stat", stat("a) b (c", "200"))
	if p, _ := d.of(7); len(p.CommandLine) != maxCommandLine || p.start != 200 {
		t.Errorf("another process with the same pid is %+v", p)
	}
	write("stat", stat("exec", "200"))
	if p, _ := d.of(7); p.Name != "exec" {
		t.Errorf("after exec(2) it is %+v", p.Process)
	}
	if err := os.RemoveAll(filepath.Join(root, "7")); err != nil {
		t.Fatal(err)
	}
	if p, ok := d.of(7); !ok || p.Name != "exec" {
		t.Errorf("after its end it is %+v", p.Process)
	}
	if _, ok := d.of(8); ok {
		t.Error("a process that never was is described")
	}
}

func FuzzReply(f *testing.F) {
	reply := make([]byte, replyLength)
	reply[0] = unix.AF_INET6
	f.Add(reply)
	f.Add(reply[:71])
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseReply(tcp, b); ok && (!s.local.IsValid() || s.local.Addr().Is4In6()) {
			t.Errorf("% x is %v", b, s)
		}
	})
}

// BenchmarkFind asks for a connection that is there and one that is not.
func BenchmarkFind(b *testing.B) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	conn, err := net.Dial("tcp4", server.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	here, there := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	far := netip.MustParseAddrPort("192.0.2.1:9")
	for name, ends := range map[string][2]netip.AddrPort{"held": {here, there}, "absent": {far, far}} {
		b.Run(name, func(b *testing.B) {
			l := New(Config{Method: Netlink})
			defer l.Close()
			l.Find("tcp", here, there)
			for b.Loop() {
				l.Find("tcp", ends[0], ends[1])
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "us/find")
			b.ReportMetric(9, "limit-us/socket")
		})
	}
}

// users reads `users:(("nc",pid=12,fd=3))`.
var users = regexp.MustCompile(`"(.*?)",pid=(\d+),`)

func TestListAgreesWithSS(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	need(t, "ss")
	listen(t, "tcp", "[::]:7000")
	four := act(t, 0, "dial", "tcp4", "127.0.0.1:7000")
	act(t, 0, "dial", "tcp6", "[::1]:7000")
	listen(t, "tcp4", "127.0.0.1:7001")
	datagrams, err := net.ListenPacket("udp4", "127.0.0.1:7002")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	act(t, 0, "dial", "udp4", "127.0.0.1:7002")

	var want []string
	for option, name := range map[string]string{"-tanpH": "tcp", "-uanpH": "udp"} {
		out, err := exec.Command("ss", option).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			who := users.FindStringSubmatch(line)
			if len(f) < 5 || who == nil {
				t.Fatalf("ss wrote %q", line)
			}
			want = append(want, strings.Join([]string{name, f[0], ssEnd(f[3]), ssEnd(f[4]), who[1], who[2]}, " "))
		}
	}
	slices.Sort(want)
	for name, l := range map[string]*Lookup{
		"netlink": lookup(t, Config{Method: Netlink}),
		"proc":    noNetlink(lookup(t, Config{Method: Netlink})),
	} {
		list, err := l.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range list {
			if c.Process == nil {
				t.Fatalf("%s: no process for %v", name, c)
			}
			got = append(got, fmt.Sprintf("%s %s %s %s %s %d", c.Proto, c.State, ourEnd(c.Local), ourEnd(c.Remote), c.Process.Name, c.Process.PID))
		}
		slices.Sort(got)
		if len(got) != 8 || !slices.Equal(got, want) {
			t.Errorf("%s: %s\nss: %s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	four.end(t)
}

// ssEnd writes an end of ss as we do: "*" is any address, "[::ffff:1.2.3.4]" is
// IPv4, the port "*" is none.
func ssEnd(text string) string {
	at := strings.LastIndex(text, ":")
	host, port := strings.Trim(text[:at], "[]"), strings.Replace(text[at+1:], "*", "0", 1)
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	if host == "*" || host == "::" || host == "0.0.0.0" {
		host = "any"
	}
	return host + " " + port
}

func ourEnd(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		return "any " + strconv.Itoa(int(a.Port()))
	}
	return a.Addr().String() + " " + strconv.Itoa(int(a.Port()))
}

func TestListEndsWithItsContext(t *testing.T) {
	listen(t, "tcp4", "127.0.0.1:0")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := lookup(t, Config{}).List(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// running starts Run, and ends it with the test.
func running(t *testing.T, l *Lookup) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// eventually looks at a condition until it holds, at most 20 s.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within 20 s", what)
		}
	}
}

func TestRemembersConnectionsThatEnded(t *testing.T) {
	server := listen(t, "tcp4", "127.0.0.1:0")
	l := lookup(t, Config{Method: Netlink, Refresh: time.Millisecond})
	other := act(t, 0, "dial", "tcp4", server.Addr().String())
	running(t, l)
	eventually(t, "look at all connections", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, ok := l.recent.find(newTuple(tcp, other.local, other.remote))
		return ok
	})
	other.end(t)
	p, ok := l.Find("tcp", other.local, other.remote)
	if !ok || p.PID != other.Process.Pid || !strings.HasSuffix(p.CommandLine, " in a role") {
		t.Errorf("%v, %v, not pid %d", p, ok, other.Process.Pid)
	}
	if c := counts(l); c["process_found_remembered"] == 0 {
		t.Errorf("counts are %v", c)
	}
}

func TestFindsProcessesInOtherNamespaces(t *testing.T) {
	needRoot(t)
	need(t, "ip")
	other := act(t, syscall.CLONE_NEWNET, "elsewhere")
	l := lookup(t, Config{Method: Netlink})
	if p, ok := l.Find("tcp", other.local, other.remote); !ok || p.PID != other.Process.Pid {
		t.Errorf("%v, %v, not pid %d", p, ok, other.Process.Pid)
	}
	if _, ok := l.Find("tcp", other.local, netip.MustParseAddrPort("10.99.0.1:1")); ok {
		t.Error("found a connection that is not there")
	}
	other.end(t)
}

// traced is a Lookup whose program runs in the kernel.
func traced(t *testing.T) *Lookup {
	t.Helper()
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		missing(t, "a kernel with tracefs: "+err.Error())
	}
	l := lookup(t, Config{Method: EBPF, Refresh: time.Hour})
	if err := l.Check(); err != nil {
		missing(t, err.Error())
	}
	running(t, l)
	eventually(t, "program in the kernel", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.trace != nil
	})
	return l
}

func TestTracesConnectionsThatAreOverAtOnce(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := traced(t)
	both := listen(t, "tcp", "[::]:7000")
	for _, c := range []struct{ network, to string }{{"tcp4", "127.0.0.1:7000"}, {"tcp6", "[::1]:7000"}} {
		other := act(t, 0, "flash", c.network, c.to)
		other.end(t)
		p, ok := l.Find("tcp", other.local, other.remote)
		if !ok || p.PID != other.Process.Pid || p.Name == "" || p.UID != 0 {
			t.Errorf("%s: %+v, %v, not pid %d", c.network, p, ok, other.Process.Pid)
		}
	}
	both.Close()
	if c := counts(l); c["process_found_traced"] != 2 {
		t.Errorf("counts are %v", c)
	}
}

func TestTracesWhatAProcessWasWhileItRan(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := traced(t)
	listen(t, "tcp4", "127.0.0.1:7000")
	other := act(t, 0, "dial", "tcp4", "127.0.0.1:7000")
	eventually(t, "look at the process", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.about.known[other.Process.Pid].Process != nil
	})
	other.end(t)
	if p, ok := l.Find("tcp", other.local, other.remote); !ok || !strings.HasSuffix(p.CommandLine, " in a role") {
		t.Errorf("%+v, %v", p, ok)
	}
}

func TestTracesAcceptedConnections(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	l := traced(t)
	other := act(t, 0, "accept", "tcp4", "127.0.0.1:7000")
	conn, err := net.Dial("tcp4", "127.0.0.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	other.end(t)
	near := netip.MustParseAddrPort(conn.LocalAddr().String())
	if p, ok := l.Find("tcp", other.local, near); !ok || p.PID != other.Process.Pid {
		t.Errorf("%+v, %v, not pid %d", p, ok, other.Process.Pid)
	}
	if p, ok := l.Find("tcp", near, other.local); !ok || p.PID != os.Getpid() {
		t.Errorf("the end that dialled: %+v, %v", p, ok)
	}
}

// TestWithoutPrivileges runs as nobody in a process of its own.
func TestWithoutPrivileges(t *testing.T) {
	needRoot(t)
	server := listen(t, "tcp4", "127.0.0.1:0")
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleVariable+"=unprivileged", "VFT_TEST_SERVER="+server.Addr().String())
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func checkUnprivileged() error {
	conn, err := net.Dial("tcp4", os.Getenv("VFT_TEST_SERVER"))
	if err != nil {
		return err
	}
	l := New(Config{Method: EBPF})
	if err := l.Check(); err == nil || !strings.HasPrefix(err.Error(), "cannot trace connections with eBPF: ") || strings.Contains(err.Error(), "\n") {
		return fmt.Errorf("Check: %w", err)
	}
	if err := l.Run(context.Background()); err == nil {
		return errors.New("Run with the method ebpf did not fail")
	}
	near, far := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	if p, ok := l.Find("tcp", near, far); !ok || p.PID != os.Getpid() {
		return fmt.Errorf("own process: %v, %v", p, ok)
	}
	if p, ok := l.Find("tcp", far, near); ok {
		return fmt.Errorf("looked into the process of root: %v", p)
	}
	return nil
}
