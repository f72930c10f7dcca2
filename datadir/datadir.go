// Package datadir is the directory in which vft keeps what it needs after a
// restart: where it is, and who may use it.
package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Default is /var/lib/vft for root, else vft in the user's own state directory
// (XDG Base Directory Specification).
func Default(env func(string) (string, bool)) (string, error) {
	if runtime.GOOS != "windows" && os.Geteuid() == 0 {
		return "/var/lib/vft", nil
	}
	if state, ok := env("XDG_STATE_HOME"); ok && filepath.IsAbs(state) {
		return filepath.Join(state, "vft"), nil
	}
	if runtime.GOOS == "windows" {
		local, err := os.UserCacheDir()
		return filepath.Join(local, "vft"), err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a data directory: %v; name one with --data-dir", err)
	}
	return filepath.Join(home, ".local", "state", "vft"), nil
}

// Make makes the directory, mode 0700.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the data directory %s: %v; name another with --data-dir", dir, reason(err))
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("the data directory %s is not a directory that can be used; name another with --data-dir", dir)
	}
	return nil
}

// Lock takes the file name in the directory for this process, until unlock is
// called or the process ends. It fails at once when another has it; inUse says
// then what to look for.
func Lock(dir, name, inUse string) (unlock func(), err error) {
	if unlock, err = takeLock(filepath.Join(dir, name)); err != nil {
		return nil, cannotUse(dir, err, inUse)
	}
	return unlock, nil
}

// cannotUse says why a lock could not be taken.
func cannotUse(dir string, err error, inUse string) error {
	why := fmt.Sprintf("%v;", reason(err))
	if errors.Is(err, errLocked) {
		why = "in use; " + inUse
	}
	return fmt.Errorf("cannot use the data directory %s: %s name another with --data-dir", dir, why)
}

// maxIdentities is how many clients may share one data directory.
const maxIdentities = 16

// Identity returns the directory of a client's identity. Clients that share a
// data directory, in several namespaces or containers, each take one of their
// own: one identity would flap between their connections.
func Identity(base string) (dir string, unlock func(), err error) {
	for n := 1; n <= maxIdentities; n++ {
		dir = filepath.Join(base, "client")
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", dir, n)
		}
		if err = os.MkdirAll(dir, 0o700); err != nil {
			return "", nil, fmt.Errorf("cannot make %s: %v; name another directory with --data-dir", dir, reason(err))
		}
		if unlock, err = takeLock(filepath.Join(dir, "lock")); err == nil {
			return dir, unlock, nil
		}
	}
	return "", nil, cannotUse(base, err, fmt.Sprintf("%d clients run on it already;", maxIdentities))
}

// reason cuts the operation and path, which the message has already, from an
// *os.PathError.
func reason(err error) error {
	if inner, ok := err.(*os.PathError); ok {
		return inner.Err
	}
	return err
}
