//go:build unix

package capture

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/capture/stat"
)

// traffic is a pcap file in memory that repeats a capture: each round has other
// IPv4 addresses and goes on where the last one ended. It is an io.Reader that
// costs little more than the copy out of a page cache.
type traffic struct {
	data    []byte // file header, then the records
	records []int  // where each begins
	at      int    // of the next byte to read
	left    int    // rounds
	round   uint32
	span    time.Duration
}

// denser makes the 43 packets a second of the small capture 215, which is what
// an office has.
const denser = 5

func newTraffic(tb testing.TB, path string, packets int) *traffic {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	r := &traffic{data: data, span: time.Second}
	for at := pcapHeader; at < len(data); at += pcapRecord + int(binary.LittleEndian.Uint32(data[at+8:])) {
		r.records = append(r.records, at)
	}
	r.left = max(1, packets/len(r.records))
	first := r.time(r.records[0])
	r.span = (r.time(r.records[len(r.records)-1])-first)/denser + time.Millisecond
	for _, at := range r.records {
		r.setTime(at, first+(r.time(at)-first)/denser)
	}
	return r
}

func (r *traffic) time(at int) time.Duration {
	return time.Duration(binary.LittleEndian.Uint32(r.data[at:]))*time.Second + time.Duration(binary.LittleEndian.Uint32(r.data[at+4:]))*time.Microsecond
}

func (r *traffic) setTime(at int, t time.Duration) {
	binary.LittleEndian.PutUint32(r.data[at:], uint32(t/time.Second))
	binary.LittleEndian.PutUint32(r.data[at+4:], uint32(t%time.Second/time.Microsecond))
}

func (r *traffic) Read(b []byte) (int, error) {
	if r.at == len(r.data) {
		r.left--
		if r.left == 0 {
			return 0, io.EOF
		}
		r.next()
	}
	n := copy(b, r.data[r.at:])
	r.at += n
	return n, nil
}

// next moves all packets to the next round.
func (r *traffic) next() {
	const ethernet = 14
	r.at = pcapHeader
	r.round++
	for _, at := range r.records {
		r.setTime(at, r.time(at)+r.span)
		frame := r.data[at+pcapRecord:]
		if binary.BigEndian.Uint16(frame[12:]) == 0x0800 {
			binary.BigEndian.PutUint16(frame[ethernet+13:], uint16(r.round)) // middle of the source
			binary.BigEndian.PutUint16(frame[ethernet+17:], uint16(r.round)) // and of the destination
		}
	}
}

// syns is a pcap file in memory with one SYN per packet, each a new flow.
type syns struct {
	left, n uint32
	record  [pcapRecord + 60]byte
	queue   []byte
	narrow  bool // all to one host
}

func newSyns(packets uint32) *syns {
	s := &syns{left: packets, narrow: true}
	head := make([]byte, pcapHeader)
	binary.LittleEndian.PutUint32(head, magicMicro)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint32(head[16:], 65536)
	binary.LittleEndian.PutUint32(head[20:], 1)
	s.queue = head
	binary.LittleEndian.PutUint32(s.record[8:], 60)
	binary.LittleEndian.PutUint32(s.record[12:], 60)
	copy(s.record[pcapRecord+12:], []byte{8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1})
	copy(s.record[pcapRecord+34:], []byte{4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0})
	return s
}

func (s *syns) Read(b []byte) (int, error) {
	n := 0
	for {
		k := copy(b[n:], s.queue)
		s.queue = s.queue[k:]
		n += k
		if n == len(b) || s.left == 0 {
			break
		}
		s.left--
		s.n++
		micros := uint64(s.n) * 10 // 100,000 a second
		binary.LittleEndian.PutUint32(s.record[:], uint32(1_700_000_000+micros/1_000_000))
		binary.LittleEndian.PutUint32(s.record[4:], uint32(micros%1_000_000))
		binary.BigEndian.PutUint32(s.record[pcapRecord+26:], s.n*2654435761)
		binary.BigEndian.PutUint16(s.record[pcapRecord+34:], uint16(s.n))
		if !s.narrow {
			binary.BigEndian.PutUint32(s.record[pcapRecord+30:], s.n*2246822519)
		}
		s.queue = s.record[:]
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

const benchPackets = 5_000_000

// run reads in to its end and returns the CPU time per packet in nanoseconds:
// other programs of the machine do not count.
func run(b *testing.B, in io.Reader, each func(*Packet)) float64 {
	b.Helper()
	file := File{Paths: []string{"-"}, Stdin: in}
	begin := usedTime()
	reports, err := file.Run(context.Background(), each)
	if err != nil || reports[0].Broken != nil {
		b.Fatal(err, reports)
	}
	return float64(usedTime()-begin) / float64(reports[0].Packets)
}

func usedTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func bare() func(*Packet) {
	var p packet.Parsed
	return func(pkt *Packet) { p.Decode(pkt.Link, pkt.Data, pkt.Wire) }
}

// BenchmarkReplay is the whole path of a replay against a loop that only reads
// and decodes, over 5 M packets of mixed traffic with varied addresses.
func BenchmarkReplay(b *testing.B) {
	for b.Loop() {
		parse := run(b, newTraffic(b, "../testdata/mixed.pcap", benchPackets), bare())
		shard, ends := benchShard()
		before := allocations()
		each, rest := batched(shard)
		all := run(b, newTraffic(b, "../testdata/mixed.pcap", benchPackets), each)
		rest()
		shard.Close()
		b.ReportMetric(float64(allocations()-before)/benchPackets, "allocs/packet")
		b.ReportMetric(parse, "parse-ns/packet")
		b.ReportMetric(all, "ns/packet")
		single, _ := benchShard()
		b.ReportMetric(run(b, newTraffic(b, "../testdata/mixed.pcap", benchPackets), single.Packet), "one-by-one-ns/packet")
		b.ReportMetric(all/parse, "times-parse")
		b.ReportMetric(3, "limit-times-parse")
		b.ReportMetric(float64(ends()), "flows")
	}
}

// BenchmarkReplayNewFlows makes each packet a new flow.
func BenchmarkReplayNewFlows(b *testing.B) {
	for _, c := range []struct {
		name   string
		narrow bool
	}{{"OneTarget", true}, {"RandomTargets", false}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				debug.FreeOSMemory() // of the round before
				in := newSyns(benchPackets)
				in.narrow = c.narrow
				shard, _ := benchShard()
				each, rest := batched(shard)
				b.ReportMetric(run(b, in, each), "ns/packet")
				rest()
				b.ReportMetric(350, "limit-ns/packet")
				b.ReportMetric(resident(), "resident-MB")
				b.ReportMetric(120, "limit-MB")
				b.ReportMetric(float64(shard.Flows().Memory())/float64(shard.Flows().Len()), "bytes/flow")
				b.ReportMetric(80, "limit-bytes/flow")
				shard.Close()
			}
		})
	}
}

func benchShard() (*Shard, func() uint64) {
	ended := uint64(0)
	var samples []stat.Sample
	chosen, err := stat.Select([]string{"all"})
	if err != nil {
		panic(err)
	}
	shard := NewShard(ShardConfig{
		Flow:     flow.Config{Seed: 1, Emit: func(*flow.Record) { ended++ }},
		Interval: func(iv *stat.Interval) { samples = stat.AppendSamples(samples[:0], iv, chosen) },
	})
	return shard, func() uint64 { return ended }
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// resident returns the memory of this process in MB; 0 where it is not known.
func resident() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1000
		}
	}
	return 0
}
