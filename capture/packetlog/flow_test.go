package packetlog

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/packet"
)

func TestRotation(t *testing.T) {
	const total, maxFile, rotations = 20 << 20, 1 << 20, 10
	for _, c := range []struct {
		why   string
		sizes []int
	}{
		{"full frames of Ethernet", []int{1514}},
		{"small and large ones in turn", []int{62, 1514, 590, 62, 4000}},
		{"blocks that just fit a line, and that just do not", []int{4052, 4053, 4064, 4065, 4060, 1000, 3020}},
		{"frames that the kernel has joined, longer than a line", []int{65549, 62}},
	} {
		for _, alert := range []bool{false, true} {
			t.Run(c.why, func(t *testing.T) {
				l := open(t, Config{MaxFile: maxFile, Rotations: rotations})
				n := 0
				for sent := 0; sent < total; n++ {
					size := c.sizes[n%len(c.sizes)]
					k := key(1)
					if n%2 == 1 {
						k = k.Reverse()
					}
					l.send(k, n, size)
					sent += max(size, 62)
				}
				l.Advance(l.next)
				bounded(t, filesIn(t, l.cfg.Dir), rotations, maxFile)
				whole(t, filesIn(t, l.cfg.Dir))
				all := numbers(t, filesIn(t, l.cfg.Dir))
				consecutive(t, all, all[0], n-1)
				if !alert {
					readable(t, filesIn(t, l.cfg.Dir)...)
					l.End(key(1).Reverse())
					l.close()
					if left := filesIn(t, l.cfg.Archive); len(left) > 0 {
						t.Errorf("archived without an alert: %v", left)
					}
					return
				}
				before := len(filesIn(t, l.cfg.Dir))
				l.Archive(key(1).Reverse())
				if left := filesIn(t, l.cfg.Dir); len(left) > 0 {
					t.Errorf("not moved: %v", left)
				}
				l.send(key(1), n, 1514)
				l.close()
				archived := filesIn(t, l.cfg.Archive)
				if len(archived) < before || before < rotations {
					t.Errorf("%d files archived of %d", len(archived), before)
				}
				bounded(t, archived, rotations, maxFile)
				whole(t, archived)
				all = numbers(t, archived)
				consecutive(t, all, all[0], n)
				readable(t, archived[len(archived)-1])
			})
		}
	}
}

func bounded(t *testing.T, paths []string, most int, size int64) {
	t.Helper()
	if len(paths) > most {
		t.Errorf("%d files, not at most %d", len(paths), most)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > size || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v", path, info.Size(), info.Mode())
		}
	}
}

// What the log wrote, vft reads back as any capture.
func TestOwnReader(t *testing.T) {
	l := open(t, Config{})
	for n := range 3000 {
		l.send(key(1), n, []int{62, 1514, 9000}[n%3])
	}
	l.Archive(key(1))
	l.close()
	all := numbers(t, filesIn(t, l.cfg.Archive))
	src := capture.File{Paths: filesIn(t, l.cfg.Archive)}
	reports, err := src.Run(t.Context(), func(p *capture.Packet) {
		if number(p.Data) != all[0] || p.Link != packet.LinkEthernet || p.Time != timeOf(all[0]) {
			t.Fatalf("packet %d of link %v at %d, not packet %d", number(p.Data), p.Link, p.Time, all[0])
		}
		all = all[1:]
	})
	if err != nil || len(all) > 0 || len(reports) != 10 || reports[0].Broken != nil {
		t.Fatal(err, reports, all)
	}
}

func TestAfterAlert(t *testing.T) {
	for _, c := range []struct {
		why         string
		before      int // files that are full when it alerts
		first, last int // numbers of the files in the end
	}{
		{"half of the files may be what came after", 5, 4, 9},
		{"few before: all room is for what comes after", 1, 1, 6},
		{"older ones rotated out before", 19, 18, 23},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := open(t, Config{MaxFile: 8 << 10, Rotations: 6})
			n := 0
			for ; len(l.flows) == 0 || l.flows[key(1).Canonical()].seq < c.before; n++ {
				l.send(key(1), n, 1514)
			}
			l.Archive(key(1))
			for range 200 {
				l.send(key(1), n, 1514)
				n++
			}
			l.End(key(1))
			files := filesIn(t, l.cfg.Archive)
			if got := sequences(files); len(got) != 6 || got[0] != c.first || got[5] != c.last {
				t.Errorf("files %v, not %d to %d", got, c.first, c.last)
			}
			if l.counts()["packets_dropped_after_alert"] == 0 {
				t.Error("nothing dropped after the files were full")
			}
			whole(t, files)
			readable(t, files[5])
			l.close()
		})
	}
}

