package watch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/capture/stat"
	"vft/event"
)

// host is the packets of a host in an interval, of which the statistics are made.
type host struct{ syn, ack, icmp, packets, bytes, flows float64 }

// day feeds hosts to all their statistics, an interval of ten seconds at a time.
type day struct {
	*tape
	random *rand.Rand
	known  []stat.Statistic
}

const tenSeconds = 10 * second

func newDay(t testing.TB, cfg StatsConfig) *day {
	if cfg.Settings.Q == 0 {
		cfg.Settings = settings(func(s *Settings) { s.Q = Budget(1, 7*24*time.Hour, 20, 10*time.Second) })
	}
	d := &day{newTape(t, cfg.Settings), random(1), stat.All()}
	d.stats = d.watch(cfg)
	return d
}

func (d *day) interval(h host) {
	parts := map[string][2]float64{
		"R_SYN": {h.syn, h.packets}, "R_ACK": {h.ack, h.packets}, "R_ICMP": {h.icmp, h.packets}, "R_SYN_ALL": {h.syn, h.packets},
		"TRAFFIC": {h.packets, 10}, "BYTE_RATE": {h.bytes, 10}, "FLOW_RATE": {h.flows, 10}, "AVG_PKT_SIZE": {h.bytes, h.packets},
	}
	var in []stat.Sample
	for _, known := range d.known {
		p, mine := parts[known.Name]
		if !mine {
			continue
		}
		s := stat.Sample{Name: known.Name, Start: d.at, End: d.at + tenSeconds}
		if p[1] > 0 {
			s.Above, s.Below, s.Value, s.OK = p[0], p[1], p[0]/p[1], true
		}
		in = append(in, s)
	}
	d.at += tenSeconds
	d.stats.Samples(in)
	d.advance(d.at)
}

// poisson draws a count.
func (d *day) poisson(mean float64) float64 {
	n, sum := 0.0, d.random.ExpFloat64()
	for ; sum < mean; sum += d.random.ExpFloat64() {
		n++
	}
	return n
}

// usual is a host with so many connections in ten seconds.
func (d *day) usual(connections float64) host {
	n := d.poisson(connections)
	h := host{syn: 2 * n, flows: n}
	data := math.Round(n * math.Exp(2+0.5*d.random.NormFloat64()))
	h.ack, h.packets = 4*n+data, 5*n+data
	h.bytes = 60*h.packets + 900*data
	return h
}

func (d *day) run(intervals int, connections float64) {
	for range intervals {
		d.interval(d.usual(connections))
	}
}

func (d *day) fired() map[string]int {
	by := map[string]int{}
	for _, e := range d.out {
		if e.Anomaly.State == event.Firing {
			by[e.Anomaly.Statistic]++
		}
	}
	return by
}

// More than the usual of much traffic is a flood; the same share of few packets is not.
func TestFewPacketsAreNoNews(t *testing.T) {
	for _, c := range []struct {
		why  string
		add  host
		told bool
	}{
		{"three SYN of three packets", host{syn: 3, packets: 3, flows: 3}, false},
		{"ten pings", host{icmp: 20, packets: 20, flows: 1}, false},
		{"a flood of 50 SYN a second", host{syn: 500, packets: 500, flows: 500}, true},
		{"a flood of 50 pings a second", host{icmp: 500, packets: 500}, true},
	} {
		for _, connections := range []float64{0.05, 5, 100} {
			d := newDay(t, StatsConfig{})
			d.run(2000, connections)
			for range 6 {
				h := d.usual(connections)
				if connections < 1 {
					h = host{}
				}
				d.interval(host{h.syn + c.add.syn, h.ack, h.icmp + c.add.icmp, h.packets + c.add.packets, h.bytes, h.flows + c.add.flows})
			}
			if by := d.fired(); (by["R_SYN"]+by["R_ICMP"]+by["FLOW_RATE"] > 0) != c.told || !c.told && len(by) > 0 {
				t.Errorf("%s with %v connections: %v", c.why, connections, by)
			}
		}
	}
}

