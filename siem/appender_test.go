package siem

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"vft/spool"
)

// lines makes the content of a file with the records numbered first to last.
func lines(first, last int) (content string) {
	for n := first; n <= last; n++ {
		content += string(number(n)) + "\n"
	}
	return content
}

func wantFile(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != content {
		t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, content)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vft.json")
	target := Target{Scheme: "file", Path: path}
	for round := range 2 { // the second goes on where the first ended
		d, stop := start(t, Config{Target: target})
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		d.Send(number(2 * round))
		d.Send(number(2*round + 1))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, path, lines(0, 3))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&^0o640 != 0 {
		t.Errorf("the file has mode %v", mode)
	}
}

func TestFileThatIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vft.json")
	d, stop := start(t, Config{Target: Target{Scheme: "file", Path: path}})
	d.Send(number(1))
	delivered(t, d, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	d.Send(number(2))
	delivered(t, d, 2)
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil { // logrotate's create
		t.Fatal(err)
	}
	d.Send(number(3))
	delivered(t, d, 3)
	if err := os.Truncate(path, 0); err != nil { // logrotate's copytruncate
		t.Fatal(err)
	}
	d.Send(number(4))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path+".1", lines(1, 1))
	wantFile(t, path+".2", lines(2, 2))
	wantFile(t, path, lines(4, 4))
}

func TestFileThatEndsInHalfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vft.json")
	if err := os.WriteFile(path, []byte(`{"n":`), 0o600); err != nil {
		t.Fatal(err)
	}
	d, stop := start(t, Config{Target: Target{Scheme: "file", Path: path}})
	d.Send(number(1))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "{\"n\":\n"+lines(1, 1))
}

func TestFileThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "vft.json")
	d, stop := start(t, Config{Target: Target{Scheme: "file", Path: path}})
	if err := d.Check(); err == nil {
		t.Error("Check found nothing wrong with a directory that is not there")
	}
	d.Send(number(1))
	until(t, "two failed attempts", func() bool { return count(d, "failures") >= 2 })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	delivered(t, d, 1)
	if err := stop(); err != nil {
		t.Error(err)
	}
	wantFile(t, path, lines(1, 1))
	if err := New(Config{Target: Target{Scheme: "file", Path: dir}}).Check(); err == nil {
		t.Error("Check found nothing wrong with a directory")
	}
}

// fullDisk is a file on a disk with so much room left.
type fullDisk struct {
	*os.File
	room int
}

func (f *fullDisk) Write(b []byte) (int, error) {
	if len(b) <= f.room {
		f.room -= len(b)
		return f.File.Write(b)
	}
	n, _ := f.File.Write(b[:f.room])
	f.room = 0
	return n, syscall.ENOSPC
}

func TestDiskThatIsFull(t *testing.T) {
	batchOf := func(first, last int) spool.Batch {
		log := spool.NewMemory(spool.Limits{})
		for n := first; n <= last; n++ {
			log.Append(spool.Events, append(number(n), '\n'))
		}
		return log.Take(all, all)
	}
	for _, c := range []struct {
		why     string
		room    int
		records int
	}{
		{"no room at all", 0, 0},
		{"room for half a line: it is cut off again", 5, 0},
		{"room for two lines", 16, 2},
		{"room for two lines and a half: the half is cut off again", 20, 2},
		{"room for all but a byte", 31, 3},
	} {
		path := filepath.Join(t.TempDir(), "vft.json")
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := appendLines(f, batchOf(0, 0)); err != nil {
			t.Fatal(err)
		}
		records, err := appendLines(&fullDisk{f, c.room}, batchOf(1, 4)) // eight bytes each
		if records != c.records || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %d records, %v", c.why, records, err)
		}
		_ = f.Close()
		wantFile(t, path, lines(0, c.records))
	}
}

func TestRecordsLargerThanAChunk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vft.json")
	d, stop := start(t, Config{Target: Target{Scheme: "file", Path: path}})
	large := bytes.Repeat([]byte{'x'}, 200_000)
	d.Send(number(1))
	d.Send(large)
	d.Send(number(2))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, lines(1, 1)+string(large)+"\n"+lines(2, 2))
}