// sequences returns the numbers in the names of files.
func sequences(paths []string) (all []int) {
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), suffix)
		n := 0
		for _, digit := range name[strings.LastIndexByte(name, '_')+1:] {
			n = n*10 + int(digit-'0')
		}
		all = append(all, n)
	}
	return all
}

func TestLinger(t *testing.T) {
	l := open(t, Config{Linger: 10 * time.Second})
	at := start
	send := func(after time.Duration) {
		at += int64(after)
		l.Packet(key(1), packet.LinkEthernet, at, 62, frame(62, 1))
	}
	send(0)
	l.Archive(key(1))
	send(9 * time.Second)
	l.Archive(key(1)) // the flow alerts again: the time begins anew
	send(9 * time.Second)
	send(2 * time.Second) // too late: this one begins a flow without an alert
	l.Advance(l.next)
	archived, waiting := filesIn(t, l.cfg.Archive), filesIn(t, l.cfg.Dir)
	if len(archived) != 1 || len(waiting) != 1 || len(parse(t, archived[0])) != 3 || len(parse(t, waiting[0])) != 1 {
		t.Errorf("archived %v, waiting %v", archived, waiting)
	}
	l.Archive(key(1))
	if archived := filesIn(t, l.cfg.Archive); len(archived) != 2 {
		t.Errorf("the second alert of the same 5-tuple: %v", archived)
	}
	l.close()
	if c := l.counts(); c["flows_archived"] != 2 || c["flows_started"] != 2 || c["files_archived"] != 2 {
		t.Errorf("%v", c)
	}
}

func TestArchiveOfWhatIsInMemory(t *testing.T) {
	l := open(t, Config{})
	l.Archive(key(7)) // nothing is known of it
	l.send(key(1), 1, 100)
	l.send(key(2), 2, 100)
	l.Archive(key(1))
	if files := filesIn(t, l.cfg.Archive); len(files) != 1 || len(numbers(t, files)) != 1 {
		t.Errorf("an alert does not wait for the tick: %v", files)
	}
	l.close()
	want := map[string]uint64{
		"packets_seen": 2, "packets_written": 1, "packets_discarded": 1, "bytes_written": uint64(sectionSize + interfaceSize + blockSize(100)), "bytes_on_disk": line,
		"flows_started": 2, "flows_ended": 2, "flows_archived": 1, "archive_unknown": 1, "files_started": 1, "files_archived": 1,
	}
	if got := l.counts(); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestArchiveHost(t *testing.T) {
	l := open(t, Config{})
	for n := range 2*maxHost + 10 {
		k := key(n)
		if n%2 == 1 {
			k.Dst = packet.Addr4(0x08080808)
		}
		l.send(k, n, 62)
	}
	l.ArchiveHost(packet.Addr4(0x08080808))
	l.ArchiveHost(key(0).Src)
	all := numbers(t, filesIn(t, l.cfg.Archive))
	slices.Sort(all)
	if len(all) != maxHost+1 || all[0] != 0 || all[1] != 11 {
		t.Errorf("%d flows archived: %v", len(all), all[:min(3, len(all))])
	}
	l.close()
}

func TestNames(t *testing.T) {
	six := func(s string) packet.Addr {
		var b [16]byte
		copy(b[:], s)
		return packet.Addr{Hi: uint64(b[0])<<56 | uint64(b[1])<<48, Lo: 1}
	}
	for _, c := range []struct {
		why  string
		key  flow.Key
		ts   int64
		name string
	}{
		{"IPv4 with ports, from the first packet's source", key(1), start,
			"vft_20231114T221320.123456789Z_tcp_10.0.0.1.40000_198.51.100.2.443_0001.pcapng"},
		{"a protocol without ports", flow.Key{Src: packet.Addr4(0x01020304), Dst: packet.Addr4(0x05060708), Proto: 47}, 0,
			"vft_19700101T000000.000000000Z_gre_1.2.3.4_5.6.7.8_0001.pcapng"},
		{"a protocol without a name", flow.Key{Src: packet.Addr4(0x01020304), Dst: packet.Addr4(0x05060708), Proto: 253}, 0,
			"vft_19700101T000000.000000000Z_ip253_1.2.3.4_5.6.7.8_0001.pcapng"},
		{"IPv6 without colons", flow.Key{Src: six("\x20\x01"), Dst: six("\xfe\x80"), Proto: 58}, 1,
			"vft_19700101T000000.000000001Z_ipv6-icmp_2001--1_fe80--1_0001.pcapng"},
		{"ports that are zero are ports", flow.Key{Proto: 17, Ports: true}, -1,
			"vft_19691231T235959.999999999Z_udp_--.0_--.0_0001.pcapng"},
		{"the last time there is", flow.Key{Proto: 132, Ports: true, DstPort: 65535}, 1<<63 - 1,
			"vft_22620411T234716.854775807Z_sctp_--.0_--.65535_0001.pcapng"},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := open(t, Config{})
			l.Packet(c.key, packet.LinkEthernet, c.ts, 62, frame(62, 1))
			l.Archive(c.key)
			files := filesIn(t, l.cfg.Archive)
			if len(files) != 1 || filepath.Base(files[0]) != c.name {
				t.Errorf("%v, not %s", files, c.name)
			}
			if !ownName().MatchString(c.name) {
				t.Error("not known as its own name")
			}
			whole(t, files)
		})
	}
}

