package modes

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that breaks off counts up to there.
func TestBrokenReplayCountsWhatCameBefore(t *testing.T) {
	data, err := os.ReadFile("../testdata/mixed.pcap")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(path, data[:len(data)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, shards := range []string{"1", "2", "3"} {
		state, out, errs := runMain(t, "standalone", "--pcapfile", path, "--flows", "--shards", shards)
		if state != exitDone || !strings.Contains(errs, "what came before it is counted") || strings.Count(out, `"vft.flow"`) < 10 {
			t.Errorf("%s shards: state %d, %d bytes of records, %s", shards, state, len(out), errs)
		}
		if first == "" {
			first = out
		}
		if out != first {
			t.Errorf("%s shards: %x, not %x", shards, sha256.Sum256([]byte(out)), sha256.Sum256([]byte(first)))
		}
	}
}
