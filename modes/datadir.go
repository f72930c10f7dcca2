package modes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"vft/modes/settings"
)

// dataDir is the path of the data directory.
func dataDir(s *settings.Settings, env func(string) (string, bool)) (string, error) {
	if s.DataDir != "" {
		return s.DataDir, nil
	}
	dir, err := defaultDataDir(env)
	if err != nil {
		return "", cannotOpen(err)
	}
	return dir, nil
}

// makeDataDir makes the data directory, mode 0700.
func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cannotOpen(fmt.Errorf("cannot make the data directory %s: %v; name another with --data-dir", dir, pathReason(err)))
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return cannotOpen(fmt.Errorf("the data directory %s is not a directory that can be used; name another with --data-dir", dir))
	}
	return nil
}

// defaultDataDir is /var/lib/vft for root, else vft in the user's own state
// directory (XDG Base Directory Specification).
func defaultDataDir(env func(string) (string, bool)) (string, error) {
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

// lockReason says why a lock of the data directory could not be taken: in the
// words of locked when another process has it.
func lockReason(err error, locked string) string {
	if errors.Is(err, errLocked) {
		return "in use; " + locked
	}
	return pathReason(err).Error() + ";"
}