func TestArchiveOverwritesNothing(t *testing.T) {
	archive := t.TempDir()
	for run := range 3 {
		l := open(t, Config{Archive: archive})
		l.send(key(1), 1, 100+run)
		l.Archive(key(1))
		l.close()
	}
	sizes := map[int]bool{}
	for _, path := range filesIn(t, archive) {
		sizes[len(parse(t, path)[0].data)] = true
	}
	if len(sizes) != 3 {
		t.Errorf("three replays of one capture left %v", filesIn(t, archive))
	}
}

func TestLinkTypes(t *testing.T) {
	l := open(t, Config{MaxFile: 64 << 10})
	links := []packet.LinkType{packet.LinkEthernet, packet.LinkRaw, packet.LinkSLL2, packet.LinkWiFi, packet.LinkIPv4}
	send := func(n int, link packet.LinkType) {
		l.Packet(key(1), link, timeOf(n), 1514, frame(1514, n))
	}
	for n := range 60 { // a router sees a flow on two interfaces in turn
		send(n, links[n%2])
	}
	for n := 60; n < 75; n++ { // more types than a file takes
		send(n, links[n%5])
	}
	l.Packet(key(1), 1<<16, timeOf(75), 100, frame(100, 75)) // cannot be told in pcapng
	l.Archive(key(1))
	l.close()
	files := filesIn(t, l.cfg.Archive)
	whole(t, files)
	readable(t, files...)
	n := 0
	for _, path := range files {
		for _, p := range parse(t, path) {
			want := links[n%2]
			if n >= 60 {
				want = links[n%5]
			}
			if p.link != want || number(p.data) != n {
				t.Errorf("packet %d: number %d, link %v, not %v", n, number(p.data), p.link, want)
			}
			n++
		}
	}
	if c := l.counts(); n != 75 || c["packets_dropped_link_type"] != 1 || len(files) > 8 {
		t.Errorf("%d packets in %d files; %v", n, len(files), c)
	}
}

func TestSnaplen(t *testing.T) {
	l := open(t, Config{Snaplen: 96})
	l.send(key(1), 1, 1514)
	l.send(key(1), 2, 80)
	l.Archive(key(1))
	p := parse(t, filesIn(t, l.cfg.Archive)[0])
	if len(p[0].data) != 96 || p[0].wire != 1514 || len(p[1].data) != 80 || l.counts()["packets_cut"] != 1 {
		t.Errorf("%d of %d, %d of %d; %v", len(p[0].data), p[0].wire, len(p[1].data), p[1].wire, l.counts())
	}
	l.close()
}
