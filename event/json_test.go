package event

import (
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sample is a hit as a trap reports it.
func sample() Event {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890_123_456, time.UTC)
	return Event{
		ID:        NewIDs([32]byte{7}).Next(at),
		Time:      at,
		Dataset:   DatasetTrap,
		Client:    "web-1-0a1b2c3d",
		Host:      "web-1",
		Src:       netip.MustParseAddrPort("198.51.100.23:51514"),
		Dst:       netip.MustParseAddrPort("192.0.2.10:8080"),
		Transport: "tcp",
		Evidence:  E2,
		Tags:      []string{"scanner"},
		Trap: &Trap{
			Payload: []byte("GET / HTTP/1.1\r\nHost: 192.0.2.10:8080\r\n\r\n"),
			SYN: &SYN{TTL: 52, IPID: 54321, DF: true, Window: 64240, MSS: 1460, Scale: 7,
				Options: "2-4-8-1-3", JA4T: "64240_2-4-8-1-3_1460_7", Class: "linux"},
			Tool: "masscan",
			Held: 31 * time.Millisecond,
		},
	}
}

// Any event, within the limits, is read back as it was written, by this
// package and by encoding/json, whichever of the two wrote it.
func TestJSONAgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		slow, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		fast := e.AppendJSON(nil)
		for name, text := range map[string][]byte{"AppendJSON": fast, "encoding/json": slow} {
			var byJSON Event
			if err := json.Unmarshal(text, &byJSON); err != nil {
				t.Fatalf("encoding/json cannot read %s of %s: %v", text, name, err)
			}
			byReader, err := read(text)
			if err != nil {
				t.Fatalf("cannot read %s of %s: %v", text, name, err)
			}
			if !reflect.DeepEqual(byJSON, e) || !reflect.DeepEqual(byReader, e) {
				t.Fatalf("%s wrote %s\nencoding/json read %+v\nthe Reader     %+v\nof             %+v", name, text, byJSON, byReader, e)
			}
		}
	})
}

func read(text []byte) (e Event, err error) {
	r := NewReader()
	r.Reset(text)
	r.Event(&e)
	return e, r.End()
}

func anyEvent(t *rapid.T) (e Event) {
	name := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-z0-9_-]{1,20}`), rapid.StringN(0, 30, 100))
	word := func(label string) string { return name.Draw(t, label) }
	list := func(label string) []string {
		return nonEmpty(rapid.SliceOfN(name, 0, 4).Draw(t, label))
	}
	moment := func(label string) time.Time {
		return time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, label), rapid.Int64Range(0, 999_999_999).Draw(t, label)).UTC()
	}
	addr := func(label string) netip.AddrPort {
		var b [16]byte
		copy(b[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
		port := rapid.Uint16().Draw(t, label)
		switch rapid.IntRange(0, 3).Draw(t, label) {
		case 0:
			return netip.AddrPort{}
		case 1:
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port)
		case 2:
			return netip.AddrPortFrom(netip.MustParseAddr(`fe80::1%e"0\`), port)
		}
		return Unmap(netip.AddrPortFrom(netip.AddrFrom16(b), port))
	}
	syn := func() *SYN {
		if !rapid.Bool().Draw(t, "has SYN") {
			return nil
		}
		return &SYN{rapid.Uint8().Draw(t, "ttl"), rapid.Uint16().Draw(t, "ip_id"), rapid.Bool().Draw(t, "df"),
			rapid.Uint16().Draw(t, "window"), rapid.Uint16().Draw(t, "mss"), rapid.Uint8().Draw(t, "scale"),
			word("options"), word("ja4t"), word("class")}
	}
	copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	e.Time, e.Dataset = moment("time"), Dataset(word("dataset"))
	e.Client, e.Host, e.Transport, e.Message = word("client"), word("host"), word("transport"), word("message")
	e.Src, e.Dst, e.Tags = addr("src"), addr("dst"), list("tags")
	e.Evidence = Evidence(rapid.Uint8Range(0, 3).Draw(t, "evidence"))
	if rapid.Bool().Draw(t, "has process") {
		e.Process = &Process{int(rapid.Int32Min(0).Draw(t, "pid")), word("process"), word("command line"), word("user"), word("container")}
	}
	if rapid.IntRange(0, 4).Draw(t, "has finding") == 0 {
		e.Finding = anyFinding(t, word, moment)
	}
	switch rapid.IntRange(0, 9).Draw(t, "detail") {
	case 0:
		e.Trap = &Trap{SYN: syn(), Tool: word("tool"), Held: time.Duration(rapid.Int64().Draw(t, "held")), Late: rapid.Bool().Draw(t, "late")}
		e.Trap.Payload = nonEmpty(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "payload"))
		if rapid.Bool().Draw(t, "has TLS") {
			e.Trap.TLS = &TLS{word("sni"), list("alpn"), word("version"), word("ja4")}
		}
		if rapid.Bool().Draw(t, "has SSH") {
			e.Trap.SSH = &SSH{word("banner"), word("hassh")}
		}
	case 1:
		e.Probe = &Probe{word("scan"), syn(), word("tool")}
	case 2:
		e.Alert = &Alert{ID: word("alert id"), State: Firing, Kind: BySource, Start: moment("start"), End: moment("end"), Clients: list("clients"),
			Rules: []Match{{ID: word("rule"), Value: rapid.Float64Range(-1e300, 1e300).Draw(t, "value"), Since: moment("since")}}}
	case 3:
		e.Member = &Member{ID: word("member"), Traps: []uint16{rapid.Uint16().Draw(t, "trap")}, Dropped: rapid.Uint64().Draw(t, "dropped")}
	default:
		e.measured(t, word, moment)
	}
	return e
}

