package sensor

import (
	"fmt"
	"slices"
	"testing"

	"github.com/expr-lang/expr"
	"pgregory.net/rapid"

	"vft/capture/flow"
	"vft/capture/packet"
)

// naive is a sensor that keeps every flow of every key and looks at all of them
// each time.
type naive struct {
	window   window
	text     string
	coolDown int64
	keys     map[string]*naiveKey
	fired    []string
}

type naiveKey struct {
	flows  []flow.Record // as they came
	newest int64
	late   int
	began  bool
	fired  int64
	hot    bool
}

func (n *naive) flow(t *rapid.T, key string, r flow.Record) {
	k := n.keys[key]
	if k == nil {
		k = &naiveKey{}
		n.keys[key] = k
	}
	now := n.inWindow(k, r)
	if now == nil || !holdsFor(t, n.text, now) {
		return
	}
	if k.hot && r.Last-k.fired < n.coolDown && r.Last-k.fired > -max(n.coolDown, int64(wrongClock)) {
		return
	}
	k.hot, k.fired = true, r.Last
	n.fired = append(n.fired, fmt.Sprintf("%s at %d", r.Src, (r.Last-epoch)/1e6))
}

// inWindow returns the flows of the window that r belongs to; nil when it is too
// late.
func (n *naive) inWindow(k *naiveKey, r flow.Record) []flow.Record {
	if n.window.kind == single {
		return []flow.Record{r}
	}
	at := floor(r.Last, 1e6) / 1e6
	if !k.began {
		k.began, k.newest = true, at
	}
	if n.late(k, at) {
		if k.late++; k.late < lateInARow {
			return nil
		}
		k.flows, k.newest = nil, at
	}
	k.late = 0
	ahead, behind := at-k.newest, k.newest-at
	k.newest = max(k.newest, at)
	switch n.window.kind {
	case session:
		if ahead >= n.window.size {
			k.flows = nil
		}
	case count:
		if behind >= countForgets {
			k.flows, k.newest = nil, at
		}
		if ahead >= countForgets {
			k.flows = nil
		}
	}
	k.flows = append(k.flows, r)
	var now []flow.Record
	for _, f := range k.flows {
		age := k.newest - floor(f.Last, 1e6)/1e6
		switch n.window.kind {
		case period:
			if age >= n.window.size {
				continue
			}
		case hopping:
			if begin := floor(k.newest, n.window.step) - n.window.size + n.window.step; floor(f.Last, 1e6)/1e6 < begin {
				continue
			}
		}
		now = append(now, f)
	}
	if n.window.kind == count {
		now = now[max(0, len(now)-n.window.flows):]
	}
	return now
}

func (n *naive) late(k *naiveKey, at int64) bool {
	switch n.window.kind {
	case period:
		return k.newest-at >= n.window.size
	case hopping:
		return at < floor(k.newest, n.window.step)-n.window.size+n.window.step
	case session:
		oldest := int64(1 << 62)
		for _, f := range k.flows {
			oldest = min(oldest, floor(f.Last, 1e6)/1e6)
		}
		return len(k.flows) > 0 && oldest-at >= n.window.size
	}
	return false
}

// holdsFor asks expr about a list of flows.
func holdsFor(t *rapid.T, text string, flows []flow.Record) bool {
	if text == "" {
		return true
	}
	sum := func(word string) (n int) {
		for _, f := range flows {
			n += map[string]int{"bytes": int(f.Fwd.Bytes), "packets": int(f.Fwd.Packets)}[word]
		}
		return n
	}
	distinct := func(word string) int {
		seen := map[any]bool{}
		for _, f := range flows {
			seen[map[string]any{"src": f.Src, "dst": f.Dst, "src_port": f.SrcPort, "dst_port": f.DstPort}[word]] = true
		}
		return len(seen)
	}
	env := map[string]any{"count": len(flows), "sum": sum, "distinct": distinct}
	for _, word := range []string{"bytes", "packets", "src", "dst", "src_port", "dst_port"} {
		env[word] = word
	}
	program, err := expr.Compile(text, expr.Env(env), expr.DisableAllBuiltins())
	if err != nil {
		t.Fatal(err)
	}
	result, err := expr.Run(program, env)
	if err != nil {
		t.Fatal(err)
	}
	return result.(bool)
}

