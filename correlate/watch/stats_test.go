package watch

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/capture/stat"
	"vft/correlate/spot"
	"vft/event"
)

// tape feeds a series to one statistic, a value a second, and keeps the anomalies.
type tape struct {
	t     testing.TB
	stats *Stats
	at    int64
	long  int64 // an interval
	life
}

func newTape(t testing.TB, set Settings) *tape {
	t.Helper()
	p := &tape{t: t, long: second, at: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()}
	p.stats = p.watch(StatsConfig{Settings: set})
	return p
}

func (p *tape) watch(cfg StatsConfig) *Stats {
	p.t.Helper()
	s, err := NewStats(cfg, func(e event.Event) { p.out = append(p.out, e) }, p.find)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

const second = int64(time.Second)

func (p *tape) sample(x float64, ok bool, length int64) {
	p.stats.Samples([]stat.Sample{{Name: "R_SYN", Value: x, OK: ok, Start: p.at, End: p.at + length}})
	p.at += length
	p.advance(p.at)
}

func (p *tape) values(values ...float64) {
	for _, x := range values {
		p.sample(x, true, p.long)
	}
}

func (p *tape) normal(n int, random *rand.Rand) {
	for range n {
		p.values(0.2 + 0.02*random.NormFloat64())
	}
}

func (p *tape) count(state event.AlertState, reason string) (n int) {
	for _, e := range p.out {
		if e.Anomaly != nil && e.Anomaly.State == state && (reason == "" || e.Anomaly.Reason == reason) {
			n++
		}
	}
	return n
}

// beyond returns how many values were beyond their threshold, whatever speaks for them.
func (p *tape) beyond() uint64 {
	c := &p.stats.count
	return c.anomalies + c.small + c.recurring + c.customary + c.restored
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func settings(change func(*Settings)) Settings {
	s := DefaultSettings()
	if change != nil {
		change(&s)
	}
	return s
}

// Measured on 10 series of 20,000 values each; in brackets what is counted here at
// most. The parameter q promises 1 anomaly in 10,000 values, so 20.
func TestFalseAlarmsOnStationarySeries(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int // anomalies among 200,000 values
		draw  func(*rand.Rand) float64
	}{
		{"normal", 40, func(r *rand.Rand) float64 { return 10 + r.NormFloat64() }},
		{"uniform", 40, func(r *rand.Rand) float64 { return r.Float64() }},
		{"exponential", 40, func(r *rand.Rand) float64 { return r.ExpFloat64() }},
		{"lognormal", 80, func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }},
		{"pareto2", 100, func(r *rand.Rand) float64 { return math.Pow(1-r.Float64(), -0.5) }},
		{"poisson20", 40, func(r *rand.Rand) float64 {
			n, p := 0.0, 1.0
			for p *= r.Float64(); p > math.Exp(-20); p *= r.Float64() {
				n++
			}
			return n
		}},
		{"share", 40, func(r *rand.Rand) float64 { return 1 / (1 + math.Exp(2-0.5*r.NormFloat64())) }},
		{"sparse", 40, func(r *rand.Rand) float64 {
			if r.Float64() < 0.9 {
				return 0
			}
			return r.ExpFloat64()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			anomalies, early, episodes := 0, 0, 0
			for seed := range uint64(10) {
				p, r := newTape(t, DefaultSettings()), random(seed)
				for i := range 20_000 {
					p.values(c.draw(r))
					if i == 999 {
						early += int(p.stats.count.anomalies)
					}
				}
				anomalies += int(p.stats.count.anomalies)
				episodes += p.count(event.Firing, "")
			}
			t.Logf("%d anomalies of 200,000 values in %d episodes; %d of them among the first 10,000, by the robust judgement", anomalies, episodes, early)
			if anomalies > c.limit {
				t.Errorf("%d anomalies, at most %d", anomalies, c.limit)
			}
			if early > 1 {
				t.Errorf("%d anomalies before the calibration, at most 1", early)
			}
		})
	}
}

