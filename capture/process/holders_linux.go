package process

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// holders knows which file of which process is a socket. Reading all of /proc
// costs about a millisecond per thousand open files, so it happens only when a
// socket is not known, and not often.
type holders struct {
	proc string
	max  int

	byInode map[uint64]holder
	spaces  map[string]int // other network namespaces, with a process in each

	allowed bucket
	scanned time.Time // the last time
	scans   uint64
	refused uint64 // scans that did not happen because there were many just before
	left    uint64 // sockets that were not kept because there were max
}

// holder is a file of a process. Whether it still is the socket is looked up
// before it is believed.
type holder struct{ pid, file int32 }

// maxSpaces bounds the network namespaces that are looked into.
const maxSpaces = 256

// of returns the process that holds inode. It may read all of /proc once.
func (h *holders) of(inode uint64, now time.Time) (pid int, ok bool) {
	if pid, ok := h.known(inode); ok {
		return pid, true
	}
	if !h.scan(now) {
		return 0, false
	}
	return h.known(inode)
}

func (h *holders) known(inode uint64) (pid int, ok bool) {
	at, ok := h.byInode[inode]
	if !ok {
		return 0, false
	}
	link, err := os.Readlink(filepath.Join(h.proc, strconv.Itoa(int(at.pid)), "fd", strconv.Itoa(int(at.file))))
	if found, is := socketInode(link); err != nil || !is || found != inode {
		delete(h.byInode, inode)
		return 0, false
	}
	return int(at.pid), true
}

// scan reads all of /proc unless that happened often lately.
func (h *holders) scan(now time.Time) bool {
	if !h.allowed.take(now) {
		h.refused++
		return false
	}
	h.scans++
	h.scanned = now
	h.byInode, h.spaces = map[uint64]holder{}, map[string]int{}
	own, _ := os.Readlink(filepath.Join(h.proc, "self/ns/net"))
	entries, err := os.ReadDir(h.proc)
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		h.files(pid)
		h.space(pid, own)
	}
	return true
}

func (h *holders) files(pid int) {
	dir, err := os.Open(filepath.Join(h.proc, strconv.Itoa(pid), "fd"))
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var buffer [64]byte
	for _, name := range names {
		n, err := unix.Readlinkat(int(dir.Fd()), name, buffer[:])
		if err != nil {
			continue
		}
		inode, ok := socketInode(string(buffer[:n]))
		if !ok {
			continue
		}
		if len(h.byInode) >= h.max {
			h.left++
			continue
		}
		if file, err := strconv.Atoi(name); err == nil && !h.has(inode) {
			h.byInode[inode] = holder{int32(pid), int32(file)}
		}
	}
}

func (h *holders) has(inode uint64) bool {
	_, ok := h.byInode[inode]
	return ok
}

// namespaces returns the other network namespaces as of the last ten seconds.
func (h *holders) namespaces(now time.Time) map[string]int {
	if now.Sub(h.scanned) > 10*time.Second {
		h.scan(now)
	}
	return h.spaces
}

// space notes the network namespace of pid when it is another than own.
func (h *holders) space(pid int, own string) {
	if len(h.spaces) >= maxSpaces {
		return
	}
	link, err := os.Readlink(filepath.Join(h.proc, strconv.Itoa(pid), "ns/net"))
	if err == nil && link != own && h.spaces[link] == 0 {
		h.spaces[link] = pid
	}
}

// socketInode reads "socket:[123]".
func socketInode(link string) (uint64, bool) {
	number, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return inode, err == nil
}

// tables reads the sockets of the network namespace of a process ("self", or a
// number) from its files.
func (h *holders) tables(of string, p proto) ([]socket, error) {
	var list []socket
	var failed error
	for _, name := range []string{p.String(), p.String() + "6"} {
		text, err := os.ReadFile(filepath.Join(h.proc, of, "net", name))
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		list = append(list, parseTable(p, text, h.max-len(list))...)
	}
	if list == nil {
		return nil, failed
	}
	return list, nil
}

// bucket lets something happen five times in a row, then once a second.
type bucket struct {
	left int
	last time.Time
}

func (b *bucket) take(now time.Time) bool {
	const most = 5
	if b.last.IsZero() {
		b.left, b.last = most, now
	}
	if passed := int(now.Sub(b.last) / time.Second); passed > 0 {
		b.left = min(b.left+passed, most)
		b.last = b.last.Add(time.Duration(passed) * time.Second)
	}
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}
