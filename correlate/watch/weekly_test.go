package watch

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
	"vft/event"
)

const mebi = 1 << 20

// monday is the beginning of a week, by UTC.
var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixNano()

// weeklyLine carries the bytes of one pair, an hour at a time.
type weeklyLine struct {
	*WeeklyTransfer
	hour int64 // since monday
	life
}

func newWeeklyLine(t testing.TB, change func(*WeeklyTransferConfig)) *weeklyLine {
	t.Helper()
	cfg := DefaultWeeklyTransferConfig()
	if change != nil {
		change(&cfg)
	}
	l := &weeklyLine{}
	var err error
	if l.WeeklyTransfer, err = NewWeeklyTransfer(cfg, l.life.find); err != nil {
		t.Fatal(err)
	}
	l.Advance(monday - int64(time.Hour) - 1) // the first whole hour is that of monday
	l.Advance(monday - 1)
	return l
}

func (l *weeklyLine) now() int64 { return monday + l.hour*int64(time.Hour) }

// carry sends the bytes of an hour in twelve parts.
func (l *weeklyLine) carry(bytes uint64) {
	l.Advance(l.now())
	l.advance(l.now())
	for i := range int64(12) {
		l.Carried(between(inside, outside), bytes/12, 0, l.now()+i*300*second)
	}
	l.hour++
}

// weeks lets so many weeks pass; sends says what an hour carries.
func (l *weeklyLine) weeks(n int, sends func(hour int64) uint64) {
	for range n * weekHours {
		l.carry(sends(l.hour % weekHours))
	}
}

func (l *weeklyLine) states() (all []event.AlertState) {
	for _, e := range l.out {
		all = append(all, e.Anomaly.State)
	}
	return all
}

func TestWeeklyTransfer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	backup := func(hour int64) uint64 { // every night at 2, and little else
		if hour%24 == 2 {
			return 20_000 * mebi
		}
		return mebi
	}
	office := func(hour int64) uint64 { // 100 MiB in the hours of work, give or take a half
		if hour < 5*24 && hour%24 >= 8 && hour%24 < 17 {
			return uint64((50 + random.Float64()*100) * mebi)
		}
		return uint64(random.Float64() * mebi)
	}
	once := func(hour int64, bytes uint64, usual func(int64) uint64) func(int64) uint64 {
		return func(at int64) uint64 {
			if at == hour {
				return bytes
			}
			return usual(at)
		}
	}
	for _, c := range []struct {
		why   string
		learn int // weeks
		usual func(int64) uint64
		then  func(int64) uint64 // a week
		want  int                // episodes
	}{
		{"the backup of each night", 3, backup, backup, 0},
		{"as much in the afternoon: it would be usual at night", 3, backup, once(15, 20_000*mebi, backup), 1},
		{"the backup is an hour late", 3, backup, once(3, 20_000*mebi, backup), 0},
		{"a night of three times as much", 3, backup, once(26, 60_000*mebi, backup), 1},
		{"a night of twice as much", 3, backup, once(26, 39_000*mebi, backup), 0},
		{"work as ever", 3, office, office, 0},
		{"a weekend with what a day of work carries", 3, office, once(5*24+10, 150*mebi, office), 1},
		{"more than usual, but not worth a word", 3, office, once(5*24+10, 60*mebi, office), 0},
		{"one week says too little", 1, backup, once(15, 20_000*mebi, backup), 0},
		{"two weeks are enough", 2, backup, once(15, 20_000*mebi, backup), 1},
	} {
		l := newWeeklyLine(t, nil)
		l.weeks(c.learn, c.usual)
		if len(l.out) != 0 {
			t.Errorf("%s: %v while learning", c.why, l.states())
		}
		l.weeks(1, c.then)
		if n := len(l.out); n != 2*c.want {
			t.Errorf("%s: %v, want %d episodes", c.why, l.states(), c.want)
			continue
		}
		if c.want == 0 {
			continue
		}
		begin, end := l.out[0], l.out[1]
		a := begin.Anomaly
		if a.State != event.Firing || a.Detector != "hour-of-week" || a.Window != time.Hour || a.Value <= a.Threshold || len(a.Series) != c.learn || begin.Src.Addr() != netip.MustParseAddr("10.0.0.1") || begin.Dst.Addr() != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("%s: it begins with %+v", c.why, a)
		}
		if begin.Time.After(a.Start.Add(time.Hour)) || begin.Time.Before(a.Start) {
			t.Errorf("%s: it is told at %v of the hour of %v", c.why, begin.Time, a.Start)
		}
		if z := end.Anomaly; z.State != event.Resolved || z.Reason != "quiet" || z.Count != 1 || z.Episode != a.Episode || z.Value < a.Value || z.End.After(a.Start.Add(time.Hour)) {
			t.Errorf("%s: it ends with %+v", c.why, z)
		}
	}
}

