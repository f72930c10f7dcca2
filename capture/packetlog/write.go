package packetlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"vft/capture/packet"
)

var (
	errQuota   = errors.New("the quota of the packet log is used up; move files out of its archive, or raise it")
	errChanged = errors.New("somebody else changed or removed the file")
)

// put adds a packet to the buffer of its flow.
func (l *Log) put(f *logged, link packet.LinkType, r record) {
	if !l.fits(f, link, len(r.data)) {
		l.rotate(f)
	}
	if f.full {
		l.count.add(droppedAfterAlert, 1)
		return
	}
	l.lend(f)
	before := cap(f.buf)
	l.encode(f, link, r)
	l.buffered += int64(cap(f.buf) - before)
	if !l.wait.has(f) {
		l.wait.touch(f)
	}
	if len(f.buf) >= l.batch(f) {
		f.busy = true
		l.write(f)
	}
}

// fits reports whether the newest file takes a packet of n bytes.
func (l *Log) fits(f *logged, link packet.LinkType, n int) bool {
	at := f.offset()
	if at == 0 {
		return true
	}
	if f.devices.find(link) < 0 {
		if f.devices.len == maxDevices {
			return false
		}
		at = blockEnd(at, interfaceSize)
	}
	return blockEnd(at, blockSize(n)) <= l.limit(f, n)
}

// encode appends a packet to the buffer, and what the file must tell before it.
func (l *Log) encode(f *logged, link packet.LinkType, r record) {
	if f.offset() == 0 {
		f.buf = appendSection(f.buf)
		f.devices = devices{}
	}
	device := f.devices.find(link)
	if device < 0 {
		device = f.devices.len
		f.devices.link[device] = link
		f.devices.len++
		f.buf = appendInterface(f.buf, f.offset(), link, l.cfg.Snaplen)
	}
	r.device = uint32(device)
	f.buf = appendPacket(f.buf, f.offset(), r)
	f.packets++
	f.crosses = f.crosses || crosses(blockSize(len(r.data)))
}

// lend gives a busy flow a buffer that has grown already.
func (l *Log) lend(f *logged) {
	if n := len(l.spare); f.buf == nil && f.busy && n > 0 {
		f.buf, l.spare = l.spare[n-1], l.spare[:n-1]
		l.buffered += int64(cap(f.buf))
	}
}

// limit is how long the file may get with a packet of n bytes.
func (l *Log) limit(f *logged, n int) int64 {
	if f.crosses || crosses(blockSize(n)) {
		return min(l.cfg.MaxFile, maxRewrite)
	}
	return l.cfg.MaxFile
}

// batch is how much is written without waiting for the tick. What makes a
// rewrite waits longer, so that a fast flow writes most of its bytes once.
func (l *Log) batch(f *logged) int {
	if f.crosses {
		return maxBatch * 16
	}
	return maxBatch
}

// rotate lets the next packet begin a file. A flow that alerted may replace half
// of its files by what comes after, then no more: what led to the alert stays.
func (l *Log) rotate(f *logged) {
	f.busy = true
	l.write(f)
	l.closeFile(f)
	f.fresh = true
	f.full = f.alerted && len(f.files) >= l.cfg.Rotations && f.since >= l.cfg.Rotations/2
}

// writeWaiting writes what waits, the longest first. What would cost too much
// waits on: floods of flows must not stop the capture.
func (l *Log) writeWaiting() {
	for f := l.wait.first; f != nil && l.wait.has(f); {
		next := l.wait.after(f)
		if l.afford(f) {
			l.write(f)
			f.busy = false
		}
		f = next // writing may have evicted it: then the loop ends
	}
}

// afford takes the cost of writing a flow from the budget of this tick.
func (l *Log) afford(f *logged) bool {
	switch {
	case f.seq == 0:
		l.newFlows--
		return l.newFlows >= 0
	case f.crosses && !f.fresh:
		l.copied -= f.size()
		return l.copied >= 0
	}
	return true
}

// relieve writes what waits before the tick, once in it, and reports whether
// there is room in memory again.
func (l *Log) relieve() bool {
	if l.relieved {
		return false
	}
	l.relieved = true
	l.writeWaiting()
	return l.buffered <= maxBuffered
}

