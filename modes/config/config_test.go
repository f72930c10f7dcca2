package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var testOptions = []Option{
	{Name: "bind", Default: "127.0.0.1:9999", Kind: HostPort, Modes: Server},
	{Name: "traps", Default: "5", Kind: Int(0, 1000), Modes: Hosts},
	{Name: "trap-ports", Kind: Ports, Modes: Hosts},
	{Name: "trap-hold", Default: "3.1s", Kind: Duration(0, 10*time.Second), Modes: Hosts},
	{Name: "log-level", Default: "info", Kind: OneOf("debug", "info"), Modes: All},
	{Name: "secret", Kind: Text, Secret: true, Modes: All},
	{Name: "ssl", Default: "true", Kind: Bool, Modes: All},
	{Name: "config", Kind: Text, Modes: All},
}

func source(t testing.TB, file string, env map[string]string, flags map[string]string) Source {
	t.Helper()
	inputs := map[string]*Input{}
	for name, text := range flags {
		inputs[name] = &Input{Texts: []string{text}}
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "vft.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		inputs["config"] = &Input{Texts: []string{path}}
	}
	lookup := func(name string) (string, bool) { text, ok := env[name]; return text, ok }
	return Source{Options: testOptions, Flags: inputs, Env: lookup, Mode: All}
}

