package modes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"vft/modes/settings"
)

// A running vft says that it is reloaded when all that changed holds from now on,
// else what needs a restart, each time; what is wrong changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules, sensors, config := write("rules.yaml", "rules: {touch: {severity: 21}}\n"), write("sensors.yaml", "sensors: {winscan: off}\n"), filepath.Join(dir, "vft.yaml")
	bad := write("bad.yaml", "nothing: 1\n")
	none := func(string) (string, bool) { return "", false }
	for _, mode := range []struct {
		name  string
		mode  settings.Mode
		build func(deps) (*deps, func(*settings.Settings) (func(), error))
	}{
		{"server", settings.ServerMode, func(p deps) (*deps, func(*settings.Settings) (func(), error)) {
			s, err := newServer(p)
			if err == nil {
				err = s.buildLink()
			}
			if err != nil {
				t.Fatal(err)
			}
			return &s.deps, s.prepare
		}},
		{"client", settings.ClientMode, func(p deps) (*deps, func(*settings.Settings) (func(), error)) {
			c, err := newClient(p)
			if err != nil {
				t.Fatal(err)
			}
			return &c.deps, c.prepare
		}},
		{"standalone", settings.StandaloneMode, func(p deps) (*deps, func(*settings.Settings) (func(), error)) {
			s, err := newStandalone(p)
			if err != nil {
				t.Fatal(err)
			}
			return &s.deps, s.prepare
		}},
	} {
		load := func() (*settings.Settings, error) {
			return settings.Load(settings.Source{Env: none, Mode: mode.mode, Flags: map[string]*settings.Input{"config": {Texts: []string{config}}, "data-dir": {Texts: []string{dir}}}})
		}
		write("vft.yaml", "")
		first, err := load()
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		level := &levelHook{}
		level.set(first)
		running, prepare := mode.build(deps{settings: first, streams: Streams{Out: &log, Env: none}, log: zerolog.New(&log), level: level, reload: load})
		for _, c := range []struct{ why, text, said, not string }{
			{"nothing changed", "", `"reloaded"`, "restart"},
			{"the level of the log", "log-level: warn\n", "", "reloaded"},
			{"and back", "log-level: info\n", `"reloaded"`, "restart"},
			{"sensors, where there were none before", "sensors: " + sensors + "\n", `"reloaded"`, "restart"},
			{"rules", "rules: " + rules + "\n", `"reloaded"`, "restart"},
			{"what each has", "home: 10.0.0.0/8\n", `"settings":["home"],"message":"reloaded; these settings need a restart"`, ""},
			{"the same is said again", "home: 10.0.0.0/8\n", `"settings":["home"]`, ""},
			{"until it is as it was", "", `"reloaded"`, "restart"},
			{"sensors that are none", "sensors: " + bad + "\n", "not reloaded, the old configuration stays: " + bad + ":1", ""},
			{"a file that is not there", "sensors: " + filepath.Join(dir, "none.yaml") + "\n", "vft.yaml:1: sensors", ""},
			{"a setting that is none", "trapz: 1\n", "vft.yaml:1", ""},
		} {
			write("vft.yaml", c.text)
			log.Reset()
			running.log = zerolog.New(&log).Hook(level)
			running.reloadWith(prepare)
			if !strings.Contains(log.String(), c.said) || c.not != "" && strings.Contains(log.String(), c.not) {
				t.Errorf("%s, %s: %s", mode.name, c.why, log.String())
			}
		}
	}
}

// A server takes a certificate that is named later, and goes back to its own.
func TestReloadTakesTheCertificate(t *testing.T) {
	other := depsOf(t, settings.ServerMode, map[string]string{})
	maker := &server{deps: other, dir: t.TempDir()}
	if _, err := maker.certificate(other.settings); err != nil {
		t.Fatal(err)
	}
	named := map[string]string{"cert": filepath.Join(maker.dir, "cert.pem"), "key": filepath.Join(maker.dir, "key.pem")}
	if _, err := os.Stat(named["cert"]); err != nil {
		files, _ := os.ReadDir(maker.dir)
		t.Fatalf("%v: there is %v", err, files)
	}
	s, err := newServer(depsOf(t, settings.ServerMode, map[string]string{}))
	if err == nil {
		err = s.buildLink()
	}
	if err != nil {
		t.Fatal(err)
	}
	own := s.cert.Load().Leaf.SerialNumber
	for _, c := range []struct {
		why   string
		flags map[string]string
		same  bool
	}{
		{"one that is named", named, false},
		{"its own again", map[string]string{}, true},
	} {
		change, err := s.prepare(values(t, settings.ServerMode, c.flags))
		if err != nil {
			t.Fatal(err)
		}
		change()
		if same := s.cert.Load().Leaf.SerialNumber.Cmp(own) == 0; same != c.same {
			t.Errorf("%s: it is its own: %v", c.why, same)
		}
	}
}
