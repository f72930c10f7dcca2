package packetlog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
)

func TestMaxFlows(t *testing.T) {
	l := open(t, Config{MaxFlows: 3})
	for n := range 3 {
		l.send(key(n), n, 100)
	}
	l.Advance(l.next)
	l.Archive(key(1))
	l.send(key(0), 3, 100) // now 2 was quiet the longest
	l.send(key(9), 4, 100)
	if l.flows[key(2).Canonical()] != nil || len(l.flows) != 3 {
		t.Errorf("not the flow that was quiet the longest was evicted")
	}
	l.send(key(10), 5, 100)
	l.send(key(11), 6, 100)
	l.send(key(12), 7, 100)
	if l.flows[key(1).Canonical()] == nil || len(l.flows) != 3 {
		t.Error("a flow that alerted was evicted before others")
	}
	if c := l.counts(); c["flows_evicted_max"] != 4 || c["files_removed"] != 2 {
		t.Errorf("%v", c)
	}
	for n := 20; n < 23; n++ {
		l.send(key(n), n, 100)
		l.Archive(key(n))
	}
	l.send(key(23), 23, 100) // all alerted: then the oldest of them, whose files stay
	l.close()
	if archived := filesIn(t, l.cfg.Archive); len(archived) != 4 {
		t.Errorf("%d files in the archive, not 4", len(archived))
	}
}

// Thousands of flows that strangers make stay within every limit.
func TestHostileFlows(t *testing.T) {
	const flows, maxFlows, maxOpen, quota = 8000, 1500, 16, 2 << 20
	l := open(t, Config{MaxFlows: maxFlows, MaxOpen: maxOpen, Quota: quota, MaxFile: 64 << 10})
	for n := range flows {
		k := key(n)
		l.send(k, n, 62+n%1400)
		if n > 40 {
			l.send(key(n-40).Reverse(), n, 1000) // some get a second packet
		}
		if n%500 == 0 {
			l.Advance(l.next)
			within(t, l, maxFlows, maxOpen, quota)
		}
		if n%900 == 0 {
			l.Archive(k)
		}
		if n%7 == 0 {
			l.End(k)
		}
	}
	within(t, l, maxFlows, maxOpen, quota)
	c := l.counts()
	if c["flows_evicted_quota"] == 0 || c["flows_ended"] == 0 {
		t.Errorf("%v", c)
	}
	whole(t, filesIn(t, l.cfg.Archive))
	l.close()
}

func within(t *testing.T, l *testLog, maxFlows, maxOpen int, quota int64) {
	t.Helper()
	if len(l.flows) > maxFlows || l.open.len > maxOpen || diskUse(l.cfg.Dir)+diskUse(l.cfg.Archive) > quota {
		t.Fatalf("%d flows, %d open, %d bytes", len(l.flows), l.open.len, diskUse(l.cfg.Dir)+diskUse(l.cfg.Archive))
	}
	if got := diskUse(l.cfg.Dir) + diskUse(l.cfg.Archive); got != l.used+l.archived {
		t.Fatalf("%d bytes on disk, %d known", got, l.used+l.archived)
	}
}

func TestOpenFiles(t *testing.T) {
	l := open(t, Config{MaxOpen: 4, MaxFile: 1 << 20})
	n := 0
	round := func(flows ...int) {
		for _, f := range flows {
			l.send(key(f), n, 1514)
			n++
		}
		l.Advance(l.next)
	}
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9}
	for range 20 {
		round(all...)
		if l.open.len > 4 {
			t.Fatalf("%d files are open", l.open.len)
		}
	}
	round(3, 5)
	if l.flows[key(3).Canonical()].handle == nil || l.flows[key(8).Canonical()].handle != nil && l.flows[key(6).Canonical()].handle != nil {
		t.Error("not the file that was written the longest ago is closed")
	}
	if runtime.GOOS == "linux" {
		if held := openIn(t, l.cfg.Dir); held != 4 {
			t.Errorf("the process holds %d files open, not 4", held)
		}
	}
	for _, f := range all {
		l.Archive(key(f))
	}
	l.close()
	files := filesIn(t, l.cfg.Archive)
	if packets := len(numbers(t, files)); len(files) != len(all) || packets != n {
		t.Errorf("%d files, %d packets of %d", len(files), packets, n)
	}
}

