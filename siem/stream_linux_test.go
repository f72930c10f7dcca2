package siem

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"sort"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unread returns how many bytes wait in the kernel for the reader of c.
func unread(t *testing.T, c *net.TCPConn) (n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	if failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return n
}

// TestOnlyAcknowledgedCounts fills the window of a peer that does not read,
// resets, and expects the next connection to begin with the first record that
// the peer's kernel did not have as a whole.
func TestOnlyAcknowledgedCounts(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	d, _ := start(t, Config{Target: tcpTarget(t, l.Addr().String()), MaxBytes: 256 << 20, Drain: time.Millisecond})
	c := accept(t, l)
	var ends []int        // where each record ends in the stream
	for n := range 3000 { // 30 MB: more than the buffers of both ends
		record := append(fmt.Appendf(nil, `{"n":%d,"x":"`, n), append(bytes.Repeat([]byte{'x'}, 10_000), `"}`...)...)
		d.Send(record)
		ends = append(ends, len(record)+1)
		if n > 0 {
			ends[n] += ends[n-1]
		}
	}
	had, same := 0, 0
	until(t, "a full window", func() bool {
		now := unread(t, c)
		if now != had || now == 0 {
			had, same = now, 0
		}
		same++
		return same > 200
	})
	whole := sort.SearchInts(ends, had+1) // records that the peer's kernel has from end to end
	_ = c.SetLinger(0)
	_ = c.Close()
	c = accept(t, l)
	first := readNumber(t, bufio.NewReader(c))
	if first != whole {
		t.Errorf("the next connection began with record %d, want %d", first, whole)
	}
}