func TestEpisode(t *testing.T) {
	for _, c := range []struct {
		why    string
		series []float64
		empty  int // intervals without a value at the end
		firing int
		reason string // of the last resolved; empty: the episode is open
		count  uint64
		peak   float64
	}{
		{"three abnormal values begin it, their end comes later", same(0.9, 3), 0, 1, "", 3, 0.9},
		{"three of five do", []float64{0.9, 0.2, 0.9, 0.2, 0.9}, 0, 1, "", 3, 0.9},
		{"it ends after 12 intervals and the one that would be the next", append(same(0.9, 3), flat(13)...), 0, 1, "quiet", 3, 0.9},
		{"intervals without a value pass the time too", same(0.9, 3), 13, 1, "quiet", 3, 0.9},
		{"a gap of 11 intervals is within the episode", append(append(same(0.8, 3), flat(11)...), 0.9), 0, 1, "", 4, 0.9},
		{"later a new one begins", append(append(same(0.9, 3), flat(13)...), 0.8, 0.8, 0.8), 0, 2, "quiet", 3, 0.9},
		{"the largest value is kept", append([]float64{0.7, 0.95, 0.8}, flat(13)...), 0, 1, "quiet", 3, 0.95},
		{"12 of 20 are the new normal", same(0.9, 12), 0, 1, "new normal", 12, 0.9},
		{"in a row or not", append(append(same(0.9, 8), flat(7)...), same(0.9, 4)...), 0, 1, "new normal", 12, 0.9},
		{"which is told of once", same(0.9, 400), 0, 1, "new normal", 12, 0.9},
		{"11 are not", same(0.9, 11), 0, 1, "", 11, 0.9},
	} {
		for _, calibrated := range []int{400, 1200} {
			t.Run(fmt.Sprintf("%s after %d", c.why, calibrated), func(t *testing.T) {
				p := newTape(t, settings(nil))
				p.long = tenSeconds
				p.normal(calibrated, random(7))
				if len(p.out) != 0 {
					t.Fatalf("%d events before anything happened", len(p.out))
				}
				begin := p.at
				p.values(c.series...)
				for range c.empty {
					p.sample(0, false, p.long)
				}
				checkEpisode(t, p, begin, c.firing, c.reason, c.count, c.peak)
			})
		}
	}
}

func checkEpisode(t *testing.T, p *tape, begin int64, firing int, reason string, count uint64, peak float64) {
	t.Helper()
	if got := p.count(event.Firing, ""); got != firing {
		t.Fatalf("%d episodes, want %d", got, firing)
	}
	first := p.out[0]
	if first.Anomaly.State != event.Firing || !first.Anomaly.Start.Equal(utc(begin)) || first.Time != first.Anomaly.End || first.Anomaly.Window != 10*time.Second {
		t.Errorf("the first record is %+v at %v", *first.Anomaly, first.Time)
	}
	if reason == "" {
		if p.count(event.Resolved, "") != 0 {
			t.Errorf("an episode ended")
		}
		p.stats.Flush()
		p.close()
		reason = "end of capture"
	}
	if got := p.count(event.Resolved, reason); got != 1 {
		t.Fatalf("%d episodes ended with %q, want 1: %+v", got, reason, p.out)
	}
	for _, e := range p.out {
		if a := e.Anomaly; a.Reason == reason {
			if a.Episode != first.Anomaly.Episode || a.Count != count || a.Value != peak || !a.Start.Equal(first.Anomaly.Start) || a.Side != "up" {
				t.Errorf("the end is %+v, want count %d, peak %v, episode %v", a, count, peak, first.Anomaly.Episode)
			}
		}
	}
}

func flat(n int) []float64 { return same(0.2, n) }

func same(x float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = x
	}
	return values
}