// write brings the buffer of a flow into its newest file, or drops it.
func (l *Log) write(f *logged) {
	if len(f.buf) == 0 {
		return
	}
	l.wait.remove(f)
	err := l.makeRoom(f)
	if err == nil {
		err = l.store(f)
	}
	switch {
	case err == nil:
		f.devices.stored = f.devices.len
		l.count.add(packetsWritten, f.packets)
		l.count.add(bytesWritten, len(f.buf))
	case errors.Is(err, errQuota):
		l.count.add(droppedQuota, f.packets)
		l.failed(errorsWrite, "packets are not logged", err)
	default:
		l.count.add(droppedError, f.packets)
		l.failed(errorsWrite, "packets are not logged", fmt.Errorf("cannot write packets of %s: %w", f.name(), err))
	}
	f.devices.len = f.devices.stored
	l.release(f)
}

// release empties the buffer, and keeps it for a busy flow.
func (l *Log) release(f *logged) {
	l.buffered -= int64(cap(f.buf))
	if f.busy && len(l.spare) < maxSpare {
		l.spare = append(l.spare, f.buf[:0])
	}
	f.buf, f.packets, f.crosses = nil, 0, false
}

func (l *Log) store(f *logged) error {
	switch {
	case f.fresh:
		return l.startFile(f)
	case f.crosses:
		return l.rewriteFile(f)
	}
	return l.appendFile(f)
}

// startFile begins a file with the buffer.
func (l *Log) startFile(f *logged) error {
	for len(f.files) >= l.cfg.Rotations {
		l.removeOldest(f, filesRotated)
	}
	f.seq++
	path := filepath.Join(l.cfg.Dir, fileName(f.name(), f.seq))
	if f.alerted {
		path = freePath(l.cfg.Archive, fileName(f.name(), f.seq))
		f.since++
	}
	if err := create(path, false, func(w *os.File) error { return writeAll(w, f.buf) }); err != nil {
		return reason(err)
	}
	f.files = append(f.files, file{path, int64(len(f.buf)), f.alerted})
	f.fresh = false
	l.take(f.newest(), charge(int64(len(f.buf))))
	l.count.add(filesStarted, 1)
	return nil
}

// rewriteFile replaces the newest file by a longer one: appended in place, a
// block that crosses a line could be left half by a killed process.
func (l *Log) rewriteFile(f *logged) error {
	l.closeFile(f)
	newest := f.newest()
	err := create(newest.path, true, func(w *os.File) error {
		if err := copyInto(w, newest.path, newest.size); err != nil {
			return err
		}
		return writeAll(w, f.buf)
	})
	if err != nil {
		return l.ifLost(f, err)
	}
	l.grow(f)
	return nil
}

// appendFile adds the buffer to the newest file. Where the write ends early, the
// file is cut back.
func (l *Log) appendFile(f *logged) error {
	if err := l.openFile(f); err != nil {
		return l.ifLost(f, err)
	}
	newest := f.newest()
	if n, err := f.handle.WriteAt(f.buf, newest.size); err != nil {
		if n > 0 && f.handle.Truncate(newest.size) != nil {
			l.closeFile(f)
			l.drop(f, len(f.files)-1, filesLost)
			f.fresh = true
		}
		return reason(err)
	}
	l.grow(f)
	return nil
}

func (l *Log) grow(f *logged) {
	newest := f.newest()
	size := newest.size + int64(len(f.buf))
	l.take(newest, charge(size)-charge(newest.size))
	newest.size = size
}

// openFile opens the newest file, if it is not, and closes another one when too
// many are.
func (l *Log) openFile(f *logged) error {
	if f.handle != nil {
		l.open.touch(f)
		return nil
	}
	newest := f.newest()
	handle, err := os.OpenFile(newest.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if info, err := handle.Stat(); err != nil || info.Size() != newest.size {
		handle.Close()
		return errChanged
	}
	for l.open.len >= l.cfg.MaxOpen {
		l.closeFile(l.open.first)
	}
	f.handle = handle
	l.open.touch(f)
	return nil
}

func (l *Log) closeFile(f *logged) {
	if f.handle == nil {
		return
	}
	if err := f.handle.Close(); err != nil {
		l.failed(errorsWrite, "packets may not be logged", fmt.Errorf("cannot close the packets of %s: %w", f.name(), reason(err)))
	}
	f.handle = nil
	l.open.remove(f)
}

// copyInto copies the file at path, which must have size bytes unless size is
// negative.
func copyInto(w *os.File, path string, size int64) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	n, err := io.Copy(w, from)
	if err == nil && size >= 0 && n != size {
		return errChanged
	}
	return err
}

func writeAll(w *os.File, b []byte) error {
	_, err := w.Write(b)
	return err
}
