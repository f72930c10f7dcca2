package event

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var sampleTime = time.Date(2026, 3, 4, 5, 6, 7, 890_123_456, time.UTC)

func statSample() Event {
	value, up := 0.25, 0.75
	return Event{Time: sampleTime, Dataset: DatasetStat, Stat: &Stat{
		Name: "R_SYN", Value: &value, Up: &up, Start: sampleTime.Add(-time.Second), End: sampleTime, Ready: true}}
}

func anomalySample() Event {
	return Event{Time: sampleTime, Dataset: DatasetAnomaly, Transport: "tcp",
		Src:     netip.MustParseAddrPort("192.0.2.10:40000"),
		Dst:     netip.MustParseAddrPort("198.51.100.23:443"),
		Process: &Process{PID: 4711, Name: "curl", CommandLine: "curl -T big https://x", User: "ann", Container: "0f1e"},
		Anomaly: &Anomaly{Detector: "anomalyzer", State: Firing, Value: 5e6, Threshold: 0.6, Probability: 0.9, Side: "up",
			Window: 5 * time.Second, Episode: "a1", Start: sampleTime, End: sampleTime, Count: 1, Bytes: 5e6,
			Methods: map[string]float64{"diff": 0.9, "fence": 1}, Series: []float64{1, 2, 5e6}, Reason: "new normal"}}
}

func threatSample() Event {
	return Event{Time: sampleTime, Dataset: DatasetThreat, Transport: "tcp",
		Src: netip.MustParseAddrPort("192.0.2.7:0"),
		Threat: &Threat{Type: "portscan", Observer: "203.0.113.1", Offender: "192.0.2.7", Sensor: "portscan", State: Firing,
			Episode: "t1", Severity: 60, Start: sampleTime, End: sampleTime,
			Details: map[string]any{"scan": "syn", "ports": []any{22.0, 80.0}, "count": 101.0, "more": map[string]any{"deep": true, "none": nil}}}}
}

func flowSample() Event {
	return Event{Time: sampleTime, Dataset: DatasetFlow, Transport: "udp",
		Src: netip.MustParseAddrPort("192.0.2.7:5353"), Dst: netip.MustParseAddrPort("192.0.2.8:53"),
		Flow: &Flow{Bytes: 300, Packets: 3, SrcBytes: 100, SrcPackets: 1, DstBytes: 200, DstPackets: 2, Start: sampleTime, End: sampleTime,
			TCPFlags: 0x1b, Ended: "idle", Exporter: "203.0.113.1", Version: "ipfix", Sampling: 100, SampledPackets: 3, SampledBytes: 3}}
}

func summarySample() Event {
	return Event{Time: sampleTime, Dataset: DatasetSummary, Summary: &Summary{Packets: math.MaxUint64, Bytes: 12, First: sampleTime, Last: sampleTime,
		Seconds: 0.5, Counters: map[string]uint64{"ipv4": math.MaxUint64, "arp": 0}}}
}

// measured gives e one of the details that come from packets and flows, within
// the limits.
func (e *Event) measured(t *rapid.T, word func(string) string, moment func(string) time.Time) {
	number := func(label string) float64 { return rapid.Float64Range(-1e300, 1e300).Draw(t, label) }
	maybe := func(label string) *float64 { return rapid.Ptr(rapid.Float64Range(-1e300, 1e300), true).Draw(t, label) }
	count := func(label string) uint64 { return rapid.Uint64().Draw(t, label) }
	text := rapid.StringN(0, 20, 60)
	switch rapid.IntRange(0, 5).Draw(t, "measured") {
	case 0:
		e.Stat = &Stat{word("name"), maybe("value"), moment("start"), moment("end"), maybe("up"), maybe("down"), rapid.Bool().Draw(t, "ready")}
	case 1:
		methods := rapid.MapOfN(text, rapid.Float64Range(0, 1), 0, 5).Draw(t, "methods")
		if len(methods) == 0 {
			methods = nil
		}
		e.Anomaly = &Anomaly{word("detector"), word("statistic"), AlertState(word("state")), number("value"), number("threshold"), number("probability"),
			word("side"), time.Duration(rapid.Int64().Draw(t, "window")), word("episode"), moment("start"), moment("end"), count("count"), count("bytes"),
			methods, nonEmpty(rapid.SliceOfN(rapid.Float64Range(-1e9, 1e9), 0, 5).Draw(t, "series")), word("reason"), rapid.IntRange(0, 100).Draw(t, "severity"), word("incident")}
	case 2:
		details := rapid.MapOfN(text, anyJSON(MaxNested), 0, 5).Draw(t, "details")
		if len(details) == 0 {
			details = nil
		}
		e.Threat = &Threat{word("type"), word("observer"), word("offender"), word("sensor"), AlertState(word("state")), word("episode"),
			rapid.Int().Draw(t, "severity"), moment("start"), moment("end"), word("incident"), details}
	case 3:
		e.Flow = &Flow{count("1"), count("2"), count("3"), count("4"), count("5"), count("6"), count("7"), moment("start"), moment("end"),
			rapid.Uint8().Draw(t, "flags"), word("ended"), word("exporter"), word("version"), rapid.Uint32().Draw(t, "sampling"), count("8"), count("9")}
	case 4:
		e.Summary = &Summary{count("1"), count("2"), count("3"), moment("first"), moment("last"), count("4"), count("5"), number("seconds"),
			rapid.MapOfN(text, rapid.Uint64(), 0, 5).Draw(t, "counters")}
	}
}