// One or two abnormal values are no news, and what began with them is forgotten.
func TestSpikeIsNotTold(t *testing.T) {
	for _, series := range [][]float64{{0.9}, {0.9, 0.9}, {0.9, 0.2, 0.2, 0.9, 0.2}, {0.9, 0.9, 0.2, 0.2, 0.2, 0.9}} {
		p := newTape(t, settings(nil))
		p.normal(1200, random(7))
		p.values(series...)
		p.values(flat(20)...)
		p.values(same(0.9, 3)...)
		if p.count(event.Firing, "") != 1 || p.out[0].Anomaly.Count != 3 {
			t.Errorf("%v: %d episodes, want one of three values", series, p.count(event.Firing, ""))
		}
	}
}

// A spike must not hide the next one: it enters the reference cut down.
func TestSpikeDoesNotMoveTheReference(t *testing.T) {
	p := newTape(t, settings(func(s *Settings) { s.Down = true }))
	p.normal(1500, random(3))
	before, _ := p.stats.Status("R_SYN")
	p.values(1000)
	after, _ := p.stats.Status("R_SYN")
	if moved := after.Drift - before.Drift; math.Abs(moved) > 0.01 {
		t.Errorf("the reference moved by %v", moved)
	}
	p.normal(200, random(4))
	if p.beyond() > 3 || p.count(event.Firing, "") != 0 {
		t.Errorf("%d values beyond the threshold after one spike, %d episodes", p.beyond(), p.count(event.Firing, ""))
	}
}

// Excesses without end, each below the threshold, must not raise it so far that what
// was abnormal passes: the bare algorithm learns all of them.
func TestMaskingGuard(t *testing.T) {
	p := newTape(t, DefaultSettings())
	bare, err := spot.New(inner(spot.DefaultConfig(), false))
	if err != nil {
		t.Fatal(err)
	}
	r := random(5)
	for i := range 4500 {
		p.normal(1, r)
		if i < 3000 {
			continue
		}
		st, _ := p.stats.Status("R_SYN")
		if i%5 == 0 {
			p.values(*st.Up - 0.002) // as far as may be without an alarm
		}
	}
	st, _ := p.stats.Status("R_SYN")
	r = random(5)
	before := 0.0
	for i := range 4500 {
		bare.Step(0.02 * r.NormFloat64())
		z, _ := bare.Threshold(spot.Up)
		if i == 2999 {
			before = z
		}
		if i >= 3000 && i%5 == 0 {
			bare.Step(z - 0.002)
		}
	}
	after, _ := bare.Threshold(spot.Up)
	guarded := *st.Up - st.Drift
	t.Logf("distance of the threshold: %.4f before, %.4f after 300 excesses, %.4f without the guard", before, guarded, after)
	if guarded > 10*before || after < 1000*before || p.beyond() == 0 {
		t.Errorf("the threshold rose from %v to %v, without the guard to %v; %d beyond", before, guarded, after, p.beyond())
	}
}

func TestManyExcessesAreWithheld(t *testing.T) {
	p := newTape(t, DefaultSettings())
	p.normal(3000, random(5))
	before, _ := p.stats.Status("R_SYN")
	for i := range 200 {
		p.values(0.2, 0.2, 0.2, 0.26+0.0001*float64(i%10))
	}
	after, _ := p.stats.Status("R_SYN")
	if after.Withheld < 20 || *after.Up-after.Drift > 1.2*(*before.Up-before.Drift) {
		t.Errorf("%d withheld, the threshold rose from %v to %v", after.Withheld, *before.Up, *after.Up)
	}
}

