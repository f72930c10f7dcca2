package watch_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"vft/capture/packet"

	"vft/capture"
	"vft/capture/flow"
	"vft/capture/stat"
	"vft/correlate/watch"
	"vft/event"
)

// reference returns the path of a reference file. Without it a test is skipped, in CI
// it fails.
func reference(t testing.TB, parts ...string) string {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the reference data is absent: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
		}
		t.Skipf("the reference data is absent: %v; set VFT_CORPUS to the directory that holds corpus/ and golden/", err)
	}
	return path
}

// watched is a shard with both watches, wired as the package comment says.
type watched struct {
	shard    *capture.Shard
	stats    *watch.Stats
	transfer *watch.Transfer
	told     []event.Finding
	first    int64
	last     int64
	stop     func()
}

const day = 24 * 3600 * int64(time.Second)

func wire(t testing.TB, period time.Duration, sc watch.StatsConfig, tc watch.TransferConfig) *watched {
	t.Helper()
	w := &watched{}
	find := func(f *event.Finding) { w.told = append(w.told, *f) }
	var err error
	if w.stats, err = watch.NewStats(sc, func(event.Event) {}, find); err != nil {
		t.Fatal(err)
	}
	if w.transfer, err = watch.NewTransfer(tc, find); err != nil {
		t.Fatal(err)
	}
	chosen, err := stat.Select([]string{"all"})
	if err != nil {
		t.Fatal(err)
	}
	var samples []stat.Sample
	w.shard = capture.NewShard(capture.ShardConfig{
		Period: period,
		Flow:   flow.Config{Emit: w.transfer.Flow},
		Interval: func(iv *stat.Interval) {
			samples = stat.AppendSamples(samples[:0], iv, chosen)
			w.stats.Samples(samples)
			w.shard.Flows().Fresh(math.MinInt64, w.transfer.Flow)
			w.transfer.Advance(iv.End)
		},
	})
	return w
}

func (w *watched) packet(p *capture.Packet) {
	if w.first == 0 {
		w.first = p.Time
	}
	w.last = max(w.last, p.Time)
	if w.last-w.first > day {
		w.stop()
		return
	}
	w.shard.Packet(p)
}

func (w *watched) close() {
	w.shard.Close()
	w.transfer.Flush()
	w.stats.Flush()
}

func (w *watched) replay(t testing.TB, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.stop = cancel
	if _, err := (&capture.File{Paths: []string{path}}).Run(ctx, w.packet); err != nil && ctx.Err() == nil {
		t.Logf("%s: %v", path, err)
	}
	w.close()
}

// sample replays Wherefore's sample: 500 bytes each half second, then 50,000.
func sampleRun(t testing.TB, change func(*watch.TransferConfig)) *watched {
	t.Helper()
	cfg := watch.DefaultTransferConfig()
	cfg.Interval = time.Second
	cfg.Anomalyzer.Methods = []string{"diff", "fence"}
	cfg.Anomalyzer.UpperBound = 2000
	cfg.Anomalyzer.Seed = 1
	change(&cfg)
	w := wire(t, time.Second, watch.StatsConfig{Settings: watch.DefaultSettings()}, cfg)
	w.replay(t, reference(t, "golden", "wherefore_lo_sample.pcap"))
	return w
}

func TestWhereforeSample(t *testing.T) {
	w := sampleRun(t, func(*watch.TransferConfig) {})
	if len(w.told) == 0 {
		t.Fatal("nothing is told")
	}
	f, a := w.told[0], w.told[0].Anomaly
	after := f.Since.Sub(time.Unix(0, w.first))
	if f.Type != "transfer" || f.Sensor != "anomalyzer" || after < 5*time.Second || after > 6100*time.Millisecond {
		t.Errorf("it begins %v after the first packet, the jump is at 6 s: %+v", after, f)
	}
	if n := len(a.Series); n < 6 || a.Series[n-2] > 1000 || a.Series[n-1] < 50_000 || f.Src.Port() != 32930 || f.Value < 50_000 || f.Unit != "bytes" {
		t.Errorf("the series is %v from %v", a.Series, f.Src)
	}
	all := uint64(0)
	for _, f := range w.told {
		all += f.Count
	}
	if a.Methods["fence"] != 1 || a.Probability <= 0.6 || all < 3 {
		t.Errorf("%+v, %d intervals in all", *a, all)
	}
	if again := sampleRun(t, func(*watch.TransferConfig) {}); !reflect.DeepEqual(w.told, again.told) {
		t.Error("the second run differs")
	}
}