// openIn counts the files of dir that this process holds open.
func openIn(t *testing.T, dir string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, dir+"/") {
			n++
		}
	}
	return n
}

func TestQuota(t *testing.T) {
	t.Run("one flow alone removes its own oldest files", func(t *testing.T) {
		l := open(t, Config{MaxFile: 64 << 10, Quota: 256 << 10})
		for n := range 2000 {
			l.send(key(1), n, 1514)
		}
		l.Archive(key(1))
		all := numbers(t, filesIn(t, l.cfg.Archive))
		consecutive(t, all, all[0], 1999)
		if got := diskUse(l.cfg.Archive); got > 256<<10 || got < 192<<10 {
			t.Errorf("%d bytes", got)
		}
		l.close()
	})
	t.Run("a full archive stops the log until somebody makes room", func(t *testing.T) {
		l := open(t, Config{MaxFile: 64 << 10, Quota: 256 << 10})
		fill := func(k int) {
			for n := range 200 {
				l.send(key(k), n, 1514)
			}
			l.Archive(key(k))
		}
		fill(1)
		fill(2)
		before := filesIn(t, l.cfg.Archive)
		fill(3)
		if got := diskUse(l.cfg.Archive); got > 256<<10 || l.counts()["packets_dropped_quota"] == 0 {
			t.Errorf("%d bytes; %v", got, l.counts())
		}
		for _, path := range before {
			if !exists(path) {
				t.Error("a file of the archive was removed")
			}
		}
		if said := strings.Count(l.logged.String(), "quota"); said != 1 {
			t.Errorf("said %d times:\n%s", said, &l.logged)
		}
		for _, path := range filesIn(t, l.cfg.Archive) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		l.Advance(l.now + 2*int64(time.Minute))
		fill(4)
		if len(filesIn(t, l.cfg.Archive)) == 0 {
			t.Error("nothing archived though there is room again")
		}
		l.close()
	})
	t.Run("what an earlier run archived counts", func(t *testing.T) {
		archive := t.TempDir()
		if err := os.WriteFile(filepath.Join(archive, "other"), make([]byte, 256<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, Config{Archive: archive, Quota: 256 << 10})
		l.send(key(1), 1, 100)
		l.Archive(key(1))
		if len(filesIn(t, archive)) != 1 || l.counts()["packets_dropped_quota"] != 1 {
			t.Errorf("%v", l.counts())
		}
		l.close()
	})
}

// A flood of new flows costs a bounded number of files a second, and memory.
func TestFlood(t *testing.T) {
	l := open(t, Config{MaxFlows: 1 << 20})
	const flows = 2*maxNewFlows + 100
	for n := range flows {
		l.send(key(n), 0, 62)
	}
	for second, want := range []int{maxNewFlows, 2 * maxNewFlows, flows} {
		l.Advance(l.next)
		if got := l.counts()["files_started"]; got != uint64(want) {
			t.Errorf("after %d seconds %d files, not %d", second+1, got, want)
		}
	}
	n := 0
	for ; l.counts()["packets_dropped_memory"] == 0; n++ {
		l.send(key(flows+n), 0, 1514)
	}
	if l.buffered > maxBuffered+4<<10 {
		t.Errorf("%d bytes in memory", l.buffered)
	}
	for l.wait.len > 0 {
		l.Advance(l.next)
	}
	if l.buffered != 0 {
		t.Errorf("%d bytes in memory, though nothing waits", l.buffered)
	}
	l.send(key(1), 0, 1514)
	l.Advance(l.next)
	if l.buffered != 0 || l.counts()["packets_dropped_memory"] != 1 {
		t.Errorf("not in order again: %d; %v", l.buffered, l.counts())
	}
	l.close()
}

// Files to rewrite wait when they are too many for a second.
func TestRewriteBudget(t *testing.T) {
	l := open(t, Config{MaxFile: 16 << 20, Quota: 1 << 30})
	const flows = 10
	for f := range flows {
		for n := range 120 {
			l.send(key(f), n, 65549)
		}
	}
	l.Advance(l.next) // now each flow has a file of almost 8 MiB
	for f := range flows {
		l.send(key(f), 120, 9000)
	}
	l.Advance(l.next)
	if waiting := l.wait.len; waiting == 0 || waiting == flows {
		t.Errorf("%d of %d rewrites wait", waiting, flows)
	}
	l.Advance(l.next)
	if l.wait.len != 0 {
		t.Errorf("%d rewrites still wait", l.wait.len)
	}
	for f := range flows {
		if files := l.flows[key(f).Canonical()].files; len(files) != 1 {
			t.Errorf("%d files", len(files))
		}
		for n := 121; n < 141; n++ {
			l.send(key(f), n, 65549) // more than is rewritten
		}
		l.Archive(key(f))
	}
	for _, path := range filesIn(t, l.cfg.Archive) {
		if info, err := os.Stat(path); err != nil || info.Size() > maxRewrite {
			t.Error(info.Size(), err)
		}
	}
	l.close()
}

func TestLostFile(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(path string) error
		size   int
	}{
		{"removed, then appended to", os.Remove, 100},
		{"removed, then rewritten", os.Remove, 9000},
		{"emptied, then appended to", func(path string) error { return os.Truncate(path, 0) }, 100},
		{"emptied, then rewritten", func(path string) error { return os.Truncate(path, 0) }, 9000},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := open(t, Config{})
			l.send(key(1), 1, 100)
			l.Advance(l.next)
			if err := c.change(filesIn(t, l.cfg.Dir)[0]); err != nil {
				t.Fatal(err)
			}
			for n := 2; n < 5; n++ {
				l.send(key(1), n, c.size)
				l.Advance(l.next)
			}
			l.Archive(key(1))
			all := numbers(t, filesIn(t, l.cfg.Archive)[:1])
			consecutive(t, all, 3, 4)
			if got := l.counts(); got["files_lost"] != 1 || got["packets_dropped_error"] != 1 || got["errors_write"] != 1 {
				t.Errorf("%v", got)
			}
			l.End(key(1))
			l.balanced()
		})
	}
}

