package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"vft/capture/filter"
	"vft/capture/packet"
)

// inNamespace runs the rest of the test in a process and a network namespace of
// its own, where a veth pair va - vb is up. In the process that go test started
// it returns false, after the other has passed.
func inNamespace(t testing.TB) bool {
	t.Helper()
	const mark = "VFT_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		setUp(t)
		return true
	}
	if os.Getuid() != 0 {
		missing(t, "root, for a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "the program ip of iproute2")
	}
	child := exec.Command(os.Args[0], "-test.v", "-test.count=1")
	if _, ok := t.(*testing.B); ok {
		child.Args = append(child.Args, "-test.run=^$", "-test.bench=^"+t.Name()+"$", "-test.benchtime=1x")
	} else {
		child.Args = append(child.Args, "-test.run=^"+t.Name()+"$")
	}
	child.Env = append(os.Environ(), mark+"="+t.Name())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if _, ok := t.(*testing.B); ok {
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Run(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// missing ends a test that cannot run here; under CI that is a failure.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s", what)
	}
	t.Skipf("this test needs %s", what)
}

func setUp(t testing.TB) {
	t.Helper()
	os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	ip(t, "link set lo up")
	makeVeth(t)
}

func makeVeth(t testing.TB) {
	t.Helper()
	ip(t, "link add va type veth peer name vb")
	ip(t, "link set va up")
	ip(t, "link set vb up")
	awaitLink(t)
}

// awaitLink waits until the pair carries frames, which takes the kernel a moment.
func awaitLink(t testing.TB) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		a, err1 := net.InterfaceByName("va")
		b, err2 := net.InterfaceByName("vb")
		if err1 == nil && err2 == nil && a.Flags&b.Flags&net.FlagRunning != 0 {
			return
		}
		<-tick.C
	}
	t.Fatal("va - vb does not run within 10 s")
}

func ip(t testing.TB, command string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// session is a Live that runs.
type session struct {
	t    testing.TB
	live *Live
	stop context.CancelFunc
	done chan error
	hold chan struct{} // when not nil, the first packet waits for it

	mu      sync.Mutex // guards packets
	packets []Packet
	news    chan struct{}
}

func start(t testing.TB, c LiveConfig) *session {
	t.Helper()
	return startHeld(t, c, nil)
}

func startHeld(t testing.TB, c LiveConfig, hold chan struct{}) *session {
	t.Helper()
	if c.BlockTimeout == 0 {
		c.BlockTimeout = 10 * time.Millisecond
	}
	s := &session{t: t, live: NewLive(c), done: make(chan error, 1), news: make(chan struct{}, 1), hold: hold}
	if err := s.live.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	t.Cleanup(stop)
	var tick int64
	handler := LiveHandler{
		Packet: func(p *Packet) {
			if p.Time < tick {
				t.Errorf("a packet of %d came after the tick of %d", p.Time, tick)
			}
			s.keep(p)
		},
		Tick: func(upTo int64) {
			tick = max(tick, upTo)
			s.wake()
		},
	}
	go func() { s.done <- s.live.Run(ctx, handler) }()
	return s
}

func (s *session) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *session) keep(p *Packet) {
	if s.hold != nil {
		<-s.hold
	}
	copied := *p
	copied.Data = bytes.Clone(p.Data)
	s.mu.Lock()
	s.packets = append(s.packets, copied)
	s.mu.Unlock()
	s.wake()
}

// until waits for a condition, which is looked at whenever something happened.
func (s *session) until(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-s.news:
		case err := <-s.done:
			s.t.Fatalf("capture ended while waiting for %s: %v", what, err)
		case <-deadline:
			s.t.Fatalf("no %s within 20 s: %v, %d packets", what, s.counts(), s.len())
		}
	}
}

func (s *session) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.packets)
}

func (s *session) counts() map[string]uint64 {
	counts := map[string]uint64{}
	s.live.Counts(func(name string, n uint64) { counts[name] = n })
	return counts
}

