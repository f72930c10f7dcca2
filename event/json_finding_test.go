package event

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func findingSample() Event {
	usual := 2.5
	return Event{Time: sampleTime, Dataset: DatasetThreat, Finding: &Finding{
		Type: "vertical_scan", Sensor: "scan", Key: "web", Time: sampleTime, Since: sampleTime.Add(-time.Minute), Memory: 30 * time.Minute, Over: true,
		Offender: netip.MustParseAddr("203.0.113.66"), Name: "02:00:00:00:00:01", Many: true,
		Sources: []netip.Addr{netip.MustParseAddr("203.0.113.66"), netip.MustParseAddr("2001:db8::1")},
		Victims: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, Ports: []uint16{22, 80, 443}, Client: "web-1-0a1b2c3d", Observer: "eth0",
		Src: netip.MustParseAddrPort("203.0.113.66:40000"), Dst: netip.MustParseAddrPort("192.0.2.10:22"), Transport: "tcp",
		Value: 100, Threshold: 15, Usual: &usual, Unit: "ports", Window: 5 * time.Minute, Count: 101, Severity: 60, Evidence: E1,
		Scan: "syn", Tool: "nmap", Details: []Detail{{"open", []any{22.0, 80.0}}, {"answered", true}, {"note", "x"}},
		Anomaly: &Anomaly{Detector: "robust", Statistic: "R_SYN", Value: 0.7, Series: []float64{1, 2}},
		Process: &Process{PID: 4711, Name: "sshd"},
	}}
}

// anyFinding makes a finding within the limits.
func anyFinding(t *rapid.T, word func(string) string, moment func(string) time.Time) *Finding {
	number := func(label string) float64 { return rapid.Float64Range(-1e300, 1e300).Draw(t, label) }
	addr := rapid.Custom(func(t *rapid.T) netip.Addr {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		if rapid.Bool().Draw(t, "is IPv4") {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16([16]byte(b)).Unmap()
	})
	addrs := func(label string) []netip.Addr { return nonEmpty(rapid.SliceOfN(addr, 0, 3).Draw(t, label)) }
	f := &Finding{
		Type: word("type"), Sensor: word("sensor"), Key: word("key"), Time: moment("time"), Since: moment("since"),
		Memory: time.Duration(rapid.Int64().Draw(t, "memory")), Over: rapid.Bool().Draw(t, "over"), Name: word("name"), Many: rapid.Bool().Draw(t, "many"),
		Sources: addrs("sources"), Victims: addrs("victims"), Ports: nonEmpty(rapid.SliceOfN(rapid.Uint16(), 0, 3).Draw(t, "ports")),
		Client: word("client"), Observer: word("observer"), Transport: word("transport"), Value: number("value"), Threshold: number("threshold"),
		Usual: rapid.Ptr(rapid.Float64Range(-1e300, 1e300), true).Draw(t, "usual"), Unit: word("unit"),
		Window: time.Duration(rapid.Int64().Draw(t, "window")), Count: rapid.Uint64().Draw(t, "count"),
		Severity: rapid.IntRange(0, 100).Draw(t, "severity"), Evidence: Evidence(rapid.Uint8Range(0, 3).Draw(t, "evidence")),
		Scan: word("scan"), Tool: word("tool"),
	}
	if rapid.Bool().Draw(t, "has offender") {
		f.Offender = addr.Draw(t, "offender")
		f.Src, f.Dst = netip.AddrPortFrom(addr.Draw(t, "src"), 1), netip.AddrPortFrom(addr.Draw(t, "dst"), 2)
	}
	f.Details = nonEmpty(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Detail {
		return Detail{rapid.StringN(0, 10, 30).Draw(t, "detail"), anyJSON(MaxNested).Draw(t, "value")}
	}), 0, 3).Draw(t, "details"))
	if rapid.Bool().Draw(t, "has anomaly") {
		f.Anomaly = &Anomaly{Statistic: word("statistic"), Start: moment("start"), End: moment("end"), Value: number("peak")}
	}
	if rapid.Bool().Draw(t, "has holder") {
		f.Process = &Process{PID: int(rapid.Int32Min(0).Draw(t, "pid")), Name: word("process")}
	}
	return f
}

// tooMuch fills every text, list, number and time of a struct with more than the
// limits allow.
func tooMuch(v reflect.Value) {
	long := strings.Repeat("\x00<\xff\u00e9\u2028", 3000)
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("fe80::1").WithZone(long)))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(long), 1)))
		return
	case ID:
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(long)
	case reflect.Float64:
		v.SetFloat(math.Inf(1))
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MaxInt64)
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		v.SetUint(math.MaxUint8)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf([]string{long, long}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		tooMuch(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			tooMuch(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1000, 1000))
		for i := range v.Len() {
			tooMuch(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range 1000 {
			value := reflect.New(v.Type().Elem()).Elem()
			tooMuch(value)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("%04d%s", i, long)), value)
		}
	}
}

