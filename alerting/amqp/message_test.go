package amqp

import (
	"encoding/json"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"vft/event"
)

func TestMessage(t *testing.T) {
	m := newMessage(threat(7, event.Firing))
	const want = `{"type":"portscan","observer":"192.0.2.1","offender":"198.51.100.7","timestamp":"2024-05-06T07:08:09.123Z",` +
		`"details":{"attacked_hosts":["10.0.0.1","10.0.0.2"],"count":101,"ports":[22,80],"window_s":60}}`
	if string(m.body) != want {
		t.Errorf("the message is\n%s, not\n%s", m.body, want)
	}
	if m.at != flowTime.Unix() || m.id.String() != "00000000-0000-0000-0000-000000000007" {
		t.Errorf("time %d, id %s", m.at, m.id)
	}
}

func TestMessageOfStrangeThreats(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*event.Event)
		key    string
		want   any
	}{
		{"no details is an empty object", func(e *event.Event) { e.Threat.Details = nil }, "details", map[string]any{}},
		{"what is no number is left out, the threat is not", func(e *event.Event) { e.Threat.Details = map[string]any{"value": math.NaN(), "count": 3} }, "details", map[string]any{"count": 3.0}},
		{"a client observed it", func(e *event.Event) { e.Threat.Observer, e.Client, e.Host = "", "c1", "h1" }, "observer", "c1"},
		{"this host observed it", func(e *event.Event) { e.Threat.Observer, e.Host = "", "h1" }, "observer", "h1"},
		{"bytes that are no text stay JSON", func(e *event.Event) { e.Threat.Type = "a\xffb\"" }, "type", "a\ufffdb\""},
		{"no flow has a time: that of the event", func(e *event.Event) { e.Threat.End = time.Time{} }, "timestamp", "2024-05-06T07:08:10.123Z"},
		{"a time elsewhere is told in UTC", func(e *event.Event) { e.Threat.End = flowTime.In(time.FixedZone("", 7200)) }, "timestamp", "2024-05-06T07:08:09.123Z"},
		{"a source that may be forged has no name", func(e *event.Event) { e.Threat.Offender = "" }, "offender", ""},
	} {
		e := threat(1, event.Firing)
		c.change(e)
		var got map[string]any
		if err := json.Unmarshal(newMessage(e).body, &got); err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if keys := strings.Join(slices.Sorted(maps.Keys(got)), " "); keys != "details observer offender timestamp type" {
			t.Errorf("%s: the keys are %s", c.why, keys)
		}
		want, _ := json.Marshal(c.want)
		if value, _ := json.Marshal(got[c.key]); string(value) != string(want) {
			t.Errorf("%s: %s is %s, not %s", c.why, c.key, value, want)
		}
	}
}

// BenchmarkQueue is the memory of a threat that waits.
func BenchmarkQueue(b *testing.B) {
	const all = 65_536
	var took float64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n := New(Config{})
		e := threat(1, event.Firing)
		for range all {
			n.Send(e)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took = float64(after.HeapAlloc-before.HeapAlloc) / all
		if n.queue.held != all {
			b.Fatal("not all wait")
		}
	}
	b.ReportMetric(took, "B/threat")
	b.ReportMetric(float64(len(newMessage(threat(1, event.Firing)).body)+overhead), "limit-B/threat")
}

// BenchmarkSend is the time that a threat costs its sender.
func BenchmarkSend(b *testing.B) {
	n := New(Config{Max: 1})
	e := threat(1, event.Firing)
	for b.Loop() {
		n.Send(e)
	}
	b.ReportMetric(20_000, "limit-ns/op")
}
