package packetlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// take charges the quota, or gives back.
func (l *Log) take(f *file, bytes int64) {
	if f.archived {
		l.archived += bytes
		return
	}
	l.used += bytes
}

// makeRoom keeps the quota: it evicts the flows that were quiet the longest,
// then the oldest files of f itself. The archive is never touched.
func (l *Log) makeRoom(f *logged) error {
	need := charge(f.offset()) - charge(f.size())
	for l.used+l.archived+need > l.cfg.Quota {
		victim := l.plain.first
		if victim == f {
			victim = l.plain.after(f)
		}
		switch {
		case l.archived+need > l.cfg.Quota: // no eviction helps
			if !l.measureArchive() {
				return errQuota
			}
		case victim != nil:
			l.end(victim, flowsEvictedQuota)
		case !f.alerted && (len(f.files) > 1 || f.fresh && len(f.files) > 0):
			l.removeOldest(f, filesRotated)
		default:
			return errQuota
		}
	}
	return nil
}

// measureArchive looks once a minute whether somebody made room in the archive.
func (l *Log) measureArchive() (less bool) {
	if l.now < l.lookAgain && l.now >= l.lookAgain-2*int64(time.Minute) {
		return false
	}
	l.lookAgain = l.now + int64(time.Minute)
	before := l.archived
	l.archived = diskUse(l.cfg.Archive)
	return l.archived < before
}

// removeOldest deletes the oldest file of a flow.
func (l *Log) removeOldest(f *logged, why counter) { l.drop(f, 0, why) }

// drop deletes file number i of a flow.
func (l *Log) drop(f *logged, i int, why counter) {
	old := f.files[i]
	f.files = append(f.files[:i], f.files[i+1:]...)
	l.take(&old, -charge(old.size))
	if err := os.Remove(old.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.failed(errorsRemove, "a file of packets stays", fmt.Errorf("cannot remove %s: %w", old.path, reason(err)))
		return
	}
	l.count.add(why, 1)
}

// ifLost looks whether the newest file is what it was. If not, the next packet
// begins a file; in the archive, the other is left to whoever changed it.
func (l *Log) ifLost(f *logged, err error) error {
	if !errors.Is(err, errChanged) && !errors.Is(err, fs.ErrNotExist) {
		return reason(err)
	}
	f.fresh = true
	last := len(f.files) - 1
	if !f.files[last].archived {
		l.drop(f, last, filesLost)
		return errChanged
	}
	l.take(&f.files[last], -charge(f.files[last].size))
	f.files = f.files[:last]
	l.count.add(filesLost, 1)
	return errChanged
}

// moveFiles moves the files of a flow that alerted to the archive.
func (l *Log) moveFiles(f *logged) {
	for i := range f.files {
		old := &f.files[i]
		to := freePath(l.cfg.Archive, filepath.Base(old.path))
		if err := move(old.path, to); err != nil {
			l.failed(errorsArchive, "packets are not archived", fmt.Errorf("cannot move %s to %s: %w", old.path, l.cfg.Archive, reason(err)))
			continue
		}
		l.take(old, -charge(old.size))
		old.path, old.archived = to, true
		l.take(old, charge(old.size))
		l.count.add(filesArchived, 1)
	}
}
