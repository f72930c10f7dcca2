package packets

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vft/capture"
	"vft/correlate/sensor"
	"vft/engine/flows"
	"vft/event"
	"vft/siem/ecs"
)

// reference returns a directory of reference captures.
func reference(t testing.TB, name string) string {
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
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

// testSettings are the defaults of a replay; "-" as file is what the test feeds
// it.
func testSettings(change ...func(*Settings)) *Settings {
	s := &Settings{
		Files: []string{"-"}, Snaplen: 65536, MaxFlows: 1 << 20, LearnPeers: 24 * time.Hour,
		Statistics: StatisticSettings{Names: []string{"all"}, Period: 10 * time.Second, Q: 1e-4, Level: 0.98, NInit: 1000, Depth: 50, MaxExcess: 200, Up: true},
		Transfers: TransferSettings{Interval: 5 * time.Second, Methods: []string{"diff", "fence", "highrank", "lowrank", "magnitude"}, Sensitivity: 0.1,
			UpperBound: 100 << 20, LowerBound: math.NaN(), ActiveSize: 1, NSeasons: 4, Threshold: 0.6},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func shards(n int) func(*Settings) { return func(s *Settings) { s.Shards = n } }

func writeFlows(s *Settings) { s.WriteFlows = true }

// engineOf makes an engine that replays.
func engineOf(t testing.TB, s *Settings, emit event.Emit) *Engine {
	t.Helper()
	definitions, err := sensor.Parse("sensors.yaml", sensor.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	own, err := sensor.Parse("sensors.yaml", []byte("sensors: {winscan: off, spam: off}"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Settings: s, Host: "h", Emit: emit, Flows: func(emit event.Emit) (FlowAnalyzer, error) {
		return flows.NewCaptured(flows.Config{Settings: &flows.Settings{WriteFlows: s.WriteFlows, LearnPeers: s.LearnPeers}, Sensors: flows.Sensors{Exported: definitions, Captured: own}, Host: "h", Emit: emit}, true)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// records replays a file and returns each record as it would be written, then
// the totals.
func records(t testing.TB, path string, settings *Settings) (lines []string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return recordsOf(t, t.Context(), file, settings)
}

func recordsOf(t testing.TB, ctx context.Context, in io.Reader, settings *Settings) (lines []string) {
	t.Helper()
	e := engineOf(t, settings, func(found event.Event) {
		lines = append(lines, string(ecs.Append(nil, &found, ecs.Observer{Hostname: "h", Version: "v"})))
	})
	files := capture.File{Paths: []string{"-"}, Stdin: in}
	var reports []capture.Report
	e.runPipeline(func(to capture.LiveHandler) {
		reports, _ = files.Run(ctx, func(p *capture.Packet) {
			if e.filter.Passes(p) {
				to.Packet(p)
			}
		})
	})
	return append(lines, fmt.Sprint(e.alerts, e.shard.Totals().Summary(), e.shard.Flows().Counters(), e.shard.Counters(), reports))
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
		for _, most := range []int{1048576, 1024} {
			settings := testSettings(shards(1), writeFlows, func(s *Settings) { s.MaxFlows, s.Statistics.Emit = most, true })
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
			for _, n := range []int{2, 3} {
				settings.Shards = n
				same(t, fmt.Sprintf("%s with %d shards", filepath.Base(path), n), one, records(t, path, settings))
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
	data, err := os.ReadFile("../../testdata/mixed.pcap")
	if err != nil {
		t.Fatal(err)
	}
	whole := records(t, "../../testdata/mixed.pcap", testSettings())
	var first []string
	for n := range 3 {
		ctx, stop := context.WithCancel(t.Context())
		in := &stopping{Reader: bytes.NewReader(data), left: len(data) / 2, stop: stop}
		got := recordsOf(t, ctx, in, testSettings(shards(n+1), writeFlows))
		if ctx.Err() == nil {
			t.Fatal("it was not stopped")
		}
		if first == nil {
			first = got
		}
		same(t, fmt.Sprint(n+1, " shards"), first, got)
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

// One busy interval may show more flows than a journal holds.
func TestManyFlowsInOneInterval(t *testing.T) {
	const many = 10 * journalSteps
	for _, n := range []int{1, 2} {
		ended := 0
		e := engineOf(t, testSettings(shards(n), writeFlows), func(found event.Event) {
			if found.Dataset == event.DatasetFlow {
				ended++
			}
		})
		pkt := &capture.Packet{Link: 101, Wire: 60, Data: syn()}
		e.runPipeline(func(to capture.LiveHandler) {
			for i := range many {
				pkt.Time = int64(1e18) + int64(i)*1000
				pkt.Data[22], pkt.Data[23] = byte(i>>8), byte(i)
				to.Packet(pkt)
			}
			for i := range 3 { // intervals close, and all flows time out at once
				to.Tick(int64(1e18) + int64(i)*100e9)
			}
			if n == 1 && ended != many { // with two another goroutine tells still
				t.Errorf("%d of %d flows were told of before the end", ended, many)
			}
		})
		if ended != many {
			t.Errorf("%d shards: %d of %d flows were told of", n, ended, many)
		}
	}
}

// syn is a SYN over raw IPv4.
func syn() []byte {
	return []byte{0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0}
}

// Packets of flows that are known allocate nothing, on one goroutine or on two.
func TestEngineDoesNotAllocate(t *testing.T) {
	for _, n := range []int{1, 2} {
		e := engineOf(t, testSettings(shards(n)), func(event.Event) {})
		pkt := &capture.Packet{Time: 1e18, Link: 101, Wire: 60, Data: syn()}
		pkt.Data[33] = 0x10
		e.runPipeline(func(to capture.LiveHandler) {
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
			if allocated := testing.AllocsPerRun(5, step); allocated > 0 {
				t.Errorf("%d shards: %v allocations in 20,000 packets", n, allocated)
			}
		})
	}
}