// end stops the capture and returns what it saw.
func (s *session) end() []Packet {
	s.t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Fatal(err)
	}
	c := s.counts()
	if c["capture_received"] != c["capture_delivered"]+c["capture_filtered"]+c["capture_dropped"] {
		s.t.Errorf("packets were lost without a reason: %v", c)
	}
	return s.packets
}

// injector sends frames on an interface.
func injector(t testing.TB, name string) func(frame []byte) {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	to := &unix.SockaddrLinklayer{Ifindex: i.Index}
	return func(frame []byte) {
		t.Helper()
		for {
			err := unix.Sendto(fd, frame, 0, to)
			if err == nil {
				return
			}
			if err != unix.ENOBUFS {
				t.Fatal(err)
			}
		}
	}
}

// udp4 is an Ethernet frame with a UDP datagram, of size bytes or more.
func udp4(src, dst byte, sport, dport uint16, size int) []byte {
	frame := []byte{
		2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 8, 0,
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, src, 10, 0, 0, dst,
		byte(sport >> 8), byte(sport), byte(dport >> 8), byte(dport), 0, 0, 0, 0,
	}
	for len(frame) < size {
		frame = append(frame, byte(len(frame)))
	}
	frame[16], frame[17] = byte((len(frame)-14)>>8), byte(len(frame)-14)
	frame[38], frame[39] = byte((len(frame)-34)>>8), byte(len(frame)-34)
	return frame
}

// tagged puts VLAN tags behind the addresses of a frame.
func tagged(frame []byte, tags ...byte) []byte {
	return append(append(bytes.Clone(frame[:12]), tags...), frame[12:]...)
}

func TestLiveGivesWhatWasSent(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	before := time.Now().UnixNano()
	s := start(t, LiveConfig{Interfaces: []string{"vb"}, Promiscuous: true})
	send := injector(t, "va")
	var sent [][]byte
	for n := range 2000 {
		sent = append(sent, udp4(1, 2, uint16(n), 53, 60+n%1400))
		send(sent[n])
	}
	s.until("packets", func() bool { return s.len() >= len(sent) })
	after := time.Now().UnixNano()
	got := s.end()
	if len(got) != len(sent) {
		t.Fatalf("%d packets of %d", len(got), len(sent))
	}
	for i, p := range got {
		if !bytes.Equal(p.Data, sent[i]) || p.Wire != len(sent[i]) || p.Link != packet.LinkEthernet || p.Interface != 0 {
			t.Fatalf("packet %d is %d bytes of %d, %v: % x, not % x", i, len(p.Data), p.Wire, p.Link, p.Data, sent[i])
		}
		if p.Time < before || p.Time > after {
			t.Fatalf("packet %d has a time outside the test", i)
		}
	}
	if c := s.counts(); c["capture_received"] != uint64(len(sent)) || c["capture_dropped"] != 0 {
		t.Errorf("counts are %v", c)
	}
}

func TestLiveCutsAtSnaplen(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	s := start(t, LiveConfig{Interfaces: []string{"vb"}, Snaplen: 50})
	send := injector(t, "va")
	long := udp4(1, 2, 1, 2, 1000)
	frames := [][]byte{long, long[:45], tagged(long, 0x81, 0, 0, 7)}
	for _, f := range frames {
		send(f)
	}
	s.until("packets", func() bool { return s.len() >= len(frames) })
	for i, p := range s.end() {
		if want := frames[i][:min(50, len(frames[i]))]; !bytes.Equal(p.Data, want) || p.Wire != len(frames[i]) {
			t.Errorf("packet %d of %d bytes is % x of %d", i, len(frames[i]), p.Data, p.Wire)
		}
	}
}

