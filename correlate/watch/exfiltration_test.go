package watch

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

func leak(t testing.TB, change func(*ExfiltrationConfig)) (*Exfiltration, *life) {
	t.Helper()
	cfg := DefaultExfiltrationConfig()
	if change != nil {
		change(&cfg)
	}
	l := &life{}
	x, err := NewExfiltration(cfg, l.find)
	if err != nil {
		t.Fatal(err)
	}
	return x, l
}

func between(src, dst uint32) *flow.Key {
	return &flow.Key{Src: packet.Addr4(src), Dst: packet.Addr4(dst), Proto: 6, Ports: true}
}

const inside, outside = 0x0a000001, 0xc6336401 // 10.0.0.1, 198.51.100.1

func TestExfiltration(t *testing.T) {
	const minute = 60 * second
	for _, c := range []struct {
		why         string
		src, dst    uint32
		forth, back uint64 // a minute
		hours       int
		window      int // of the alert, in hours; 0: none
	}{
		{"1 MiB a minute is 1 GiB in 17.1 hours", inside, outside, 1 << 20, 1000, 20, 24},
		{"so it is when the other end opened the flow", outside, inside, 1000, 1 << 20, 20, 24},
		{"16 hours of it are not", inside, outside, 1 << 20, 1000, 16, 0},
		{"400 KiB a minute is 3 GiB in a week only", inside, outside, 400 << 10, 0, 6 * 24, 7 * 24},
		{"a download is none", inside, outside, 1 << 20, 100 << 20, 20, 0},
		{"nor what stays inside", inside, inside + 1, 1 << 20, 0, 20, 0},
		{"nor what passes by", outside, outside + 1, 1 << 20, 0, 20, 0},
		{"nor multicast", inside, 0xe00000fb, 1 << 20, 0, 20, 0},
	} {
		x, out := leak(t, nil)
		at := time.Date(2026, 1, 5, 7, 30, 0, 0, time.UTC).UnixNano()
		for range c.hours * 60 {
			x.Carried(between(c.src, c.dst), c.forth, c.back, at)
			at += minute
		}
		if c.window == 0 {
			if len(out.out) != 0 {
				t.Errorf("%s: %+v", c.why, out.out[0].Threat)
			}
			continue
		}
		if len(out.out) != 1 {
			t.Errorf("%s: %d records", c.why, len(out.out))
			continue
		}
		e := out.out[0]
		if e.Threat.State != event.Firing || e.Threat.Offender != "10.0.0.1" || e.Threat.Details["window_s"] != c.window*3600 || e.Dst.Addr().String() != "198.51.100.1" {
			t.Errorf("%s: %+v", c.why, *e.Threat)
		}
		x.Advance(at + 9*24*3600*second)
		out.advance(at + 9*24*3600*second)
		if len(out.out) != 2 || out.out[1].Threat.State != event.Resolved || out.out[1].Threat.Episode != e.Threat.Episode {
			t.Errorf("%s: after a quiet week %d records", c.why, len(out.out))
		}
		if len(x.order) != 0 || len(x.index) != 0 {
			t.Errorf("%s: %d pairs after a quiet week", c.why, len(x.order))
		}
	}
}

// Among far more pairs than are kept the large one is found.
func TestExfiltrationKeepsTheLargest(t *testing.T) {
	x, out := leak(t, func(c *ExfiltrationConfig) { c.Pairs = 50 })
	r := rand.New(rand.NewPCG(1, 1))
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()
	for range 23 * 60 {
		for range 20 {
			x.Carried(between(inside+1+r.Uint32N(100), outside+r.Uint32N(100)), 1000, 100, at)
		}
		x.Carried(between(inside, outside), 1<<20, 100, at)
		at += 60 * second
		if len(x.order) > 50 || len(x.index) != len(x.order) {
			t.Fatalf("%d pairs, %d in the index", len(x.order), len(x.index))
		}
	}
	for i, p := range x.order {
		if p.at != i || x.index[p.key] != p {
			t.Fatalf("pair %d of the heap says it is %d", i, p.at)
		}
	}
	if len(out.out) != 1 || out.out[0].Threat.Offender != "10.0.0.1" || x.count.replaced < 1000 {
		t.Errorf("%d records, %d replaced", len(out.out), x.count.replaced)
	}
}