func TestEveryAnomalyzerOptionMatters(t *testing.T) {
	base := func(c *watch.TransferConfig) { c.Floor = -1 }
	for name, change := range map[string]func(*watch.TransferConfig){
		"methods":     func(c *watch.TransferConfig) { c.Anomalyzer.Methods = []string{"diff", "fence", "highrank"} },
		"sensitivity": nil, // see below: it needs magnitude
		"upper bound": func(c *watch.TransferConfig) { c.Anomalyzer.UpperBound = 1e6 },
		"lower bound": func(c *watch.TransferConfig) { c.Anomalyzer.LowerBound = -1e6 },
		"active size": func(c *watch.TransferConfig) { c.Anomalyzer.ActiveSize = 2 },
		"n seasons":   func(c *watch.TransferConfig) { c.Anomalyzer.NSeasons = 9 },
		"gv cap":      func(c *watch.TransferConfig) { c.Anomalyzer.Cap = 6 },
		"threshold":   func(c *watch.TransferConfig) { c.Anomalyzer.Threshold = 0.99 },
		"seed":        func(c *watch.TransferConfig) { c.Anomalyzer.Seed = 2 },
		"interval":    func(c *watch.TransferConfig) { c.Interval = 2 * time.Second },
		"floor":       func(c *watch.TransferConfig) { c.Floor = 1e6 },
	} {
		plain := base
		if name == "sensitivity" {
			plain = func(c *watch.TransferConfig) {
				base(c)
				c.Anomalyzer.Methods = []string{"diff", "fence", "magnitude"}
				c.Anomalyzer.Sensitivity = 0.001
			}
			change = func(c *watch.TransferConfig) { plain(c); c.Anomalyzer.Sensitivity = 1 }
		}
		want, got := sampleRun(t, plain), sampleRun(t, func(c *watch.TransferConfig) { base(c); change(c) })
		if reflect.DeepEqual(want.told, got.told) {
			t.Errorf("%s changes nothing", name)
		}
	}
}

// frame is a TCP segment of Ethernet and IPv4.
func frame(src uint32, port uint16, flags byte, payload int) []byte {
	b := make([]byte, 54+payload)
	b[12], b[13] = 8, 0
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+payload))
	binary.BigEndian.PutUint32(ip[12:], src)
	binary.BigEndian.PutUint32(ip[16:], 0x0a000001)
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	tcp[12], tcp[13] = 0x50, flags
	return b
}

// A SYN flood in the fifth minute is an anomaly of R_SYN in its first interval, and
// nothing is before: by the tails when they are calibrated by then, else by the robust
// judgement.
func TestSYNFlood(t *testing.T) {
	for detector, first := range map[string]int{"robust": 1000, "spot": 250} {
		set := watch.DefaultSettings()
		set.NInit = first
		set.Level = 0.95
		w := wire(t, time.Second, watch.StatsConfig{Settings: set}, watch.DefaultTransferConfig())
		start := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
		r := rand.New(rand.NewPCG(1, 1))
		const flood = 270
		for s := range 300 {
			packets := 150 + r.IntN(100)
			for i := range packets {
				at := start.Add(time.Duration(s)*time.Second + time.Duration(i)*time.Second/1000)
				flags := byte(0x10)
				if r.IntN(20) == 0 {
					flags = 0x02
				}
				data := frame(0x0a000100+uint32(r.IntN(20)), uint16(2000+r.IntN(50)), flags, r.IntN(400))
				w.packet(&capture.Packet{Time: at.UnixNano(), Link: packet.LinkEthernet, Wire: len(data), Data: data})
			}
			for i := range 2000 {
				if s < flood || s >= flood+10 {
					break
				}
				at := start.Add(time.Duration(s)*time.Second + 500*time.Millisecond + time.Duration(i)*time.Microsecond)
				data := frame(r.Uint32(), uint16(r.Uint32()), 0x02, 0)
				w.packet(&capture.Packet{Time: at.UnixNano(), Link: packet.LinkEthernet, Wire: len(data), Data: data})
			}
		}
		w.close()
		found, all := false, uint64(0)
		for _, f := range w.told {
			if f.Since.Before(start.Add(flood * time.Second)) {
				t.Errorf("%s: %s was abnormal at %v, before the flood", detector, f.Key, f.Since.Sub(start))
			}
			if f.Severity < 15 || f.Severity >= 40 || f.Memory <= 0 {
				t.Errorf("%s: %s weighs %d and is remembered for %v", detector, f.Key, f.Severity, f.Memory)
			}
			if f.Key != "R_SYN" || f.Over {
				continue
			}
			found = true
			all += f.Count
			if !f.Since.Equal(start.Add(flood*time.Second)) || f.Sensor != detector || f.Value < 0.8 || f.Unit != "share" || f.Type != "statistic" {
				t.Errorf("%s: %+v", detector, f)
			}
		}
		if all != 10 {
			t.Errorf("%s: %d abnormal intervals, the flood has 10", detector, all)
		}
		if !found {
			t.Errorf("%s: no anomaly of R_SYN", detector)
		}
	}
}

// The captures of usual traffic give less than one alert in ten minutes in sum, those
// apart that hold hardly a packet for days.
func TestUsualTraffic(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(reference(t, "corpus"), "normal", "*.truth.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	var alerts, seconds, transfers int
	for _, path := range paths {
		w := wire(t, time.Second, watch.StatsConfig{Settings: watch.DefaultSettings()}, watch.DefaultTransferConfig())
		w.replay(t, strings.TrimSuffix(path, ".truth.json"))
		if w.last-w.first > day {
			continue
		}
		seconds += int((w.last - w.first) / int64(time.Second))
		excursions := map[string]bool{}
		for _, f := range w.told {
			if excursion := f.Type + f.Key + f.Since.String(); !excursions[excursion] {
				excursions[excursion] = true
				alerts++
				if f.Type == "transfer" {
					transfers++
				}
			}
		}
	}
	t.Logf("%d captures of %d s in all: %d episodes, %d of them transfers", len(paths), seconds, alerts, transfers)
	if alerts > seconds/600 {
		t.Errorf("%d episodes in %d s, more than one in ten minutes", alerts, seconds)
	}
}
