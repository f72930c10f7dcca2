package filter

import (
	"errors"
	stdnet "net"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// packetSocket is a raw packet socket. With protocol 0 it never gets a packet.
func packetSocket(t *testing.T, protocol uint16, device int) int {
	t.Helper()
	swapped := protocol>>8 | protocol<<8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		missing(t, "a packet socket needs the capability cap_net_raw")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if device > 0 {
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swapped, Ifindex: device}); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

func attach(fd int, program []bpf.RawInstruction) error {
	filters := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filters[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]})
}

func TestKernelAccepts(t *testing.T) {
	fd := packetSocket(t, 0, 0)
	attached := 0
	for link := range reference {
		for _, text := range expressions() {
			f, err := Compile(text, link, 0)
			if err != nil {
				continue
			}
			live, _ := f.Live()
			for _, program := range [][]bpf.RawInstruction{f.Raw(), live} {
				if err := attach(fd, program); err != nil {
					t.Errorf("%s: %q: the kernel refuses the program: %v", reference[link], text, err)
				}
				attached++
			}
		}
	}
	t.Logf("%d programs attached", attached)
}

// inNamespace moves the test to a network namespace with a veth pair and returns
// the indexes of its ends.
func inNamespace(t *testing.T) (here, there int) {
	t.Helper()
	runtime.LockOSThread() // the thread ends with the goroutine of the test, and the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "a network namespace needs the capability cap_sys_admin: "+err.Error())
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "ip is not installed: it is in the package iproute2")
	}
	for _, line := range []string{"link add here type veth peer name there", "link set here up", "link set there up"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	for i, name := range []string{"here", "there"} {
		device, err := stdnet.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		*[]*int{&here, &there}[i] = device.Index
	}
	warmUp(t, here, there)
	return here, there
}

// warmUp sends a frame until one arrives: a new link loses what is sent before it
// has settled.
func warmUp(t *testing.T, here, there int) {
	t.Helper()
	sender, all := packetSocket(t, 0, here), packetSocket(t, unix.ETH_P_ALL, there)
	for range 200 {
		if err := unix.Sendto(sender, numberedFrames()[0], 0, &unix.SockaddrLinklayer{Ifindex: here}); err != nil {
			t.Fatal(err)
		}
		if len(receive(t, all, 1, 50*time.Millisecond)) == 1 {
			return
		}
	}
	t.Fatal("no frame comes through a veth pair")
}

// TestKernelDecidesAsMatch sends frames through a veth pair. The kernel takes the
// tags out of them, and a live program must still decide as Match does.
func TestKernelDecidesAsMatch(t *testing.T) {
	here, there := inNamespace(t)
	frames := numberedFrames()
	for _, text := range []string{"ip", "not ip", "vlan", "not vlan", "vlan 7", "vlan 100", "vlan and ip", "vlan and tcp port 80",
		"tcp port 80", "port 80 or (vlan and port 80)", "arp or (vlan 7 and arp)", "len > 60", "len = 64", "ether[12:2] = 0x8100",
		"ether[14:2] & 0xfff = 7", "ether[12:4] = 0x81000007", "vlan and tcp[13] & 2 != 0", "vlan 100 and vlan 7",
		"vlan and vlan and ip", "host 192.168.1.1", "vlan and host 192.168.1.1 and not port 22", "ether[ether[17]] = 3"} {
		compareInKernel(t, text, frames, here, there)
	}
}

// numberedFrames are frames whose last byte of the source address is their
// number.
func numberedFrames() [][]byte {
	plain := append(sample(), make([]byte, 10)...)
	arp := append([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 40)...)
	var frames [][]byte
	for _, frame := range [][]byte{plain, arp} {
		for _, protocol := range []uint16{tag8021Q, tag8021AD} {
			for _, tag := range []uint16{7, 100, 0x6064} {
				frames = append(frames, frame, withTag(frame, protocol, tag), withTag(withTag(frame, tag8021Q, 7), protocol, tag))
			}
		}
	}
	for i := range frames {
		frames[i] = append([]byte(nil), frames[i]...)
		frames[i][6], frames[i][11] = 2, byte(i)
	}
	return frames
}

func compareInKernel(t *testing.T, text string, frames [][]byte, here, there int) {
	f, err := Compile(text, LinkEthernet, 0)
	if err != nil {
		t.Error(err)
		return
	}
	program, exact := f.Live()
	filtered, all, sender := packetSocket(t, 0, 0), packetSocket(t, unix.ETH_P_ALL, there), packetSocket(t, 0, here)
	if err := attach(filtered, program); err != nil {
		t.Error(err)
		return
	}
	if err := unix.Bind(filtered, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: there}); err != nil {
		t.Error(err)
		return
	}
	for _, frame := range frames {
		if err := unix.Sendto(sender, frame, 0, &unix.SockaddrLinklayer{Ifindex: here}); err != nil {
			t.Error(err)
			return
		}
	}
	// The socket without a program sees every frame, and each of them after the
	// other socket has, which was bound later.
	if len(receive(t, all, len(frames), 10*time.Second)) != len(frames) {
		t.Errorf("%q: not all frames came through", text)
	}
	passed := receive(t, filtered, 0, 0)
	for i, frame := range frames {
		if want := f.Match(frame, len(frame)); passed[byte(i)] != want && (exact || !passed[byte(i)]) {
			t.Errorf("%q: frame %x: the kernel says %v, Match %v", text, frame, !want, want)
		}
	}
}

// receive is the numbers of the frames that came. It waits for a number of them,
// for each of them at most so long, and with 0 takes what is there.
func receive(t *testing.T, fd, wait int, limit time.Duration) map[byte]bool {
	seen := map[byte]bool{}
	flags := unix.MSG_DONTWAIT
	if wait > 0 {
		flags = 0
		timeout := unix.NsecToTimeval(limit.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			t.Error(err)
		}
	}
	buffer := make([]byte, 2048)
	for wait == 0 || len(seen) < wait {
		n, _, err := unix.Recvfrom(fd, buffer, flags)
		if err != nil {
			break
		}
		// Other frames are the kernel's own.
		if n > 12 && buffer[6] == 2 && buffer[7] == 7 {
			seen[buffer[11]] = true
		}
	}
	return seen
}
