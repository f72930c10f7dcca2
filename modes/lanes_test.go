package modes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"vft/capture"
	"vft/event"
	"vft/modes/config"
	"vft/siem/ecs"
)

// reference returns a directory of reference captures.
func reference(t testing.TB, name string) string {
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(root, "corpus", name)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
		}
		t.Skipf("no reference captures: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
	}
	return dir
}

// watcherOf makes a watcher that replays, with the given settings; "-" as file is
// what the test feeds it.
func watcherOf(t testing.TB, settings map[string]string, emit event.Emit) *watcher {
	t.Helper()
	flags := map[string]*config.Input{"pcapfile": {Texts: []string{"-"}}}
	for name, text := range settings {
		flags[name] = &config.Input{Texts: []string{text}}
	}
	none := func(string) (string, bool) { return "", false }
	v, err := config.Load(config.Source{Options: options, Flags: flags, Env: none, Mode: config.Standalone})
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWatcher(v, zerolog.Nop(), emit)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// records replays a file and returns each record as it would be written, then
// the totals.
func records(t testing.TB, path string, settings map[string]string) (lines []string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return recordsOf(t, t.Context(), file, settings)
}

func recordsOf(t testing.TB, ctx context.Context, in io.Reader, settings map[string]string) (lines []string) {
	t.Helper()
	w := watcherOf(t, settings, func(e event.Event) {
		lines = append(lines, string(ecs.Append(nil, &e, ecs.Observer{Hostname: "h", Version: "v"})))
	})
	files := capture.File{Paths: []string{"-"}, Stdin: in}
	var reports []capture.Report
	w.through(func(to capture.LiveHandler) {
		reports, _ = files.Run(ctx, func(p *capture.Packet) {
			if w.sieve.passes(p) {
				to.Packet(p)
			}
		})
	})
	return append(lines, fmt.Sprint(w.alerts, w.shard.Totals().Summary(), w.shard.Flows().Counters(), w.shard.Counters(), reports))
}

// same reports the first line in which two runs differ.
func same(t testing.TB, why string, one, other []string) {
	t.Helper()
	for i := range min(len(one), len(other)) {
		if one[i] != other[i] {
			t.Errorf("%s: line %d of %d is\n%s\nnot\n%s", why, i, len(one), other[i], one[i])
			return
		}
	}
	if len(one) != len(other) {
		t.Errorf("%s: %d lines, not %d", why, len(other), len(one))
	}
}

// span is the time that a capture covers, longest where it cannot be read.
func span(t testing.TB, path string) time.Duration {
	files := capture.File{Paths: []string{path}}
	reports, err := files.Run(t.Context(), func(*capture.Packet) {})
	if err != nil || len(reports) == 0 {
		return 1<<63 - 1
	}
	return time.Duration(reports[0].Last - reports[0].First)
}

// The records do not depend on how many goroutines share the work, with as many
// flows as there are and with a table that evicts.
func TestShardsChangeNothing(t *testing.T) {
	var paths []string
	for _, c := range []struct {
		kind string
		most int64 // bytes: the time that the test may take
		each int
	}{{"attack", 1_100_000, 1}, {"scan", 200_000, 2}, {"normal", 100_000, 7}} {
		found, err := filepath.Glob(filepath.Join(reference(t, c.kind), "*.pcap*"))
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range found {
			info, err := os.Stat(path)
			if ext := filepath.Ext(path); err == nil && info.Size() <= c.most && i%c.each == 0 && (ext == ".pcap" || ext == ".pcapng") && span(t, path) < 10*time.Minute {
				paths = append(paths, path)
			}
		}
	}
	if len(paths) < 30 {
		t.Fatalf("only %d captures are small enough", len(paths))
	}
	kinds, evicted := map[event.Dataset]int{}, 0
	for _, path := range paths {
		for _, most := range []string{"1048576", "1024"} {
			settings := map[string]string{"flows": "true", "emit-stats": "true", "max-flows": most, "shards": "1"}
			one := records(t, path, settings)
			for _, line := range one {
				for _, kind := range []event.Dataset{event.DatasetThreat, event.DatasetAnomaly, event.DatasetFlow, event.DatasetStat} {
					if strings.Contains(line, `"dataset":"`+string(kind)+`"`) {
						kinds[kind]++
					}
				}
				if strings.Contains(line, "evicted") {
					evicted++
				}
			}
			for _, shards := range []string{"2", "3"} {
				settings["shards"] = shards
				same(t, filepath.Base(path)+" with "+shards+" shards", one, records(t, path, settings))
			}
		}
	}
	if kinds[event.DatasetThreat] < 50 || kinds[event.DatasetFlow] < 1000 || kinds[event.DatasetStat] < 1000 || evicted < 1000 {
		t.Errorf("too little to compare: %v, %d flows evicted", kinds, evicted)
	}
}

// A replay that is told to stop ends in order: what was read counts, and the
// same whatever the number of shards.
func TestStoppedReplayEndsInOrder(t *testing.T) {
	data, err := os.ReadFile("../testdata/mixed.pcap")
	if err != nil {
		t.Fatal(err)
	}
	whole := records(t, "../testdata/mixed.pcap", nil)
	var first []string
	for _, shards := range []string{"1", "2", "3"} {
		ctx, stop := context.WithCancel(t.Context())
		in := &stopping{Reader: bytes.NewReader(data), left: len(data) / 2, stop: stop}
		got := recordsOf(t, ctx, in, map[string]string{"shards": shards, "flows": "true"})
		if ctx.Err() == nil {
			t.Fatal("it was not stopped")
		}
		if first == nil {
			first = got
		}
		same(t, shards+" shards", first, got)
	}
	if len(first) < 10 || first[len(first)-1] == whole[len(whole)-1] {
		t.Errorf("%d records, in the end %s", len(first), first[len(first)-1])
	}
}

// stopping gives the first bytes in small pieces, then ends the run.
type stopping struct {
	io.Reader
	left int
	stop context.CancelFunc
}

func (s *stopping) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b[:min(len(b), 5000)])
	if s.left -= n; s.left <= 0 {
		s.stop()
	}
	return n, err
}

