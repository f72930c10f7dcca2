//go:build unix

package datadir

import (
	"os"
	"syscall"
)

// errLocked is how takeLock fails when another process has the file.
const errLocked = syscall.EWOULDBLOCK

// takeLock takes path for this process. It fails at once when another has it; the
// system gives it back when the process ends, however it ends.
func takeLock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}
