package datadir

import (
	"os"

	"golang.org/x/sys/windows"
)

// errLocked is how takeLock fails when another process has the file.
const errLocked = windows.ERROR_LOCK_VIOLATION

// takeLock takes path for this process. It fails at once when another has it; the
// system gives it back when the process ends, however it ends.
func takeLock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, new(windows.Overlapped)); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}
