package packetlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	fileMode = 0o600
	dirMode  = 0o700
)

// createHidden makes a file that has its whole content when its name appears:
// it is filled under a hidden name. An existing file is replaced, or an error.
func createHidden(path string, replace bool, fill func(*os.File) error) error {
	hidden := hiddenName(path)
	os.Remove(hidden) // of a run that was killed
	f, err := os.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err = errors.Join(fill(f), f.Close()); err == nil {
		err = rename(hidden, path, replace)
	}
	if err != nil {
		os.Remove(hidden)
	}
	return err
}

// rename moves a file within a directory. The directories are for one process,
// so nobody makes path between the look and the move.
func rename(from, path string, replace bool) error {
	if !replace && exists(path) {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return os.Rename(from, path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func hiddenName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+hiddenSuffix)
}

// prepare makes a directory and tries to write to it.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("cannot make the directory %s for packets: %w", dir, reason(err))
	}
	probe := filepath.Join(dir, "vft_probe")
	err := createHidden(probe, true, func(*os.File) error { return nil })
	if err = errors.Join(err, os.Remove(probe)); err != nil {
		return fmt.Errorf("cannot write packets to %s: %w; let vft's user write there, or name another directory", dir, reason(err))
	}
	return nil
}

// reason is what an error says without the path that the message around it
// names already, on one line.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}

// move moves a file, also to another file system; to must not exist.
func move(from, to string) error {
	err := rename(from, to, false)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := create(to, false, func(f *os.File) error { return copyInto(f, from, -1) }); err != nil {
		return err
	}
	return os.Remove(from)
}