func TestLiveRestoresVLANTags(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	s := start(t, LiveConfig{Interfaces: []string{"vb"}})
	send := injector(t, "va")
	plain := udp4(1, 2, 1000, 53, 100)
	cases := []struct {
		why   string
		frame []byte
		tags  uint64
	}{
		{"no tag: nothing to restore", plain, 0},
		{"one tag, which the kernel keeps apart", tagged(plain, 0x81, 0, 0x20, 5), 1},
		{"a tag for VLAN 0 is a tag too", tagged(plain, 0x81, 0, 0, 0), 1},
		{"QinQ: only the outer is kept apart, with its own type", tagged(plain, 0x88, 0xa8, 0, 9, 0x81, 0, 0, 5), 1},
	}
	tags := uint64(0)
	for _, c := range cases {
		send(c.frame)
		tags += c.tags
	}
	s.until("packets", func() bool { return s.len() >= len(cases) })
	for i, p := range s.end() {
		if !bytes.Equal(p.Data, cases[i].frame) || p.Wire != len(cases[i].frame) {
			t.Errorf("%s: % x of %d, not % x", cases[i].why, p.Data, p.Wire, cases[i].frame)
		}
	}
	if c := s.counts(); c["capture_vlan_restored"] != tags {
		t.Errorf("counts are %v, not %d tags", c, tags)
	}
}

// TestLiveEqualsFile sends the frames of captures over the pair and holds the
// counters and flows to those of the files.
func TestLiveEqualsFile(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link set va mtu 65535")
	ip(t, "link set vb mtu 65535")
	for _, name := range []string{"mixed.pcap", "scan.pcap"} {
		want := NewShard(ShardConfig{})
		send := injector(t, "va")
		sent := uint64(0)
		got := NewShard(ShardConfig{})
		live := NewLive(LiveConfig{Interfaces: []string{"vb"}, BlockTimeout: 10 * time.Millisecond})
		if err := live.Open(); err != nil {
			t.Fatal(err)
		}
		file := File{Paths: []string{filepath.Join("..", "testdata", name)}}
		_, err := file.Run(t.Context(), func(p *Packet) {
			if p.Link != packet.LinkEthernet || len(p.Data) < p.Wire {
				return
			}
			want.Packet(p)
			send(p.Data)
			sent++
		})
		if err != nil || sent == 0 {
			t.Fatalf("%s: %v, %d packets", name, err, sent)
		}
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		seen := uint64(0)
		err = live.Run(ctx, LiveHandler{Tick: got.Advance, Packet: func(p *Packet) {
			got.Packet(p)
			if seen++; seen == sent {
				stop()
			}
		}})
		stop()
		if err != nil {
			t.Fatal(err)
		}
		want.Close()
		got.Close()
		if a, b := fmt.Sprint(got.Totals().Summary()), fmt.Sprint(want.Totals().Summary()); a != b {
			t.Errorf("%s: live: %s\nfile: %s", name, a, b)
		}
		live.Counts(func(counter string, n uint64) {
			if counter == "capture_dropped" && n != 0 || counter == "capture_received" && n != sent {
				t.Errorf("%s: %s is %d, %d packets were sent", name, counter, n, sent)
			}
		})
	}
}