// After a long attack the model from before comes back; after a new normal it does not.
func TestOldNormalReturns(t *testing.T) {
	p := newTape(t, DefaultSettings())
	p.normal(2000, random(6))
	before, _ := p.stats.Status("R_SYN")
	p.values(same(0.9, 100)...)
	learning, _ := p.stats.Status("R_SYN")
	p.normal(60, random(8))
	after, _ := p.stats.Status("R_SYN")
	if learning.State != "learning" || learning.NewNormal != 1 || after.State != "ready" || after.Returned != 1 {
		t.Fatalf("during: %+v, after: %+v", learning, after)
	}
	if math.Abs(*after.Up-*before.Up) > 0.02 {
		t.Errorf("the threshold was %v and is %v", *before.Up, *after.Up)
	}
	p.values(same(0.9, 3)...)
	if got := p.count(event.Firing, ""); got != 2 {
		t.Errorf("%d episodes, want one for each attack", got)
	}

	stay := newTape(t, DefaultSettings())
	stay.normal(2000, random(6))
	r := random(9)
	for range 1500 {
		stay.values(0.6 + 0.02*r.NormFloat64())
	}
	st, _ := stay.stats.Status("R_SYN")
	if st.State != "ready" || st.Returned != 0 || *st.Up < 0.6 || stay.count(event.Firing, "") != 1 {
		t.Errorf("a new normal that stays: %+v, %d episodes", st, stay.count(event.Firing, ""))
	}
}

func TestSettingsMatter(t *testing.T) {
	run := func(change func(*Settings)) *tape {
		p := newTape(t, settings(change))
		p.long = tenSeconds
		p.normal(1200, random(11))
		p.values(0.27, 0.31, 0.3, 0.2, 0.31, 0.2, 0.02, 0.02, 0.02)
		p.values(flat(4)...)
		p.values(0.5, 0.2, 0.2, 0.5, 0.5)
		p.values(flat(30)...)
		p.values(same(0.5, 15)...)
		p.stats.Flush()
		p.close()
		return p
	}
	base := run(nil)
	for name, change := range map[string]func(*Settings){
		"q":           func(s *Settings) { s.Q = 1e-9 },
		"level":       func(s *Settings) { s.Level = 0.9 },
		"n_init":      func(s *Settings) { s.NInit = 5000 },
		"depth":       func(s *Settings) { s.Depth = 0 },
		"max_excess":  func(s *Settings) { s.MaxExcess = 10 },
		"up":          func(s *Settings) { s.Up, s.Down = false, true },
		"down":        func(s *Settings) { s.Down = true },
		"recalibrate": func(s *Settings) { s.Recalibrate = 10 },
		"quiet":       func(s *Settings) { s.Quiet = 1 },
		"needed":      func(s *Settings) { s.Needed = 5 },
		"among":       func(s *Settings) { s.Among = 3 },
	} {
		if got := run(change); reflect.DeepEqual(got.out, base.out) {
			t.Errorf("%s changes nothing", name)
		}
	}
}

// With the baseline a busy hour is usual from the second week on.
func TestWeeklyBaseline(t *testing.T) {
	busy := func(weekly bool) int {
		p := newTape(t, settings(func(s *Settings) { s.Weekly, s.NInit, s.Depth = weekly, 300, 10 }))
		r := random(12)
		for i := range 4 * weekHours * 6 { // ten minutes each
			x := 100 + 5*r.NormFloat64()
			if i/6%24 == 3 {
				x += 400
			}
			p.sample(x, true, 600*second)
			if i == 2*weekHours*6 {
				p.out = nil
			}
		}
		return p.count(event.Firing, "")
	}
	with, without := busy(true), busy(false)
	t.Logf("episodes in the last two weeks: %d with the baseline, %d without", with, without)
	if with > 1 || without < 10 {
		t.Errorf("%d episodes with the baseline, want at most 1; %d without, want 10 at least", with, without)
	}
}

func TestStatRecords(t *testing.T) {
	p := newTape(t, DefaultSettings())
	p.stats = p.watch(StatsConfig{EmitStats: true, Settings: settings(func(s *Settings) { s.Level = 0.9; s.Down = true })})
	p.normal(100, random(1))
	p.sample(0, false, second)
	p.normal(1400, random(2))
	p.stats.Samples([]stat.Sample{{Name: "PERF", Value: 5, OK: true, Start: p.at, End: p.at + second}})
	if len(p.out) != 1502 {
		t.Fatalf("%d records for 1502 samples", len(p.out))
	}
	young, none, ready, perf := p.out[0].Stat, p.out[100].Stat, p.out[1500].Stat, p.out[1501].Stat
	if young.Value == nil || young.Up != nil || young.Down != nil || young.Ready {
		t.Errorf("while learning: %+v", young)
	}
	if none.Value != nil {
		t.Errorf("an interval without a value gave %v", *none.Value)
	}
	if !ready.Ready || ready.Up == nil || ready.Down == nil || !(*ready.Down < *ready.Value && *ready.Value < *ready.Up) {
		t.Errorf("ready: %+v", ready)
	}
	if *perf.Value != 5 || perf.Ready || perf.Up != nil {
		t.Errorf("a statistic that must not be monitored: %+v", perf)
	}
	if _, known := p.stats.Status("PERF"); known {
		t.Error("PERF has a detector")
	}
}