// anyJSON makes what encoding/json reads into an any, at most depth levels deep.
func anyJSON(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Float64Range(-1e300, 1e300).AsAny(),
		rapid.StringN(0, 20, 60).AsAny(),
	}
	if depth > 0 {
		kinds = append(kinds,
			rapid.SliceOfN(anyJSON(depth-1), 0, 3).AsAny(),
			rapid.MapOfN(rapid.StringN(0, 10, 30), anyJSON(depth-1), 0, 3).AsAny())
	}
	return rapid.OneOf(kinds...)
}

// All that is over the limits in one event of each dataset: what was written is
// short enough and is read, writing changes nothing, and writing what was read
// gives the same bytes.
func TestJSONBoundsDetails(t *testing.T) {
	long := strings.Repeat("\x00<\xff\u00e9\u2028", 3000)
	far := time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
	inf, nan := math.Inf(-1), math.NaN()
	wide := map[string]any{}
	methods, counters := map[string]float64{}, map[string]uint64{}
	for i := range 1000 {
		key := fmt.Sprintf("%04d%s", i, long)
		wide[key], methods[key], counters[key] = long, inf, math.MaxUint64
	}
	numbers := make([]float64, 1000)
	for i := range numbers {
		numbers[i] = math.MaxFloat64
	}
	numbers[999], numbers[998] = inf, nan
	deep := map[string]any{"end": 1}
	for range 100 {
		deep = map[string]any{"a": []any{deep}, "b": long}
	}
	for _, c := range []struct {
		why   string
		event Event
	}{
		{"texts and times of a statistic", Event{Stat: &Stat{Name: long, Value: &inf, Up: &nan, Start: far, End: far}}},
		{"methods and series of an anomaly", Event{Anomaly: &Anomaly{Detector: long, Statistic: long, State: AlertState(long), Side: long, Episode: long,
			Reason: long, Value: inf, Threshold: nan, Start: far, End: far, Methods: methods, Series: numbers}}},
		{"a wide threat", Event{Threat: &Threat{Type: long, Observer: long, Offender: long, Sensor: long, Episode: long, Start: far, End: far, Details: wide}}},
		{"a deep threat", Event{Threat: &Threat{Details: deep}}},
		{"lists of numbers in a threat", Event{Threat: &Threat{Details: map[string]any{"a": numbers, "b": numbers, "c": numbers, "d": numbers, "e": numbers, "f": numbers, "g": numbers, "h": numbers, "i": numbers}}}},
		{"a list of texts in a threat", Event{Threat: &Threat{Details: map[string]any{"a": slices.Repeat([]string{long}, 50)}}}},
		{"a list of nothing in a threat", Event{Threat: &Threat{Details: map[string]any{"a": make([]any, 100_000)}}}},
		{"what encoding/json cannot write", Event{Threat: &Threat{Details: map[string]any{"chan": make(chan int), "func": func() {}, "complex": 1i, "nan": nan, "list": []any{inf}, "when": far}}}},
		{"texts of a flow", Event{Flow: &Flow{Ended: long, Exporter: long, Version: long, Start: far, End: far}}},
		{"counters of a summary", Event{Summary: &Summary{First: far, Last: far, Seconds: inf, Counters: counters}}},
		{"a process", Event{Process: &Process{PID: -1, Name: long, CommandLine: long, User: long, Container: long}}},
		{"a process of more than 32 bits", Event{Process: &Process{PID: math.MaxInt}}},
	} {
		text := c.event.AppendJSON(nil)
		if len(text) > MaxDetail {
			t.Errorf("%s: %d bytes", c.why, len(text))
		}
		got, err := read(text)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if again := got.AppendJSON(nil); string(again) != string(text) {
			t.Errorf("%s: %.300s\nbecame %.300s", c.why, text, again)
		}
	}
	key := "0000" + long
	if len(wide) != 1000 || len(counters) != 1000 || wide[key] != long || methods[key] != inf || numbers[999] != inf {
		t.Error("writing changed a map or a list of the event")
	}
}

