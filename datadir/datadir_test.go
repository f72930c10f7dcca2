package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Clients on one directory get an identity each, and one that ended gives its own
// back.
func TestIdentities(t *testing.T) {
	base := t.TempDir()
	first, unlock, err := Identity(base)
	if err != nil {
		t.Fatal(err)
	}
	second, unlockSecond, err := Identity(base)
	if err != nil || second == first {
		t.Fatalf("%s after %s: %v", second, first, err)
	}
	defer unlockSecond()
	unlock()
	again, unlock, err := Identity(base)
	if err != nil || again != first {
		t.Errorf("%s, not %s: %v", again, first, err)
	}
	defer unlock()
	for range maxIdentities - 2 {
		_, unlock, err := Identity(base)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
	}
	if _, _, err := Identity(base); err == nil || !strings.Contains(err.Error(), "16 clients run on it") {
		t.Errorf("one more: %v", err)
	}
}

func TestWhatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := t.TempDir()
	unlock, err := Lock(locked, "lock", "")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for _, c := range []struct {
		why  string
		err  func() error
		want string
	}{
		{"a file is no directory", func() error { return Make(file) }, "not a directory"},
		{"nor is what lies below one", func() error { return Make(filepath.Join(file, "x")) }, "--data-dir"},
		{"somebody else has it", func() error { _, err := Lock(locked, "lock", "is another vft running?"); return err }, "in use; is another vft running? name another with --data-dir"},
		{"a lock that is a directory", func() error { _, err := Lock(t.TempDir(), ".", "x"); return err }, "is a directory; name another"},
	} {
		if err := c.err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v does not say %q", c.why, err, c.want)
		}
	}
}

func TestDefault(t *testing.T) {
	dir, err := Default(func(string) (string, bool) { return "/state", true })
	want := filepath.Join("/state", "vft")
	if os.Geteuid() == 0 {
		want = "/var/lib/vft"
	}
	if err != nil || dir != want {
		t.Errorf("%s %v, not %s", dir, err, want)
	}
}