// Whoever forges flows gets no record for each of them.
func TestExfiltrationTellsOfSome(t *testing.T) {
	x, out := leak(t, func(c *ExfiltrationConfig) { c.Pairs, c.Episodes = 50, 10 })
	at := time.Date(2026, 1, 5, 7, 30, 0, 0, time.UTC).UnixNano()
	for i := range uint32(1000) {
		x.Carried(between(inside+i, outside), 4<<30, 0, at)
	}
	if len(out.out) > 20 || x.count.episodes != 10 || x.count.suppressed != 990 {
		t.Errorf("%d records, %d episodes, %d suppressed", len(out.out), x.count.episodes, x.count.suppressed)
	}
	// The next hour has room for a pair that still carries much.
	x.Carried(between(inside+999, outside), 1, 0, at+3600*second)
	if x.count.episodes != 11 || out.out[len(out.out)-1].Threat.Offender != packet.Addr4(inside+999).String() {
		t.Errorf("%d episodes", x.count.episodes)
	}
}

func TestExfiltrationFromFlows(t *testing.T) {
	x, out := leak(t, func(c *ExfiltrationConfig) { c.Day = 1 << 20 })
	l := newLine(t, func(c *TransferConfig) { c.Carried = x.Carried })
	r := &flow.Record{Key: *between(inside, outside), First: l.at, Last: l.at}
	for range 20 {
		r.Fwd.Payload += 60_000
		l.transfer.Flow(r)
		l.tick()
	}
	if len(out.out) != 1 || x.count.bytes != 20*60_000 {
		t.Errorf("%d records, %d bytes", len(out.out), x.count.bytes)
	}
}