// The reader cuts what a stranger sends to the same limits.
func TestReaderBoundsDetails(t *testing.T) {
	counters := map[string]uint64{}
	details := map[string]any{"deep": []any{[]any{[]any{[]any{[]any{1}}}}}, "list": make([]any, 1000)}
	for i := range 300 {
		counters[fmt.Sprintf("%03d", i)] = 1
		details[fmt.Sprintf("%03d", i)] = 1
	}
	text, err := json.Marshal(Event{
		Threat:  &Threat{Type: strings.Repeat("x", 1000), Details: details},
		Summary: &Summary{Counters: counters},
		Anomaly: &Anomaly{Series: make([]float64, 1000), Start: sampleTime.In(time.FixedZone("", 3600))},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Threat.Type) != MaxName || len(e.Threat.Details) != MaxKeys || len(e.Summary.Counters) != 4*MaxKeys || len(e.Anomaly.Series) != MaxItems {
		t.Errorf("kept %d bytes, %d details, %d counters, %d numbers", len(e.Threat.Type), len(e.Threat.Details), len(e.Summary.Counters), len(e.Anomaly.Series))
	}
	if keys := slices.Sorted(maps.Keys(e.Threat.Details)); keys[0] != "000" || keys[MaxKeys-1] != "063" {
		t.Errorf("kept the keys %v", keys)
	}
	if e.Anomaly.Start.Location() != time.UTC {
		t.Errorf("time in %v", e.Anomaly.Start.Location())
	}
}

func TestBoundValue(t *testing.T) {
	type named string
	for _, c := range []struct {
		why      string
		in, want any
	}{
		{"nothing", nil, nil},
		{"a whole number keeps all its digits", uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{"too large", math.Inf(1), math.MaxFloat64},
		{"not a number", math.NaN(), 0.0},
		{"a small float", float32(0.5), 0.5},
		{"a list of ports", []uint16{22, 80}, []any{22.0, 80.0}},
		{"a list of numbers with one that JSON cannot hold", []float64{1, math.NaN()}, []any{1.0, 0.0}},
		{"an address", netip.MustParseAddr("192.0.2.1"), "192.0.2.1"},
		{"a named text", named("syn"), "syn"},
		{"counts by name", map[string]int{"a": 1}, map[string]any{"a": 1.0}},
		{"bytes that are no UTF-8", "a\xff", "a\ufffd"},
		{"a struct", struct{ A int }{1}, map[string]any{"A": 1.0}},
		{"an empty list stays one", []any{}, []any{}},
		{"no list", []any(nil), nil},
		{"no map", map[string]any(nil), nil},
		{"four levels", []any{[]any{[]any{[]any{1.0}}}}, []any{[]any{[]any{[]any{1.0}}}}},
		{"five levels", []any{[]any{[]any{[]any{[]any{}}}}}, []any{[]any{[]any{[]any{nil}}}}},
		{"five levels of maps", map[string]any{"a": []any{[]any{[]any{map[string]any{}}}}}, map[string]any{"a": []any{[]any{[]any{nil}}}}},
	} {
		b := budget(detailBudget)
		if got, fits := b.value(c.in, MaxNested); !fits || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v became %#v, fits: %v", c.why, c.in, got, fits)
		}
	}
	b := budget(itemCost - 1)
	for _, v := range []any{nil, 1.0, "", []any{}, map[string]any{}} {
		if _, fits := b.value(v, MaxNested); fits {
			t.Errorf("%#v fits where nothing does", v)
		}
	}
}
