//go:build unix

package packets

import (
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"vft/capture"
	"vft/event"
)

// rounds is a pcap file in memory that repeats a capture of Ethernet with
// microseconds: each round has other IPv4 addresses and goes on where the last
// one ended, five times as dense as the capture.
type rounds struct {
	data    []byte // file header, then the records
	records []int  // where each begins
	at      int    // of the next byte to read
	left    int    // rounds
	round   uint32
	span    time.Duration
}

const (
	pcapHeader = 24
	pcapRecord = 16
	denser     = 5
)

func newRounds(tb testing.TB, path string, packets int) *rounds {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	r := &rounds{data: data}
	for at := pcapHeader; at < len(data); at += pcapRecord + int(binary.LittleEndian.Uint32(data[at+8:])) {
		r.records = append(r.records, at)
	}
	r.left = max(1, packets/len(r.records))
	first := r.time(r.records[0])
	for _, at := range r.records {
		r.setTime(at, first+(r.time(at)-first)/denser)
	}
	r.span = r.time(r.records[len(r.records)-1]) - first + time.Millisecond
	return r
}

func (r *rounds) time(at int) time.Duration {
	return time.Duration(binary.LittleEndian.Uint32(r.data[at:]))*time.Second + time.Duration(binary.LittleEndian.Uint32(r.data[at+4:]))*time.Microsecond
}

func (r *rounds) setTime(at int, t time.Duration) {
	binary.LittleEndian.PutUint32(r.data[at:], uint32(t/time.Second))
	binary.LittleEndian.PutUint32(r.data[at+4:], uint32(t%time.Second/time.Microsecond))
}

func (r *rounds) Read(b []byte) (int, error) {
	if r.at == len(r.data) {
		r.left--
		if r.left <= 0 {
			return 0, io.EOF
		}
		r.next()
	}
	n := copy(b, r.data[r.at:])
	r.at += n
	return n, nil
}

// next moves all packets to the next round; both ends by the same rule, so that
// answers stay answers.
func (r *rounds) next() {
	const ethernet = 14
	r.at = pcapHeader
	r.round++
	for _, at := range r.records {
		r.setTime(at, r.time(at)+r.span)
		if frame := r.data[at+pcapRecord:]; binary.BigEndian.Uint16(frame[12:]) == 0x0800 {
			binary.BigEndian.PutUint16(frame[ethernet+13:], uint16(r.round)) // middle of the source
			binary.BigEndian.PutUint16(frame[ethernet+17:], uint16(r.round)) // and of the destination
		}
	}
}

// cost is what a replay took for each packet.
type cost struct{ wall, cpu, allocs float64 }

func replayCost(tb testing.TB, n, packets int) cost {
	tb.Helper()
	e := engineOf(tb, testSettings(shards(n)), func(event.Event) {})
	files := capture.File{Paths: []string{"-"}, Stdin: newRounds(tb, "../../testdata/mixed.pcap", packets)}
	debug.FreeOSMemory() // of the round before
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, used := time.Now(), usedTime(tb)
	var reports []capture.Report
	e.runPipeline(func(to capture.LiveHandler) { reports, _ = files.Run(tb.Context(), to.Packet) })
	wall, cpu := time.Since(begin), usedTime(tb)-used
	runtime.ReadMemStats(&after)
	count := float64(reports[0].Packets)
	return cost{float64(wall) / count, float64(cpu) / count, float64(after.Mallocs-before.Mallocs) / count}
}

func usedTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (c *cost) least(o cost) {
	c.wall, c.cpu, c.allocs = min(c.wall, o.wall), min(c.cpu, o.cpu), min(c.allocs, o.allocs)
}

// BenchmarkShards replays 5 million packets with everything on, by one goroutine
// and by two, and says how much faster two are. It is the best of the rounds:
// time that others take from the two processors is nobody's fault here.
func BenchmarkShards(b *testing.B) {
	const packets = 5_000_000
	one, two := cost{1e9, 1e9, 1e9}, cost{1e9, 1e9, 1e9}
	for b.Loop() {
		one.least(replayCost(b, 1, packets))
		two.least(replayCost(b, 2, packets))
		b.ReportMetric(one.wall, "one-ns/packet")
		b.ReportMetric(two.wall, "two-ns/packet")
		b.ReportMetric(one.cpu, "one-cpu-ns/packet")
		b.ReportMetric(two.cpu, "two-cpu-ns/packet")
		b.ReportMetric(max(one.allocs, two.allocs), "allocs/packet")
		b.ReportMetric(one.wall/two.wall, "times-faster")
		b.ReportMetric(1.7, "limit-times-faster")
	}
}