func BenchmarkExfiltration(b *testing.B) {
	x, _ := leak(b, nil)
	r := rand.New(rand.NewPCG(1, 1))
	keys := make([]*flow.Key, 1<<14)
	for i := range keys {
		keys[i] = between(inside+r.Uint32N(1000), outside+r.Uint32N(100))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.Carried(keys[i&(1<<14-1)], 1000, 100, 1e18)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/record")
	b.ReportMetric(2000, "limit-ns/record")
}

func TestExfiltrationRestored(t *testing.T) {
	feed := func(x *Exfiltration, from, to int) {
		r := rand.New(rand.NewPCG(1, uint64(from)))
		start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()
		for i := from; i < to; i++ {
			x.Carried(between(inside+r.Uint32N(40), outside+r.Uint32N(5)), r.Uint64N(30<<20), 100, start+int64(i)*60*second)
		}
	}
	limits := func(c *ExfiltrationConfig) { c.Pairs, c.Day, c.Week = 100, 80<<20, 200<<20 }
	x, whole := leak(t, limits)
	feed(x, 0, 2000)
	text, err := json.Marshal(x.Save())
	if err != nil {
		t.Fatal(err)
	}
	var state ExfiltrationState
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	y, half := leak(t, limits)
	if err := y.Restore(state); err != nil {
		t.Fatal(err)
	}
	whole.findings = nil
	feed(x, 2000, 5000)
	feed(y, 2000, 5000)
	again, _ := json.Marshal(y.Save())
	if text, _ = json.Marshal(x.Save()); len(whole.findings) == 0 || string(again) != string(text) {
		t.Errorf("%d findings; the states differ", len(whole.findings))
	}
	if !reflect.DeepEqual(whole.findings, half.findings) {
		t.Errorf("%d findings after a restore, %d without, or they differ", len(half.findings), len(whole.findings))
	}
	for why, damage := range map[string]func(*ExfiltrationState){
		"a negative hour":       func(s *ExfiltrationState) { s.Hour = -1 },
		"no address":            func(s *ExfiltrationState) { s.Pairs[0].Source = netip.Addr{} },
		"a pair that is double": func(s *ExfiltrationState) { s.Pairs[1] = s.Pairs[0] },
	} {
		broken := y.Save()
		damage(&broken)
		if err := y.Restore(broken); err == nil || len(y.order) == 0 {
			t.Errorf("%s: %v, %d pairs", why, err, len(y.order))
		}
	}
	few, _ := leak(t, func(c *ExfiltrationConfig) { c.Pairs = 3 })
	if err := few.Restore(state); err != nil || len(few.order) != 3 || len(few.index) != 3 {
		t.Errorf("%v, %d pairs of 3", err, len(few.order))
	}
}

// A large upload to somewhere new is more than a lead only where enough is known of the
// host; what a host does every day is none.
func TestUploadToSomewhereNew(t *testing.T) {
	const minute = 60 * second
	const cloud = outside + 1000
	browse := func(x *Exfiltration, at *int64, minutes, peers int) {
		for i := range minutes {
			for j := range peers {
				x.Carried(between(inside, outside+uint32((i*peers+j)%500)), 500, 20_000, *at)
			}
			*at += minute
		}
	}
	upload := func(x *Exfiltration, at *int64, dst uint32, mebibytes, seconds int) {
		for range seconds {
			x.Carried(between(inside, dst), uint64(mebibytes)<<20/uint64(seconds), 2000, *at)
			*at += second
		}
	}
	for _, c := range []struct {
		why      string
		do       func(x *Exfiltration, at *int64)
		severity int // of the last record that began; 0: nothing did
	}{
		{"after minutes of browsing", func(x *Exfiltration, at *int64) { browse(x, at, 10, 4); upload(x, at, cloud, 300, 60) }, severityNewSoon},
		{"after a day with few peers", func(x *Exfiltration, at *int64) { browse(x, at, 25*60, 1); upload(x, at, cloud, 300, 60) }, severityNew},
		{"when nothing is known, it may be a backup", func(x *Exfiltration, at *int64) { upload(x, at, cloud, 480, 60) }, 0},
		{"nor is it told of few peers", func(x *Exfiltration, at *int64) { browse(x, at, 3, 3); upload(x, at, cloud, 300, 60) }, 0},
		{"to a destination known for hours", func(x *Exfiltration, at *int64) {
			upload(x, at, cloud, 1, 10)
			browse(x, at, 180, 4)
			upload(x, at, cloud, 300, 60)
		}, 0},
		{"a small one", func(x *Exfiltration, at *int64) { browse(x, at, 10, 4); upload(x, at, cloud, 150, 60) }, 0},
		{"much at once, by who is not known, is a lead", func(x *Exfiltration, at *int64) { upload(x, at, cloud, 4000, 600) }, severityMuch},
		{"a download is none", func(x *Exfiltration, at *int64) {
			browse(x, at, 10, 4)
			for range 60 {
				x.Carried(between(inside, cloud), 5<<20, 50<<20, *at)
				*at += second
			}
		}, 0},
		{"nor what a visitor fetches from a web server", func(x *Exfiltration, at *int64) {
			browse(x, at, 25*60, 1)
			for range 600 {
				x.Carried(between(cloud, inside), 2000, 8<<20, *at)
				*at += second
			}
		}, 0},
		{"nor when the first packet was missed", func(x *Exfiltration, at *int64) {
			browse(x, at, 25*60, 1)
			k := between(inside, cloud)
			k.SrcPort, k.DstPort = 443, 50_000
			for range 600 {
				x.Carried(k, 8<<20, 2000, *at)
				*at += second
			}
		}, 0},
		{"a day of it is a lead", func(x *Exfiltration, at *int64) {
			for range 20 * 60 {
				x.Carried(between(cloud, inside), 2000, 2<<20, *at)
				*at += minute
			}
		}, severityMuch},
	} {
		x, out := leak(t, nil)
		at := time.Date(2026, 1, 5, 7, 30, 0, 0, time.UTC).UnixNano()
		c.do(x, &at)
		severity := 0
		for _, e := range out.out {
			if e.Threat.State == event.Firing {
				severity = e.Threat.Severity
			}
		}
		if severity != c.severity {
			t.Errorf("%s: severity %d, want %d", c.why, severity, c.severity)
		}
	}
}

// A nightly backup to a cloud is told in its first week at most, and as a lead.
func TestNightlyBackupBecomesUsual(t *testing.T) {
	x, out := leak(t, nil)
	at := time.Date(2026, 1, 5, 2, 0, 0, 0, time.UTC).UnixNano()
	begun := 0
	for night := range 21 {
		for i := range 600 {
			x.Carried(between(inside, outside), 5<<20, 3000, at+int64(i)*second)
		}
		for hour := range 24 {
			x.Advance(at + int64(hour+1)*3600*second)
		}
		at += 24 * 3600 * second
		for _, e := range out.out[begun:] {
			if e.Threat.State == event.Firing && (night > 8 || e.Threat.Severity >= 40) {
				t.Errorf("night %d: %+v", night, *e.Threat)
			}
		}
		begun = len(out.out)
	}
	if len(out.out) == 0 || len(out.out) > 4 {
		t.Errorf("%d records of three weeks", len(out.out))
	}
}

// The hosts that are known are bounded; the one that was seen least recently leaves.
func TestGiversAreBounded(t *testing.T) {
	x, _ := leak(t, func(c *ExfiltrationConfig) { c.Hosts = 10 })
	for i := range uint32(100) {
		x.Carried(between(inside, outside), 100, 100, int64(i)*second)
		x.Carried(between(inside+1+i, outside), 100, 100, int64(i)*second)
	}
	if len(x.hosts.all) != 10 || len(x.hosts.index) != 10 || x.hosts.evicted != 91 || x.hosts.index[packet.Addr4(inside)] == nil {
		t.Errorf("%d hosts, %d evicted", len(x.hosts.all), x.hosts.evicted)
	}
}