// What was saved, written as JSON, read and restored goes on as what was not.
func TestRestoredGoesOnTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		set := settings(func(s *Settings) {
			s.NInit = rapid.IntRange(60, 120).Draw(rt, "n_init")
			s.Depth = rapid.IntRange(0, 30).Draw(rt, "depth")
			s.Weekly, s.Down = rapid.Bool().Draw(rt, "weekly"), rapid.Bool().Draw(rt, "down")
		})
		p := newTape(t, set)
		r := random(rapid.Uint64().Draw(rt, "seed"))
		cut := rapid.IntRange(0, 400).Draw(rt, "cut")
		burst := rapid.IntRange(1, 60).Draw(rt, "burst")
		length := rapid.SampledFrom([]int64{second, 1800 * second}).Draw(rt, "length")
		feed := func(p *tape, r *rand.Rand, n int) {
			for i := range n {
				x := 0.2 + 0.02*r.NormFloat64()
				if i%150 > 100 && i%150 < 100+burst {
					x += 0.5
				}
				p.sample(x, r.Float64() > 0.02, length)
			}
		}
		feed(p, r, cut)
		text, err := json.Marshal(p.stats.Save())
		if err != nil {
			rt.Fatal(err)
		}
		var state StatsState
		if err := json.Unmarshal(text, &state); err != nil {
			rt.Fatal(err)
		}
		q := newTape(t, set)
		q.at = p.at
		if err := q.stats.Restore(state); err != nil {
			rt.Fatal(err)
		}
		p.findings = nil
		seed := rapid.Uint64().Draw(rt, "after")
		feed(p, random(seed), 400)
		feed(q, random(seed), 400)
		a, b := texts(p.findings), texts(q.findings)
		if !reflect.DeepEqual(a, b) {
			rt.Fatalf("after a restore\n%s\nwant\n%s", b, a)
		}
		x, _ := json.Marshal(p.stats.Save())
		y, _ := json.Marshal(q.stats.Save())
		if string(x) != string(y) {
			rt.Fatal("the states differ")
		}
	})
}

func texts(findings []event.Finding) string {
	text, _ := json.Marshal(findings)
	return string(text)
}

func TestDamagedStateIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		why    string
		damage func(*DetectorState)
	}{
		{"the settings are others", func(d *DetectorState) { d.Settings.Q = 1e-5 }},
		{"a run is negative", func(d *DetectorState) { d.Back = -1 }},
		{"a value is not finite", func(d *DetectorState) { d.Recent[0] = math.Inf(1) }},
		{"a reference is not finite", func(d *DetectorState) { d.Now.Reference[0] = math.NaN() }},
		{"the tails have other settings", func(d *DetectorState) { d.Now.Spot.Config.Level = 0.5 }},
		{"the tails do not fit together", func(d *DetectorState) { d.Now.Spot.Up.Head = 1 << 20 }},
		{"the old tails do not fit together", func(d *DetectorState) { d.Before = &ModelState{} }},
		{"a week that is missing", func(d *DetectorState) { d.Week = nil }},
		{"a week of which a value has no place", func(d *DetectorState) { d.Week.Next = 5 }},
		{"what is usual is negative", func(d *DetectorState) { d.Usual[0] = -1 }},
		{"an excursion without a window", func(d *DetectorState) { d.Open = &excursion{} }},
	} {
		p := newTape(t, DefaultSettings())
		p.normal(1100, random(1))
		p.stats.Samples([]stat.Sample{{Name: "R_ACK", Value: 1, OK: true, Start: p.at, End: p.at + second}})
		state := p.stats.Save()
		d := state.Statistics["R_SYN"]
		c.damage(&d)
		state.Statistics["R_SYN"] = d
		q := newTape(t, DefaultSettings())
		err := q.stats.Restore(state)
		if err == nil || !strings.Contains(err.Error(), "R_SYN") || strings.Contains(err.Error(), "R_ACK") {
			t.Errorf("%s: the error is %v", c.why, err)
		}
		if _, known := q.stats.Status("R_SYN"); known {
			t.Errorf("%s: it was restored", c.why)
		}
		if _, known := q.stats.Status("R_ACK"); !known {
			t.Errorf("%s: the sound one was not restored", c.why)
		}
		q.normal(10, random(2))
	}
}