// A file that breaks off counts up to there.
func TestBrokenReplayCountsWhatCameBefore(t *testing.T) {
	data, err := os.ReadFile("../testdata/mixed.pcap")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(path, data[:len(data)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, shards := range []string{"1", "2", "3"} {
		state, out, errs := runMain(t, "standalone", "--pcapfile", path, "--flows", "--shards", shards)
		if state != exitDone || !strings.Contains(errs, "what came before it is counted") || strings.Count(out, `"vft.flow"`) < 10 {
			t.Errorf("%s shards: state %d, %d bytes of records, %s", shards, state, len(out), errs)
		}
		if first == "" {
			first = out
		}
		if out != first {
			t.Errorf("%s shards: %x, not %x", shards, sha256.Sum256([]byte(out)), sha256.Sum256([]byte(first)))
		}
	}
}

// One busy interval may show more flows than a journal holds.
func TestManyFlowsInOneInterval(t *testing.T) {
	const flows = 10 * journalSteps
	for _, shards := range []string{"1", "2"} {
		ended := 0
		w := watcherOf(t, map[string]string{"shards": shards, "flows": "true"}, func(e event.Event) {
			if e.Dataset == event.DatasetFlow {
				ended++
			}
		})
		pkt := &capture.Packet{Link: 101, Wire: 60, Data: syn()}
		w.through(func(to capture.LiveHandler) {
			for i := range flows {
				pkt.Time = int64(1e18) + int64(i)*1000
				pkt.Data[22], pkt.Data[23] = byte(i>>8), byte(i)
				to.Packet(pkt)
			}
			for i := range 3 { // intervals close, and all flows time out at once
				to.Tick(int64(1e18) + int64(i)*100e9)
			}
			if shards == "1" && ended != flows { // with two another goroutine tells still
				t.Errorf("%d of %d flows were told of before the end", ended, flows)
			}
		})
		if ended != flows {
			t.Errorf("%s shards: %d of %d flows were told of", shards, ended, flows)
		}
	}
}

// syn is a SYN over raw IPv4.
func syn() []byte {
	return []byte{0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0}
}

// Packets of flows that are known allocate nothing, on one goroutine or on two.
func TestWatcherDoesNotAllocate(t *testing.T) {
	for _, shards := range []string{"1", "2"} {
		w := watcherOf(t, map[string]string{"shards": shards}, func(event.Event) {})
		pkt := &capture.Packet{Time: 1e18, Link: 101, Wire: 60, Data: syn()}
		pkt.Data[33] = 0x10
		w.through(func(to capture.LiveHandler) {
			step := func() {
				for i := range 20_000 {
					pkt.Time += 1000
					pkt.Data[23] = byte(i)
					to.Packet(pkt)
				}
			}
			for range 20 {
				step()
			}
			if n := testing.AllocsPerRun(5, step); n > 0 {
				t.Errorf("%s shards: %v allocations in 20,000 packets", shards, n)
			}
		})
	}
}
