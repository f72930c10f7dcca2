package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestLiveEqualsFileAtSpeed sends a capture at 100,000 packets per second past
// vft and tcpdump: no packet is dropped, and each count and flow is that of the
// file. A machine that cannot send as fast says so, and is held to the counts.
func TestLiveEqualsFileAtSpeed(t *testing.T) {
	needProgram(t, "tcpreplay", "tcpreplay")
	needProgram(t, "tcpdump", "tcpdump")
	const packets, rate = 300_000, 100_000
	file := filepath.Join(t.TempDir(), "big.pcap")
	if err := repeat(filepath.Join("..", "testdata", "mixed.pcap"), file, packets); err != nil {
		t.Fatal(err)
	}
	text, err := command(binary, "standalone", "--pcapfile", file, "--flows", "--data-dir", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := summaryOf(t, text)
	if want["packets"] != packets {
		t.Fatalf("the file has %d packets, not %d", want["packets"], packets)
	}

	l := wire(t)
	p := l.vft("right", "standalone", "-i", "wire", "--traps", "0", "--flows", "--process", "off", "--data-dir", t.TempDir())
	p.waitFor(p.err, 10*time.Second, "0 traps are open")
	beside := start(t, "tcpdump", l.on("right", "tcpdump", "-i", "wire", "-nn", "-B", "65536", "-c", fmt.Sprint(packets), "-w", filepath.Join(t.TempDir(), "beside.pcap")))
	beside.waitFor(beside.err, 10*time.Second, "listening on")
	sent := l.run("left", "tcpreplay", "--preload-pcap", fmt.Sprintf("--pps=%d", rate), "-i", "wire", file)
	if reached := rateOf(t, sent); reached < 0.99*rate {
		t.Logf("this machine sent %.0f packets per second, not %d", reached, rate)
	} else {
		t.Logf("sent at %.0f packets per second", reached)
	}
	beside.wait(15 * time.Second) // it leaves unread what waits when it is told to stop
	if state := p.stop(); state != 0 {
		t.Errorf("standalone ended with %d", state)
	}

	counted := countersOf(t, p, "capture")
	if counted["capture_received"] != packets || counted["capture_delivered"] != packets || counted["capture_dropped"] != 0 {
		t.Errorf("%d packets were sent, the capture counts %v", packets, counted)
	}
	got := countersOf(t, p, "traffic")
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] && !strings.HasPrefix(name, "unique_") { // which live are not exact, so not told
			t.Errorf("%s: %d live, %d in the file", name, got[name], want[name])
		}
	}
	all, _ := p.out.from(0)
	live, filed := flowLines(t, strings.Join(all, "\n")), flowLines(t, text)
	if !slices.Equal(live, filed) {
		t.Errorf("%d flows live, %d from the file, or they differ", len(live), len(filed))
	}
	for _, line := range []string{fmt.Sprintf("%d packets captured", packets), "0 packets dropped by kernel"} {
		if !strings.Contains(beside.err.tail(10), line) {
			t.Errorf("tcpdump beside it does not say %q: %s", line, beside.err.tail(4))
		}
	}
}

// summaryOf is what the vft.summary of a replay counts.
func summaryOf(t *testing.T, text string) map[string]uint64 {
	t.Helper()
	var r struct {
		VFT struct {
			Summary struct {
				Packets, Bytes, Flows uint64
				Counters              map[string]uint64
			}
		}
	}
	for line := range strings.Lines(text) {
		if !strings.Contains(line, `"dataset":"vft.summary"`) {
			continue
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
	}
	s := r.VFT.Summary
	counts := map[string]uint64{"packets": s.Packets, "bytes": s.Bytes, "flows": s.Flows}
	maps.Copy(counts, s.Counters)
	return counts
}

// countersOf is what a part of vft counted, as it logs when it ends.
func countersOf(t *testing.T, p *process, part string) map[string]uint64 {
	t.Helper()
	line := p.waitFor(p.err, time.Second, `"message":"counters of `+part+`"`)
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for name, value := range fields {
		if n, ok := value.(float64); ok {
			counts[name] = uint64(n)
		}
	}
	return counts
}

var rated = regexp.MustCompile(`Rated: .* ([0-9.]+) pps`)

// rateOf is how many packets per second tcpreplay says that it sent.
func rateOf(t *testing.T, said string) float64 {
	t.Helper()
	found := rated.FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("tcpreplay does not say how fast it was: %s", said)
	}
	rate, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}
