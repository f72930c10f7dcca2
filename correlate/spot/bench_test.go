package spot

import "testing"

// benchmarkSteps replays a series after its calibration and prints the time of one
// step beside its limit, if there is one: libspot C with the logarithm of libm on the same
// data.
func benchmarkSteps(b *testing.B, cfg Config, init, stream []float64, limit float64) {
	b.Helper()
	saved := fitted(b, cfg, init).Save()
	b.ReportAllocs()
	steps := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		s, err := Restore(saved)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for _, x := range stream {
			_, _ = s.Step(x)
		}
		steps += len(stream)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/step")
	if limit > 0 {
		b.ReportMetric(limit, "limit-ns/step")
	}
}

func BenchmarkMawiRSYN(b *testing.B) {
	x := readSeries(b, "mawi_rSYN_17last1000_18")
	benchmarkSteps(b, plain(1000), x[:1000], x[1000:], 16.9)
}

func BenchmarkExponential(b *testing.B) {
	x := readSeries(b, "syn_exp")
	benchmarkSteps(b, plain(2000), x[:2000], x[2000:], 156)
}

func BenchmarkMawiPacketRate(b *testing.B) {
	x := readSeries(b, "mawi_packet_rate_17last1000_18")
	benchmarkSteps(b, plain(1000), x[:1000], x[1000:], 3800)
}

// BenchmarkRefit is one excess with a ring of 200 peaks.
func BenchmarkRefit(b *testing.B) {
	x := readSeries(b, "mawi_packet_rate_17last1000_18")
	s := fitted(b, plain(1000), x[:1000])
	for _, v := range x[1000:] {
		_, _ = s.Step(v)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.up.refit(s.cfg.limit(), s.scratch)
	}
	b.ReportMetric(float64(len(s.up.peaks)), "peaks")
}

func BenchmarkAllNormal(b *testing.B) {
	x := readSeries(b, "syn_gauss")
	benchmarkSteps(b, plain(2000), x[:2000], make([]float64, 10000), 5)
}

// BenchmarkDrift is DSPOT with the default window of 50.
func BenchmarkDrift(b *testing.B) {
	x := readSeries(b, "mawi_rSYN_17last1000_18")
	benchmarkSteps(b, DefaultConfig(), x[:1000], x[1000:], 0)
}