// port53 passes UDP over IPv4 to port 53 whose frame has no tag, as the filter
// "udp dst port 53" does.
func port53(t testing.TB) func(packet.LinkType) (LiveFilter, error) {
	return func(link packet.LinkType) (LiveFilter, error) {
		if link != packet.LinkEthernet {
			return LiveFilter{}, errors.New("only for Ethernet")
		}
		program := []bpf.Instruction{
			bpf.LoadAbsolute{Off: 12, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0800, SkipFalse: 3},
			bpf.LoadAbsolute{Off: 36, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 53, SkipFalse: 1},
			bpf.RetConstant{Val: 262144},
			bpf.RetConstant{Val: 0},
		}
		raw, err := bpf.Assemble(program)
		if err != nil {
			t.Fatal(err)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		return LiveFilter{Raw: raw, Match: func(data []byte, _ int) bool {
			n, _ := vm.Run(data)
			return n > 0
		}}, nil
	}
}

func TestLiveFilters(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, name := range []string{"vb", AnyInterface} {
		s := start(t, LiveConfig{Interfaces: []string{name}, Filter: port53(t)})
		send := injector(t, "va")
		yes, no := udp4(1, 2, 99, 53, 60), udp4(1, 2, 53, 99, 60)
		for range 10 {
			send(no)
			send(tagged(yes, 0x81, 0, 0, 5))
			send(yes)
		}
		each := 10
		if name == AnyInterface {
			each = 20 // where it leaves and where it arrives
		}
		s.until("packets", func() bool { return s.len() >= each })
		got := s.end()
		if len(got) != each {
			t.Errorf("%s: %d packets, not %d", name, len(got), each)
		}
		for _, p := range got {
			if !bytes.Equal(p.Data, yes) {
				t.Errorf("%s: the filter let % x pass", name, p.Data)
			}
		}
		if c := s.counts(); c["capture_received"] >= uint64(3*each) || c["capture_filtered"] == 0 {
			t.Errorf("%s: the kernel did not filter, or judged a tagged frame: %v", name, c)
		}
	}
}

// TestLiveFiltersText uses the filters that vft compiles, in the kernel and
// beside it.
func TestLiveFiltersText(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	plain := udp4(1, 2, 99, 53, 60)
	inVLAN := tagged(plain, 0x81, 0, 0x60, 5)
	other := tagged(udp4(1, 2, 99, 54, 60), 0x88, 0xa8, 0, 9)
	for _, c := range []struct {
		why, text string
		want      [][]byte
	}{
		{"no tag is as in a file", "udp port 53", [][]byte{plain}},
		{"a tag that the kernel keeps apart", "vlan 5 and udp port 53", [][]byte{inVLAN}},
		{"any tag, of either kind", "vlan", [][]byte{inVLAN, other}},
		{"no tag", "not vlan", [][]byte{plain}},
		{"a byte whose place another tells, which no program for tagged frames can", "ether[ether[0]+10]=0x81", [][]byte{inVLAN}},
		{"the empty expression", "", [][]byte{plain, inVLAN, other}},
	} {
		for _, snaplen := range []int{65536, 56} {
			s := start(t, LiveConfig{Interfaces: []string{"vb"}, Snaplen: snaplen, Filter: func(link packet.LinkType) (LiveFilter, error) {
				f, err := filter.Compile(c.text, filter.LinkType(link), snaplen)
				if err != nil {
					return LiveFilter{}, err
				}
				program, exact := f.Live()
				return LiveFilter{Raw: program, Match: f.Match, Exact: exact}, nil
			}})
			send := injector(t, "va")
			for _, frame := range [][]byte{plain, inVLAN, other} {
				send(frame)
			}
			s.until("packets", func() bool { return s.len() >= len(c.want) })
			got := s.end()
			if len(got) != len(c.want) {
				t.Errorf("%s: %d packets, not %d", c.why, len(got), len(c.want))
				continue
			}
			for i, p := range got {
				if !bytes.Equal(p.Data, c.want[i][:min(snaplen, len(c.want[i]))]) || p.Wire != len(c.want[i]) {
					t.Errorf("%s: % x of %d, not % x", c.why, p.Data, p.Wire, c.want[i])
				}
			}
		}
	}
}

func TestLiveOnAllInterfaces(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	s := start(t, LiveConfig{Interfaces: []string{AnyInterface}})
	tun := openTun(t, "tun7")
	ip(t, "link set tun7 up")
	datagram := udp4(1, 2, 7, 8, 60)[14:]
	if _, err := tun.Write(datagram); err != nil {
		t.Fatal(err)
	}
	send := injector(t, "lo")
	onLoopback := udp4(127, 127, 5, 6, 80)
	send(onLoopback)
	arrived := func(link packet.LinkType, data []byte) (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range s.packets {
			if p.Link == link && bytes.Equal(p.Data, data) {
				n++
			}
		}
		return n
	}
	s.until("datagram on a tunnel made later", func() bool { return arrived(packet.LinkRaw, datagram) == 1 })
	s.until("frame on lo", func() bool { return arrived(packet.LinkEthernet, onLoopback) >= 1 })
	s.end()
	if n := arrived(packet.LinkEthernet, onLoopback); n != 1 {
		t.Errorf("a frame on lo came %d times", n)
	}
}

func openTun(t testing.TB, name string) *os.File {
	t.Helper()
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		missing(t, "/dev/net/tun: "+err.Error())
	}
	t.Cleanup(func() { file.Close() })
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(int(file.Fd()), unix.TUNSETIFF, request); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLiveGoesOnAfterItsInterface(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	s := start(t, LiveConfig{Interfaces: []string{"vb"}})
	frame := udp4(1, 2, 1, 2, 60)
	arrives := func(what string) {
		before := s.len()
		send := injector(t, "va")
		s.until(what, func() bool {
			send(frame) // again: the link may not carry it yet
			return s.len() > before
		})
	}
	arrives("first packet")

	ip(t, "link set vb down")
	s.until("notice of the interface going down", func() bool { return s.counts()["capture_interface_down"] == 1 })
	ip(t, "link set vb up")
	arrives("packet after down and up")
	s.until("notice of the interface coming up", func() bool { return s.counts()["capture_interface_back"] == 1 })

	ip(t, "link del va")
	s.until("notice of the interface vanishing", func() bool { return s.counts()["capture_interface_lost"] == 1 })
	makeVeth(t)
	s.until("notice of the interface returning", func() bool { return s.counts()["capture_interface_back"] == 2 })
	arrives("packet on the new interface")
	s.end()
}

func TestLiveReportsDrops(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	hold := make(chan struct{})
	s := startHeld(t, LiveConfig{Interfaces: []string{"vb"}, RingBytes: 1, Snaplen: 256}, hold)
	send := injector(t, "va")
	frame := udp4(1, 2, 1, 2, 1000)
	const sent = 3000
	for range sent {
		send(frame)
	}
	s.until("drops", func() bool { return s.counts()["capture_received"] == sent })
	close(hold)
	got := s.end()
	c := s.counts()
	if c["capture_dropped"] == 0 || c["capture_dropped"]+uint64(len(got)) != sent || c["capture_frozen"] == 0 {
		t.Errorf("%d packets sent, %d seen, counts are %v", sent, len(got), c)
	}
}

func TestLiveOnSeveralInterfaces(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	s := start(t, LiveConfig{Interfaces: []string{"vb", "lo"}})
	one, two := udp4(1, 2, 1, 2, 60), udp4(3, 4, 3, 4, 60)
	injector(t, "va")(one)
	injector(t, "lo")(two)
	s.until("packets", func() bool { return s.len() >= 2 })
	for _, p := range s.end() {
		if want := [][]byte{one, two}[p.Interface]; !bytes.Equal(p.Data, want) {
			t.Errorf("interface %d gave % x", p.Interface, p.Data)
		}
	}
}

func TestLiveTellsTheTimeWithoutPackets(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	now := time.Unix(1_700_000_000, 0)
	live := NewLive(LiveConfig{Interfaces: []string{"vb"}, Now: func() time.Time {
		now = now.Add(50 * time.Millisecond)
		return now
	}})
	ctx, stop := context.WithCancel(context.Background())
	var ticks []int64
	err := live.Run(ctx, LiveHandler{
		Packet: func(*Packet) {},
		Tick: func(upTo int64) {
			ticks = append(ticks, upTo)
			if len(ticks) == 3 {
				stop()
			}
		},
	})
	if err != nil || len(ticks) < 3 {
		t.Fatalf("%v, ticks %v", err, ticks)
	}
	if lag := now.UnixNano() - ticks[len(ticks)-1]; lag < int64(200*time.Millisecond) || lag > int64(400*time.Millisecond) {
		t.Errorf("a tick is %v behind the clock, not two block timeouts and a little", time.Duration(lag))
	}
}

func TestLiveErrors(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	bad := errors.New("filter: column 3")
	for _, c := range []struct {
		why    string
		config LiveConfig
		want   string
		open   bool
	}{
		{"an interface that is not there", LiveConfig{Interfaces: []string{"eth9"}},
			"cannot capture on eth9: no such interface; there are: lo, vb, va, any", true},
		{"the second is not there", LiveConfig{Interfaces: []string{"vb", "eth9"}},
			"cannot capture on eth9: no such interface; there are: lo, vb, va, any", true},
		{"a name that is too long", LiveConfig{Interfaces: []string{"averyveryverylongname"}},
			"cannot capture on averyveryverylongname: no interface can have this name; there are: lo, vb, va, any", true},
		{"no interface", LiveConfig{}, "cannot capture: no interface is named", false},
		{"twice the same", LiveConfig{Interfaces: []string{"vb", "vb"}}, "cannot capture on vb twice: name it once", false},
		{"any and another", LiveConfig{Interfaces: []string{"vb", "any"}},
			`cannot capture on vb, any: "any" stands alone, it is all of them`, false},
		{"a filter that does not compile", LiveConfig{Interfaces: []string{"vb"},
			Filter: func(packet.LinkType) (LiveFilter, error) { return LiveFilter{}, bad }}, bad.Error(), false},
	} {
		err := NewLive(c.config).Open()
		var open *OpenError
		if err == nil || err.Error() != c.want || errors.As(err, &open) != c.open {
			t.Errorf("%s: %v, not %s", c.why, err, c.want)
		}
	}
	if files, _ := filepath.Glob("/proc/self/fd/*"); len(files) > 20 {
		t.Errorf("%d files are open after failed opens", len(files))
	}
}

// TestLiveAsOrdinaryUser runs itself as nobody: with no capability, and with
// cap_net_raw alone.
func TestLiveAsOrdinaryUser(t *testing.T) {
	const mark = "VFT_TEST_ORDINARY"
	switch os.Getenv(mark) {
	case "none":
		err := NewLive(LiveConfig{Interfaces: []string{"vb"}}).Open()
		var open *OpenError
		if !errors.As(err, &open) || !errors.Is(err, os.ErrPermission) {
			t.Fatalf("nobody without a capability got %v", err)
		}
		const want = "cannot capture on vb: operation not permitted; run as root, or once: setcap cap_net_raw+ep on the program"
		if err.Error() != want {
			t.Errorf("%v, not %s", err, want)
		}
		return
	case "cap_net_raw":
		s := start(t, LiveConfig{Interfaces: []string{"vb"}, Promiscuous: true, HardwareTime: true})
		injector(t, "va")(udp4(1, 2, 3, 4, 60))
		s.until("packet", func() bool { return s.len() == 1 })
		s.end()
		return
	}
	if !inNamespace(t) {
		return
	}
	program := copyOfMyself(t)
	for name, caps := range map[string][]uintptr{"none": nil, "cap_net_raw": {unix.CAP_NET_RAW}} {
		child := exec.Command(program, "-test.v", "-test.run=^TestLiveAsOrdinaryUser$")
		child.Env = append(os.Environ(), mark+"="+name)
		child.Dir = "/"
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("with %s: %v\n%s", name, err, out)
		}
	}
}

