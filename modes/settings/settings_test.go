package settings

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vft/engine/flows"
)

// sample are settings of each kind.
type sample struct {
	*layers
	bind, level, secret, config string
	traps                       int
	ports                       []uint16
	hold                        time.Duration
	ssl                         bool
	netflow                     []netip.AddrPort
}

func (s *sample) options() []Option {
	return []Option{
		{Name: "bind", Default: "127.0.0.1:9999", Value: HostPort(&s.bind), Modes: ServerMode},
		{Name: "traps", Default: "5", Value: Int(0, 1000, &s.traps), Modes: Hosts},
		{Name: "trap-ports", Value: Ports(&s.ports), Modes: Hosts},
		{Name: "trap-hold", Default: "3.1s", Value: Duration(0, 10*time.Second, &s.hold), Modes: Hosts},
		{Name: "log-level", Default: "info", Value: OneOf([]string{"debug", "info"}, &s.level), Modes: All, Reload: All},
		{Name: "secret", Value: Text(&s.secret), Secret: true, Modes: All},
		{Name: "ssl", Default: "true", Value: Bool(&s.ssl), Modes: All},
		{Name: "config", Value: Text(&s.config), Modes: All},
		{Name: "netflow", Default: "off", Value: Listeners(2055, &s.netflow), Modes: All, Envs: []string{"COLLECTOR_LISTEN_PORT"}},
	}
}

func source(t testing.TB, file string, env map[string]string, flags map[string]string) *Source {
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
	return &Source{Flags: inputs, Env: lookup, Mode: All}
}