// What an ordinary transfer does is told only when something else is abnormal too, or
// when somebody has named the statistic. One of two that say the same is told.
func TestBulkAndTwins(t *testing.T) {
	download := host{ack: 40_000, packets: 60_000, bytes: 80e6, flows: 1}
	flood := host{syn: 40_000, packets: 40_000, bytes: 3e6, flows: 40_000}
	for _, c := range []struct {
		why   string
		add   host
		named []string
		want  map[string]bool
	}{
		{"a download", download, nil, map[string]bool{}},
		{"a download, by who wants to know", download, []string{"BYTE_RATE"}, map[string]bool{"BYTE_RATE": true, "TRAFFIC": true, "AVG_PKT_SIZE": true}},
		{"a flood", flood, nil, map[string]bool{"R_SYN": true, "FLOW_RATE": true, "TRAFFIC": true}},
		{"a flood, by who wants both", flood, []string{"R_SYN_ALL"}, map[string]bool{"R_SYN": true, "R_SYN_ALL": true, "FLOW_RATE": true, "TRAFFIC": true}},
	} {
		d := newDay(t, StatsConfig{Named: c.named, Settings: settings(func(s *Settings) { s.Q = 1e-6 })})
		d.run(2000, 5)
		for range 8 {
			h := d.usual(5)
			d.interval(host{h.syn + c.add.syn, h.ack + c.add.ack, 0, h.packets + c.add.packets, h.bytes + c.add.bytes, h.flows + c.add.flows})
		}
		got := d.fired()
		if fmt.Sprint(keys(got)) != fmt.Sprint(keys(c.want)) {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

func keys[V any](m map[string]V) map[string]bool {
	all := map[string]bool{}
	for name := range m {
		all[name] = true
	}
	return all
}

// A call every five or fifty minutes for half a minute or more is told of three times at
// most, however long it goes on; as a single interval never.
func TestCronIsLearned(t *testing.T) {
	for _, c := range []struct {
		why   string
		long  int // intervals of ten seconds
		most  int
		every int
	}{
		{"one interval every five minutes", 1, 0, 30},
		{"five intervals every five minutes", 5, 3, 30},
		{"five intervals every fifty minutes", 5, 3, 300},
	} {
		d := newDay(t, StatsConfig{})
		for i := range 3 * 8640 {
			h := d.usual(2)
			if i > 4000 && i%c.every < c.long {
				h.syn, h.packets, h.flows = h.syn+900, h.packets+1000, h.flows+400
			}
			d.interval(h)
		}
		if by := d.fired(); by["R_SYN"] > c.most || by["FLOW_RATE"] > c.most {
			t.Errorf("%s: %v", c.why, by)
		}
	}
}

// After a change of the traffic at most three statistics say so, once, and 20 intervals
// later nothing is abnormal any more.
func TestLevelShift(t *testing.T) {
	for _, c := range []struct {
		why           string
		before, after float64 // connections
		long          float64 // packets of a long connection, before; afterwards it is gone
	}{
		{"twice the traffic", 5, 10, 0},
		{"ten times the traffic", 5, 50, 0},
		{"a tenth of it", 50, 5, 0},
		{"a long connection has ended", 5, 5, 400},
		{"all but silence after it", 0.2, 0.2, 2000},
	} {
		d := newDay(t, StatsConfig{})
		for range 5000 {
			h := d.usual(c.before)
			long := d.poisson(c.long)
			d.interval(host{h.syn, h.ack + long, 0, h.packets + long, h.bytes + 100*long, h.flows})
		}
		d.out = nil
		d.run(20, c.after)
		told := len(d.fired())
		count := d.stats.count
		d.run(2*8640, c.after)
		later := d.stats.count.anomalies - count.anomalies
		t.Logf("%s: %d statistics told, %d abnormal values of the next two days", c.why, told, later)
		if told > 3 || len(d.out) > 2*told || later > 40 {
			t.Errorf("%s: %v in all, %d abnormal values later", c.why, d.fired(), later)
		}
	}
}

// Usual values that are counted while those beyond are not learned must not let the
// threshold sink: without what recurs being learned it falls from 5,600 to 380.
func TestThresholdDoesNotSink(t *testing.T) {
	p := newTape(t, DefaultSettings())
	r := random(9)
	var early, late float64
	for i := range 12 * 3600 {
		x := 0.0
		switch {
		case i%300 == 7:
			x = 4000 + 6000*r.Float64()
		case r.Float64() < 0.04:
			x = 60 * r.ExpFloat64()
		}
		p.values(x)
		st, _ := p.stats.Status("R_SYN")
		switch {
		case st.Up == nil:
		case i < 2*3600:
			early = max(early, *st.Up)
		case i >= 11*3600:
			late = max(late, *st.Up)
		}
	}
	st, _ := p.stats.Status("R_SYN")
	t.Logf("the threshold was %.0f and is %.0f; %+v", early, late, st.detectorCounts)
	if late < 0.8*early || st.Recurring == 0 {
		t.Errorf("it sank from %v to %v", early, late)
	}
}

// What was so at that hour of the day before is usual, from the second day on.
func TestCustomaryHour(t *testing.T) {
	d := newDay(t, StatsConfig{})
	days := make([]int, 4)
	for i := range 4 * 8640 {
		before := len(d.out)
		h := d.usual(3)
		if i%8640 >= 3000 && i%8640 < 3009 { // a job of a minute and a half
			h.syn, h.packets, h.flows = h.syn+3000, h.packets+3000, h.flows+3000
		}
		d.interval(h)
		days[i/8640] += len(d.out) - before
	}
	if days[0] == 0 || days[1]+days[2]+days[3] != 0 {
		t.Errorf("records by day: %v", days)
	}
}

// After a flood has moved the reference down, the usual is no excess.
func TestUsualAfterAFlood(t *testing.T) {
	d := newDay(t, StatsConfig{})
	d.run(3000, 20)
	for range 60 { // one flow of packets without a flag
		h := d.usual(20)
		h.packets, h.bytes = h.packets+1e5, h.bytes+1e7
		d.interval(h)
	}
	d.out = nil
	d.run(2000, 20)
	if by := d.fired(); len(by) != 0 {
		t.Errorf("after the flood: %v", by)
	}
}

// A week of one host that does ordinary things keeps the budget.
func TestBudgetOfAWeek(t *testing.T) {
	alarms := 0
	for seed := range uint64(4) {
		d := newDay(t, StatsConfig{})
		d.random = random(seed)
		for i := range 7 * 8640 {
			hour := float64(i%8640) / 360
			h := d.usual(0.3 + 4*math.Exp(-(hour-14)*(hour-14)/18) + 3*math.Max(0, d.random.NormFloat64()-1))
			if d.random.Float64() < 1.0/360 { // a download, for some intervals
				h.ack, h.packets, h.bytes = h.ack+9000, h.packets+15_000, h.bytes+2e7
			}
			d.interval(h)
		}
		alarms += len(d.out) / 2
	}
	t.Logf("%d alarms in four weeks of a host", alarms)
	if alarms > 4 {
		t.Errorf("%d alarms in four weeks of a host, the budget is one a week", alarms)
	}
}

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		alarms     float64
		in         time.Duration
		statistics int
		period     time.Duration
		want       float64
	}{
		{1, 7 * 24 * time.Hour, 20, 10 * time.Second, 8.267e-7},
		{1, 7 * 24 * time.Hour, 20, time.Second, 8.267e-8},
		{3, 24 * time.Hour, 1, time.Minute, 2.083e-3},
		{1, time.Hour, 0, time.Hour, 1},
	} {
		if got := Budget(c.alarms, c.in, c.statistics, c.period); math.Abs(got/c.want-1) > 1e-3 {
			t.Errorf("%v in %v of %d statistics every %v: %v, want %v", c.alarms, c.in, c.statistics, c.period, got, c.want)
		}
	}
}

// A threshold that is told as a value judges as the detector does.
func TestNormalizerInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := stat.All()
		known := &all[rapid.IntRange(0, len(all)-1).Draw(t, "statistic")]
		n := newNormalizer(known)
		draw := func() *stat.Sample {
			below := float64(rapid.IntRange(1, 1_000_000).Draw(t, "below"))
			above := float64(rapid.IntRange(0, 1_000_000).Draw(t, "above"))
			if known.Scale == stat.Share {
				above = min(above, below)
			}
			return &stat.Sample{Name: known.Name, Value: above / below, OK: true, Above: above, Below: below, End: second}
		}
		for range rapid.IntRange(0, 5).Draw(t, "learned") {
			n.learn(draw(), 100)
		}
		in := draw()
		x := n.normal(in)
		if !usable(x) || math.Abs(n.value(x, in)-in.Value) > 1e-6*(1+in.Value) {
			t.Fatalf("%s: %+v is %v, which is %v", known.Name, in, x, n.value(x, in))
		}
		if known.Scale == stat.Plain {
			return
		}
		if n.value(x+0.1, in) < n.value(x, in) || n.value(500, in) < in.Value {
			t.Fatalf("%s: it falls", known.Name)
		}
		if p := n.chance(in, rapid.Float64Range(0, 10).Draw(t, "usual")); !(p >= 0 && p <= 1) {
			t.Fatalf("%s: the chance is %v", known.Name, p)
		}
	})
}