// What was abnormal is learned cut down: it does not make the same usual next week, and
// goes on as one episode.
func TestWeeklyTransferEpisodes(t *testing.T) {
	calm := func(int64) uint64 { return mebi }
	l := newWeeklyLine(t, nil)
	l.weeks(3, calm)
	loud := func(hour int64) uint64 {
		if hour >= 30 && hour < 35 {
			return 10_000 * mebi
		}
		return mebi
	}
	l.weeks(1, loud)
	l.weeks(1, loud)
	if n := len(l.out); n != 4 || l.out[1].Anomaly.Count != 5 || l.out[3].Anomaly.Count != 5 {
		t.Fatalf("%v", l.states())
	}
}

// Flows of exporters come when they end: their bytes count in the hours in which they
// went, both directions apart.
func TestWeeklyTransferOfExports(t *testing.T) {
	l := newWeeklyLine(t, nil)
	r := flow.Record{Key: *between(inside, outside), Export: flow.Export{Version: flow.NetFlow9}}
	r.First, r.Last = monday+30*60*second, monday+120*60*second // half an hour in the first, one in the second
	r.Fwd.Bytes, r.Rev.Bytes = 900, 90
	l.Advance(monday + 110*60*second)
	l.Flow(&r)
	there, back := l.WeeklyTransfer.find(&pairKey{r.Src, r.Dst}), l.WeeklyTransfer.find(&pairKey{r.Dst, r.Src})
	if there == nil || back == nil || there.open[0]+there.open[1] != 900 || back.open[0]+back.open[1] != 90 {
		t.Fatalf("%+v %+v", there, back)
	}
	short := r
	short.First, short.Last = monday+100*60*second, monday+110*60*second // before the hour that runs
	before := there.open[(monday/int64(time.Hour)+1)%2]
	l.Flow(&short)
	if after := there.open[(monday/int64(time.Hour)+1)%2]; after != before+900 {
		t.Errorf("%d, then %d in the hour before", before, after)
	}
	old := r
	old.First, old.Last = monday-int64(24*time.Hour), monday-int64(23*time.Hour)
	l.Flow(&old)
	if sum := there.open[0] + there.open[1]; sum != 2700 {
		t.Errorf("%d bytes, want 2700: what is late counts in the older open hour", sum)
	}
}

// Hours that nobody watched say nothing of what is usual.
func TestWeeklyTransferGaps(t *testing.T) {
	l := newWeeklyLine(t, nil)
	for range 3 * 7 {
		for range 12 {
			l.carry(500 * mebi) // the first half of each day
		}
		l.hour += 12
	}
	h := l.WeeklyTransfer.find(&pairKey{packet.Addr4(inside), packet.Addr4(outside)})
	if day, night := h.past.weeks(monday/int64(time.Hour)+5), h.past.weeks(monday/int64(time.Hour)+18); day != 3 || night != 0 {
		t.Errorf("%d weeks of the day are known, %d of the night", day, night)
	}
	l.hour += 13 // at night
	for range 3 {
		l.carry(50_000 * mebi)
	}
	if len(l.out) != 0 {
		t.Errorf("%v of hours that are not known", l.states())
	}
}

// Of more pairs than there are places the heavy ones stay, with their history.
func TestWeeklyTransferKeepsTheLargest(t *testing.T) {
	l := newWeeklyLine(t, func(c *WeeklyTransferConfig) { c.Pairs = 64 })
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 * weekHours {
		l.carry(100 * mebi)
		for range 300 {
			l.Carried(between(inside, random.Uint32()), 1000, 0, l.now()-second)
		}
	}
	h := l.WeeklyTransfer.find(&pairKey{packet.Addr4(inside), packet.Addr4(outside)})
	if h == nil || h.past == nil || h.past.weeks(monday/int64(time.Hour)+5) != 3 || len(l.order) != 64 || len(l.all) != 64 || l.count.replaced == 0 {
		t.Errorf("%d pairs, %d replaced, %+v", len(l.order), l.count.replaced, h)
	}
}

// More episodes than may begin in an hour are counted.
func TestWeeklyTransferFewEpisodes(t *testing.T) {
	l := newWeeklyLine(t, func(c *WeeklyTransferConfig) { c.Episodes = 3 })
	for range 2*weekHours + 10 {
		for i := range uint32(10) {
			l.Carried(between(inside, outside+i), mebi, 0, l.now())
		}
		l.hour++
	}
	for i := range uint32(10) {
		l.Carried(between(inside, outside+i), 10_000*mebi, 0, l.now())
	}
	if len(l.out) != 3 || l.count.suppressed != 7 {
		t.Errorf("%d records, %d suppressed", len(l.out), l.count.suppressed)
	}
	l.life.close()
	if len(l.out) != 6 || l.out[5].Anomaly.Reason != "end of capture" {
		t.Errorf("%v", l.states())
	}
}

