package process

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const tcp4Text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 20637 1 0000000000000000 100 0 0 10 5
   1: 0A00020F:9C40 5DB8D822:01BB 01 00000000:00000000 02:000A9D1F 00000000  1000        0 456789 2 0000000000000000 21 4 30 10 -1
   2: 0A00020F:9C41 5DB8D822:01BB 06 00000000:00000000 03:00001779 00000000     0        0 0 3 0000000000000000
nonsense
   3: 0A00020F:9C41
`

const tcp6Text = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 30 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 31 1 0 100 0 0 10 0
`

// littleEndian ends a test whose text was written on such a machine.
func littleEndian(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs a little-endian machine, as its text was written on")
		}
		t.Skip("the text is of a little-endian machine")
	}
}

func TestTable(t *testing.T) {
	littleEndian(t)
	end := netip.MustParseAddrPort
	for _, c := range []struct {
		why, text string
		want      []socket
	}{
		{"IPv4, with lines that make no sense", tcp4Text, []socket{
			{tuple{tcp, end("127.0.0.1:53"), end("0.0.0.0:0")}, 10, 101, 20637},
			{tuple{tcp, end("15.2.0.10:40000"), end("34.216.184.93:443")}, 1, 1000, 456789},
			{tuple{tcp, end("15.2.0.10:40001"), end("34.216.184.93:443")}, 6, 0, 0},
		}},
		{"IPv6, and 4-in-6 as IPv4", tcp6Text, []socket{
			{tuple{tcp, end("[::1]:22"), end("[::]:0")}, 10, 0, 30},
			{tuple{tcp, end("127.0.0.1:8080"), end("127.0.0.2:50000")}, 1, 0, 31},
		}},
		{"empty", "", nil},
	} {
		got := parseTable(tcp, []byte(c.text), 100)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
	if got := parseTable(tcp, []byte(tcp4Text), 2); len(got) != 2 {
		t.Errorf("a limit of 2 gave %d sockets", len(got))
	}
}

func TestBestSocket(t *testing.T) {
	end := netip.MustParseAddrPort
	s := func(inode uint64, local, remote string) socket {
		return socket{tuple: tuple{udp, end(local), end(remote)}, inode: inode}
	}
	table := []socket{
		s(1, "0.0.0.0:53", "0.0.0.0:0"),
		s(2, "10.0.0.1:53", "0.0.0.0:0"),
		s(3, "10.0.0.1:53", "10.0.0.9:99"),
		s(4, "[::]:54", "[::]:0"),
	}
	for _, c := range []struct {
		why, local, remote string
		want               uint64
	}{
		{"exact", "10.0.0.1:53", "10.0.0.9:99", 3},
		{"another peer: the one that waits on the address", "10.0.0.1:53", "10.0.0.9:98", 2},
		{"another address: the one that waits on any", "10.0.0.2:53", "10.0.0.9:99", 1},
		{"IPv4 on a socket for both", "10.0.0.2:54", "10.0.0.9:99", 4},
		{"IPv6 on a socket for both", "[fd00::1]:54", "[fd00::2]:99", 4},
		{"IPv6 does not arrive on an IPv4 socket", "[fd00::1]:53", "[fd00::2]:99", 0},
		{"another port", "10.0.0.1:55", "10.0.0.9:99", 0},
	} {
		got := uint64(0)
		if found := best(table, tuple{udp, end(c.local), end(c.remote)}); found != nil {
			got = found.inode
		}
		if got != c.want {
			t.Errorf("%s: socket %d, not %d", c.why, got, c.want)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte(tcp4Text))
	f.Add([]byte(tcp6Text))
	f.Add([]byte("0: 0100007F:0035 00000000:0000 0A 0 0 0 4294967296 0 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range parseTable(udp, text, 10) {
			if !s.local.IsValid() || !s.remote.IsValid() || s.local.Addr().Is4In6() {
				t.Errorf("%q gave %v", text, s)
			}
		}
	})
}

func TestContainer(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	other := strings.Repeat("fedcba9876543210", 4)
	const uid = "7d6e3a1c-1f2b-4c3d-8e4f-5a6b7c8d9e0f"
	under := strings.ReplaceAll(uid, "-", "_")
	for _, c := range []struct{ why, text, id, runtime, pod string }{
		{"a service of the host", "0::/system.slice/ssh.service\n", "", "", ""},
		{"a user's session", "0::/user.slice/user-1000.slice/session-2.scope\n", "", "", ""},
		{"docker, cgroup v2", "0::/system.slice/docker-" + id + ".scope\n", id, "docker", ""},
		{"docker, cgroup v1 with other lines first", "9:name=systemd:/\n8:pids:/docker/" + id + "\n0::/\n", id, "docker", ""},
		{"podman", "0::/machine.slice/libpod-" + id + ".scope/container\n", id, "podman", ""},
		{"podman with cgroupfs", "0::/libpod_parent/libpod-" + id + "\n", id, "podman", ""},
		{"podman's monitor is not in the container", "0::/machine.slice/libpod-conmon-" + id + ".scope\n", "", "", ""},
		{"kubernetes with systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id + ".scope\n", id, "containerd", uid},
		{"kubernetes with cgroupfs", "0::/kubepods/besteffort/pod" + uid + "/" + id + "\n", id, "containerd", uid},
		{"cri-o", "0::/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + id + ".scope\n", id, "cri-o", uid},
		{"a container in a container: the inner one", "0::/docker/" + other + "/docker/" + id + "\n", id, "docker", ""},
		{"lxc", "0::/lxc.payload.web1/init.scope\n", "web1", "lxc", ""},
		{"lxc, old", "1:name=systemd:/lxc/web2\n", "web2", "lxc", ""},
		{"systemd-nspawn", "0::/machine.slice/machine-build.scope/payload\n", "build", "nspawn", ""},
		{"64 hex digits in a service's name", "0::/system.slice/run" + id + ".scope\n", "", "", ""},
		{"no line", "", "", "", ""},
		{"a line with too few parts", "0:\n", "", "", ""},
	} {
		id, runtime, pod := container([]byte(c.text))
		if id != c.id || runtime != c.runtime || pod != c.pod {
			t.Errorf("%s: %q, %q, %q", c.why, id, runtime, pod)
		}
	}
}

func FuzzContainer(f *testing.F) {
	f.Add([]byte("0::/system.slice/docker-" + strings.Repeat("a", 64) + ".scope\n"))
	f.Add([]byte("0::/lxc/a/pod\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, runtime, _ := container(text); (id == "") != (runtime == "") {
			t.Errorf("%q is container %q of %q", text, id, runtime)
		}
	})
}

const formatText = `name: inet_sock_set_state
ID: 2287
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:const void * skaddr;	offset:8;	size:8;	signed:0;
	field:int oldstate;	offset:16;	size:4;	signed:1;
	field:int newstate;	offset:20;	size:4;	signed:1;
	field:__u16 sport;	offset:24;	size:2;	signed:0;
	field:__u16 dport;	offset:26;	size:2;	signed:0;
	field:__u16 family;	offset:28;	size:2;	signed:0;
	field:__u16 protocol;	offset:30;	size:2;	signed:0;
	field:__u8 saddr[4];	offset:32;	size:4;	signed:0;
	field:__u8 daddr[4];	offset:36;	size:4;	signed:0;
	field:__u8 saddr_v6[16];	offset:40;	size:16;	signed:0;
	field:__u8 daddr_v6[16];	offset:56;	size:16;	signed:0;

print fmt: "family=%s", REC->family
`

func TestFormat(t *testing.T) {
	got, err := parseFormat([]byte(formatText))
	if err != nil || got["skaddr"] != (field{8, 8}) || got["saddr_v6"] != (field{40, 16}) || got["protocol"] != (field{30, 2}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, c := range []struct{ why, from, to string }{
		{"the protocol had one byte before Linux 5.7", "__u16 protocol;	offset:30;	size:2", "__u8 protocol;	offset:30;	size:1"},
		{"a field is not there", "skaddr", "sk"},
		{"a field that is not where a word may be read", "offset:40", "offset:41"},
		{"an offset that is no number", "offset:56", "offset:x"},
	} {
		if got, err := parseFormat([]byte(strings.Replace(formatText, c.from, c.to, 1))); err == nil && got["daddr_v6"].offset == 56 {
			t.Errorf("%s: it was taken", c.why)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte(formatText))
	f.Add([]byte("field:int newstate;	offset:-1;	size:99999;"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fields, err := parseFormat(text)
		for name, want := range wanted {
			if f := fields[name]; err == nil && (f.size != want.size || f.offset < 0 || f.offset%want.align != 0) {
				t.Errorf("%q: field %s is %v", text, name, f)
			}
		}
	})
}

func TestRecentKeepsTheNewestAndItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(2, 20).Draw(t, "limit")
		r := recent{max: limit}
		var order []tuple
		at := map[tuple]uint64{}
		for inode, port := range rapid.SliceOf(rapid.Uint16Range(1, 30)).Draw(t, "ports") {
			key := tuple{tcp, netip.AddrPortFrom(netip.IPv4Unspecified(), port), netip.AddrPort{}}
			r.add(key, held{inode: uint64(inode)})
			order = append(order, key)
			at[key] = uint64(inode)
			if n := len(r.now) + len(r.old); n > limit {
				t.Fatalf("%d entries, limit %d", n, limit)
			}
			for _, key := range order[max(0, len(order)-limit/2):] {
				if had, ok := r.find(key); !ok || had.inode != at[key] {
					t.Fatalf("%v is %v, %v, one of the newest %d", key, had, ok, limit/2)
				}
			}
		}
	})
}

func TestMethods(t *testing.T) {
	for _, name := range []string{"auto", "netlink", "ebpf", "off"} {
		if m, err := ParseMethod(name); err != nil || string(m) != name {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, err := ParseMethod("lsof"); err == nil || err.Error() != `"lsof" is no way to find a process; there are: auto, netlink, ebpf, off` {
		t.Error(err)
	}
}

func TestStateNames(t *testing.T) {
	for state, want := range map[uint8]string{1: "ESTAB", 7: "UNCONN", 10: "LISTEN", 12: "SYN-RECV", 99: "UNKNOWN"} {
		if got := stateName(state); got != want {
			t.Errorf("%d is %s, not %s", state, got, want)
		}
	}
}

// step is a clock that a test moves.
type step struct{ now time.Time }

func (s *step) Now() time.Time { return s.now }