// Every field of a finding is within the limits when it is written, also one
// that comes to it later.
func TestFindingIsBounded(t *testing.T) {
	var f Finding
	tooMuch(reflect.ValueOf(&f).Elem())
	text := (&Event{Finding: &f}).AppendJSON(nil)
	if len(text) > MaxDetail {
		t.Errorf("%d bytes", len(text))
	}
	got, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	if again := got.AppendJSON(nil); string(again) != string(text) {
		t.Errorf("%.300s\nbecame %.300s", text, again)
	}
	within(t, reflect.ValueOf(*got.Finding), "Finding")
	if len(f.Sources) != 1000 || f.Severity != math.MaxInt64 || f.Anomaly.Value != math.Inf(1) || f.Process.PID != math.MaxInt {
		t.Error("writing changed the finding")
	}
}

// within reports every text and list that is over the limits.
func within(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		if v.Len() > MaxText {
			t.Errorf("%s has %d bytes", path, v.Len())
		}
	case reflect.Slice:
		if limit := MaxParties; v.Len() > limit && !(strings.HasSuffix(path, ".Series") && v.Len() == MaxItems) {
			t.Errorf("%s has %d items", path, v.Len())
		}
		for i := range v.Len() {
			within(t, v.Index(i), path+"[]")
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				within(t, v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			within(t, v.Elem(), path)
		}
	}
}

// What a stranger says is cut and made clean when it is read.
func TestReaderBoundsFindings(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      Finding
	}{
		{"one host has one key", `{"offender":"::ffff:192.0.2.1","src":"[::ffff:192.0.2.1]:7","sources":["::ffff:192.0.2.2"]}`,
			Finding{Offender: netip.MustParseAddr("192.0.2.1"), Src: netip.MustParseAddrPort("192.0.2.1:7"), Sources: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}},
		{"a zone means nothing elsewhere", `{"offender":"fe80::1%eth0"}`, Finding{Offender: netip.MustParseAddr("fe80::1")}},
		{"no address at all", `{"victims":["","192.0.2.1"],"src":""}`, Finding{Victims: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		{"there is no severity 1000", `{"severity":1000,"evidence":200}`, Finding{Severity: 100, Evidence: E3}},
		{"nor one below 0", `{"severity":-5}`, Finding{}},
		{"a process has no negative number", `{"process":{"pid":-5}}`, Finding{Process: &Process{}}},
		{"a null is none", `{"details":null,"anomaly":null}`, Finding{}},
	} {
		e, err := read([]byte(`{"finding":` + c.text + `}`))
		if err != nil || !reflect.DeepEqual(*e.Finding, c.want) {
			t.Errorf("%s: %v, %+v", c.why, err, e.Finding)
		}
	}
	ports := strings.Repeat("1,", 200) + "1"
	e, err := read([]byte(`{"finding":{"ports":[` + ports + `],"details":[` + strings.Repeat(`{"name":"x","value":1},`, 200) + `{}]}}`))
	if err != nil || len(e.Finding.Ports) != MaxParties || len(e.Finding.Details) != MaxKeys {
		t.Errorf("%v: %d ports, %d details", err, len(e.Finding.Ports), len(e.Finding.Details))
	}
	for _, c := range []struct{ why, text, want string }{
		{"over the limit of a detail", `{"name":"` + strings.Repeat("x", MaxDetail) + `"}`, "too long"},
		{"a port over 16 bits", `{"ports":[65536]}`, "wrong kind"},
		{"not an address", `{"offender":"web-1"}`, "wrong kind"},
		{"nests without end", `{"details":[{"value":` + strings.Repeat("[", 100), "16 levels"},
	} {
		if _, err := read([]byte(`{"finding":` + c.text + `}`)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// Whatever arrives as a finding: no panic, and what is read is within the limits
// and written and read again the same.
func FuzzFinding(f *testing.F) {
	sample := findingSample()
	text, err := json.Marshal(sample.Finding)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := read(slices.Concat([]byte(`{"finding":`), text, []byte(`}`)))
		if err != nil || e.Finding == nil {
			return
		}
		within(t, reflect.ValueOf(*e.Finding), "Finding")
		again := e.AppendJSON(nil)
		got, err := read(again)
		if err != nil {
			t.Fatalf("cannot read %s again: %v", again, err)
		}
		if text := got.AppendJSON(nil); string(text) != string(again) {
			t.Fatalf("%s\nbecame %s", again, text)
		}
	})
}
