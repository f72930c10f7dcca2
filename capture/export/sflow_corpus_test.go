package export

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vft/capture/flow"
	"vft/capture/packet"
)

// missing skips a test whose requirement is not there, but not where all
// tests must run.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// Records, packets, bytes and fields are those of sfcapd, in every file; its
// times are those at which it ran.
func TestSflowCorpus(t *testing.T) {
	dir, _ := readManifest(t)
	names, _ := filepath.Glob(filepath.Join(dir, "flow-export", "sflow", "*.flowtruth.json"))
	if len(names) < 15 {
		t.Fatalf("%d files of sFlow in %s", len(names), dir)
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".flowtruth.json")
		d := NewDecoder(Config{})
		var got []flow.Record
		for _, a := range arrivals(t, name) {
			before := len(got)
			got = d.Datagram(a.from, a.payload, a.at, got)
			for _, r := range got[before:] {
				if r.First != a.at || r.Last != a.at || r.Export.Exporter != packet.AddrFrom(a.from.Addr()) || r.Export.Version != flow.SFlow5 {
					t.Errorf("%s: %+v", filepath.Base(name), r)
				}
			}
		}
		if same, report := compare(t, name, timesOf, got, readTruth(t, name)); !same {
			t.Errorf("%s: %s", filepath.Base(name), report)
		}
	}
}
