package modes

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"vft/counters"
	"vft/modes/settings"
)

// limitsPage returns the counters that docs/limits.md names, by the heading under
// which they stand.
func limitsPage(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)+$`)
	all, heading := map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			heading = title
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) < 5 {
			continue
		}
		for word := range strings.FieldsFuncSeq(cells[len(cells)-1], func(r rune) bool { return r == ',' || r == ';' }) {
			if word = strings.TrimSpace(word); name.MatchString(word) {
				all[heading] = append(all[heading], word)
			}
		}
	}
	return all
}

// depsOf are what a mode is built from; it keeps what it keeps in a directory of
// the test.
func depsOf(t *testing.T, mode settings.Mode, flags map[string]string) deps {
	t.Helper()
	flags["data-dir"] = t.TempDir()
	return deps{settings: values(t, mode, flags), streams: Streams{Out: &strings.Builder{}, Err: os.Stderr, Env: func(string) (string, bool) { return "", false }},
		log: zerolog.Nop(), level: &levelHook{}}
}

// reported are the names of all counters of a mode.
func reported(all *counters.Registry) (names []string) {
	for _, part := range all.Parts() {
		part.Counts(func(name string, _ uint64) { names = append(names, name) })
	}
	return names
}

// Every counter that docs/limits.md names is reported by each mode that has what
// it counts.
func TestModesReportEveryLimit(t *testing.T) {
	watched := func(flags map[string]string) map[string]string {
		flags["interface"], flags["log-packets"], flags["log-dir"] = "lo", "true", t.TempDir()
		return flags
	}
	standalone, err := newStandalone(depsOf(t, settings.StandaloneMode, watched(map[string]string{"netflow": "127.0.0.1:2055", "amqp": "amqp://127.0.0.1", "dest": "127.0.0.1:6000"})))
	if err != nil {
		t.Fatal(err)
	}
	client, err := newClient(depsOf(t, settings.ClientMode, watched(map[string]string{"secret": "a secret of the test only"})))
	if err == nil {
		err = client.buildLink(t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	server, err := newServer(depsOf(t, settings.ServerMode, map[string]string{"netflow": "127.0.0.1:2055", "amqp": "amqp://127.0.0.1"}))
	if err == nil {
		err = server.buildLink()
	}
	if err != nil {
		t.Fatal(err)
	}
	page := limitsPage(t)
	for heading, modes := range map[string]map[string]*counters.Registry{
		"A client or standalone":                {"client": &client.counters, "standalone": &standalone.counters},
		"A client":                              {"client": &client.counters},
		"The server":                            {"server": &server.counters},
		"The rules of a server or standalone":   {"server": &server.counters, "standalone": &standalone.counters},
		"Collectors of exported flows":          {"server": &server.counters, "standalone": &standalone.counters},
		"Where a server or standalone sends to": {"server": &server.counters, "standalone": &standalone.counters},
	} {
		if len(page[heading]) == 0 {
			t.Errorf("docs/limits.md names no counter under %q", heading)
		}
		for mode, all := range modes {
			names := reported(all)
			for _, name := range page[heading] {
				if !slices.Contains(names, name) {
					t.Errorf("%s, %s: no part reports %s", heading, mode, name)
				}
			}
		}
		delete(page, heading)
	}
	for heading, names := range page {
		t.Errorf("no test looks at what stands under %q: %v", heading, names)
	}
}