var oracleWindows = []string{"single", "{period: 10s}", "{period: 60s}", "{count: 1}", "{count: 5}", "{hopping: 20s, step: 20s}", "{hopping: 20s, step: 5s}", "{session: 7s}"}

var oracleConditions = []string{"", "count > 1", "count >= 4", "3 < count", "distinct(dst) > 2", "distinct(dst_port) >= 3 and count < 9", "distinct(src) > 1 or distinct(src_port) == 3",
	"sum(bytes) > 400", "sum(packets) / count > 2 and count > 2", "sum(bytes) < 100 and count == 2"}

var oracleKeys = map[string]func(r *flow.Record) string{
	"observer":              func(r *flow.Record) string { return fmt.Sprint(r.Export.Exporter) },
	"source":                func(r *flow.Record) string { return fmt.Sprint(r.Export.Exporter, r.Src) },
	"destination":           func(r *flow.Record) string { return fmt.Sprint(r.Export.Exporter, r.Dst) },
	"[source, destination]": func(r *flow.Record) string { return fmt.Sprint(r.Export.Exporter, r.Src, r.Dst) },
	"service":               func(r *flow.Record) string { return fmt.Sprint(r.Export.Exporter, r.Dst, r.DstPort, r.Proto) },
	"[service, source]":     func(r *flow.Record) string { return fmt.Sprint(r.Export.Exporter, r.Src, r.Dst, r.DstPort, r.Proto) },
}

// flowOf draws a flow of few hosts that ended at.
func flowOf(t *rapid.T, at int64, hosts int) flow.Record {
	host := rapid.SampledFrom([]packet.Addr{addr("10.0.0.1"), addr("10.0.0.2"), addr("2001:db8::1"), addr("2001:db8::2")}[:hosts])
	return flow.Record{
		Key: flow.Key{Src: host.Draw(t, "src"), Dst: host.Draw(t, "dst"), SrcPort: rapid.Uint16Range(1, 3).Draw(t, "src_port"),
			DstPort: rapid.Uint16Range(1, 4).Draw(t, "dst_port"), Proto: rapid.SampledFrom([]uint8{6, 17}).Draw(t, "proto"), Ports: true},
		Fwd:  flow.Side{Packets: rapid.Uint64Range(1, 4).Draw(t, "packets"), Bytes: rapid.Uint64Range(1, 200).Draw(t, "bytes")},
		Last: at, Export: flow.Export{Exporter: rapid.SampledFrom([]packet.Addr{addr("192.0.2.1"), addr("192.0.2.2")}).Draw(t, "exporter")},
	}
}

// Sensors fire when one does that keeps and recounts everything, whatever comes
// late, and keep nothing of what has left.
func TestAgainstTheOracle(t *testing.T) {
	names := make([]string, 0, len(oracleKeys))
	for name := range oracleKeys {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom(names).Draw(t, "key")
		condition := rapid.SampledFrom(oracleConditions).Draw(t, "condition")
		compare(t, key, rapid.SampledFrom(oracleWindows).Draw(t, "window"), condition, rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "hosts"))
	})
}

// The same for one host and conditions that one flow more or less changes.
func TestBordersAgainstTheOracle(t *testing.T) {
	for _, window := range oracleWindows[1:] {
		t.Run(window, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				n := rapid.IntRange(1, 12).Draw(t, "n")
				condition := fmt.Sprintf(rapid.SampledFrom([]string{"count > %d", "count == %d", "distinct(dst_port) * 4 == %d", "sum(bytes) > 40 * %d"}).Draw(t, "condition"), n)
				compare(t, "observer", window, condition, 1)
			})
		})
	}
}

