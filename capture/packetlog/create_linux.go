package packetlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// create makes a file that has its whole content when its name appears. Until
// then it has none, so that a killed process leaves nothing; where the file
// system cannot do that, it has a hidden one. An existing file is replaced, or
// an error.
func create(path string, replace bool, fill func(*os.File) error) error {
	f, err := os.OpenFile(filepath.Dir(path), unix.O_TMPFILE|os.O_RDWR, fileMode)
	if err != nil {
		return createHidden(path, replace, fill)
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	name := path
	if replace {
		name = hiddenName(path) // a name can be taken over by rename only
		os.Remove(name)
	}
	err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT): // no /proc, or no directory any more
		return createHidden(path, replace, fill)
	case err != nil:
		return &os.PathError{Op: "link", Path: path, Err: err}
	case replace:
		return os.Rename(name, path)
	}
	return nil
}

// lock keeps a second process out of a directory until the file is closed.
func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, reason(err))
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("cannot log packets to %s: another vft does; give each its own directory", dir)
	}
	return f, nil // a file system without locks is used without
}