func TestStatusAndReset(t *testing.T) {
	p := newTape(t, DefaultSettings())
	p.normal(500, random(1))
	st, _ := p.stats.Status("R_SYN")
	if st.State != "learning" || st.N != 500 || st.Need != 1000 || st.Up != nil {
		t.Errorf("while learning: %+v", st)
	}
	p.normal(1000, random(2))
	st, _ = p.stats.Status("R_SYN")
	if st.State != "ready" || st.N != 1500 || st.Up == nil || st.Excesses == 0 || math.Abs(st.Drift-0.2) > 0.02 || st.Tail.Gamma < 0 {
		t.Errorf("ready: %+v", st)
	}
	p.values(0.9, 0.9, 0.9)
	if st, _ = p.stats.Status("R_SYN"); !st.Abnormal || st.Anomalies != 3 {
		t.Errorf("in an episode: %+v", st)
	}
	if p.stats.Reset("R_ACK") || !p.stats.Reset("R_SYN") || p.count(event.Resolved, "reset") != 1 {
		t.Errorf("a reset of what is not there, or none of what is: %+v", p.out)
	}
	if len(p.stats.All()) != 0 {
		t.Error("something is known after a reset")
	}
}

func TestConfigRefused(t *testing.T) {
	for why, cfg := range map[string]StatsConfig{
		"no settings at all":           {},
		"one anomaly is no run":        {Settings: settings(func(s *Settings) { s.Recalibrate = 1 })},
		"six of five":                  {Settings: settings(func(s *Settings) { s.Needed = 6 })},
		"a new normal of four values":  {Settings: settings(func(s *Settings) { s.Recalibrate = 4 })},
		"an episode must end":          {Settings: settings(func(s *Settings) { s.Quiet = 0 })},
		"q above 1 - level":            {Settings: settings(func(s *Settings) { s.Q = 0.5 })},
		"a wrong override is no less":  {Settings: DefaultSettings(), Override: map[string]Settings{"R_SYN": {}}},
		"the reference takes them all": {Settings: settings(func(s *Settings) { s.Depth = 1000 })},
	} {
		if _, err := NewStats(cfg, func(event.Event) {}, func(*event.Finding) {}); err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
}

// Nothing is allocated for a sample of which nothing is written.
func TestSampleDoesNotAllocate(t *testing.T) {
	for _, learned := range []int{200, 1500} {
		p := newTape(t, settings(func(s *Settings) { s.Down = true }))
		p.normal(learned, random(1))
		r := random(2)
		in := make([]stat.Sample, 1)
		if n := testing.AllocsPerRun(200, func() {
			in[0] = stat.Sample{Name: "R_SYN", Value: 0.2 + 0.005*r.NormFloat64(), OK: true, Start: p.at, End: p.at + second}
			p.at += second
			p.stats.Samples(in)
		}); n != 0 {
			t.Errorf("%v allocations per sample after %d", n, learned)
		}
	}
}

// No series makes it fail, and each episode begins once and ends once.
func TestAnySeries(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newTape(t, settings(func(s *Settings) {
			s.NInit, s.Depth, s.Down, s.Recalibrate = 30, 5, true, rapid.IntRange(5, 10).Draw(rt, "r")
		}))
		for _, x := range rapid.SliceOfN(rapid.OneOf(rapid.Float64(), rapid.Float64Range(-1, 1), rapid.Just(math.NaN()), rapid.Just(math.Inf(1))), 0, 300).Draw(rt, "x") {
			p.values(x)
		}
		p.stats.Flush()
		p.close()
		open := map[string]int{}
		for _, e := range p.out {
			a := e.Anomaly
			open[a.Episode]++
			if want := map[event.AlertState]int{event.Firing: 1, event.Resolved: 2}[a.State]; open[a.Episode] != want {
				rt.Fatalf("%v is record %d of its episode", a.State, open[a.Episode])
			}
			if !usable(a.Value) || !(a.Probability >= 0 && a.Probability <= 1) || a.Count == 0 || a.End.Before(a.Start) {
				rt.Fatalf("%+v", a)
			}
		}
		for id, n := range open {
			if n != 2 {
				rt.Fatalf("episode %s has %d records", id, n)
			}
		}
		if _, err := json.Marshal(p.stats.Save()); err != nil {
			rt.Fatal(err)
		}
	})
}