func nonEmpty[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// What is over the limits, or what JSON cannot hold, is cut by the writer, so
// that no event is written that the reader refuses for ever.
func TestJSONWritesOnlyWhatItReads(t *testing.T) {
	long := strings.Repeat("\xff\u00e9", 3000)
	lists := make([]string, 100)
	for i := range lists {
		lists[i] = long
	}
	e := sample()
	e.Client, e.Host, e.Transport, e.Message, e.Tags, e.Evidence = long, long, long, long, lists, 200
	e.Dataset, e.Time = Dataset(long), time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
	e.Src = netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(long), 1)
	e.Dst = netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 2)
	e.Trap.Payload = make([]byte, 9000)
	e.Trap.TLS = &TLS{long, lists, long, long}
	e.Trap.SSH = &SSH{long, long}
	e.Trap.SYN = &SYN{Options: long, JA4T: long, Class: long}
	e.Trap.Tool = long
	e.Probe = &Probe{Scan: long, Tool: long}
	e.Alert = &Alert{Start: e.Time, Rules: []Match{{Value: math.Inf(1), Threshold: math.NaN(), Since: e.Time}}}
	got, err := read(e.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Trap.Payload) != MaxPayload || len(got.Tags) != MaxList || got.Evidence != E3 || !got.Time.IsZero() {
		t.Errorf("cut to %d bytes of payload, %d tags, %v, %v", len(got.Trap.Payload), len(got.Tags), got.Evidence, got.Time)
	}
	if got.Dst.String() != "192.0.2.1:2" || got.Src.String() != "[fe80::1]:1" {
		t.Errorf("addresses became %v and %v", got.Src, got.Dst)
	}
	if m := got.Alert.Rules[0]; m.Value != math.MaxFloat64 || m.Threshold != 0 {
		t.Errorf("numbers became %v and %v", m.Value, m.Threshold)
	}
	if e.Alert.Rules[0].Value != math.Inf(1) {
		t.Error("writing an event changed it")
	}
}