// The chance is a bound of the binomial and Poisson tails.
func TestChance(t *testing.T) {
	all := stat.All()
	named := func(name string) normalizer {
		for i := range all {
			if all[i].Name == name {
				return newNormalizer(&all[i])
			}
		}
		t.Fatal(name)
		return normalizer{}
	}
	for _, c := range []struct {
		why          string
		name         string
		above, below float64
		usual        float64
		least, most  float64
	}{
		{"3 of 3 with a share of a half: 1/8", "R_SYN", 3, 3, 0.5, 0.125, 0.125},
		{"10 of 10 with a tenth: 1e-10", "R_SYN", 10, 10, 0.1, 1e-10, 1.0001e-10},
		{"as many as expected", "R_SYN", 10, 100, 0.1, 1, 1},
		{"20 where 10 are expected, of Poisson: 0.0035", "FLOW_RATE", 20, 10, 1, 0.0035, 0.03},
		{"bytes are grains of 1000", "BYTE_RATE", 20_000, 10, 1000, 0.0035, 0.03},
	} {
		n := named(c.name)
		got := n.chance(&stat.Sample{Above: c.above, Below: c.below, Value: c.above / c.below, OK: true}, c.usual)
		if got < c.least*0.9999 || got > c.most*1.0001 {
			t.Errorf("%s: %v, want %v to %v", c.why, got, c.least, c.most)
		}
	}
	if n := named("R_SYN"); n.chance(&stat.Sample{Value: 5}, 1) != 1 {
		t.Error("a value without parts has a chance")
	}
}

