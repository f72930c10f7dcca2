//go:build unix

package link

import (
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vft/event"
)

// benchRig is a server whose clients run in another process.
func benchRig(b *testing.B, change func(*ServerConfig)) *rig {
	b.Helper()
	r := &rig{t: b, log: &logBuffer{}}
	r.setup(b.TempDir(), change)
	r.start("127.0.0.1:0")
	b.Cleanup(r.stop)
	return r
}

// cpu returns the time that this process has used, user and system.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// waitFor waits until is holds.
func waitFor(b *testing.B, what string, is func() bool) {
	b.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !is(); {
		if time.Now().After(deadline) {
			b.Fatalf("it never came true that %s", what)
		}
		pause := time.NewTimer(10 * time.Millisecond)
		<-pause.C
	}
}

// From the bytes of TLS to events in the hands of Accept, and the
// acknowledgement: all CPU of the server's process per event.
func BenchmarkLinkDecode(b *testing.B) {
	var events atomic.Int64
	r := benchRig(b, func(cfg *ServerConfig) {
		cfg.Rate, cfg.Burst = 1e12, 1e12
		cfg.Accept = func(batch Batch) error {
			events.Add(int64(len(batch.Events)))
			return nil
		}
	})
	startHelper(b, "flood", r, 0)
	waitFor(b, "events come", func() bool { return events.Load() > 10000 })
	runtime.GC()
	b.ResetTimer()
	first, began := events.Load(), cpu(b)
	waitFor(b, "all have come", func() bool { return events.Load()-first >= int64(b.N) })
	used, n := cpu(b)-began, events.Load()-first
	b.StopTimer()
	b.ReportMetric(float64(used.Nanoseconds())/float64(n), "cpu-ns/event")
	b.ReportMetric(1200, "limit-ns/event")
	b.ReportMetric(0, "ns/op")
}

// Decoding alone, of the same frame.
func BenchmarkDecodeFrame(b *testing.B) {
	outbox := fullOutbox()
	frame, n := outbox.next(nil, maxBatch)
	d := newDecoder()
	b.ReportAllocs()
	began := cpu(b)
	for b.Loop() {
		if err := d.decode(frame); err != nil {
			b.Fatal(err)
		}
		d.recycle()
	}
	b.ReportMetric(float64((cpu(b)-began).Nanoseconds())/float64(b.N*n), "cpu-ns/event")
	b.ReportMetric(float64(len(frame))/float64(n), "B/event")
}

// The same by encoding/json, for comparison.
func BenchmarkDecodeFrameByEncodingJSON(b *testing.B) {
	outbox := fullOutbox()
	frame, n := outbox.next(nil, maxBatch)
	began := cpu(b)
	for b.Loop() {
		var events struct {
			Events []event.Event
		}
		if err := json.Unmarshal(frame, &events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-began).Nanoseconds())/float64(b.N*n), "cpu-ns/event")
}

// What a client costs the server that is connected and silent.
func BenchmarkIdleClients(b *testing.B) {
	const clients = 5000
	for range b.N {
		r := benchRig(b, func(cfg *ServerConfig) { cfg.Interval = time.Hour })
		debug.FreeOSMemory()
		beforeHeap, beforeRSS := heap(), rss(b)
		stop := startHelper(b, "idle", r, clients)
		waitFor(b, "all are connected", func() bool { return r.server.counts[sWelcomed].Load() == clients })
		waitFor(b, "their handshakes are over", func() bool { return r.server.unproven.Load() == 0 })
		debug.FreeOSMemory() // what the handshakes left behind is not the price of an idle client
		b.ReportMetric(float64(heap()-beforeHeap)/clients/1000, "kB-heap+stack/client")
		b.ReportMetric(float64(rss(b)-beforeRSS)/clients/1000, "kB-RSS/client")
		b.ReportMetric(16, "limit-kB/client")
		stop()
		r.stop()
	}
	b.ReportMetric(0, "ns/op")
}

// rss returns the resident bytes of this process, 0 where /proc has no answer.
func rss(b *testing.B) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if text, found := strings.CutPrefix(line, "VmRSS:"); found {
			kB, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kB << 10
		}
	}
	return 0
}

// Enrolled clients that come back: what the server pays from accept to welcome.
func BenchmarkReconnect(b *testing.B) {
	r := benchRig(b, nil)
	startHelper(b, "reconnect", r, 16)
	welcomed := func() int64 { return int64(r.server.counts[sWelcomed].Load()) }
	waitFor(b, "they come", func() bool { return welcomed() > 200 })
	b.ResetTimer()
	first, began := welcomed(), cpu(b)
	waitFor(b, "all have come", func() bool { return welcomed()-first >= int64(b.N) })
	used, n := cpu(b)-began, welcomed()-first
	b.StopTimer()
	b.ReportMetric(float64(n)/used.Seconds(), "handshakes/cpu-s")
	b.ReportMetric(3000, "goal-handshakes/cpu-s")
	b.ReportMetric(0, "ns/op")
}