func TestReaderRefuses(t *testing.T) {
	deep := strings.Repeat("[", 1e5)
	for _, c := range []struct{ text, want, why string }{
		{``, "unexpected end", "nothing"},
		{`[]`, `unexpected '['`, "an array is no event"},
		{`{"tags":["a",]}`, `unexpected ']'`, "a comma before the end"},
		{`{"id":1}`, `unexpected '1'`, "an id is a string"},
		{`{"id":"x"}`, "36 characters", "a short id"},
		{`{"client":"` + strings.Repeat("x", 256) + `"}`, "too long", "a name over its limit"},
		{`{"message":"` + strings.Repeat("x", 1025) + `"}`, "too long", "a sentence over its limit"},
		{`{"trap":{"payload":"` + strings.Repeat("AAAA", 1366) + `A=="}}`, "too long", "a payload over its limit"},
		{`{"trap":{"payload":"%%%%"}}`, "base64", "not base64"},
		{`{"trap":{"syn":{"ttl":256}}}`, "out of range", "a byte over 255"},
		{`{"trap":{"syn":{"window":-1}}}`, "out of range", "a negative window"},
		{`{"trap":{"syn":{"window":1.5}}}`, "out of range", "half a window"},
		{`{"trap":{"syn":{"window":007}}}`, "unexpected", "JSON has no leading zeros"},
		{`{"trap":{"held":9223372036854775808}}`, "out of range", "more than 64 bits"},
		{`{"evidence":4}`, "out of range", "no such level"},
		{`{"src":"1.2.3.4"}`, "address and port", "no port"},
		{`{"src":"1.2.3.4:65536"}`, "address and port", "no such port"},
		{`{"src":"1.2.3.04:1"}`, "address and port", "an octal-looking octet"},
		{`{"src":"1.2.3.256:1"}`, "address and port", "no such octet"},
		{`{"time":"yesterday"}`, "not a time", "not a time"},
		{`{"message":"a` + "\n" + `"}`, "unexpected", "a raw control character"},
		{`{"message":"\q"}`, "escape", "not an escape"},
		{`{"message":"\`, "unexpected end", "cut inside an escape"},
		{`{"tags":[` + strings.Repeat(`"x",`, 40) + `"x"]}`, "too long", "too many tags"},
		{`{"new":` + deep, "16 levels", "an unknown key nests without end"},
		{`{"alert":` + deep, "16 levels", "a known key nests without end"},
		{`{"alert":{"count":"x"}}`, "wrong kind", "encoding/json refuses the detail"},
		{`{"late":nope}`, "unexpected", "no such word"},
		{`{"process":{"pid":-1}}`, "out of range", "no process has such a number"},
		{`{"process":{"command_line":"` + strings.Repeat("x", 1025) + `"}}`, "too long", "a command line over its limit"},
		{`{"threat":{"details":` + deep, "16 levels", "free values nest without end"},
		{`{"threat":{"details":{"a":"` + strings.Repeat("x", MaxDetail) + `"}}}`, "too long", "a detail over its limit"},
		{`{"threat":{"details":[]}}`, "wrong kind", "details are a map"},
		{`{"flow":{"bytes":-1}}`, "wrong kind", "fewer than no bytes"},
		{`{"flow":{"tcp_flags":256}}`, "wrong kind", "a byte over 255"},
		{`{"stat":{"value":1e999}}`, "wrong kind", "a number over what 64 bits hold"},
		{`{"summary":{"counters":{"a":1.5}}}`, "wrong kind", "half a packet"},
		{`{} {}`, "follows", "two values"},
	} {
		if _, err := read([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.why, err, c.want)
		}
	}
}

// The quick ways to read a number and an id agree with the slow ones.
func TestReaderQuickWays(t *testing.T) {
	id := NewIDs([32]byte{9}).Next(time.Unix(1e9, 0)).String()
	for _, text := range []string{id, strings.ToUpper(id), id[1:], id + "0", strings.Replace(id, "-", "0", 1), "g" + id[1:], id[:35] + "`", id[:35] + "@", id[:35] + "/"} {
		var want ID
		err := want.UnmarshalText([]byte(text))
		got, readErr := read([]byte(`{"id":"` + text + `"}`))
		if (err == nil) != (readErr == nil) || err == nil && got.ID != want {
			t.Errorf("%q became %v, %v, want %v, %v", text, got.ID, readErr, want, err)
		}
	}
	for text, want := range map[string]uint16{"0": 0, "7": 7, "65535": 65535, " 12 ": 12, "null": 0} {
		e, err := read([]byte(`{"probe":{"syn":{"window":` + text + `,"ttl":` + "1" + `}}}`))
		if err != nil || e.Probe.SYN.Window != want || e.Probe.SYN.TTL != 1 {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"01", "65536", "1e1", "1.0", "-0", "999999999999", "", "x"} {
		if e, err := read([]byte(`{"probe":{"syn":{"window":` + text + `}}}`)); err == nil {
			t.Errorf("%q became %d", text, e.Probe.SYN.Window)
		}
	}
}

func TestReaderTakesWhatANewerVersionSays(t *testing.T) {
	text := ` { "weather" : {"wind":[1,-2.5e+3,{"a":null},[],{}],"\u0069d":true} , "dataset":"vft.trap", "trap": {"new":[[]],"tool":"n\u006dap"}, "src":null } `
	e, err := read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if e.Dataset != DatasetTrap || e.Trap.Tool != "nmap" || e.Src.IsValid() {
		t.Errorf("read %+v", e)
	}
}

func TestCheck(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		event Event
		want  error
		why   string
	}{
		{sample(), nil, "a hit"},
		{Event{Dataset: "vft.new", Time: now}, nil, "a dataset of a newer version"},
		{Event{Time: now}, errNoDataset, "of nothing"},
		{Event{Dataset: "vft.new"}, errNoTime, "of no time"},
		{Event{Dataset: DatasetTrap, Time: now}, errDetail, "a hit without its detail would be a nil pointer later"},
		{Event{Dataset: DatasetProbe, Time: now, Trap: &Trap{}}, errDetail, "the detail of another dataset"},
		{Event{Dataset: DatasetStat, Time: now, Stat: &Stat{}}, nil, "a statistic"},
		{Event{Dataset: DatasetAnomaly, Time: now, Anomaly: &Anomaly{}, Process: &Process{}}, nil, "an anomaly with its process"},
		{Event{Dataset: DatasetThreat, Time: now, Threat: &Threat{}}, nil, "a threat"},
		{Event{Dataset: DatasetFlow, Time: now, Flow: &Flow{}}, nil, "a flow"},
		{Event{Dataset: DatasetSummary, Time: now, Summary: &Summary{}}, nil, "a summary"},
		{Event{Dataset: DatasetStat, Time: now}, errDetail, "a statistic without its detail"},
		{Event{Dataset: DatasetAnomaly, Time: now}, errDetail, "an anomaly without its detail"},
		{Event{Dataset: DatasetThreat, Time: now}, errDetail, "a threat without its detail"},
		{Event{Dataset: DatasetFlow, Time: now}, errDetail, "a flow without its detail"},
		{Event{Dataset: DatasetSummary, Time: now}, errDetail, "a summary without its detail"},
		{Event{Dataset: DatasetFlow, Time: now, Flow: &Flow{}, Summary: &Summary{}}, errDetail, "two details"},
		{Event{Dataset: DatasetThreat, Time: now, Finding: &Finding{}}, nil, "a finding that will be told as a threat"},
		{Event{Dataset: DatasetThreat, Time: now, Finding: &Finding{}, Threat: &Threat{}}, nil, "a threat with its finding"},
		{Event{Dataset: DatasetAnomaly, Time: now, Finding: &Finding{}}, nil, "a finding that will be told as an anomaly"},
		{Event{Dataset: DatasetAnomaly, Time: now, Finding: &Finding{}, Anomaly: &Anomaly{}}, nil, "an anomaly with its finding"},
		{Event{Dataset: DatasetAnomaly, Time: now, Finding: &Finding{}, Threat: &Threat{}}, errDetail, "a finding excuses no detail of another dataset"},
		{Event{Dataset: DatasetTrap, Time: now, Finding: &Finding{}, Trap: &Trap{}}, errDetail, "a hit is no finding"},
		{Event{Dataset: DatasetAlert, Time: now, Finding: &Finding{}}, errDetail, "a finding excuses no alert"},
		{Event{Dataset: "vft.new", Time: now, Threat: &Threat{}}, errDetail, "a detail of a known dataset in an unknown one"},
	} {
		if got := c.event.Check(); got != c.want {
			t.Errorf("%s: got %v", c.why, got)
		}
	}
}

func TestJSONAllocations(t *testing.T) {
	e := sample()
	e.Trap.Payload, e.Tags = nil, nil
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = e.AppendJSON(buf[:0]) }); n != 0 {
		t.Errorf("writing allocates %v times", n)
	}
	var r *Reader
	var got Event
	least := math.Inf(1)
	for range 5 { // in one Reader of many, three names share two slots
		r = NewReader()
		least = min(least, testing.AllocsPerRun(100, func() {
			r.Reset(buf)
			r.Event(&got)
		}))
	}
	if least > 1 {
		t.Errorf("reading allocates %v times, more than the one of its detail", least)
	}
	if r.End() != nil || got.Trap.Tool != "masscan" {
		t.Errorf("read %+v, %v", got, r.Err())
	}
}

// Whatever arrives: no panic, and what is read is written and read again the
// same, by encoding/json too.
func FuzzReaderEvent(f *testing.F) {
	e := sample()
	f.Add(e.AppendJSON(nil))
	for _, e := range []Event{statSample(), anomalySample(), threatSample(), flowSample(), summarySample(), findingSample()} {
		f.Add(e.AppendJSON(nil))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := read(text)
		if err != nil {
			return
		}
		again := e.AppendJSON(nil)
		got, err := read(again)
		if err != nil {
			t.Fatalf("cannot read %s again: %v", again, err)
		}
		var byJSON Event
		if err := json.Unmarshal(again, &byJSON); err != nil {
			t.Fatalf("encoding/json cannot read %s: %v", again, err)
		}
		if a, b := got.AppendJSON(nil), byJSON.AppendJSON(nil); string(a) != string(again) || string(b) != string(again) {
			t.Fatalf("%s\nbecame %s\nand    %s", again, a, b)
		}
	})
}

func BenchmarkReaderEvent(b *testing.B) {
	e := sample()
	text := e.AppendJSON(nil)
	r := NewReader()
	var got Event
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r.Reset(text)
		r.Event(&got)
	}
	if r.End() != nil {
		b.Fatal(r.Err())
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := sample()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}