// readSample reads settings of each kind.
func readSample(src *Source) (s *sample, err error) {
	s = &sample{}
	s.layers, err = read(s.options(), src)
	return s, err
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
		v, err := readSample(source(t, c.file, c.env, c.flag))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := v.traps; got != c.want || v.Origin(&v.traps).Layer != c.layer {
			t.Errorf("%s: got %d from %s", c.why, got, v.Origin(&v.traps))
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
		_, err := readSample(source(t, c.file, c.env, c.flag))
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
	src.Mode = ClientMode
	if _, err := readSample(src); err == nil || !strings.Contains(err.Error(), "--bind") {
		t.Errorf("got %v", err)
	}
	src = source(t, "bind: 127.0.0.1:1", nil, nil)
	src.Mode = ClientMode
	if _, err := readSample(src); err != nil {
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
		v, err := readSample(source(t, c.file, nil, nil))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := v.ports; len(got) != 2 || got[0] != 80 || got[1] != 443 {
			t.Errorf("%s: got %v", c.why, got)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	v, err := readSample(source(t, "", map[string]string{"VFT_SECRET": "hunter2hunter2"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v.Show() {
		if strings.Contains(s.Value, "hunter2") {
			t.Errorf("%s shows the secret", s.Name)
		}
		if s.Name == "secret" && s.From != "environment VFT_SECRET" {
			t.Errorf("the secret's origin reads %q", s.From)
		}
	}
	if v.secret != "hunter2hunter2" {
		t.Error("the secret itself is lost")
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"traps: 5\n", "trap-ports: [80, 443]\n", "a: &x [*x]\n", "? {}\n: 1\n", "--- \n...\n", "traps: !!int 5", "<<: {traps: 1}", "\xff\xfe", "traps: |\n  5\n"} {
		f.Add([]byte(seed))
	}
	options := new(sample).options()
	f.Fuzz(func(t *testing.T, text []byte) {
		layer, err := parseFile("vft.yaml", text, options)
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("the error has more than one line: %q", err)
		}
		for name, g := range layer {
			if findOption(options, name) == nil || len(g.texts) == 0 {
				t.Errorf("%q was accepted with %d values", name, len(g.texts))
			}
		}
	})
}

func TestListeners(t *testing.T) {
	load := func(file string, env, flag map[string]string) (*sample, error) {
		return readSample(source(t, file, env, flag))
	}
	at := func(texts ...string) (all []netip.AddrPort) {
		for _, text := range texts {
			if port, ok := strings.CutPrefix(text, ":"); ok {
				n, _ := strconv.ParseUint(port, 10, 16)
				all = append(all, netip.AddrPortFrom(netip.Addr{}, uint16(n)))
			} else {
				all = append(all, netip.MustParseAddrPort(text))
			}
		}
		return all
	}
	for _, c := range []struct {
		why, file string
		env, flag map[string]string
		want      []netip.AddrPort
	}{
		{"off is none", "", nil, nil, nil},
		{"the key alone means the usual port", "netflow:\n", nil, nil, at(":2055")},
		{"all addresses", "", nil, map[string]string{"netflow": ":9995"}, at(":9995")},
		{"a port alone", "", nil, map[string]string{"netflow": "2055,9995"}, at(":2055", ":9995")},
		{"one address of each family", "", nil, map[string]string{"netflow": "127.0.0.1:2055,[::1]:2055"}, at("127.0.0.1:2055", "[::1]:2055")},
		{"the name that net-security gave it", "", map[string]string{"COLLECTOR_LISTEN_PORT": "3000"}, nil, at(":3000")},
		{"the own name counts more", "", map[string]string{"COLLECTOR_LISTEN_PORT": "3000", "VFT_NETFLOW": ":3001"}, nil, at(":3001")},
	} {
		v, err := load(c.file, c.env, c.flag)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := v.netflow; !slices.Equal(got, c.want) {
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
	var got []flows.SamplingRate
	v := Sampling(&got)
	want := []flows.SamplingRate{{Exporter: netip.MustParseAddr("10.0.0.1"), Rate: 1000}, {Exporter: netip.MustParseAddr("10.0.0.2"), Rate: 20}}
	if err := v.set([]string{"10.0.0.1=1000, ::ffff:10.0.0.2=20"}); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, not %v", got, err, want)
	}
	for _, bad := range []string{"10.0.0.1", "10.0.0.1=", "10.0.0.1=0", "x=5", "10.0.0.1=-1", "10.0.0.1=4294967296"} {
		if err := v.set([]string{bad}); err == nil {
			t.Errorf("%q was taken for a rate", bad)
		}
	}
}

// Every option sets a field, none sets one that another sets too, and its default
// can be read.
func TestEveryOptionHasItsField(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	s, err := Load(Source{Env: none, Mode: All})
	if err != nil {
		t.Fatal(err)
	}
	names := map[any]string{}
	for _, o := range s.layers.options {
		if len(o.Value.fields) == 0 || o.Usage == "" || o.Modes == 0 {
			t.Errorf("%s sets nothing, or says nothing", o.Name)
		}
		for _, f := range o.Value.fields {
			if names[f] != "" {
				t.Errorf("%s and %s set the same field", names[f], o.Name)
			}
			names[f] = o.Name
		}
	}
}

// Settings that mean something together.
func TestDerivedSettings(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	s, err := Load(Source{Env: none, Mode: StandaloneMode, Flags: map[string]*Input{
		"netflow": {Texts: []string{":2055,10.0.0.1:9995"}}, "sflow": {Texts: []string{":6343"}}, "ipfix": {Texts: []string{":2055"}},
		"filter-cidr": {Texts: []string{"192.0.2.0/24"}}, "filter-on": {Texts: []string{"both"}}, "home": {Texts: []string{"10.0.0.0/8"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Flows.Listen); got != "[invalid AddrPort 10.0.0.1:9995 invalid AddrPort]" || s.Flows.Listen[0].Port() != 2055 || s.Flows.Listen[2].Port() != 6343 {
		t.Errorf("it listens on %v", got)
	}
	if n := s.Flows.Filter.Networks; len(n) != 1 || !n[0].Src || !n[0].Dst || !n[0].Both || n[0].Drop {
		t.Errorf("the networks are filtered by %+v", n)
	}
	if len(s.Packets.Home) != 1 || len(s.Flows.Home) != 1 {
		t.Error("not both engines know what is inside")
	}
	if s.Packets.Transfers.Cap != 0 {
		t.Error("the default of the kept intervals is taken for a wish")
	}
}

// Whoever sets the anomalyzer wants all that it finds; how often bytes are measured is
// no such wish. The budget of false alarms is kept unless q is given.
func TestAnomalySettings(t *testing.T) {
	for _, c := range []struct {
		flags  map[string]string
		all    bool
		budget float64
		q      float64
	}{
		{nil, false, 1. / (7 * 24 * 3600), 0},
		{map[string]string{"transfer-interval": "1s", "anomaly-budget": "3/day"}, false, 3. / (24 * 3600), 0},
		{map[string]string{"anom-threshold": "0.7", "anomaly-budget": "0.5/hour"}, true, 0.5 / 3600, 0},
		{map[string]string{"anom-methods": "diff", "spot-q": "1e-4"}, true, 1. / (7 * 24 * 3600), 1e-4},
	} {
		s, err := Load(*source(t, "", nil, c.flags))
		if err != nil {
			t.Fatal(err)
		}
		if p := &s.Packets; p.Transfers.All != c.all || p.Statistics.Budget != c.budget || p.Statistics.Q != c.q {
			t.Errorf("%v: all %v, budget %v, q %v", c.flags, p.Transfers.All, p.Statistics.Budget, p.Statistics.Q)
		}
	}
	for _, bad := range []string{"", "1", "week", "1/year", "0/day", "-1/day", "NaN/day", "1e9/day"} {
		if _, err := Load(*source(t, "", nil, map[string]string{"anomaly-budget": bad})); err == nil || !strings.Contains(err.Error(), "1/week") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What changed and needs a restart is told, what does not is not, and neither is
// what another command has.
func TestRestart(t *testing.T) {
	load := func(mode Mode, file string) *Settings {
		src := source(t, file, nil, nil)
		src.Mode = mode
		s, err := Load(*src)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		why           string
		mode          Mode
		before, after string
		want          []string
	}{
		{"nothing changed", StandaloneMode, "traps: 3", "traps: 3", nil},
		{"a default that is written out is no change", StandaloneMode, "traps: 5", "log-level: info", nil},
		{"the level of the log changes at once", StandaloneMode, "log-level: info", "log-level: warn", nil},
		{"sensors do too", ClientMode, "log-level: info", "sensors: s.yaml", nil},
		{"rules do too", ServerMode, "log-level: info", "rules: r.yaml", nil},
		{"the traps do not", StandaloneMode, "traps: 3", "traps: 4", []string{"traps"}},
		{"a server has no traps", ServerMode, "traps: 3", "traps: 4", nil},
		{"what a client trusts does not change", ClientMode, "cert: a.pem", "cert: b.pem", []string{"cert"}},
		{"the certificate of a server does", ServerMode, "cert: a.pem\nkey: a.pem", "cert: b.pem\nkey: b.pem", nil},
	} {
		before := load(c.mode, c.before)
		got := slices.DeleteFunc(before.Restart(load(c.mode, c.after)), func(name string) bool { return name == "config" }) // another file in this test
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
}