func TestPrecedence(t *testing.T) {
	for _, c := range []struct {
		why, file string
		env, flag map[string]string
		want      int
		layer     string
	}{
		{"nothing given", "", nil, nil, 5, "default"},
		{"the file is over the default", "traps: 6", nil, nil, 6, "file"},
		{"the environment is over the file", "traps: 6", map[string]string{"VFT_TRAPS": "7"}, nil, 7, "environment"},
		{"a flag is over all", "traps: 6", map[string]string{"VFT_TRAPS": "7"}, map[string]string{"traps": "8"}, 8, "flag"},
		{"an empty variable is as good as none", "traps: 6", map[string]string{"VFT_TRAPS": ""}, nil, 6, "file"},
	} {
		v, err := Load(source(t, c.file, c.env, c.flag))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := v.Int("traps"); got != c.want || v.Origin("traps").Layer != c.layer {
			t.Errorf("%s: got %d from %s", c.why, got, v.Origin("traps"))
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for _, c := range []struct {
		why, file string
		env, flag map[string]string
		want      []string // all in the message
	}{
		{"an unknown key names file, line and key", "traps: 5\ntrapz: 6\n", nil, nil, []string{"vft.yaml:2", "trapz"}},
		{"underscores are a likely mistake", "trap_ports: 80\n", nil, nil, []string{"vft.yaml:1", "did you mean trap-ports?"}},
		{"a value in the file names its line", "\n\ntraps: many\n", nil, nil, []string{"vft.yaml:3: traps", `"many"`, "0 to 1000"}},
		{"a variable is named", "", map[string]string{"VFT_TRAPS": "-1"}, nil, []string{"VFT_TRAPS", "0 to 1000"}},
		{"a flag is named", "", nil, map[string]string{"log-level": "loud"}, []string{"--log-level", "debug, info"}},
		{"a port out of range", "", nil, map[string]string{"trap-ports": "80,70000"}, []string{"--trap-ports", "70000", "65535"}},
		{"a time out of range", "", nil, map[string]string{"trap-hold": "1h"}, []string{"--trap-hold", "0s to 10s"}},
		{"no port in an address", "", nil, map[string]string{"bind": "localhost"}, []string{"--bind", "HOST:PORT"}},
		{"an IPv6 address without brackets", "", nil, map[string]string{"bind": "::1:80"}, []string{"--bind", "[::1]"}},
		{"a list where one value is due", "traps: [1, 2]\n", nil, nil, []string{"vft.yaml:1: traps", "one value"}},
		{"a mapping where a value is due", "traps:\n  a: 1\n", nil, nil, []string{"vft.yaml", "traps", "mapping"}},
		{"the same key twice", "traps: 1\ntraps: 2\n", nil, nil, []string{"vft.yaml:2", "twice"}},
		{"not a mapping at all", "- 1\n", nil, nil, []string{"vft.yaml:1", "NAME: VALUE"}},
		{"not YAML", "traps: [1\n", nil, nil, []string{"vft.yaml"}},
	} {
		_, err := Load(source(t, c.file, c.env, c.flag))
		if err == nil {
			t.Errorf("%s: accepted", c.why)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", c.why, err, part)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has more than one line: %q", c.why, err)
		}
	}
}

func TestFlagOfAnotherModeIsRefused(t *testing.T) {
	src := source(t, "", nil, map[string]string{"bind": "127.0.0.1:1"})
	src.Mode = Client
	if _, err := Load(src); err == nil || !strings.Contains(err.Error(), "--bind") {
		t.Errorf("got %v", err)
	}
	src = source(t, "bind: 127.0.0.1:1", nil, nil)
	src.Mode = Client
	if _, err := Load(src); err != nil {
		t.Errorf("one file serves all modes, but: %v", err)
	}
}

func TestListsAndForms(t *testing.T) {
	for _, c := range []struct{ why, file string }{
		{"a YAML list", "trap-ports: [80, 443]"},
		{"a block list", "trap-ports:\n  - 80\n  - 443"},
		{"commas", "trap-ports: 80,443"},
		{"spaces around commas", `trap-ports: "80, 443"`},
	} {
		v, err := Load(source(t, c.file, nil, nil))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := List[uint16](v, "trap-ports"); len(got) != 2 || got[0] != 80 || got[1] != 443 {
			t.Errorf("%s: got %v", c.why, got)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	v, err := Load(source(t, "", map[string]string{"VFT_SECRET": "hunter2hunter2"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v.All() {
		if strings.Contains(s.Value, "hunter2") {
			t.Errorf("%s shows the secret", s.Name)
		}
		if s.Name == "secret" && s.From != "environment VFT_SECRET" {
			t.Errorf("the secret's origin reads %q", s.From)
		}
	}
	if v.Text("secret") != "hunter2hunter2" {
		t.Error("the secret itself is lost")
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"traps: 5\n", "trap-ports: [80, 443]\n", "a: &x [*x]\n", "? {}\n: 1\n", "--- \n...\n", "traps: !!int 5", "<<: {traps: 1}", "\xff\xfe", "traps: |\n  5\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		layer, err := parseFile("vft.yaml", text, testOptions)
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("the error has more than one line: %q", err)
		}
		for name, g := range layer {
			if find(testOptions, name) == nil || len(g.texts) == 0 {
				t.Errorf("%q was accepted with %d values", name, len(g.texts))
			}
		}
	})
}

func TestListeners(t *testing.T) {
	options := append([]Option{{Name: "netflow", Default: "off", Kind: Listeners(2055), Modes: All, Envs: []string{"COLLECTOR_LISTEN_PORT"}}}, testOptions...)
	load := func(file string, env, flag map[string]string) (*Values, error) {
		src := source(t, file, env, flag)
		src.Options = options
		return Load(src)
	}
	for _, c := range []struct {
		why, file string
		env, flag map[string]string
		want      []Listener
	}{
		{"off is none", "", nil, nil, []Listener{{}}},
		{"the key alone means the usual port", "netflow:\n", nil, nil, []Listener{{Port: 2055}}},
		{"all addresses", "", nil, map[string]string{"netflow": ":9995"}, []Listener{{Port: 9995}}},
		{"a port alone", "", nil, map[string]string{"netflow": "2055,9995"}, []Listener{{Port: 2055}, {Port: 9995}}},
		{"one address of each family", "", nil, map[string]string{"netflow": "127.0.0.1:2055,[::1]:2055"}, []Listener{{netip.MustParseAddr("127.0.0.1"), 2055}, {netip.MustParseAddr("::1"), 2055}}},
		{"the name that net-security gave it", "", map[string]string{"COLLECTOR_LISTEN_PORT": "3000"}, nil, []Listener{{Port: 3000}}},
		{"the own name counts more", "", map[string]string{"COLLECTOR_LISTEN_PORT": "3000", "VFT_NETFLOW": ":3001"}, nil, []Listener{{Port: 3001}}},
	} {
		v, err := load(c.file, c.env, c.flag)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := List[Listener](v, "netflow"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
	for _, bad := range []string{"router:2055", "0", ":70000", "nowhere", "::1:2055"} {
		if _, err := load("", nil, map[string]string{"netflow": bad}); err == nil {
			t.Errorf("%q was taken for an address", bad)
		}
	}
	if _, err := load("", map[string]string{"COLLECTOR_LISTEN_PORT": "many"}, nil); err == nil || !strings.Contains(err.Error(), "COLLECTOR_LISTEN_PORT") {
		t.Errorf("the error does not name the variable: %v", err)
	}
}

func TestSamplingRates(t *testing.T) {
	v, err := Sampling.read([]string{"10.0.0.1=1000, ::ffff:10.0.0.2=20"})
	want := []any{SamplingRate{netip.MustParseAddr("10.0.0.1"), 1000}, SamplingRate{netip.MustParseAddr("10.0.0.2"), 20}}
	if err != nil || !slices.Equal(v.([]any), want) {
		t.Errorf("%v %v, not %v", v, err, want)
	}
	for _, bad := range []string{"10.0.0.1", "10.0.0.1=", "10.0.0.1=0", "x=5", "10.0.0.1=-1", "10.0.0.1=4294967296"} {
		if _, err := Sampling.read([]string{bad}); err == nil {
			t.Errorf("%q was taken for a rate", bad)
		}
	}
}
