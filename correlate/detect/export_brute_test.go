package detect

import (
	"slices"
	"testing"

	"vft/capture/flow"
)

func TestExportedBruteForce(t *testing.T) {
	const from = "203.0.113.66"
	guesses := func(n int, apart int64, port uint16, bytes func(i int) uint64) []flow.Record {
		return series(n, apart, func(i int, at int64) []flow.Record {
			r := half(from, uint16(40000+i), "10.0.0.9", port, protoTCP, whole, 12, 624+bytes(i), at)
			r.Last += 2 * second
			return []flow.Record{back(r, whole, 12, 624+1500), r}
		})
	}
	same := func(int) uint64 { return 1200 }
	oneWayOnly := func(all []flow.Record) (out []flow.Record) {
		for i := 1; i < len(all); i += 2 {
			out = append(out, all[i])
		}
		return out
	}
	for _, c := range []struct {
		why   string
		flows []flow.Record
		want  []string
	}{
		{"19 short connections to SSH", guesses(19, 10*second, 22, same), nil},
		{"20", guesses(20, 10*second, 22, same), []string{"brute_force by " + from}},
		{"20 of which only one direction is told", oneWayOnly(guesses(20, 10*second, 22, same)), []string{"brute_force by " + from}},
		{"20 in an hour", guesses(20, 180*second, 22, same), nil},
		{"20 of very different sizes", guesses(20, 10*second, 22, func(i int) uint64 { return uint64(i%2) * 7000 }), nil},
		{"20 that carry much", guesses(20, 10*second, 22, func(int) uint64 { return 90_000 }), nil},
		{"20 to the web", guesses(20, 10*second, 443, same), nil},
		{"20 of which one packet of ten was sampled", rate(guesses(20, 10*second, 22, same), 10), nil},
	} {
		x := newExported(t, Config{})
		for i := range c.flows {
			x.Advance(c.flows[i].Last)
			x.Flow(&c.flows[i])
		}
		if got := x.fired(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.why, got, c.want)
		}
	}
}
