package siem

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vft/spool"
)

// TestStdoutOnAFullDisk fills a limit on the size of files, as a full disk
// would: nothing is lost, no half line stays, and it goes on when there is room.
func TestStdoutOnAFullDisk(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	full := &limitedFile{File: file, room: 1000}
	p := &pipe{w: full}
	log := spool.NewMemory(spool.Limits{})
	line := []byte(`{"n":` + strings.Repeat("1", 90) + "}\n")
	for range 20 {
		log.Append(spool.Events, line)
	}
	stop := make(chan struct{})
	close(stop)
	if err := p.session(t.Context(), stop, log); err == nil || isPermanent(err) {
		t.Fatalf("a full disk gave %v", err)
	}
	full.room = 1 << 20
	if err := p.session(t.Context(), stop, log); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(got, line); lines != 20 || strings.Count(string(got), "1") < 20*90 {
		t.Errorf("%d whole lines of 20 are there in %d bytes", lines, len(got))
	}
}

// limitedFile takes so many bytes and then says that the disk is full.
type limitedFile struct {
	*os.File
	room int
}

func (f *limitedFile) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	written, err := f.File.Write(b[:n])
	f.room -= written
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return written, err
}
