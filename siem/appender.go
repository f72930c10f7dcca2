package siem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"vft/spool"
)

// appender appends whole lines to a file. When the file was moved away or
// removed, as logrotate does, the next record goes into a new one. A record
// counts as delivered when the system took its bytes; they are synced to disk
// at the end. No one else may append to the file.
type appender struct{ path string }

func (a *appender) check() error {
	f, err := a.open()
	if err != nil {
		return err
	}
	return f.Close()
}

// open opens the file, which it makes if need be, so that the next byte begins
// a line: half a line from an earlier crash gets its end.
func (a *appender) open() (*os.File, error) {
	if info, err := os.Stat(a.path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", a.path)
	}
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

func (a *appender) session(ctx context.Context, stop <-chan struct{}, log spool.Log) (err error) {
	f, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	return feed(ctx, stop, log, all, func(b spool.Batch) (int, error) {
		if a.movedFrom(f) {
			fresh, err := a.open()
			if err != nil {
				return 0, err
			}
			_ = f.Close()
			f = fresh
		}
		return appendLines(f, b)
	})
}

// movedFrom reports whether the path no longer names the open file.
func (a *appender) movedFrom(f *os.File) bool {
	there, err := os.Stat(a.path)
	if err != nil {
		return os.IsNotExist(err)
	}
	here, err := f.Stat()
	return err == nil && !os.SameFile(here, there)
}

// lineFile is the part of a file that appendLines needs.
type lineFile interface {
	io.Writer
	Stat() (os.FileInfo, error)
	Truncate(size int64) error
}

// appendLines writes a batch. When the disk takes a part of it only, the line
// that was torn is cut off again.
func appendLines(f lineFile, b spool.Batch) (records int, err error) {
	n, err := f.Write(b.Data)
	if err == nil {
		return b.Len(), nil
	}
	records = b.Whole(n)
	torn := n - len(b.Before(records).Data)
	if torn == 0 {
		return records, err
	}
	info, statErr := f.Stat()
	if statErr != nil {
		return records, errors.Join(err, statErr)
	}
	return records, errors.Join(err, f.Truncate(info.Size()-int64(torn)))
}
