package flows

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"vft/event"
)

// What is damaged of the state does not keep the rest from being used.
func TestDamagedExportersState(t *testing.T) {
	const exporter = `{"address":"192.0.2.1","domain":7,"version":"netflow9","templates":[{"port":2055,"record":"%","defined":1}]}`
	const good, bad = "AQAAAQAIAAQ=", "AQAAAQ==" // template 256 of one field, and one that is cut
	pair := `"exfiltration":{"hour":1,"pairs":[{"source":"10.0.0.1","destination":"198.51.100.1","out":{"hours":[` + zeros(24) + `],"days":[1` + zeros(7)[1:] + `]},"back":{"hours":[` + zeros(24) + `],"days":[` + zeros(7) + `]}}]}`
	for _, c := range []struct {
		why, text        string
		templates, pairs int
		warned           bool
	}{
		{"all is well", `{"exporters":[` + strings.Replace(exporter, "%", good, 1) + `],` + pair + `}`, 1, 1, false},
		{"a template is cut", `{"exporters":[` + strings.Replace(exporter, "%", bad, 1) + `],` + pair + `}`, 0, 1, true},
		{"the detections are of no version", `{"exporters":[` + strings.Replace(exporter, "%", good, 1) + `],"detections":{},` + pair + `}`, 1, 1, true},
		{"no JSON", `{"exporters":`, 0, 0, true},
	} {
		s := &Settings{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2055")}, Workers: 1}
		dir, log := t.TempDir(), &strings.Builder{}
		if err := os.WriteFile(filepath.Join(dir, "exporters.json"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		collector, err := NewCollector(Config{Settings: s, Log: zerolog.New(log), Emit: func(event.Event) {}}, filepath.Join(dir, "exporters.json"))
		if err != nil {
			t.Fatal(err)
		}
		collector.restore()
		templates := 0
		for e := range collector.workers[0].decoder.Exporters() {
			templates += e.Templates
		}
		if pairs := len(collector.to.moves.Save().Exfiltration.Pairs); templates != c.templates || pairs != c.pairs || (log.Len() > 0) != c.warned {
			t.Errorf("%s: %d templates, %d pairs, log %q", c.why, templates, pairs, log)
		}
	}
}

// zeros are n zeros of a JSON array.
func zeros(n int) string { return strings.TrimSuffix(strings.Repeat("0,", n), ",") }