// compare gives both the same flows, of few hosts.
func compare(t *rapid.T, key, window, condition string, hosts int) {
	coolDown := rapid.SampledFrom([]int64{1, 30}).Draw(t, "cool-down")
	text := fmt.Sprintf("builtin: off\nsensors: {a: {key: %s, window: %s, cool-down: %ds", key, window, coolDown)
	if condition != "" {
		text += ", report_if: " + condition
	}
	d, err := Parse("test.yaml", []byte(text+"}}"))
	if err != nil {
		t.Fatal(err)
	}
	o := &naive{window: d[0].window, text: condition, coolDown: coolDown * second, keys: map[string]*naiveKey{}}
	var l listener
	cfg := Config{Definitions: d, Seed: [32]byte{3}}
	cfg.Emit = l.hear
	l.Set = New(cfg)
	now, clock := epoch, int64(0)
	steps := rapid.SampledFrom([][]int64{{0, 1e6, second}, {0, second, 3 * second, 7 * second, 10 * second, 61 * second}}).Draw(t, "steps")
	for range rapid.IntRange(1, 120).Draw(t, "flows") {
		now += rapid.SampledFrom(steps).Draw(t, "ahead")
		if rapid.IntRange(0, 19).Draw(t, "another clock") == 0 {
			clock = rapid.SampledFrom([]int64{0, 100 * second, -5000 * second, 90000 * second}).Draw(t, "clock")
		}
		at := now + clock - rapid.SampledFrom([]int64{0, 0, 0, 1e6, second, 9 * second, 15 * second, 4000 * second}).Draw(t, "late")
		r := flowOf(t, at, hosts)
		o.flow(t, oracleKeys[key](&r), r)
		l.Flow(&r)
	}
	var fired []string
	for _, e := range l.fired() {
		fired = append(fired, fmt.Sprintf("%s at %d", e.Threat.Offender, (e.Time.UnixNano()-epoch)/1e6))
	}
	if !slices.Equal(fired, o.fired) {
		t.Fatalf("fired %v\nwant  %v", fired, o.fired)
	}
	emptied(t, l.watchers[0])
}

// emptied holds that a sensor whose windows are cleared has nothing left.
func emptied(t *rapid.T, w *watcher) {
	for slot := range w.keys.slots {
		if !w.keys.slots[slot].taken {
			continue
		}
		w.clear(slot)
		k := w.keys.slots[slot]
		if k.flows != 0 || k.log != (log{}) || w.keys.heavy && w.keys.sums[slot] != (sums{}) {
			t.Fatalf("an empty window has %+v", k)
		}
		w.keys.remove(slot)
	}
	free := uint32(0)
	for block := w.pool.free; block != 0; block = w.pool.block(block).next {
		free++
	}
	if free != w.pool.used || w.members.used != 0 || w.keys.count != 0 {
		t.Fatalf("%d of %d blocks are free, %d members and %d keys are left", free, w.pool.used, w.members.used, w.keys.count)
	}
}

// Where a window has more flows than there are notes, older flows share one: no
// more are ever counted than there are, and few less.
func TestCrowdedWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, err := Parse("test.yaml", []byte("builtin: off\nsensors: {a: {window: {period: 60s}, report_if: count > 1000000 or sum(bytes) > 1000000000 or distinct(dst) > 100000}}"))
		if err != nil {
			t.Fatal(err)
		}
		s := New(Config{Definitions: d})
		w := s.watchers[0]
		n := rapid.IntRange(1, 30000).Draw(t, "flows")
		apart := rapid.SampledFrom([]int64{1e6, 5e6, 10e6}).Draw(t, "apart")
		for i := range n {
			r := tcp("10.0.0.9", "10.1.0.1", 80, 2, 60, int64(i)*apart)
			r.Dst = packet.Addr4(uint32(i))
			s.Flow(&r)
		}
		inside := min(n, int(60*second/apart))
		if got := w.values.Flows; got > inside || got < inside-inside/100-1 {
			t.Fatalf("%d flows in the window, counted %d", inside, got)
		}
		if w.values.SumBytes != 60*w.values.Flows || w.values.SumPackets != w.values.Flows {
			t.Fatalf("%+v", w.values)
		}
		if got := w.values.DistinctDst; got > inside || got < min(inside, mostNotes/2) {
			t.Fatalf("%d destinations in the window, counted %d", inside, got)
		}
		emptied(t, w)
	})
}
