package capture

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The committed captures are what their program makes.
func TestCapturesAreMadeByTheirProgram(t *testing.T) {
	dir := t.TempDir()
	made := exec.Command("go", "run", "./testdata/make", "-dir", dir)
	made.Dir = ".."
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("cannot make the captures: %v\n%s", err, out)
	}
	names, err := filepath.Glob("../testdata/*.pcap")
	if err != nil || len(names) == 0 {
		t.Fatalf("no captures in testdata: %v", err)
	}
	for _, name := range names {
		committed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if fresh, err := os.ReadFile(filepath.Join(dir, filepath.Base(name))); err != nil || !bytes.Equal(fresh, committed) {
			t.Errorf("%s is not what go run ./testdata/make writes (%v)", name, err)
		}
	}
}