// copyOfMyself is the test program where every user may run it.
func copyOfMyself(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vft-live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "live.test"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(to.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

func TestDevices(t *testing.T) {
	devices, err := Devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if d.Name == "lo" && d.Loopback && d.Index > 0 && d.MTU > 0 {
			return
		}
	}
	t.Errorf("no loopback in %s", fmt.Sprint(devices))
}

func TestLiveLeavesALongFilterToMatch(t *testing.T) {
	for _, c := range []struct {
		why    string
		length int
		link   packet.LinkType
		want   bool
	}{
		{"as long as fits", maxProgram - 21, packet.LinkEthernet, true},
		{"longer than the kernel takes with what comes before it", maxProgram - 20, packet.LinkEthernet, false},
		{"frames that the kernel sees without their cooked header", 1, packet.LinkSLL2, false},
	} {
		f := LiveFilter{Raw: make([]bpf.RawInstruction, c.length)}
		for i := range f.Raw {
			f.Raw[i] = keep(0)
		}
		p := program(f, c.link, 100)
		if got := judged(f, c.link); got != c.want || len(p) > maxProgram || c.want == (len(p) == 6) {
			t.Errorf("%s: %v, %d instructions", c.why, got, len(p))
		}
		if _, all := bpf.Disassemble(p); !all {
			t.Errorf("%s: not a program", c.why)
		}
		if last := p[len(p)-1]; !c.want && (last.Op != opRet || last.K != 100) {
			t.Errorf("%s: it ends with %v, not by passing everything on", c.why, last)
		}
	}
}
