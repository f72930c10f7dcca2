package detect

import (
	"slices"
	"testing"

	"vft/capture/flow"
)

func TestExportedAmplification(t *testing.T) {
	const victim = "10.0.0.9"
	replies := func(n int, port uint16, bytes uint64) []flow.Record {
		return series(n, second/100, func(i int, at int64) []flow.Record {
			return []flow.Record{half(hostName(i+500), port, victim, uint16(1024+i), protoUDP, 0, 1, bytes, at)}
		})
	}
	asked := func(all []flow.Record, bytes uint64) (out []flow.Record) {
		for _, r := range all {
			out = append(out, r, back(r, 0, 1, bytes))
		}
		return out
	}
	long := half("203.0.113.7", 123, victim, 1024, protoUDP, 0, 20_000, 20_000*468, flowEpoch)
	long.Last += 60 * second
	for _, c := range []struct {
		why   string
		flows []flow.Record
		want  []string
	}{
		{"497 KB of answers from DNS that nobody asked for", replies(355, 53, 1400), nil},
		{"504 KB", replies(360, 53, 1400), []string{"amplification by many"}},
		{"that were asked for, with a twentieth", asked(replies(400, 53, 1400), 70), nil},
		{"10 MB that were asked for with a twentieth", asked(replies(800, 53, 14_000), 70), []string{"amplification by many"}},
		{"from a service that does not amplify", replies(290, 4444, 1400), nil},
		{"9 MB of NTP in a minute from one server", []flow.Record{long}, []string{"amplification by 203.0.113.7"}},
		{"one of 1,000 was sampled: nine say nothing", rate(replies(9, 53, 1400), 1000), nil},
		{"ten say enough", rate(replies(10, 53, 1400), 1000), []string{"amplification by many"}},
	} {
		x := newExported(t, Config{Off: []string{"slow_scan", "scan", "flood"}})
		for i := range c.flows {
			x.Flow(&c.flows[i])
		}
		x.Advance(flowEpoch + 20*second)
		if got := x.fired(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
}
