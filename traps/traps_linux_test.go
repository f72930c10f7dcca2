package traps

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vft/event"
)

// states counts the sockets of this host that have port at either end, by
// state in hex as /proc/net/tcp writes it.
func states(t *testing.T, port uint16) map[string]int {
	t.Helper()
	counts := map[string]int{}
	hex := fmt.Sprintf(":%04X", port)
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) > 3 && (strings.HasSuffix(fields[1], hex) || strings.HasSuffix(fields[2], hex)) {
				counts[fields[3]]++
			}
		}
		file.Close()
	}
	return counts
}

// TestThousandSilentConnections leaves none of them behind.
func TestThousandSilentConnections(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = time.Second })
	port := s.openSome(t, 1)[0]
	type opened struct {
		at time.Time
		fd int
	}
	want := map[netip.AddrPort]opened{}
	for i := range 1000 {
		before := time.Now()
		fd, err := connectFrom(i/8, port) // 8 of each source
		if err != nil {
			t.Fatal(err)
		}
		address, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		four := address.(*unix.SockaddrInet4)
		want[netip.AddrPortFrom(netip.AddrFrom4(four.Addr), uint16(four.Port))] = opened{before, fd}
	}
	var one [1]byte
	for range 1000 {
		e := s.next(t)
		from, known := want[e.Src]
		if !known {
			t.Fatalf("an event of %v, which did not connect or has one already", e.Src)
		}
		delete(want, e.Src)
		if e.Dst.Port() != port || e.Dataset != event.DatasetTrap || e.Time.Before(from.at) || e.Time.Sub(from.at) > patience {
			t.Errorf("connected at %v: %v to %v at %v", from.at, e.Src, e.Dst, e.Time)
		}
		if n, err := unix.Read(from.fd, one[:]); n != 0 || err != nil {
			t.Errorf("the trap sent %d bytes, %v", n, err)
		}
		unix.Close(from.fd)
	}
	const established, closeWait, listening = "01", "08", "0A"
	now := states(t, port)
	if now[established] != 0 || now[closeWait] != 0 || now[listening] != 1 {
		t.Errorf("sockets by state: %v", now)
	}
	if s.count("held") != 1000 || s.count("held_now") != 0 {
		t.Errorf("held %d, now %d", s.count("held"), s.count("held_now"))
	}
}

func TestOneListeningSocketForEachPort(t *testing.T) {
	s := start(t, nil)
	for _, port := range s.openSome(t, 5) {
		if got := states(t, port); got["0A"] != 1 {
			t.Errorf("port %d: %v", port, got)
		}
	}
}

func TestSavedSYN(t *testing.T) {
	s := start(t, func(c *Config) { c.Hold = 0 })
	port := s.openSome(t, 1)[0]
	for _, host := range []string{"127.0.0.1", "::1"} {
		dial(t, host, port)
		e := s.next(t)
		if e.Trap.SYN == nil {
			t.Fatalf("%s: the kernel kept no SYN; is Multipath TCP on?", host)
		}
		if syn := e.Trap.SYN; syn.Class != "linux" || syn.TTL != 64 || syn.MSS == 0 || !strings.Contains(syn.JA4T, "_"+syn.Options+"_") {
			t.Errorf("%s: %+v", host, syn)
		}
	}
	if n := s.count("syn_missing"); n != 0 {
		t.Errorf("%d without a SYN", n)
	}
}

// TestNoDescriptorsLeft takes all descriptors of a process from its traps.
func TestNoDescriptorsLeft(t *testing.T) {
	var result served
	inNamespace(t, "starve", task{Count: 300, Hold: "60s"}, &result)
	if result.Failed == 0 || result.Events != 300 || result.Log != 1 {
		t.Errorf("%d errors of accept in %d lines of log, %d events of 300 connections", result.Failed, result.Log, result.Events)
	}
}

func TestBusy(t *testing.T) {
	busy, err := Busy()
	if err != nil {
		t.Fatal(err)
	}
	if busy(1) || !busy(40000) {
		t.Errorf("port 1 busy: %v; port 40000 of the ephemeral range: %v", busy(1), busy(40000))
	}
	s := start(t, nil)
	choice := &Choice{Pool: Pool(), Count: 1, Skip: busy, Random: seeded(uint64(os.Getpid()))}
	opened, failed, err := s.OpenChoice(choice)
	if err != nil || len(opened) != 1 {
		t.Fatalf("opened %v, failed %v, %v", opened, failed, err)
	}
	if busy, err = Busy(); err != nil || !busy(opened[0]) {
		t.Errorf("port %d is open and not busy, %v", opened[0], err)
	}
}

func TestBusyTables(t *testing.T) {
	var set portSet
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 191 1 0 100 0 0 10 0
   1: 0100007F:0016 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 192 1 0 100 0 0 10 0
   2: 0100007F:0017 0100007F:C351 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0 10 0
   3: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0
   broken
   4: nonsense nonsense 0A
`
	if err := set.addTable(strings.NewReader(table)); err != nil {
		t.Fatal(err)
	}
	for port, want := range map[uint16]bool{8080: true, 22: true, 23: false, 80: true, 50000: false} {
		if set[port] != want {
			t.Errorf("port %d: %v", port, set[port])
		}
	}
	for _, c := range []struct {
		text, why string
		in, out   uint16
	}{
		{"100\t200\n", "the two numbers of a range", 200, 201},
		{"300,400-402,500\n", "a list of ports and ranges", 401, 403},
		{"65000-65535", "the last port", 65535, 1},
	} {
		set = portSet{}
		set.set(c.text, true)
		if !set[c.in] || set[c.out] {
			t.Errorf("%s: %d %v, %d %v", c.why, c.in, set[c.in], c.out, set[c.out])
		}
	}
	set = portSet{}
	set.set("\n", true)
	set.set("x-y,70000", true)
	if set != (portSet{}) {
		t.Error("ports from nothing")
	}
}

func TestNetstat(t *testing.T) {
	got, ok := parseNetstat("TcpExt: SyncookiesSent ListenOverflows Other ListenDrops\nTcpExt: 1 2 3 4\nIpExt: ListenDrops\nIpExt: 9\n")
	if want := (netstat{listenOverflows: 2, listenDrops: 4, syncookiesSent: 1}); got != want || !ok {
		t.Errorf("%+v %v", got, ok)
	}
	for _, text := range []string{"", "TcpExt: A B\n", "TcpExt: A B C\nTcpExt: 1\n"} {
		parseNetstat(text)
	}
	if _, ok := readNetstat(); !ok {
		t.Error("this kernel's counters were not read")
	}
}

// TestLowPortWithoutPrivilege says what to do.
func TestLowPortWithoutPrivilege(t *testing.T) {
	var result []string
	inNamespace(t, "lowport", task{}, &result)
	if len(result) != 1 || !strings.Contains(result[0], "cannot bind *:23") || !strings.Contains(result[0], "cap_net_bind_service") {
		t.Errorf("%q", result)
	}
}

// lowPortRole opens a low port without any privilege.
func lowPortRole(task) any {
	// Capabilities belong to a thread; Open makes its sockets on this one.
	runtime.LockOSThread()
	var none [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &none[0]); err != nil {
		fail(err)
	}
	_, failed := New(DefaultConfig(), func(event.Event) {}).Open([]uint16{23})
	var texts []string
	for _, err := range failed {
		texts = append(texts, err.Error())
	}
	return texts
}