// What goes on is told again every ten seconds at most, with what is new; that it is
// the new normal, or was reset, says that it is over.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		why    string
		long   int64
		values []float64
		want   []uint64 // intervals that each finding adds; 0: it is over
	}{
		{"seconds", second, same(0.9, 11), []uint64{3, 8}},
		{"the rest is told when it is quiet", second, append(same(0.9, 8), flat(12)...), []uint64{3, 5}},
		{"tens of seconds", tenSeconds, same(0.9, 5), []uint64{3, 1, 1}},
		{"a new normal", tenSeconds, same(0.9, 30), []uint64{3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0}},
		{"nothing", tenSeconds, []float64{0.9, 0.9, 0.2, 0.2}, nil},
	} {
		p := newTape(t, settings(nil))
		p.long = c.long
		p.normal(1200, random(7))
		since := p.at
		p.values(c.values...)
		if c.why == "seconds" {
			p.stats.Flush()
		}
		var got []uint64
		for i, f := range p.findings {
			got = append(got, f.Count)
			if f.Type != "statistic" || f.Key != "R_SYN" || f.Sensor != "spot" || f.Offender.IsValid() || f.Client != "" || f.Name != "" ||
				!f.Since.Equal(utc(since)) || f.Anomaly.Statistic != "R_SYN" || f.Anomaly.Side != "up" || f.Window != time.Duration(c.long) {
				t.Errorf("%s: %+v", c.why, f)
			}
			if f.Over != (f.Count == 0) || !f.Over && (f.Memory < 13*f.Window || f.Severity < 15 || f.Severity > maxSeverity || f.Value != 0.9) {
				t.Errorf("%s: finding %d is %+v", c.why, i, f)
			}
			if i > 0 && !f.Over && f.Severity < p.findings[i-1].Severity {
				t.Errorf("%s: it weighs less as it goes on", c.why)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
	p := newTape(t, settings(nil))
	p.normal(1200, random(7))
	p.values(0.9, 0.9, 0.9)
	p.stats.Reset("")
	if last := p.findings[len(p.findings)-1]; !last.Over || last.Details[0].Value != "reset" {
		t.Errorf("after a reset: %+v", last)
	}
}