// series reads a reference series. Without it the test is skipped, in CI it fails.
func referenceSeries(t testing.TB, name string) []float64 {
	t.Helper()
	root := os.Getenv("VFT_CORPUS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	file, err := os.Open(filepath.Join(root, "golden", "spot", "series", name+".txt.gz"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the reference series are absent: %v; set VFT_CORPUS to the directory that holds golden/", err)
		}
		t.Skipf("the reference series are absent: %v; set VFT_CORPUS to the directory that holds golden/", err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var values []float64
	for lines := bufio.NewScanner(unzipped); lines.Scan(); {
		x, err := strconv.ParseFloat(strings.TrimSpace(lines.Text()), 64)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, x)
	}
	return values
}

// A day of a backbone in which 233 windows, in 109 runs, are labelled as SYN scans or
// floods. The bare algorithm gives 284 anomalies on the same values.
func TestBackboneDay(t *testing.T) {
	values := referenceSeries(t, "mawi_rSYN_17last1000_18")
	labels := referenceSeries(t, "mawi18_labels_nSYNatt")
	p := newTape(t, DefaultSettings())
	p.values(values[:1000]...)
	var hit, abnormal, labelled, near int
	for i, x := range values[1000:] {
		before := p.beyond()
		p.values(x)
		if labels[i] > 0 {
			labelled++
		}
		if p.beyond() == before {
			continue
		}
		abnormal++
		if labels[i] > 0 {
			hit++
		}
		if slices.ContainsFunc(labels[max(0, i-5):min(len(labels), i+6)], func(n float64) bool { return n > 0 }) {
			near++
		}
	}
	t.Logf("%d anomalies, %d of them in the %d labelled windows, %d within 5 of one; %d episodes, %d new normals, %d withheld", abnormal, hit,
		labelled, near, p.count(event.Firing, ""), p.stats.count.newNormal, p.stats.count.withheld)
	if abnormal > 284 || hit < 50 || p.count(event.Firing, "") > 30 {
		t.Errorf("%d anomalies, %d of them labelled, %d episodes", abnormal, hit, p.count(event.Firing, ""))
	}
}

func BenchmarkSample(b *testing.B) {
	p := newTape(b, DefaultSettings())
	p.normal(2000, random(1))
	r := random(2)
	values := make([]float64, 4096)
	for i := range values {
		values[i] = 0.2 + 0.02*r.NormFloat64()
	}
	in := make([]stat.Sample, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in[0] = stat.Sample{Name: "R_SYN", Value: values[i&4095], OK: true, Start: p.at, End: p.at + second}
		p.at += second
		p.stats.Samples(in)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/sample")
	b.ReportMetric(2000, "limit-ns/sample")
}
