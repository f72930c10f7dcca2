package anomalyzer

import (
	"runtime"
	"testing"
)

// wherefore is the configuration of the transfer detection: bytes per flow and interval.
func wherefore() Config {
	return Config{
		Methods:    []string{"diff", "fence", "highrank", "lowrank", "magnitude"},
		ActiveSize: 1, UpperBound: 100 << 20, LowerBound: NA,
	}
}

func benchmarkSeries(b *testing.B, cfg Config, newest float64) {
	b.Helper()
	d := detector(b, cfg)
	v := make([]float64, 30)
	for i := range v {
		v[i] = 1e6 + float64(i*7919%1000)*100
	}
	v[29] = newest
	b.ReportAllocs()
	for b.Loop() {
		d.Eval(v)
	}
}

// BenchmarkCalm is a flow whose magnitude is below the sensitivity: nearly all are.
func BenchmarkCalm(b *testing.B) { benchmarkSeries(b, wherefore(), 1.05e6) }

// BenchmarkBurst is a flow for which all tests are run.
func BenchmarkBurst(b *testing.B) { benchmarkSeries(b, wherefore(), 5e6) }

func BenchmarkBurstKS(b *testing.B) { benchmarkSeries(b, Config{ActiveSize: 1}, 5e6) }

func BenchmarkRanksExact(b *testing.B) {
	benchmarkSeries(b, Config{Methods: []string{"highrank", "lowrank"}, ActiveSize: 1}, 5e6)
}

func BenchmarkRanksExactTen(b *testing.B) {
	benchmarkSeries(b, Config{Methods: []string{"highrank", "lowrank"}, ActiveSize: 10, NSeasons: 2}, 5e6)
}

func BenchmarkRanksDrawnTen(b *testing.B) {
	d := detector(b, Config{Methods: []string{"highrank", "lowrank"}, ActiveSize: 10, NSeasons: 2})
	v := make([]float64, 30)
	for i := range v {
		v[i] = float64(i * 7919 % 1000)
	}
	b.ReportAllocs()
	for b.Loop() {
		d.drawRanks(v, d.rankAll(v), 10)
	}
}

// BenchmarkFlows is the memory of 100,000 full flows.
func BenchmarkFlows(b *testing.B) {
	d := detector(b, wherefore())
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		flows := make([]Vector, 100_000)
		for i := range flows {
			for range 40 {
				d.Push(&flows[i], 1000)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e5, "B/flow")
		runtime.KeepAlive(flows)
	}
}