func TestGoneDirectory(t *testing.T) {
	l := open(t, Config{})
	if err := os.Remove(l.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		l.send(key(n), n, 100)
		l.Advance(l.next)
	}
	if c := l.counts(); c["errors_write"] != 100 || c["packets_dropped_error"] != 100 || strings.Count(l.logged.String(), "\n") != 1 {
		t.Errorf("%v\n%s", c, &l.logged)
	}
	l.clock = l.clock.Add(time.Minute)
	l.send(key(1), 1, 100)
	l.Advance(l.next)
	if !strings.Contains(l.logged.String(), `"suppressed":99`) {
		t.Errorf("what was not said is not told:\n%s", &l.logged)
	}
	if err := os.Mkdir(l.cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.close()
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why  string
		cfg  Config
		want string
	}{
		{"no directory", Config{}, "no directory is named"},
		{"a file in its place", Config{Dir: plain}, "cannot make the directory " + plain + " for packets: not a directory"},
		{"below a file", Config{Dir: dir, Archive: filepath.Join(plain, "a")}, "plain/a for packets: not a directory"},
		{"archive and log in one", Config{Dir: dir, Archive: dir + "/."}, "name another directory"},
		{"where nobody writes", Config{Dir: "/proc"}, "cannot write packets to /proc: "},
	} {
		t.Run(c.why, func(t *testing.T) {
			if c.cfg.Dir == "/proc" && runtime.GOOS != "linux" {
				t.Skip("no such directory here")
			}
			l := New(c.cfg)
			err := l.Open()
			if err == nil || !strings.Contains(filepath.ToSlash(err.Error()), filepath.ToSlash(c.want)) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want %q on one line", err, c.want)
			}
			l.Packet(key(1), packet.LinkEthernet, start, 62, frame(62, 1))
			l.Archive(key(1))
			l.End(key(1))
			l.Advance(start)
			if n := l.count.get(droppedClosed); n != 1 || l.Close() != nil {
				t.Errorf("not open: %d dropped", n)
			}
		})
	}
}

func TestLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	archive := filepath.Join(dir, "archive")
	if err := os.MkdirAll(archive, 0o755); err != nil {
		t.Fatal(err)
	}
	own := fileName(baseName(key(1), start), 12)
	keep := []string{"notes.txt", "capture.pcapng", "vft_holiday.pcapng", own + ".gz", "vft_20231114T221320.123456789Z_tcp_a_b_1.pcapng"}
	gone := []string{own, "." + own + ".tmp", strings.TrimSuffix(own, suffix) + "~2" + suffix, ".vft_probe.tmp"}
	for _, in := range []string{dir, archive} {
		for _, name := range append(keep, gone...) {
			if err := os.WriteFile(filepath.Join(in, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := open(t, Config{Dir: dir, Archive: ""})
	l.Close()
	if l.cfg.Archive == archive {
		t.Fatal("the test's own archive is expected")
	}
	l.Log = New(Config{Dir: dir})
	if err := l.Open(); err != nil {
		t.Fatal(err)
	}
	for _, name := range keep {
		if !exists(filepath.Join(dir, name)) || !exists(filepath.Join(archive, name)) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range gone {
		if exists(filepath.Join(dir, name)) {
			t.Errorf("%s is left", name)
		}
	}
	if !exists(filepath.Join(archive, own)) || exists(filepath.Join(archive, "."+own+".tmp")) {
		t.Error("the archive loses its unfinished files alone")
	}
	l.Close()
}

// Where nameless files are missing, a hidden name does.
func TestCreateHidden(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	fill := func(s string) func(*os.File) error {
		return func(w *os.File) error {
			if exists(path) && s == "first" {
				t.Error("the name appears before its content")
			}
			return writeAll(w, []byte(s))
		}
	}
	for name, create := range map[string]func(string, bool, func(*os.File) error) error{"hidden": createHidden, "nameless": create} {
		t.Run(name, func(t *testing.T) {
			if err := create(path, false, fill("first")); err != nil {
				t.Fatal(err)
			}
			if err := create(path, false, fill("second")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("over a file: %v", err)
			}
			if err := create(path, true, fill("third")); err != nil {
				t.Error(err)
			}
			broken := errors.New("broken")
			if err := create(path, true, func(w *os.File) error { return broken }); !errors.Is(err, broken) {
				t.Error(err)
			}
			if b, err := os.ReadFile(path); string(b) != "third" || err != nil || len(filesIn(t, dir)) != 1 {
				t.Errorf("%q %v; %v", b, err, filesIn(t, dir))
			}
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNoAllocations(t *testing.T) {
	l := open(t, Config{MaxFile: 1 << 30})
	data := frame(1514, 1)
	keys := []flow.Key{key(1), key(1).Reverse(), key(2)}
	n := 0
	send := func() {
		l.Packet(keys[n%3], packet.LinkEthernet, start, len(data), data)
		n++
	}
	for range 1000 {
		send()
	}
	if got := testing.AllocsPerRun(2000, send); got != 0 {
		t.Errorf("%v allocations per packet", got)
	}
	l.close()
}