func restoredWeekly(t testing.TB, l *weeklyLine) *weeklyLine {
	t.Helper()
	text, err := json.Marshal(l.Save())
	if err != nil {
		t.Fatal(err)
	}
	var s WeeklyTransferState
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	next := newWeeklyLine(t, nil)
	next.hour = l.hour
	if err := next.Restore(s); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(next.Save()); err != nil || string(again) != string(text) {
		t.Fatalf("what is restored is not what was saved: %s, saved %s", again, text)
	}
	return next
}

// What was learned outlives a restart; the hour of the restart teaches nothing.
func TestWeeklyTransferRestored(t *testing.T) {
	l := newWeeklyLine(t, nil)
	for range 3 * 7 {
		for range 24 {
			l.carry(mebi)
		}
		l = restoredWeekly(t, l)
	}
	h := l.WeeklyTransfer.find(&pairKey{packet.Addr4(inside), packet.Addr4(outside)})
	at := func(hour int64) int { return h.past.weeks(monday/int64(time.Hour) + hour) }
	if at(5) != 3 || at(24) != 0 {
		t.Errorf("%d weeks of an hour, %d of one that began with a restart", at(5), at(24))
	}
	for range 5 {
		l.carry(mebi)
	}
	l.carry(10_000 * mebi)
	if len(l.out) != 1 || l.out[0].Anomaly.State != event.Firing {
		t.Fatalf("%v", l.states())
	}
	l = restoredWeekly(t, l)
	l.carry(10_000 * mebi)
	if len(l.out) != 1 || l.out[0].Anomaly.State != event.Firing {
		t.Fatalf("after a restart %v", l.states())
	}
}

func TestDamagedWeeklyState(t *testing.T) {
	l := newWeeklyLine(t, nil)
	for range 30 {
		l.carry(mebi)
	}
	for _, c := range []struct {
		why    string
		damage func(s *WeeklyTransferState)
		says   string
	}{
		{"before 1970", func(s *WeeklyTransferState) { s.Hour = -1 }, "hour"},
		{"after all time", func(s *WeeklyTransferState) { s.Hour = math.MaxInt64 }, "hour"},
		{"no address", func(s *WeeklyTransferState) { s.Pairs[0].Source = netip.Addr{} }, "address"},
		{"a pair twice", func(s *WeeklyTransferState) { s.Pairs = append(s.Pairs, s.Pairs[0]) }, "twice"},
		{"half a history", func(s *WeeklyTransferState) { s.Pairs[0].History = s.Pairs[0].History[1:] }, "history"},
		{"an older week without a newer one", func(s *WeeklyTransferState) {
			copy(s.Pairs[0].History, []byte{255, 255, 0, 1})
		}, "older week"},
	} {
		s := l.Save()
		c.damage(&s)
		x := newWeeklyLine(t, nil)
		x.carry(mebi)
		if err := x.Restore(s); err == nil || !strings.Contains(err.Error(), c.says) || len(x.all) != 1 {
			t.Errorf("%s: %v, %d pairs", c.why, err, len(x.all))
		}
	}
	for _, c := range []WeeklyTransferConfig{{Pairs: 0, Weeks: 1, Episodes: 1}, {Pairs: 1, Weeks: 0, Episodes: 1}, {Pairs: 1, Weeks: 5, Episodes: 1}, {Pairs: 1, Weeks: 1}} {
		if _, err := NewWeeklyTransfer(c, nil); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// The limit is never below the floor, twice the largest, or what is usual; more of a
// history never makes it unknown.
func TestHistoryProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, largest := newHistory(), uint64(0)
		floor := rapid.Uint64Range(0, 1<<30).Draw(t, "floor")
		for i := range rapid.IntRange(0, 3).Draw(t, "weeks") {
			bytes := rapid.Uint64Range(0, 1<<50).Draw(t, "bytes")
			h.learn(500, bytes)
			largest = max(largest, bytes)
			if limit := h.limit(500+weekHours, i+1, floor); limit < floor || float64(limit)+2 < 1.99*float64(largest) {
				t.Fatalf("limit %d, floor %d, largest %d", limit, floor, largest)
			}
			if h.limit(500, i+2, floor) != math.MaxUint64 {
				t.Fatal("it is known before it may be")
			}
		}
		same, err := historyOf(h.bytes())
		if err != nil || *same != *h {
			t.Fatalf("%v", err)
		}
	})
}

func BenchmarkWeeklyTransfer(b *testing.B) {
	l := newWeeklyLine(b, nil)
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]*flow.Key, 10_000)
	for i := range keys {
		keys[i] = between(inside+uint32(i%7), outside+uint32(min(random.ExpFloat64()*2000, 1e6)))
	}
	at, n := monday, 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		at += 1e6
		l.Carried(keys[n%len(keys)], 1000, 1000, at)
	}
	b.ReportMetric(500, "limit-ns/op")
}
