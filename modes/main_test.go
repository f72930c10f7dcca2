package modes

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vft/datadir"
)

// runMain runs vft to its end and returns its exit state and what it wrote.
func runMain(t *testing.T, args ...string) (state int, out, errs string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var b bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	state = Main(t.Context(), append([]string{"vft"}, args...), Build{Version: "test"}, Streams{Out: &b, Err: log, Env: none})
	text, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return state, b.String(), string(text)
}

// TestConfigCheckFindsWhatTheModeRefuses holds `vft config check` to its word:
// what it calls in order, the mode starts with.
func TestConfigCheckFindsWhatTheModeRefuses(t *testing.T) {
	for _, c := range []struct {
		why  string
		args string
		want []string // all in the message
	}{
		{"no such secret file", "server --secret-file none", []string{"--secret-file", "none"}},
		{"no such certificate", "server --cert none.pem --key none.pem", []string{"--cert", "none.pem"}},
		{"a join string that is none", "client --join x", []string{"--join", "vft1:HOST:PORT:PIN:TOKEN"}},
		{"no certificate to trust", "client --cert none.pem", []string{"--cert", "none.pem"}},
		{"no secret file of a client", "client --secret-file none", []string{"--secret-file", "none"}},
		{"plain text over a network", "client --ssl=false --server 192.0.2.1:9999", []string{"--ssl", "--allow-plaintext"}},
		{"a client replays nothing", "client --pcapfile x.pcap", []string{"--pcapfile", "standalone"}},
		{"more traps than the pool has", "client --traps 3 --trap-pool 80,443", []string{"--traps", "pool of 2"}},
		{"a filter that is none", "standalone --filter nonsense", []string{"--filter", "column 1"}},
		{"a statistic that is none", "standalone --stats NOPE", []string{"--stats", "NOPE"}},
		{"a method that is none", "standalone --anom-methods nope", []string{"--anom-methods", "nope"}},
		{"files and an interface", "standalone --pcapfile x.pcap --interface lo", []string{"--pcapfile", "--interface"}},
		{"a mode need not be named", "--filter nonsense", []string{"--filter", "column 1"}},
	} {
		state, _, errs := runMain(t, append([]string{"config", "check"}, strings.Fields(c.args)...)...)
		if state != exitUsage {
			t.Errorf("%s: exit state %d: %s", c.why, state, errs)
		}
		for _, part := range c.want {
			if !strings.Contains(errs, part) {
				t.Errorf("%s: %q does not say %q", c.why, errs, part)
			}
		}
	}
}

func TestConfigCheckTakesWhatIsRight(t *testing.T) {
	for _, c := range []struct{ why, args string }{
		{"nothing given", ""},
		{"nothing given to a server", "server"},
		{"nothing given to a client", "client"},
		{"nothing given to a standalone", "standalone"},
		{"a small pool makes few traps", "client --trap-pool 80,443"},
		{"one file may serve a client and a server", "--cert ca.pem"},
		{"whether a file is there is seen when it is opened", "standalone --pcapfile later.pcap"},
	} {
		if state, _, errs := runMain(t, append([]string{"config", "check"}, strings.Fields(c.args)...)...); state != exitDone {
			t.Errorf("%s: exit state %d: %s", c.why, state, errs)
		}
	}
}

func TestConfigShowsRulesInEveryForm(t *testing.T) {
	for _, args := range []string{"config show --rules", "config show server --rules", "config show --rules server"} {
		if _, out, errs := runMain(t, strings.Fields(args)...); !strings.HasPrefix(out, "# The fleet rules") {
			t.Errorf("%s prints %.60q %s", args, out, errs)
		}
	}
}

func TestAdviceFitsTheReason(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	unlock, err := datadir.Lock(dir, "server.lock", "")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why, dir, bind string
		want           string
		not            string
	}{
		{"another vft has the address", t.TempDir(), taken.Addr().String(), "is another vft running?", "capability"},
		{"an address of nobody here", t.TempDir(), "192.0.2.1:9999", "choose an address of this host", "another vft"},
		{"another vft has the directory", dir, "127.0.0.1:0", "is another vft server running?", "unavailable"},
		{"a directory that is a file", file, "127.0.0.1:0", "not a directory", "another vft"},
		{"a lock that cannot be made", unlockable(t), "127.0.0.1:0", "is a directory; name another with --data-dir", "another vft"},
	} {
		state, _, errs := runMain(t, "server", "--data-dir", c.dir, "--bind", c.bind)
		if state != exitOpen || !strings.Contains(errs, c.want) || strings.Contains(errs, c.not) {
			t.Errorf("%s: exit state %d: %s", c.why, state, errs)
		}
	}
}

// unlockable is a data directory whose lock file cannot be opened.
func unlockable(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "server.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHelpNamesEveryFlag(t *testing.T) {
	_, out, _ := runMain(t, "standalone", "--help")
	for _, c := range []struct{ why, line string }{
		{"the short names of packet capture", "  -i, --interface\n"},
		{"a filter as tcpdump takes it", "  -f, --filter\n"},
		{"a name of Wherefore", "  --loglevel, --log-level\n"},
		{"a name without another", "  --traps\n"},
	} {
		if !strings.Contains(out, c.line) {
			t.Errorf("%s: the help lacks %q", c.why, c.line)
		}
	}
}
